package logql

import (
	"errors"
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

var errNotJSON = errors.New("the line isn't a JSON object")

func (s *jsonStep) process(e *entry) bool {
	if e.line == "" {
		return true
	}
	s.prefix = s.prefix[:0]
	if err := s.object(e, viewed(e.line)); err != nil {
		e.fail(jsonProblem, err.Error())
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
			return s.object(e, value)
		case jsonparser.String, jsonparser.Number, jsonparser.Boolean:
			e.extract(s.names.name(s.prefix), jsonText(value, typ))
		}
		return nil
	})
}

// extract sets a label that a parser found. Of several with one name the first
// counts; one that the entry came with keeps its name.
func (e *entry) extract(name, value string) {
	if name == "" {
		return
	}
	if e.had(name) {
		name += extractedSuffix
	}
	for _, p := range e.parsed {
		if p == name {
			return
		}
	}
	e.parsed = append(e.parsed, name)
	e.set(name, value)
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
	if e.line == "" {
		return true
	}
	if !strings.HasPrefix(strings.TrimSpace(e.line), "{") {
		e.fail(jsonProblem, errNotJSON.Error())
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
	if e.line == "" {
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
		e.fail(jsonProblem, err.Error())
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
