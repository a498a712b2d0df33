package rego

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/parley-gateway/parley/tenants/yamlstrict"
)

// misshapen is one thing that decision.schema.json doesn't allow.
type misshapen struct {
	// path leads to it: keys and indices, from the decision inwards.
	path []string
	// dataset is the name of the dataset it is in; empty where it is in none, or
	// in one without a name.
	dataset string
	text    string
}

// shapeError is a decision that decision.schema.json does not allow, for all
// these reasons.
type shapeError []misshapen

func (e shapeError) Error() string {
	texts := make([]string, len(e))
	for i, m := range e {
		texts[i] = m.text
	}
	return "its decision does not have the shape that policy/rego/decision.schema.json describes: " + strings.Join(texts, "; ")
}

// unreadable is what the schema allows and still can't be read: the part of it
// that can't by itself, where there is one.
func unreadable(value any, err error) shapeError {
	d := decisionValue{value}
	datasets, _ := d.get([]string{"datasets"}).([]any)
	for i := range datasets {
		path := []string{"datasets", strconv.Itoa(i)}
		dataset, _ := datasets[i].(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(dataset)) {
			var labels map[string]any
			if key == "labels" {
				labels, _ = dataset[key].(map[string]any)
			}
			for _, label := range slices.Sorted(maps.Keys(labels)) {
				one := map[string]any{key: map[string]any{label: labels[label]}}
				if part := cannotBe(one, &datasetDocument{}); part != nil {
					return shapeError{d.at(append(path, key, label), part.Error())}
				}
			}
			if part := cannotBe(map[string]any{key: dataset[key]}, &datasetDocument{}); part != nil {
				return shapeError{d.at(append(path, key), part.Error())}
			}
		}
	}
	decision, _ := value.(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(decision)) {
		if part := cannotBe(map[string]any{key: decision[key]}, &decisionDocument{}); part != nil {
			return shapeError{d.at([]string{key}, part.Error())}
		}
	}
	return shapeError{d.at(nil, err.Error())}
}

func cannotBe(value, document any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return unmarshalStrictly(text, document)
}

// contradictory is a decision whose parts don't go together. A dataset is named
// at the beginning of the error that is about it.
func contradictory(err error) shapeError {
	m := misshapen{text: err.Error()}
	if within := (*contradiction)(nil); errors.As(err, &within) {
		m.path = within.path
	}
	if rest, ok := strings.CutPrefix(m.text, `dataset "`); ok {
		m.dataset, _, _ = strings.Cut(rest, `"`)
	}
	return shapeError{m}
}

// contradiction is one whose place in the decision is known.
type contradiction struct {
	path []string
	text string
}

func (c *contradiction) Error() string { return c.text }

// decisionValue is a decision as it was given.
type decisionValue struct{ value any }

// at is a mistake somewhere in the decision, told with its place in words.
func (d decisionValue) at(path []string, text string) misshapen {
	m := misshapen{path: path}
	what, rest := "decision", path
	if len(path) > 1 && (path[0] == "datasets" || path[0] == "queries") {
		what = map[string]string{"datasets": "dataset", "queries": "query"}[path[0]]
		rest = path[2:]
		if name := d.nameOf(path[:2]); name != "" {
			what += " " + name
			if path[0] == "datasets" {
				m.dataset = name
			}
		} else {
			n, _ := strconv.Atoi(path[1])
			what = fmt.Sprintf("%s %d of the decision", what, n+1)
		}
	}
	if len(rest) > 0 {
		what += ": " + strings.Join(rest, ".")
	}
	for _, verb := range []string{"is ", "has ", "wants ", "can't "} {
		if strings.HasPrefix(text, verb) {
			m.text = what + " " + text
			return m
		}
	}
	m.text = what + ": " + text
	return m
}

func (d decisionValue) nameOf(path []string) string {
	object, _ := d.get(path).(map[string]any)
	name, _ := object["name"].(string)
	return name
}

// get is the value at a path, nil where there is none.
func (d decisionValue) get(path []string) any {
	value := d.value
	for _, part := range path {
		switch v := value.(type) {
		case map[string]any:
			value = v[part]
		case []any:
			n, err := strconv.Atoi(part)
			if err != nil || n < 0 || n >= len(v) {
				return nil
			}
			value = v[n]
		default:
			return nil
		}
	}
	return value
}

