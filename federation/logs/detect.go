package logs

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/cespare/xxhash/v2"
	"github.com/dustin/go-humanize"
	"github.com/google/uuid"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs/logql"
)

// Field is a label, or a field of lines, that was found.
type Field struct {
	Name string
	Type FieldType
	// Parsers are those that find it, sorted; none of structured metadata and labels.
	Parsers []Parser
	// Path is where JSON finds it; nil for others.
	Path []string
	// Values are hashes of its values, ascending, each once: how many there are
	// can be said of several owners together.
	Values []uint64
}

// FieldType is what the values of a field are.
type FieldType string

// The types of fields. A field whose values are of several is a Float if these
// are Int and Float, and else a String. Labels are Boolean if their values are 0
// and 1, ID, or String.
const (
	StringField   FieldType = "string"
	IntField      FieldType = "int"
	FloatField    FieldType = "float"
	BooleanField  FieldType = "boolean"
	DurationField FieldType = "duration"
	BytesField    FieldType = "bytes"
	// IDField is of a label whose values are all numbers or UUIDs.
	IDField FieldType = "id"
)

// FieldTypes are all of them.
var FieldTypes = []FieldType{StringField, IntField, FloatField, BooleanField, DurationField, BytesField, IDField}

// Parser is a parser of LogQL by which fields are found.
type Parser string

// The parsers.
const (
	JSON   Parser = "json"
	Logfmt Parser = "logfmt"
)

// Parsers are all of them, in the order in which they are tried.
var Parsers = []Parser{JSON, Logfmt}

const (
	// MaxFields is how many fields one answer has: the first by name.
	MaxFields = 1000
	// MaxLinesDetected is how many lines of each organization can be looked at for
	// fields.
	MaxLinesDetected = 5000
	// maxFieldsLooked is how many fields these lines may have together.
	maxFieldsLooked = 2_000_000
)

func (f Field) bytes() int {
	total := len(f.Name) + len(f.Type) + len(f.Values)*hashBytes
	for _, step := range f.Path {
		total += len(step)
	}
	return total
}

const hashBytes = 8

// found is a Field in the making.
type found struct {
	kind    FieldType
	parsers []Parser
	path    []string
	values  map[uint64]struct{}
}

func (f *found) add(value string, kind FieldType) {
	f.kind = common(f.kind, kind)
	f.values[xxhash.Sum64String(value)] = struct{}{}
}

// common is the type of values of two; empty is that of none.
func common(a, b FieldType) FieldType {
	are := func(x, y FieldType) bool { return a == x && b == y || a == y && b == x }
	switch {
	case a == b || b == "":
		return a
	case a == "":
		return b
	case are(IntField, FloatField):
		return FloatField
	case are(BooleanField, IDField):
		return IDField
	}
	return StringField
}

// typeOf is what a text is, asked in Loki's order.
func typeOf(text string) FieldType {
	if _, err := strconv.ParseInt(text, 10, 64); err == nil {
		return IntField
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return FloatField
	}
	if _, err := strconv.ParseBool(text); err == nil {
		return BooleanField
	}
	if _, err := time.ParseDuration(text); err == nil {
		return DurationField
	}
	if _, err := humanize.ParseBytes(text); err == nil {
		return BytesField
	}
	return StringField
}

// finds is what is found, by name.
type finds map[string]*found

func (f finds) of(name string) *found {
	if f[name] == nil {
		f[name] = &found{values: map[uint64]struct{}{}}
	}
	return f[name]
}

