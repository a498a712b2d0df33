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
	e.values = make([]string, len(e.labels))
	return e, nil
}

// jsonStep makes labels of all fields. Those of objects in it have the names of
// both with an underscore between; arrays are left out.
type jsonStep struct {
	names  labelNames
	prefix []byte // of the object that is read
}

// errEnough ends the reading of a line when all that is needed was found.
var errEnough = errors.New("enough")

var errNotJSON = errors.New("the line isn't a JSON object")

func (s *jsonStep) process(e *entry) bool {
	if e.line == "" || e.needed.none {
		return true
	}
	s.prefix = s.prefix[:0]
	if err := s.object(e, viewed(e.line)); err != nil && !errors.Is(err, errEnough) {
		e.problemOf(jsonProblem, err)
	}
	return true
}

func (s *jsonStep) object(e *entry, data []byte) error {
	return jsonparser.ObjectEach(data, func(key, value []byte, typ jsonparser.ValueType, _ int) error {
		before := len(s.prefix)
		defer func() { s.prefix = s.prefix[:before] }()
		if before > 0 {
			s.prefix = append(s.prefix, '_')
		}
		s.prefix = append(s.prefix, key...)
		switch typ {
		case jsonparser.Object:
			if !e.needed.below(s.names.name(s.prefix)) {
				return nil
			}
			return s.object(e, value)
		case jsonparser.String, jsonparser.Number, jsonparser.Boolean:
			if !e.extract(s.names.name(s.prefix), jsonText(value, typ)) {
				return errEnough
			}
		}
		return nil
	})
}

// problemOf says that a parser failed.
func (e *entry) problemOf(problem string, err error) {
	e.fail(problem, err.Error())
	if e.needed.preserve {
		e.set(preserveErrorLabel, "true")
	}
}

// extract sets a label that a parser found, if it is needed, and says whether
// more are. Of several with one name the first counts; one that the entry came
// with keeps its name.
func (e *entry) extract(name, value string) (more bool) {
	if name == "" {
		return true
	}
	if e.had(name) {
		name += extractedSuffix
	}
	if !e.needed.has(name) || slices.Contains(e.parsed, name) {
		return true
	}
	e.parsed = append(e.parsed, name)
	e.set(name, value)
	return !e.needed.enough(e.parsed)
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

// withoutInvalid is s without what isn't UTF-8.
func withoutInvalid(s string) string {
	if !strings.ContainsRune(s, utf8.RuneError) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
}

// jsonExtractStep makes labels of some fields.
type jsonExtractStep struct {
	labels []string
	paths  [][]string
	values []string
}

func (s *jsonExtractStep) process(e *entry) bool {
	if e.line == "" || e.needed.none {
		return true
	}
	if !strings.HasPrefix(strings.TrimSpace(e.line), "{") {
		e.problemOf(jsonProblem, errNotJSON)
		return true
	}
	clear(s.values)
	jsonparser.EachKey(viewed(e.line), func(i int, value []byte, typ jsonparser.ValueType, err error) {
		if err == nil && i >= 0 {
			s.values[i] = jsonText(value, typ)
		}
	}, s.paths...)
	for i, name := range s.labels {
		if e.had(name) {
			name += extractedSuffix
		}
		e.set(name, s.values[i])
	}
	return true
}

// unpackStep undoes an agent's pack: fields become labels, and _entry the line.
type unpackStep struct{ names labelNames }

const packedLine = "_entry"

func (s *unpackStep) process(e *entry) bool {
	if e.line == "" || e.needed.none {
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
		e.problemOf(jsonProblem, err)
		return true
	case !isPacked:
		return true
	}
	_ = jsonparser.ObjectEach(viewed(e.line), func(key, value []byte, typ jsonparser.ValueType, _ int) error {
		if typ == jsonparser.String && string(key) != packedLine {
			e.extract(s.names.name(key), jsonText(value, typ))
		}
		return nil
	})
	e.line = packed
	return true
}
