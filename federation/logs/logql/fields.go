package logql

import (
	"fmt"
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
	parsed           []string // names that were set, so that what parsers find first counts

	made int // bytes of text that templates made
	text int // bytes of names and values that were set

	problem, details string // of ErrorLabel and ErrorDetailsLabel; empty: none
	preserved        bool   // the problem is the query's to judge

	// deleted are labels that were there and aren't, or are again. Grouping by
	// them finds nothing, as in Loki.
	deleted []string

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
	f.parsed, f.deleted = f.parsed[:0], f.deleted[:0]
	f.problem, f.details, f.preserved = "", "", false
	f.made, f.text = 0, 0
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

// taken says whether parsers can't use the name: the entry came with it, or it
// is one of its metadata.
func (f *fields) taken(name string) bool {
	for i := range f.base[:f.ofStream] {
		if f.base[i].name == name {
			return true
		}
	}
	i := f.index(name)
	return i >= 0 && f.all[i].category == ofMetadata
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

// maxLabelText is how many bytes the names and values may have that stages set for
// one entry: whoever asks may want one text of a line under many names.
const maxLabelText = 8 << 20

var errLabelText = fmt.Sprintf("the labels of the entry have more than %d bytes", maxLabelText)

// set makes it a parsed label. It may be empty. One that is too much is a problem
// instead.
func (f *fields) set(name, value string) {
	if f.text += len(name) + len(value); f.text > maxLabelText {
		f.fail(labelsProblem, errLabelText)
		return
	}
	f.changed[ofParsed] = true
	if !slices.Contains(f.parsed, name) {
		f.parsed = append(f.parsed, name)
	}
	if i := f.index(name); i >= 0 {
		f.changed[f.all[i].category] = true
		f.all[i] = field{name, value, ofParsed}
		return
	}
	f.all = append(f.all, field{name, value, ofParsed})
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

// deleteMatched deletes a label whose value matched. One that isn't there, but
// whose emptiness matched, counts as deleted all the same, as in Loki.
func (f *fields) deleteMatched(name string) {
	if f.index(name) < 0 && name != ErrorLabel && name != ErrorDetailsLabel {
		f.changed[ofParsed] = true
		f.deleted = append(f.deleted, name)
		return
	}
	f.delete(name)
}

func (f *fields) remove(i int) {
	f.changed[f.all[i].category] = true
	f.deleted = append(f.deleted, f.all[i].name)
	f.all = slices.Delete(f.all, i, i+1)
}

// fail says what went wrong. Without details those of before stay.
func (f *fields) fail(problem, details string) {
	f.problem = problem
	if details != "" {
		f.details = details
	}
}

// showsDetails says whether there are details of a problem to be seen. Without
// a problem they are there in Loki when something else than the stream's labels
// is, or was.
func (f *fields) showsDetails() bool {
	return f.details != "" && (f.problem != "" || !f.metadata.IsEmpty() || f.changed != [ofParsed + 1]bool{})
}

// of are the labels of one category.
func (f *fields) of(c category) labels.Labels {
	switch {
	case f.changed[c]:
	case c == ofParsed && f.problem == "" && !f.showsDetails():
		return labels.EmptyLabels()
	case c == ofStream:
		return f.stream
	}
	f.builder.Reset()
	for i := range f.all {
		if f.all[i].category == c && (f.problem == "" || f.all[i].name != ErrorLabel) && (f.details == "" || f.all[i].name != ErrorDetailsLabel) {
			f.builder.Add(f.all[i].name, f.all[i].value)
		}
	}
	if c == ofParsed && f.problem != "" {
		f.builder.Add(ErrorLabel, f.problem)
	}
	if c == ofParsed && f.showsDetails() {
		f.builder.Add(ErrorDetailsLabel, f.details)
	}
	f.builder.Sort()
	return f.builder.Labels()
}

// labelNames makes names of labels of what is in lines, and remembers them.
type labelNames struct {
	known  map[string]string
	object []byte
}

// maxKnownNames and maxKnownName bound what labelNames remembers: lines may bring
// new names without end.
const (
	maxKnownNames = 10_000
	maxKnownName  = 1024 // bytes
)

// name is the label of a key in an object, whose own label is outer; empty: it
// is in none.
func (n *labelNames) name(outer string, key []byte) string {
	n.object = append(append(append(n.object[:0], outer...), 0xff), key...)
	if name, ok := n.known[string(n.object)]; ok {
		return name
	}
	name := labelName(outer, string(key))
	if len(n.object) > maxKnownName {
		return name
	}
	if n.known == nil || len(n.known) >= maxKnownNames {
		n.known = map[string]string{}
	}
	n.known[string(n.object)] = name
	return name
}

// labelName has an underscore for what can't be in a label's name.
func labelName(outer, key string) string {
	key = strings.TrimSpace(key)
	if key == "" {
		return outer
	}
	name := strings.Map(func(r rune) rune {
		if isWord(r) {
			return r
		}
		return '_'
	}, key)
	switch {
	case outer != "":
		return outer + "_" + name
	case isDigit(name[0]):
		return "_" + name
	default:
		return name
	}
}

// viewed is the text's bytes, not to be written to.
func viewed(s string) []byte {
	return unsafe.Slice(unsafe.StringData(s), len(s)) //nolint:gosec // a copy of every line is what parsing would cost
}

// textOf is the text of a part of what viewed returned.
func textOf(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // as above
}