// explain turns the tree of a schema's error into mistakes, each with where it
// is. What only follows from another one is left out.
func explain(value any, err error) error {
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	r := &shapeReader{decisionValue: decisionValue{value}, missing: map[string]*missing{}, meant: map[string][]string{}}
	r.walk(invalid)
	for _, at := range slices.Sorted(maps.Keys(r.missing)) {
		m := r.missing[at]
		if keys := r.lacking(m); len(keys) > 0 {
			text := isMissing(keys)
			if dataset, _ := r.get(m.path).(map[string]any); dataset["include"] != nil && slices.Contains(keys, "k") {
				text += "; the release aggregate is for datasets of series"
			}
			r.found = append(r.found, r.at(m.path, text))
		}
	}
	slices.SortFunc(r.found, func(a, b misshapen) int { return strings.Compare(a.text, b.text) }) // the library goes through maps
	return shapeError(slices.CompactFunc(r.found, func(a, b misshapen) bool { return a.text == b.text }))
}

// shapeReader collects mistakes.
type shapeReader struct {
	decisionValue

	found []misshapen
	// missing are keys that objects should have, by the object's path.
	missing map[string]*missing
	// meant are the keys that misspelt ones of an object were meant to be.
	meant map[string][]string
}

type missing struct {
	path []string
	keys []string
}

func keyOf(path []string) string { return strings.Join(path, "\x00") }

// oneSource is what every dataset has one of.
const oneSource = "one of series, include, streams and spans"

// lacking are the keys that an object lacks, without those that were meant by a
// misspelt one, and without those that depend on a release which isn't known.
func (r *shapeReader) lacking(m *missing) []string {
	keys := slices.Compact(slices.Sorted(slices.Values(m.keys)))
	meant := r.meant[keyOf(m.path)]
	return slices.DeleteFunc(keys, func(key string) bool {
		switch key {
		case oneSource:
			return slices.ContainsFunc(meant, func(k string) bool { return slices.Contains([]string{"series", "include", "streams", "spans"}, k) })
		case "dimensions", "units", "k":
			if len(m.path) == 2 && !r.hasRelease(m.path) {
				return true
			}
		}
		return slices.Contains(meant, key)
	})
}

func (r *shapeReader) hasRelease(path []string) bool {
	dataset, _ := r.get(path).(map[string]any)
	release, _ := dataset["release"].(string)
	return slices.Contains([]string{"deny", "row", "aggregate"}, release)
}

func isMissing(keys []string) string {
	if len(keys) == 1 {
		return keys[0] + " is missing"
	}
	return strings.Join(keys[:len(keys)-1], ", ") + " and " + keys[len(keys)-1] + " are missing"
}

func (r *shapeReader) walk(e *jsonschema.ValidationError) {
	path := e.InstanceLocation
	add := func(format string, args ...any) { r.found = append(r.found, r.at(path, fmt.Sprintf(format, args...))) }
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, key := range k.Properties {
			r.unknown(e.SchemaURL, path, key)
		}
		return
	case *kind.Required:
		if r.isRule(path) {
			break
		}
		r.lacks(path, k.Missing...)
		return
	case *kind.PropertyNames: // of which the library doesn't keep the place
		r.found = append(r.found, r.unnamed(k.Property))
		return
	case *kind.FalseSchema:
		if len(path) < 3 || path[0] != "datasets" || r.hasRelease(path[:2]) {
			add("%s", r.misplaced(path))
		}
		return
	case *kind.OneOf:
		r.oneOf(e)
		return
	}
	if r.isRule(path) && len(e.Causes) == 0 {
		add("%s", r.rule(path))
		return
	}
	if len(e.Causes) > 0 && !isAlternative(e) {
		for _, cause := range e.Causes {
			r.walk(cause)
		}
		return
	}
	add("%s", r.words(e))
}

