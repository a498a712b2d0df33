package logql

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// Stage is a step of a pipeline: *LineFilter, *JSONParser, *LogfmtParser,
// *RegexpParser, *PatternParser, *UnpackParser, *LabelFilterStage,
// *LineFormat, *LabelFormat, *Decolorize, *Keep or *Drop.
type Stage interface {
	String() string
	stage()
}

// LineFilterOp is a line filter's operator.
type LineFilterOp string

// The line filters.
const (
	Contains       LineFilterOp = "|="
	NotContains    LineFilterOp = "!="
	MatchesRegexp  LineFilterOp = "|~"
	MatchesRegexpN LineFilterOp = "!~"
	MatchesPattern LineFilterOp = "|>"
	NotPattern     LineFilterOp = "!>"
)

// Negative reports whether the filter keeps lines that don't match.
func (o LineFilterOp) Negative() bool { return o[0] == '!' }

// LineFilter keeps the lines in which one of the alternatives is found, or,
// negative, none.
type LineFilter struct {
	Op           LineFilterOp
	Alternatives []LinePattern // at least one
}

// LinePattern is what is looked for in a line.
type LinePattern struct {
	Text string
	IP   bool // Text is an address, a range of them or a prefix; only for Contains and NotContains
}

// Extraction is one parameter of json or logfmt: a label and the expression
// that it is taken from.
type Extraction struct{ Label, Expression string }

// JSONParser makes labels of a line that is a JSON object: of all fields, or
// of those that are extracted.
type JSONParser struct{ Extract []Extraction }

// LogfmtParser makes labels of a line of key=value.
type LogfmtParser struct {
	Strict    bool // an error in the line is one of the entry
	KeepEmpty bool
	Extract   []Extraction
}

// RegexpParser makes labels of named groups.
type RegexpParser struct{ Re string }

// PatternParser makes labels of <named> parts of a pattern.
type PatternParser struct{ Pattern string }

// UnpackParser undoes what the pack stage of an agent did.
type UnpackParser struct{}

// LabelFilterStage keeps entries whose labels satisfy the filter.
type LabelFilterStage struct{ Filter LabelFilter }

// LineFormat replaces the line by what a template makes of the labels.
type LineFormat struct{ Template string }

// LabelFormat sets labels, one after the other.
type LabelFormat struct{ Formats []Format }

// Format sets a label: to the value of another one, which then is gone, or to
// what a template makes of the labels.
type Format struct {
	Label  string
	Rename bool // Source is a label's name; else a template
	Source string
}

// Decolorize removes ANSI sequences from the line.
type Decolorize struct{}

// Keep drops all labels but these.
type Keep struct{ Labels []LabelChoice }

// Drop drops labels.
type Drop struct{ Labels []LabelChoice }

// LabelChoice is a label by name or, with a Matcher, only where it has a value
// that matches.
type LabelChoice struct {
	Name    string
	Matcher *labels.Matcher // nil: any value
}

func (*LineFilter) stage()       {}
func (*JSONParser) stage()       {}
func (*LogfmtParser) stage()     {}
func (*RegexpParser) stage()     {}
func (*PatternParser) stage()    {}
func (*UnpackParser) stage()     {}
func (*LabelFilterStage) stage() {}
func (*LineFormat) stage()       {}
func (*LabelFormat) stage()      {}
func (*Decolorize) stage()       {}
func (*Keep) stage()             {}
func (*Drop) stage()             {}

// LabelFilter is a condition on labels: *StringFilter, *NumberFilter,
// *DurationFilter, *BytesFilter, *IPFilter, *AndFilter or *OrFilter.
type LabelFilter interface {
	String() string
	labelFilter()
}

// CompareOp compares numbers: == != > >= < <=.
type CompareOp string

// StringFilter compares a label with a text or a regular expression.
type StringFilter struct{ Matcher *labels.Matcher }

// NumberFilter compares a label that holds a number.
type NumberFilter struct {
	Name  string
	Op    CompareOp
	Value float64
}

// DurationFilter compares a label that holds a duration, as Go prints them.
type DurationFilter struct {
	Name  string
	Op    CompareOp
	Value time.Duration
}

// BytesFilter compares a label that holds a size, such as 20KB.
type BytesFilter struct {
	Name  string
	Op    CompareOp
	Value uint64
}

// IPFilter says whether a label is an address among those of Pattern: an
// address, a range of them or a prefix.
type IPFilter struct {
	Name    string
	Not     bool
	Pattern string
}

// AndFilter is both.
type AndFilter struct{ Left, Right LabelFilter }

// OrFilter is one or both.
type OrFilter struct{ Left, Right LabelFilter }

func (*StringFilter) labelFilter()   {}
func (*NumberFilter) labelFilter()   {}
func (*DurationFilter) labelFilter() {}
func (*BytesFilter) labelFilter()    {}
func (*IPFilter) labelFilter()       {}
func (*AndFilter) labelFilter()      {}
func (*OrFilter) labelFilter()       {}
