package logql

import (
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// Entry is a line after its pipeline. Its labels are in the three categories
// that Loki's API tells apart, in none twice.
type Entry struct {
	Line                     string
	Stream, Metadata, Parsed labels.Labels
}

// Pipeline is what lines go through. It is not safe for concurrent use.
type Pipeline struct {
	filters []lineFilter // those before all else, which need no labels
	steps   []step
	fields  fields
	needed  *needed
}

// step is a stage at work. It returns the line, and whether the entry is still
// there.
type step interface {
	process(e *entry) bool
}

// entry is what steps work on.
type entry struct {
	*fields
	at     int64
	line   string
	needed *needed
}

// NewPipeline makes the pipeline of a log query.
func NewPipeline(s *LogSelector) (*Pipeline, error) {
	n, err := newNeededOfLog(s)
	if err != nil {
		return nil, err
	}
	return newPipeline(s, n)
}

// newPipeline has line filters go first, but for what line_format and unpack
// make of lines. As in Loki that is so for decolorize, too: filters look at its
// lines with colours.
func newPipeline(s *LogSelector, n *needed) (*Pipeline, error) {
	p := &Pipeline{needed: n}
	filters := 0 // where the next line filter goes in steps; 0: before all
	for _, stage := range s.Stages {
		made, err := newStep(stage)
		if err != nil {
			return nil, err
		}
		f, isFilter := made.(lineFilter)
		switch {
		case isFilter && filters == 0:
			p.filters = append(p.filters, f)
		case isFilter:
			p.steps = slices.Insert(p.steps, filters, made)
			filters++
		default:
			p.steps = append(p.steps, made)
		}
		switch stage.(type) {
		case *LineFormat, *UnpackParser:
			filters = len(p.steps)
		}
	}
	return p, nil
}

// Process sends one entry through the pipeline: its time in Unix nanoseconds,
// its line, its stream's labels and its structured metadata. It reports
// whether the entry is still there.
func (p *Pipeline) Process(at int64, line string, stream, metadata labels.Labels) (Entry, bool) {
	e, ok := p.run(at, line, stream, metadata)
	if !ok {
		return Entry{}, false
	}
	return Entry{Line: e.line, Stream: e.of(ofStream), Metadata: e.of(ofMetadata), Parsed: e.of(ofParsed)}, true
}

// run leaves the entry's labels in p.fields.
func (p *Pipeline) run(at int64, line string, stream, metadata labels.Labels) (entry, bool) {
	for _, f := range p.filters {
		if !f.keeps(line) {
			return entry{}, false
		}
	}
	p.fields.reset(stream, metadata)
	e := entry{fields: &p.fields, at: at, line: line, needed: p.needed}
	for _, s := range p.steps {
		if !s.process(&e) {
			return entry{}, false
		}
	}
	return e, true
}

// newStep puts a stage to work. Its errors are what Parse would have refused.
func newStep(s Stage) (step, error) {
	switch s := s.(type) {
	case *LineFilter:
		return newLineFilter(s)
	case *JSONParser:
		return newJSONStep(s)
	case *LogfmtParser:
		return newLogfmtStep(s), nil
	case *RegexpParser:
		return newRegexpStep(s)
	case *PatternParser:
		pattern, err := parsePattern(s.Pattern, false)
		return &patternStep{pattern: pattern}, err
	case *UnpackParser:
		return &unpackStep{}, nil
	case *LabelFilterStage:
		c, err := newCondition(s.Filter)
		return conditionStep{c}, err
	case *LineFormat:
		t, err := newTemplate(s.Template)
		return &lineFormatStep{template: t}, err
	case *LabelFormat:
		return newLabelFormatStep(s)
	case *Decolorize:
		return decolorizeStep{}, nil
	case *Keep:
		return keepStep(s.Labels), nil
	case *Drop:
		return dropStep(s.Labels), nil
	}
	return nil, &ParseError{Line: 1, Column: 1, Message: "a stage that isn't known"}
}

// escapes are ANSI escape sequences, as chalk/ansi-regex tells them.
var escapes = regexp.MustCompile("[\u001B\u009B][[\\]()#;?]*(?:(?:(?:[a-zA-Z\\d]*(?:;[a-zA-Z\\d]*)*)?\u0007)|(?:(?:\\d{1,4}(?:;\\d{0,4})*)?[\\dA-PRZcf-ntqry=><~]))")

type decolorizeStep struct{}

func (decolorizeStep) process(e *entry) bool {
	if strings.ContainsAny(e.line, "\u001B\u009B") {
		e.line = escapes.ReplaceAllString(e.line, "")
	}
	return true
}

type dropStep []LabelChoice

func (s dropStep) process(e *entry) bool {
	for _, c := range s {
		if !c.holds(e.fields) {
			continue
		}
		if c.Matcher != nil {
			e.deleteMatched(c.Name)
			continue
		}
		e.delete(c.Name)
	}
	return true
}

// holds says whether the label is chosen.
func (c LabelChoice) holds(f *fields) bool {
	if c.Matcher == nil {
		return true
	}
	value, _ := f.get(c.Name)
	return c.Matcher.Matches(value)
}

type keepStep []LabelChoice

func (s keepStep) process(e *entry) bool {
	for i := len(e.all) - 1; i >= 0; i-- {
		kept := slices.ContainsFunc(s, func(c LabelChoice) bool { return c.Name == e.all[i].name && c.holds(e.fields) })
		if !kept {
			e.remove(i)
		}
	}
	return true
}