// unknown is a key that an object doesn't have.
func (r *shapeReader) unknown(schema string, path []string, key string) {
	text := "unknown key " + quote(key)
	known := knownKeys(schema)
	near := yamlstrict.Nearest(key, known)
	switch {
	case near != "":
		text += "; did you mean " + quote(near) + "?"
		r.meant[keyOf(path)] = append(r.meant[keyOf(path)], near)
	case len(known) > 0:
		text += "; the keys here are " + strings.Join(known, ", ")
	}
	m := r.at(path, text)
	m.path = append(slices.Clone(path), key)
	r.found = append(r.found, m)
}

// knownKeys are those of an object that a schema has.
func knownKeys(url string) []string {
	_, pointer, _ := strings.Cut(url, "#")
	var at any
	if json.Unmarshal(decisionSchemaText, &at) != nil {
		return nil
	}
	for part := range strings.SplitSeq(strings.Trim(pointer, "/"), "/") {
		object, _ := at.(map[string]any)
		if part != "" {
			at = object[part]
		}
	}
	object, _ := at.(map[string]any)
	properties, _ := object["properties"].(map[string]any)
	return slices.Sorted(maps.Keys(properties))
}

// unnamed is a key that may not be used, wherever it is.
func (r *shapeReader) unnamed(key string) misshapen {
	datasets, _ := r.get([]string{"datasets"}).([]any)
	for i := range datasets {
		path := []string{"datasets", strconv.Itoa(i), "labels"}
		if labels, _ := r.get(path).(map[string]any); labels[key] != nil {
			m := r.at(path, fmt.Sprintf("%s can't be named", quote(key)))
			m.path = append(path, key)
			return m
		}
	}
	return misshapen{path: []string{key}, text: fmt.Sprintf("decision: %s can't be named", quote(key))}
}

func (r *shapeReader) lacks(path []string, keys ...string) {
	m := r.missing[keyOf(path)]
	if m == nil {
		m = &missing{path: path}
		r.missing[keyOf(path)] = m
	}
	m.keys = append(m.keys, keys...)
}

// misplaced is a key that an object of this sort doesn't have.
func (r *shapeReader) misplaced(path []string) string {
	if len(path) == 3 && path[0] == "datasets" {
		dataset, _ := r.get(path[:2]).(map[string]any)
		switch path[2] {
		case "dimensions", "units", "unit", "k", "other", "dominance", "histogram_schema":
			if dataset["release"] != "aggregate" {
				return fmt.Sprintf("is for the release aggregate; this is %v", dataset["release"])
			}
			return "is not for units that are events"
		case "line":
			return "is for datasets of streams"
		case "span", "counts", "durations":
			return "is for datasets of spans"
		}
	}
	return "can't be given here"
}

// oneOf is a choice that wasn't made well. What is wrong with the alternative
// that was chosen, as its key says, is told.
func (r *shapeReader) oneOf(e *jsonschema.ValidationError) {
	path := e.InstanceLocation
	if slices.Contains(path, "generalize") {
		r.found = append(r.found, r.at(path, "wants exactly one of regex with its replacement, prefix, and buckets"))
		return
	}
	chosen := slices.DeleteFunc(slices.Clone(e.Causes), func(cause *jsonschema.ValidationError) bool { return lacksAKey(cause, path) })
	dataset := len(path) == 2 && path[0] == "datasets"
	switch {
	case len(chosen) == 0 && dataset:
		r.lacks(path, oneSource)
	case len(chosen) > 1 && dataset:
		r.found = append(r.found, r.at(path, "has more than "+oneSource))
	case len(chosen) == 0 && len(path) == 4 && path[2] == "line":
		r.found = append(r.found, r.at(path, "wants one of json, logfmt and mask"))
	case len(chosen) == 0:
		chosen = e.Causes
		fallthrough
	default:
		for _, cause := range chosen {
			r.walk(cause)
		}
	}
}

// lacksAKey says whether an error is that the object at a path lacks a key.
func lacksAKey(e *jsonschema.ValidationError, path []string) bool {
	if _, ok := e.ErrorKind.(*kind.Required); ok && slices.Equal(e.InstanceLocation, path) {
		return true
	}
	return slices.ContainsFunc(e.Causes, func(cause *jsonschema.ValidationError) bool { return lacksAKey(cause, path) })
}

