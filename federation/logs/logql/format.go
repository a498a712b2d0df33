package logql

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// Canonical texts: one space around operators, strings in double quotes, the
// range after the pipeline, parentheses around every binary operation that is
// an operand.

// writer is what writes its canonical text.
type writer interface{ write(b *strings.Builder) }

func written(w writer) string {
	var b strings.Builder
	w.write(&b)
	return b.String()
}

func (e *LogSelector) String() string       { return written(e) }
func (e *RangeAggregation) String() string  { return written(e) }
func (e *VectorAggregation) String() string { return written(e) }
func (e *BinaryOperation) String() string   { return written(e) }
func (e *Literal) String() string           { return written(e) }
func (e *Vector) String() string            { return written(e) }
func (e *LabelReplace) String() string      { return written(e) }

func writeExpr(b *strings.Builder, e Expr) {
	if w, ok := e.(writer); ok {
		w.write(b)
	}
}

func (e *LogSelector) write(b *strings.Builder) {
	b.WriteByte('{')
	for i, m := range e.Matchers {
		if i > 0 {
			b.WriteString(", ")
		}
		writeMatcher(b, m)
	}
	b.WriteByte('}')
	for _, s := range e.Stages {
		b.WriteByte(' ')
		if w, ok := s.(writer); ok {
			w.write(b)
		}
	}
}

func writeMatcher(b *strings.Builder, m *labels.Matcher) {
	b.WriteString(m.Name)
	b.WriteString(m.Type.String())
	b.WriteString(strconv.Quote(m.Value))
}

func (e *RangeAggregation) write(b *strings.Builder) {
	b.WriteString(string(e.Op))
	b.WriteByte('(')
	if e.Op == QuantileOverTime {
		b.WriteString(numberText(e.Parameter))
		b.WriteString(", ")
	}
	e.Selector.write(b)
	if e.Unwrap != nil {
		e.Unwrap.write(b)
	}
	b.WriteString(" [")
	b.WriteString(model.Duration(e.Range).String())
	b.WriteByte(']')
	if e.Offset != 0 {
		b.WriteString(" offset ")
		b.WriteString(durationText(e.Offset))
	}
	b.WriteByte(')')
	if e.Grouping != nil {
		b.WriteByte(' ')
		e.Grouping.write(b)
	}
}

func (u *Unwrap) write(b *strings.Builder) {
	b.WriteString(" | unwrap ")
	if u.Conversion == Number {
		b.WriteString(u.Label)
	} else {
		b.WriteString(string(u.Conversion) + "(" + u.Label + ")")
	}
	for _, f := range u.Filters {
		b.WriteString(" | ")
		b.WriteString(f.String())
	}
}

// String is by (labels) or without (labels).
func (g *Grouping) String() string { return written(g) }

func (g *Grouping) write(b *strings.Builder) {
	if g.Without {
		b.WriteString("without (")
	} else {
		b.WriteString("by (")
	}
	b.WriteString(strings.Join(g.Labels, ", "))
	b.WriteByte(')')
}

func (e *VectorAggregation) write(b *strings.Builder) {
	b.WriteString(string(e.Op))
	if e.Grouping != nil {
		b.WriteByte(' ')
		e.Grouping.write(b)
		b.WriteByte(' ')
	}
	b.WriteByte('(')
	if e.Parameter != 0 {
		b.WriteString(strconv.Itoa(e.Parameter))
		b.WriteString(", ")
	}
	writeExpr(b, e.Expr)
	b.WriteByte(')')
}

func (e *BinaryOperation) write(b *strings.Builder) {
	writeOperand(b, e.LHS)
	b.WriteByte(' ')
	b.WriteString(string(e.Op))
	if e.Bool {
		b.WriteString(" bool")
	}
	if m := e.Matching; m != nil {
		if m.On {
			b.WriteString(" on (")
		} else {
			b.WriteString(" ignoring (")
		}
		b.WriteString(strings.Join(m.Labels, ", "))
		b.WriteByte(')')
		if m.Group != OneToOne {
			b.WriteString(" " + string(m.Group) + " (" + strings.Join(m.Include, ", ") + ")")
		}
	}
	b.WriteByte(' ')
	writeOperand(b, e.RHS)
}

func writeOperand(b *strings.Builder, e Expr) {
	if _, ok := e.(*BinaryOperation); !ok {
		writeExpr(b, e)
		return
	}
	b.WriteByte('(')
	writeExpr(b, e)
	b.WriteByte(')')
}

// write writes what has no digits, and only operations yield, as one.
func (e *Literal) write(b *strings.Builder) {
	switch {
	case math.IsNaN(e.Value):
		b.WriteString("(0 / 0)")
	case math.IsInf(e.Value, 1):
		b.WriteString("(10 ^ 309)")
	case math.IsInf(e.Value, -1):
		b.WriteString("(-10 * 10 ^ 309)")
	default:
		b.WriteString(numberText(e.Value))
	}
}

func (e *Vector) write(b *strings.Builder) {
	b.WriteString("vector(" + numberText(e.Value) + ")")
}

