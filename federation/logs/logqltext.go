package logs

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// selectorText is matchers as a LogQL stream selector. Strings are quoted as Go
// quotes them, which is how LogQL reads them.
func selectorText(matchers []*labels.Matcher) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, m := range matchers {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(m.Name + m.Type.String() + strconv.Quote(m.Value))
	}
	b.WriteByte('}')
	return b.String()
}

// queryText is a LogQL log query for the lines of a selection.
func queryText(selector string, s selection) string {
	var b strings.Builder
	b.WriteString(selector)
	for _, f := range s.filters {
		if text := f.String(); isHeld(text) {
			b.WriteString(" " + text)
		}
	}
	if len(s.filters) > 0 {
		return b.String()
	}
	for _, text := range s.contains {
		if text != "" && isHeld(text) {
			b.WriteString(" |= " + strconv.Quote(text))
		}
	}
	return b.String()
}

// isHeld says whether a text may be looked for in lines: bytes that aren't UTF-8
// come as U+FFFD, and aren't held as that.
func isHeld(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsRune(text, utf8.RuneError)
}

// pushable are the matchers that LogQL can express.
func pushable(matchers []*labels.Matcher) []*labels.Matcher {
	return slices.DeleteFunc(slices.Clone(matchers), func(m *labels.Matcher) bool {
		return !isLogQLName(m.Name) || !utf8.ValidString(m.Value)
	})
}

// demanding says whether a stream has to have a label to match.
func demanding(matchers []*labels.Matcher) bool {
	return slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches("") })
}

// isLogQLName says whether a matcher can be written for a label.
func isLogQLName(name string) bool {
	return model.LegacyValidation.IsValidLabelName(name) && !slices.Contains(keywords, strings.ToLower(name))
}

// keywords of LogQL can't be the name in a matcher.
var keywords = []string{
	"and", "bool", "by", "decolorize", "drop", "group_left", "group_right", "ignoring", "ip", "json", "keep", "label_format", "label_replace",
	"line_format", "logfmt", "of", "offset", "on", "or", "pattern", "regexp", "unless", "unpack", "unwrap", "variants", "without",
}
