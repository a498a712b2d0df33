package logql

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/buger/jsonparser"
)

func newJSONStep(s *JSONParser) (step, error) {
	if len(s.Extract) == 0 {
		return &jsonStep{}, nil
	}
	e := &jsonExtractStep{}
	for _, x := range s.Extract {
		path, err := parseJSONPath(x.Expression)
		if err != nil {
			return nil, err
		}
		e.labels, e.paths = append(e.labels, x.Label), append(e.paths, path)
	}
	e.found = make([]bool, len(e.labels))
	return e, nil
}

// jsonStep makes labels of all fields. Those of objects in it have the names of
// both with an underscore between; arrays are left out.
type jsonStep struct{ names labelNames }

func (s *jsonStep) process(e *entry) bool {
	if e.hasEnough() {
		return true
	}
	switch err := s.object(e, "", viewed(e.line)); {
	case errors.Is(err, errGone):
		return false
	case err != nil && !errors.Is(err, errEnough):
		e.problemOf(jsonProblem, err.Error())
	}
	return true
}

// object reads one, whose own label is outer.
func (s *jsonStep) object(e *entry, outer string, data []byte) error {
	return jsonparser.ObjectEach(data, func(key, value []byte, typ jsonparser.ValueType, _ int) error {
		name := s.names.name(outer, key)
		switch typ {
		case jsonparser.Object:
			if !e.needed.below(name) {
				return nil
			}
			return s.object(e, name, value)
		case jsonparser.String, jsonparser.Number, jsonparser.Boolean:
			if err := e.extract(name, jsonText(value, typ)); err != nil {
				// Loki's order here, which isn't that of other parsers.
				if e.hasEnough() {
					return errEnough
				}
				return err
			}
		}
		return nil
	})
}

// Why the reading of a line ends early.
var (
	errEnough = errors.New("all that is needed was found")
	errGone   = errors.New("the entry doesn't satisfy a condition")
)

// problemOf says that a parser failed.
func (e *entry) problemOf(problem, details string) {
	e.fail(problem, details)
	e.preserved = e.preserved || e.needed.preserve
}

// extract sets a label that a parser found, if it is needed. Of several with one
// name the first counts; one that the entry came with keeps its name. The error
// is errEnough or errGone.
func (e *entry) extract(name, value string) error {
	if name == "" {
		return nil
	}
	if e.taken(name) {
		name += extractedSuffix
	}
	if !e.needed.has(name) || slices.Contains(e.parsed, name) {
		return nil
	}
	e.set(name, value)
	switch {
	case e.needed.gone(e.fields, name):
		return errGone
	case e.hasEnough():
		return errEnough
	}
	return nil
}

// jsonText is a value as a label has it.
func jsonText(value []byte, typ jsonparser.ValueType) string {
	switch typ {
	case jsonparser.Null:
		return ""
	case jsonparser.String:
		text := textOf(value)
		if strings.IndexByte(text, '\\') >= 0 {
			unescaped, err := jsonparser.Unescape(value, nil)
			if err != nil {
				return ""
			}
			text = string(unescaped)
		}
		return withoutInvalid(text)
	default:
		return textOf(value)
	}
}

// withoutInvalid is s with a space for what isn't UTF-8.
func withoutInvalid(s string) string {
	if !strings.ContainsRune(s, utf8.RuneError) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
}

// jsonExtractStep makes labels of some fields.
type jsonExtractStep struct {
	labels []string
	paths  [][]string
	found  []bool // by label, in the line
}

func (s *jsonExtractStep) process(e *entry) bool {
	if e.line == "" || e.hasEnough() {
		return true
	}
	if strings.IndexByte(`{["`, e.line[0]) < 0 {
		e.problemOf(jsonProblem, "")
		return true
	}
	clear(s.found)
	var failed error
	jsonparser.EachKey(viewed(e.line), func(i int, value []byte, typ jsonparser.ValueType, err error) {
		switch {
		case err != nil:
			failed = err
		case i >= 0:
			s.found[i] = true
			e.setExtracted(s.labels[i], jsonText(value, typ))
		}
	}, s.paths...)
	if failed != nil {
		e.problemOf(jsonProblem, failed.Error())
	}
	if !slices.Contains(s.found, false) {
		return true
	}
	for _, name := range s.labels {
		if e.index(name) < 0 {
			e.set(name, "")
		}
	}
	return true
}

// setExtracted sets a label that was asked for by name.
func (e *entry) setExtracted(name, value string) {
	if e.taken(name) {
		name += extractedSuffix
	}
	e.set(name, value)
}

// unpackStep undoes an agent's pack: fields become labels, and _entry the line.
type unpackStep struct{ names labelNames }

const packedLine = "_entry"

func (s *unpackStep) process(e *entry) bool {
	if e.line == "" || e.hasEnough() {
		return true
	}
	if e.line[0] != '{' {
		e.problemOf(jsonProblem, "the line isn't a JSON object")
		return true
	}
	packed, isPacked := "", false
	err := jsonparser.ObjectEach(viewed(e.line), func(key, value []byte, typ jsonparser.ValueType, _ int) error {
		if typ == jsonparser.String && string(key) == packedLine {
			packed, isPacked = jsonText(value, typ), true
		}
		return nil
	})
	switch {
	case err != nil:
		e.problemOf(jsonProblem, err.Error())
		return true
	case !isPacked:
		return true
	}
	err = jsonparser.ObjectEach(viewed(e.line), func(key, value []byte, typ jsonparser.ValueType, _ int) error {
		if typ != jsonparser.String || string(key) == packedLine {
			return nil
		}
		return e.extract(s.names.name("", key), jsonText(value, typ))
	})
	e.line = packed
	return !errors.Is(err, errGone)
}
