package yamlstrict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// MaxBytes is the size of the largest file that is read.
const MaxBytes = 1 << 20

// Decode reads data into the struct that into points to. Fields are those with
// a `yaml:"key"` tag; what the file does not mention keeps its value, or for a
// scalar with a `default:"text"` tag has the value of that text. A field may be
// a struct, a pointer to one (nil when the file does not mention it), a list,
// a map with keys of the file's choice (nil when the file does not mention it),
// or a scalar: string, bool, int, int64, float64, time.Duration, time.Time or a
// type with a Parser. A field of any other type, or a default that can't be
// read, is a defect of the program and panics.
//
// file is the name used in messages.
func Decode(file string, data []byte, into any, parsers ...Parser) *Document {
	d := &Document{file: file, places: map[string]place{"": {line: 1}}, failed: map[string]bool{}}
	dec := decoder{doc: d, scalars: scalars(parsers)}
	dec.defaults(reflect.ValueOf(into).Elem())
	root := d.parse(data)
	if root == nil {
		d.failed[""] = true
		return d
	}
	dec.value(root, "", reflect.ValueOf(into).Elem())
	return d
}

// parse returns the one document in data, or nil after reporting why not.
func (d *Document) parse(data []byte) *yaml.Node {
	if len(data) > MaxBytes {
		d.add(place{}, "", fmt.Sprintf("the file has %d bytes, at most %d are read", len(data), MaxBytes))
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var root, more yaml.Node
	err := dec.Decode(&root)
	if errors.Is(err, io.EOF) {
		d.add(place{line: 1}, "", "the file is empty")
		return nil
	}
	if err == nil {
		err = dec.Decode(&more)
		if err == nil {
			d.add(placeOf(&more), "", "a second document begins here, and only one to a file is read")
			return nil
		}
	}
	if !errors.Is(err, io.EOF) {
		line, text := syntaxError(err)
		d.add(place{line: line}, "", "the file is not YAML: "+text)
		return nil
	}
	top := root.Content[0]
	if top.Tag == "!!null" {
		d.add(placeOf(top), "", "the file is empty")
		return nil
	}
	return top
}

var yamlErrorLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

func syntaxError(err error) (line int, text string) {
	msg := err.Error()
	m := yamlErrorLine.FindStringSubmatch(msg)
	line, convErr := strconv.Atoi(m[1])
	if convErr != nil {
		line = 1
	}
	return line, strings.TrimPrefix(msg, m[0])
}

type decoder struct {
	doc     *Document
	scalars map[reflect.Type]scalar
}

// value decodes n into v and says whether all of it went well.
func (d decoder) value(n *yaml.Node, path string, v reflect.Value) bool {
	if n.Kind == yaml.AliasNode {
		d.doc.fail(placeOf(n), path, "aliases (*%s) are not accepted: write the value out", n.Value)
		return false
	}
	if n.Kind == yaml.ScalarNode && (n.Value == "" || n.Tag == "!!null") {
		d.doc.fail(placeOf(n), path, "has no value: give it one or leave the key out")
		return false
	}
	if s, ok := d.scalars[v.Type()]; ok {
		return d.scalar(n, path, v, s)
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.defaults(v.Elem())
		return d.value(n, path, v.Elem())
	case reflect.Slice:
		return d.list(n, path, v)
	case reflect.Struct:
		return d.mapping(n, path, v)
	case reflect.Map:
		return d.entries(n, path, v)
	default:
		panic(fmt.Sprintf("yamlstrict: no parser for %s, the type of %q", v.Type(), path))
	}
}

func (d decoder) scalar(n *yaml.Node, path string, v reflect.Value, s scalar) bool {
	if n.Kind != yaml.ScalarNode {
		d.doc.fail(placeOf(n), path, "holds %s, where one value belongs", kindName(n))
		return false
	}
	got, err := s(n.Value)
	if err != nil {
		d.doc.fail(placeOf(n), path, "%s", err)
		return false
	}
	v.Set(reflect.ValueOf(got))
	return true
}

func (d decoder) list(n *yaml.Node, path string, v reflect.Value) bool {
	if n.Kind != yaml.SequenceNode {
		d.doc.fail(placeOf(n), path, "holds %s, where a list belongs", kindName(n))
		return false
	}
	items := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	good := true
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.doc.places[at] = placeOf(item)
		d.defaults(items.Index(i))
		good = d.value(item, at, items.Index(i)) && good
	}
	if !good {
		d.doc.failed[path] = true
		return false
	}
	v.Set(items)
	return true
}

