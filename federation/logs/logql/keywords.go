package logql

// keywords can't be names of labels, in whatever case.
var keywords = setOf(
	"by", "without", "bool", "and", "or", "unless", "on", "ignoring", "group_left", "group_right", "offset",
	"json", "logfmt", "regexp", "pattern", "unpack", "unwrap", "line_format", "label_format", "decolorize", "drop", "keep",
	"variants", "of",
)

func setOf(words ...string) map[string]bool {
	set := make(map[string]bool, len(words))
	for _, w := range words {
		set[w] = true
	}
	return set
}