const wantDuration = "want a duration such as 30s, 5m, 1h30m or 7d"

// durations are the keys whose values are some.
var durations = []string{"max_age", "delay", "resolution", "range", "within"}

const wantMode = `want keep, pseudonym, drop, or {"generalize": {...}} with regex and replacement, prefix, or buckets`

// isRule says whether a path leads to the rule of a label.
func (r *shapeReader) isRule(path []string) bool {
	if len(path) < 4 || path[0] != "datasets" {
		return false
	}
	return len(path) == 4 && path[2] == "labels" || len(path) == 6 && path[2] == "line" && (path[4] == "json" || path[4] == "logfmt")
}

func (r *shapeReader) rule(path []string) string {
	return "is " + show(r.get(path)) + "; " + wantMode
}

// isAlternative says whether an error is better told whole than by its causes,
// which are about what else might have been given.
func isAlternative(e *jsonschema.ValidationError) bool {
	switch e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.Not:
		return true
	}
	return false
}

// words say what is wrong with a value.
func (r *shapeReader) words(e *jsonschema.ValidationError) string {
	path := e.InstanceLocation
	is := "is " + show(r.get(path))
	if len(path) == 3 && path[0] == "datasets" && path[2] == "line" {
		return is + "; want keep, shape, none or a list of rules"
	}
	last := ""
	if len(path) > 0 {
		last = path[len(path)-1]
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Type:
		if text, ok := r.get(path).(string); ok && !slices.Contains(k.Want, "string") {
			is = "is the text " + quote(text)
		}
		if slices.Contains(durations, last) {
			return is + "; " + wantDuration
		}
		return is + "; want " + wordsOf(k.Want)
	case *kind.Minimum:
		if last == "k" {
			return is + "; a cell needs at least " + number(k.Want) + " units"
		}
		return is + "; want at least " + number(k.Want)
	case *kind.ExclusiveMinimum:
		return is + "; want more than " + number(k.Want)
	case *kind.Maximum:
		return is + "; want at most " + number(k.Want)
	case *kind.Enum:
		var want []string
		for _, w := range k.Want {
			if text, ok := w.(string); ok {
				want = append(want, text)
			}
		}
		out := is + "; want one of " + strings.Join(want, ", ")
		if text, ok := k.Got.(string); ok {
			if near := yamlstrict.Nearest(text, want); near != "" {
				out += "; did you mean " + quote(near) + "?"
			}
		}
		return out
	case *kind.Pattern:
		if strings.Contains(k.Want, "smhdwy") {
			return is + "; " + wantDuration
		}
		return is + ", which does not match " + k.Want
	case *kind.Format:
		return is + "; want a time such as 2026-03-14T12:00:00Z"
	case *kind.MinLength, *kind.MinItems, *kind.MinProperties:
		return "is empty"
	case *kind.MaxLength:
		return fmt.Sprintf("is too long; want at most %d characters", k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("has too many; want at most %d", k.Want)
	case *kind.UniqueItems:
		list, _ := r.get(path).([]any)
		if n := k.Duplicates[0]; n < len(list) {
			return "has " + show(list[n]) + " twice"
		}
	case *kind.AnyOf:
		if last == "pseudonym_epoch" {
			return is + `; want "question" or a duration such as 1d`
		}
	case *kind.Not:
		return is + ", which can't be named"
	}
	return is + ": " + e.ErrorKind.LocalizedString(message.NewPrinter(language.English))
}

// show is a value as it was written, or the beginning of it.
func show(value any) string {
	if value == nil {
		return "null"
	}
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "what can't be shown"
	}
	const most = 60
	text := strings.TrimSpace(b.String())
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return text
}

func number(n *big.Rat) string {
	f, _ := n.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func wordsOf(types []string) string {
	words := map[string]string{
		"array": "a list", "object": "an object", "string": "text", "boolean": "true or false", "integer": "a whole number", "number": "a number", "null": "null",
	}
	out := make([]string, len(types))
	for i, t := range types {
		out[i] = words[t]
	}
	return strings.Join(out, " or ")
}