func (d decoder) mapping(n *yaml.Node, path string, v reflect.Value) bool {
	if n.Kind != yaml.MappingNode {
		d.doc.fail(placeOf(n), path, "holds %s, where keys with values belong", kindName(n))
		return false
	}
	fields, keys := fieldsOf(v)
	meant := map[string]place{} // misspelt keys, as they should have been
	good := true
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		field, known := fields[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode:
			d.doc.add(placeOf(key), path, "a key is "+kindName(key)+", where a name belongs")
			good = false
		case !known:
			if near := d.unknown(key, path, keys); near != "" {
				meant[join(path, near)] = placeOf(key)
			}
			good = false
		case d.doc.Has(at):
			d.doc.add(placeOf(key), at, fmt.Sprintf("was given on line %d already", d.doc.places[at].line))
			good = false
		default:
			d.doc.places[at] = placeOf(key)
			good = d.value(val, at, field) && good
		}
	}
	for at, written := range meant {
		if !d.doc.Has(at) {
			d.doc.places[at] = written
			d.doc.failed[at] = true
		}
	}
	return good
}

// entries decodes a map, whose keys are for the file to choose.
func (d decoder) entries(n *yaml.Node, path string, v reflect.Value) bool {
	if n.Kind != yaml.MappingNode {
		d.doc.fail(placeOf(n), path, "holds %s, where keys with values belong", kindName(n))
		return false
	}
	entries := reflect.MakeMapWithSize(v.Type(), len(n.Content)/2)
	good := true
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		at, entry := join(path, key.Value), reflect.New(v.Type().Elem()).Elem()
		switch {
		case key.Kind != yaml.ScalarNode:
			d.doc.add(placeOf(key), path, "a key is "+kindName(key)+", where a name belongs")
			good = false
		case d.doc.Has(at):
			d.doc.add(placeOf(key), at, fmt.Sprintf("was given on line %d already", d.doc.places[at].line))
			good = false
		default:
			d.doc.places[at] = placeOf(key)
			d.defaults(entry)
			good = d.value(val, at, entry) && good
			entries.SetMapIndex(reflect.ValueOf(key.Value).Convert(v.Type().Key()), entry)
		}
	}
	if !good {
		d.doc.failed[path] = true
		return false
	}
	v.Set(entries)
	return true
}

// defaults sets the fields of a struct, and of the structs in it, that have a
// default.
func (d decoder) defaults(v reflect.Value) {
	if _, ok := d.scalars[v.Type()]; ok || v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		field, text := v.Field(i), v.Type().Field(i).Tag.Get("default")
		if text == "" {
			d.defaults(field)
			continue
		}
		got, err := d.scalars[field.Type()](text)
		if err != nil {
			panic(fmt.Sprintf("yamlstrict: the default of %s.%s: %v", v.Type(), v.Type().Field(i).Name, err))
		}
		field.Set(reflect.ValueOf(got))
	}
}

// unknown reports a key that the struct doesn't have, and returns the one it
// was probably meant to be, or "".
func (d decoder) unknown(key *yaml.Node, path string, keys []string) string {
	near := Nearest(key.Value, keys)
	if near == "" {
		d.doc.add(placeOf(key), path, fmt.Sprintf("unknown key %q; the keys here are %s", key.Value, strings.Join(keys, ", ")))
	} else {
		d.doc.add(placeOf(key), path, fmt.Sprintf("unknown key %q; did you mean %q?", key.Value, near))
	}
	return near
}

// fieldsOf returns the fields of a struct by key, and the keys in their order.
func fieldsOf(v reflect.Value) (fields map[string]reflect.Value, keys []string) {
	fields = map[string]reflect.Value{}
	for i := range v.NumField() {
		key := v.Type().Field(i).Tag.Get("yaml")
		if key == "" || key == "-" {
			continue
		}
		fields[key] = v.Field(i)
		keys = append(keys, key)
	}
	return fields, keys
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "keys of its own"
	default:
		return fmt.Sprintf("the value %q", n.Value)
	}
}
