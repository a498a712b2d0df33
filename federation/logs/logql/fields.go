package logql

import (
	"slices"
	"strings"
	"unsafe"

	"github.com/prometheus/prometheus/model/labels"
)

// category is where a label of an entry comes from.
type category uint8

const (
	ofStream category = iota
	ofMetadata
	ofParsed
)

// field is a label of an entry.
type field struct {
	name, value string
	category    category
}

// fields are the labels of an entry on its way through a pipeline. They are
// used again for the next one.
type fields struct {
	all     []field
	changed [ofParsed + 1]bool // whether labels of a category came or went

	stream, metadata labels.Labels
	base             []field  // those of stream and metadata, before the pipeline
	ofStream         int      // how many of base are of stream
	parsed           []string // names that parsers have set, so that the first one counts

	problem, details string // of ErrorLabel and ErrorDetailsLabel; empty: none
	preserve         bool   // the problem is to be seen in metric queries

	builder labels.ScratchBuilder
}

// extractedSuffix is what a label gets whose name is taken.
const extractedSuffix = "_extracted"

// reset is to be called for every entry.
func (f *fields) reset(stream, metadata labels.Labels) {
	switch {
	case f.base == nil || !labels.Equal(f.stream, stream):
		f.stream, f.base = stream, f.base[:0]
		stream.Range(func(l labels.Label) { f.base = append(f.base, field{l.Name, l.Value, ofStream}) })
		f.ofStream = len(f.base)
		f.addMetadata(metadata)
	case !labels.Equal(f.metadata, metadata):
		f.base = f.base[:f.ofStream]
		f.addMetadata(metadata)
	}
	f.all = append(f.all[:0], f.base...)
	f.changed = [ofParsed + 1]bool{}
	f.parsed = f.parsed[:0]
	f.problem, f.details = "", ""
}

func (f *fields) addMetadata(metadata labels.Labels) {
	f.metadata = metadata
	metadata.Range(func(l labels.Label) {
		name := l.Name
		if slices.ContainsFunc(f.base[:f.ofStream], func(b field) bool { return b.name == name }) {
			name += extractedSuffix
		}
		f.base = append(f.base, field{name, l.Value, ofMetadata})
	})
}

// had says whether the entry came with the label, or has one of metadata now.
func (f *fields) had(name string) bool {
	for i := range f.base {
		if f.base[i].name == name {
			return true
		}
	}
	return false
}

func (f *fields) index(name string) int {
	for i := range f.all {
		if f.all[i].name == name {
			return i
		}
	}
	return -1
}

// get is the value of a label, those that say what went wrong included.
func (f *fields) get(name string) (string, bool) {
	switch name {
	case ErrorLabel:
		return f.problem, f.problem != ""
	case ErrorDetailsLabel:
		return f.details, f.details != ""
	}
	if i := f.index(name); i >= 0 {
		return f.all[i].value, true
	}
	return "", false
}

// set makes it a parsed label. The empty value is none.
func (f *fields) set(name, value string) {
	i := f.index(name)
	switch {
	case value == "" && i < 0:
	case value == "":
		f.remove(i)
	case i < 0:
		f.changed[ofParsed] = true
		f.all = append(f.all, field{name, value, ofParsed})
	default:
		f.changed[f.all[i].category] = true
		f.changed[ofParsed] = true
		f.all[i] = field{name, value, ofParsed}
	}
}

func (f *fields) delete(name string) {
	switch name {
	case ErrorLabel:
		f.problem = ""
		return
	case ErrorDetailsLabel:
		f.details = ""
		return
	}
	if i := f.index(name); i >= 0 {
		f.remove(i)
	}
}

func (f *fields) remove(i int) {
	f.changed[f.all[i].category] = true
	f.all = slices.Delete(f.all, i, i+1)
}

// fail says what went wrong.
func (f *fields) fail(problem, details string) {
	f.problem, f.details = problem, details
}

// of are the labels of one category.
func (f *fields) of(c category) labels.Labels {
	switch {
	case f.changed[c]:
	case c == ofParsed && f.problem == "" && f.details == "":
		return labels.EmptyLabels()
	case c == ofStream:
		return f.stream
	}
	f.builder.Reset()
	for i := range f.all {
		if f.all[i].category == c {
			f.builder.Add(f.all[i].name, f.all[i].value)
		}
	}
	if c == ofParsed && f.problem != "" {
		f.builder.Add(ErrorLabel, f.problem)
	}
	if c == ofParsed && f.details != "" {
		f.builder.Add(ErrorDetailsLabel, f.details)
	}
	f.builder.Sort()
	return f.builder.Labels()
}

// labelNames makes names of labels of what is in lines, and remembers them.
type labelNames struct{ known map[string]string }

// maxKnownNames bounds what labelNames remembers: lines may bring new names
// without end.
const maxKnownNames = 10_000

// name is key as the name of a label.
func (n *labelNames) name(key []byte) string {
	if name, ok := n.known[string(key)]; ok {
		return name
	}
	if n.known == nil || len(n.known) >= maxKnownNames {
		n.known = map[string]string{}
	}
	name := sanitized(string(key))
	n.known[string(key)] = name
	return name
}

// sanitized has an underscore for what can't be in a label's name.
func sanitized(key string) string {
	key = strings.TrimSpace(key)
	if key == "" {
		return ""
	}
	name := strings.Map(func(r rune) rune {
		if isWord(r) {
			return r
		}
		return '_'
	}, key)
	if name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	return name
}

// viewed is the text's bytes, not to be written to.
func viewed(s string) []byte {
	return unsafe.Slice(unsafe.StringData(s), len(s)) //nolint:gosec // a copy of every line is what parsing would cost
}

// textOf is the text of a part of what viewed returned.
func textOf(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // as above
}