// fields are in order of their names.
func (f finds) fields() []Field {
	out := make([]Field, 0, len(f))
	for name, found := range f {
		values := make([]uint64, 0, len(found.values))
		for v := range found.values {
			values = append(values, v)
		}
		slices.Sort(values)
		slices.Sort(found.parsers)
		out = append(out, Field{Name: name, Type: found.kind, Parsers: found.parsers, Path: found.path, Values: values})
	}
	slices.SortFunc(out, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// mergeFields makes one list of the members'.
func mergeFields(q Question, parts []*Released) (*Released, error) {
	all, names := finds{}, []string{}
	for _, p := range parts {
		names = append(names, p.names...)
		for _, field := range p.fields {
			f := all.of(field.Name)
			f.kind = common(f.kind, field.Type)
			for _, parser := range field.Parsers {
				if !slices.Contains(f.parsers, parser) {
					f.parsers = append(f.parsers, parser)
				}
			}
			if f.path == nil {
				f.path = field.Path
			}
			for _, v := range field.Values {
				f.values[v] = struct{}{}
			}
		}
	}
	out := &Released{names: compacted(names), fields: all.fields()}
	if !q.Listing() {
		out.fields = limited(out.fields, MaxFields)
	}
	return out, nil
}

// detectLabels answers which labels the streams of the view have.
func (v *view) detectLabels(ctx context.Context, q Question) (*Released, error) {
	streams, err := v.streamsOf(ctx, q)
	if err != nil {
		return nil, err
	}
	all := finds{}
	for _, s := range streams {
		s.Range(func(l labels.Label) {
			all.of(l.Name).add(l.Value, typeOfLabel(l.Value))
		})
	}
	return &Released{fields: all.fields()}, nil
}

func typeOfLabel(value string) FieldType {
	if value == "0" || value == "1" {
		return BooleanField
	}
	if _, err := strconv.ParseFloat(value, 64); err == nil {
		return IDField
	}
	if _, err := uuid.Parse(value); err == nil {
		return IDField
	}
	return StringField
}

// detectFields answers which fields the last lines have that the question's
// pipeline lets through, or, of one field, which values.
func (v *view) detectFields(ctx context.Context, q Question) (*Released, error) {
	expr, err := q.parse()
	if err != nil {
		return nil, err
	}
	selector, ok := expr.(*logql.LogSelector)
	if !ok {
		return nil, errors.New("fields of what isn't lines")
	}
	if q.Limit <= 0 || q.Limit > MaxLinesDetected {
		return nil, federation.Errorf(federation.OverLimit, "fields are found in 1 to %d lines, and %d were asked for; give a lower line_limit", MaxLinesDetected, q.Limit)
	}
	pipeline, err := logql.NewPipeline(selector)
	if err != nil {
		return nil, federation.Errorf(federation.BadQuestion, "%v", err)
	}
	d, err := newDetector(q.Label)
	if err != nil {
		return nil, err
	}
	sel := selectionOf(selector, q.Start.UnixNano(), q.End.UnixNano())
	sel.backward, sel.wanted = true, q.Limit
	size, left := 0, q.Limit
	err = v.entries(ctx, sel, func(e visibleEntry) error {
		entry, ok := pipeline.Process(e.at, e.line, e.stream, e.metadata)
		if !ok {
			return nil
		}
		if size += (Entry{At: e.at, Entry: entry}).bytes(); size > maxHeld {
			return federation.Errorf(federation.OverLimit, "the lines and their labels are larger than a gateway looks at for fields; give a lower line_limit")
		}
		if d.look(e.at, entry); d.looked > maxFieldsLooked || d.held > maxHeld {
			return federation.Errorf(federation.OverLimit, "the lines have more fields than a gateway looks at; give a lower line_limit")
		}
		if left--; left == 0 {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	if q.Label != "" {
		return &Released{names: compacted(d.values)}, nil
	}
	return &Released{fields: limited(d.all.fields(), MaxFields)}, nil
}

// detector finds fields in entries.
type detector struct {
	parsers []parsing
	all     finds
	looked  int      // how many fields of lines were looked at
	held    int      // bytes of names in all, and of values
	label   string   // only the values of this one are wanted; empty: all fields are
	values  []string // of label
}

type parsing struct {
	name     Parser
	pipeline *logql.Pipeline
}

func newDetector(label string) (*detector, error) {
	d := &detector{all: finds{}, label: label}
	stages := map[Parser]logql.Stage{JSON: &logql.JSONParser{}, Logfmt: &logql.LogfmtParser{}}
	for _, name := range Parsers {
		p, err := logql.NewPipeline(&logql.LogSelector{Stages: []logql.Stage{stages[name]}})
		if err != nil {
			return nil, err
		}
		d.parsers = append(d.parsers, parsing{name: name, pipeline: p})
	}
	return d, nil
}

// look finds the fields of an entry: structured metadata, what the question's
// own parsers found, and what JSON or else logfmt finds in the line.
func (d *detector) look(at int64, e logql.Entry) {
	e.Metadata.Range(func(l labels.Label) { d.add(l, "", nil) })
	for _, p := range d.parsers {
		parsed, ok := p.pipeline.Process(at, e.Line, e.Stream, labels.EmptyLabels())
		if !ok || parsed.Parsed.IsEmpty() || parsed.Parsed.Has(logql.ErrorLabel) {
			continue
		}
		var paths map[string][]string
		if p.name == JSON {
			paths = logql.JSONPaths(e.Line)
		}
		b := labels.NewBuilder(e.Parsed)
		parsed.Parsed.Range(func(l labels.Label) { b.Set(l.Name, l.Value) })
		b.Labels().Range(func(l labels.Label) { d.add(l, p.name, paths[strings.TrimSuffix(l.Name, renamedSuffix)]) })
		return
	}
	e.Parsed.Range(func(l labels.Label) { d.add(l, "", nil) })
}

// spelled is a value as a query can ask for it: bytes without a space in them.
func spelled(value string, parser Parser) string {
	n, err := humanize.ParseBytes(value)
	if parser == "" || err != nil || !unicode.IsLetter(rune(value[len(value)-1])) {
		return value
	}
	return strings.ReplaceAll(humanize.Bytes(n), " ", "")
}

func (d *detector) add(l labels.Label, parser Parser, path []string) {
	d.looked++
	switch {
	case l.Name == logql.ErrorLabel || l.Name == logql.ErrorDetailsLabel:
		return
	case d.label == l.Name:
		d.held += len(l.Value)
		d.values = append(d.values, strings.Clone(spelled(l.Value, parser))) // not all labels of the line with it
	case d.label == "":
		if d.all[l.Name] == nil {
			d.held += len(l.Name)
			l.Name = strings.Clone(l.Name)
		}
		f := d.all.of(l.Name)
		f.add(l.Value, typeOf(l.Value))
		if parser != "" && !slices.Contains(f.parsers, parser) {
			f.parsers = append(f.parsers, parser)
		}
		if f.path == nil {
			f.path = path
		}
	}
}