func (e *LabelReplace) write(b *strings.Builder) {
	b.WriteString("label_replace(")
	writeExpr(b, e.Expr)
	for _, s := range []string{e.Target, e.Replacement, e.Source, e.Re} {
		b.WriteString(", ")
		b.WriteString(strconv.Quote(s))
	}
	b.WriteByte(')')
}

func (s *LineFilter) String() string       { return written(s) }
func (s *JSONParser) String() string       { return written(s) }
func (s *LogfmtParser) String() string     { return written(s) }
func (s *RegexpParser) String() string     { return written(s) }
func (s *PatternParser) String() string    { return written(s) }
func (s *UnpackParser) String() string     { return written(s) }
func (s *LabelFilterStage) String() string { return written(s) }
func (s *LineFormat) String() string       { return written(s) }
func (s *LabelFormat) String() string      { return written(s) }
func (s *Decolorize) String() string       { return written(s) }
func (s *Keep) String() string             { return written(s) }
func (s *Drop) String() string             { return written(s) }

func (s *LineFilter) write(b *strings.Builder) {
	b.WriteString(string(s.Op))
	for i, a := range s.Alternatives {
		if i > 0 {
			b.WriteString(" or")
		}
		b.WriteByte(' ')
		if a.IP {
			b.WriteString("ip(" + strconv.Quote(a.Text) + ")")
		} else {
			b.WriteString(strconv.Quote(a.Text))
		}
	}
}

func (s *JSONParser) write(b *strings.Builder) {
	b.WriteString("| json")
	writeExtractions(b, s.Extract)
}

func (s *LogfmtParser) write(b *strings.Builder) {
	b.WriteString("| logfmt")
	if s.Strict {
		b.WriteString(" --strict")
	}
	if s.KeepEmpty {
		b.WriteString(" --keep-empty")
	}
	writeExtractions(b, s.Extract)
}

func writeExtractions(b *strings.Builder, all []Extraction) {
	for i, e := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(" " + e.Label + "=" + strconv.Quote(e.Expression))
	}
}

func (s *RegexpParser) write(b *strings.Builder) {
	b.WriteString("| regexp " + strconv.Quote(s.Re))
}

func (s *PatternParser) write(b *strings.Builder) {
	b.WriteString("| pattern " + strconv.Quote(s.Pattern))
}

func (*UnpackParser) write(b *strings.Builder) { b.WriteString("| unpack") }

func (s *LabelFilterStage) write(b *strings.Builder) {
	b.WriteString("| " + s.Filter.String())
}

func (s *LineFormat) write(b *strings.Builder) {
	b.WriteString("| line_format " + strconv.Quote(s.Template))
}

func (s *LabelFormat) write(b *strings.Builder) {
	b.WriteString("| label_format")
	for i, f := range s.Formats {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(" " + f.Label + "=")
		if f.Rename {
			b.WriteString(f.Source)
		} else {
			b.WriteString(strconv.Quote(f.Source))
		}
	}
}

func (*Decolorize) write(b *strings.Builder) { b.WriteString("| decolorize") }

func (s *Keep) write(b *strings.Builder) { writeChoices(b, "| keep", s.Labels) }

func (s *Drop) write(b *strings.Builder) { writeChoices(b, "| drop", s.Labels) }

func writeChoices(b *strings.Builder, stage string, all []LabelChoice) {
	b.WriteString(stage)
	for i, c := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte(' ')
		if c.Matcher == nil {
			b.WriteString(c.Name)
		} else {
			writeMatcher(b, c.Matcher)
		}
	}
}

func (f *StringFilter) String() string {
	var b strings.Builder
	writeMatcher(&b, f.Matcher)
	return b.String()
}

func (f *NumberFilter) String() string {
	return f.Name + " " + string(f.Op) + " " + numberText(f.Value)
}

func (f *DurationFilter) String() string {
	return f.Name + " " + string(f.Op) + " " + durationText(f.Value)
}

func (f *BytesFilter) String() string {
	return f.Name + " " + string(f.Op) + " " + sizeText(f.Value)
}

func (f *IPFilter) String() string {
	op := "="
	if f.Not {
		op = "!="
	}
	return f.Name + op + "ip(" + strconv.Quote(f.Pattern) + ")"
}

func (f *AndFilter) String() string { return joined(f.Left, " and ", f.Right) }

func (f *OrFilter) String() string { return joined(f.Left, " or ", f.Right) }

// joined are two filters, each in parentheses if it is made of others.
func joined(left LabelFilter, op string, right LabelFilter) string {
	var b strings.Builder
	for i, f := range []LabelFilter{left, right} {
		if i > 0 {
			b.WriteString(op)
		}
		switch f.(type) {
		case *AndFilter, *OrFilter:
			b.WriteString("(" + f.String() + ")")
		default:
			b.WriteString(f.String())
		}
	}
	return b.String()
}

func numberText(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// durationText is as Go prints it, without zeros at the end.
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// sizeText is in the largest unit in which it is a whole number.
func sizeText(n uint64) string {
	for _, u := range []struct {
		name  string
		bytes uint64
	}{{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}} {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatUint(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatUint(n, 10) + "B"
}
