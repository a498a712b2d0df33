package line

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/parley-gateway/parley/policy"
)

// tree is a value of JSON: an object with its members in their order, an array,
// or the text of anything else.
type tree struct {
	kind     byte // { [ " or 0 for what has no quotes
	text     string
	members  []member
	elements []tree
}

type member struct {
	key   string
	value tree
}

// parseTree reads one value as encoding/json does.
func parseTree(d *json.Decoder) (tree, error) {
	token, err := d.Token()
	if err != nil {
		return tree{}, err
	}
	switch token := token.(type) {
	case json.Delim:
		t := tree{kind: byte(token)}
		for d.More() {
			var m member
			if token == '{' {
				key, err := d.Token()
				if err != nil {
					return t, err
				}
				m.key, _ = key.(string)
			}
			if m.value, err = parseTree(d); err != nil {
				return t, err
			}
			if token == '{' {
				t.members = append(t.members, m)
			} else {
				t.elements = append(t.elements, m.value)
			}
		}
		_, err = d.Token()
		return t, err
	case string:
		return tree{kind: '"', text: token}, nil
	case json.Number:
		return tree{text: token.String()}, nil
	case bool:
		return tree{text: map[bool]string{true: "true", false: "false"}[token]}, nil
	}
	return tree{text: "null"}, nil
}

func treeOf(tb testing.TB, text string) tree {
	tb.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	t, err := parseTree(d)
	if err != nil {
		tb.Fatalf("%q: %v", text, err)
	}
	return t
}

func (t tree) equal(o tree) bool {
	if t.kind != o.kind || t.text != o.text || len(t.members) != len(o.members) || len(t.elements) != len(o.elements) {
		return false
	}
	for i, m := range t.members {
		if m.key != o.members[i].key || !m.value.equal(o.members[i].value) {
			return false
		}
	}
	for i, e := range t.elements {
		if !e.equal(o.elements[i]) {
			return false
		}
	}
	return true
}

func (t tree) depth() int {
	deepest := 0
	for _, m := range t.members {
		deepest = max(deepest, m.value.depth())
	}
	for _, e := range t.elements {
		deepest = max(deepest, e.depth())
	}
	if t.kind == '{' || t.kind == '[' {
		deepest++
	}
	return deepest
}

// said is what rules say of a path, which is its keys each after a dot: the rule
// of the longest part of it, and whether there are rules of fields within.
func said(f *policy.Fields, path string) (rule policy.LabelRule, within bool) {
	rule = f.Others
	if dot := strings.LastIndexByte(path, '.'); dot >= 0 {
		rule, _ = said(f, path[:dot])
	}
	for name, r := range f.Named {
		if "."+name == path {
			rule = r
		} else if strings.HasPrefix("."+name, path+".") {
			within = true
		}
	}
	return rule, within
}

// redacted is what rules leave of a value at a path, written as plainly as can
// be, to compare with.
func redacted(f *policy.Fields, path string, v tree) (out tree, kept bool) {
	rule, within := said(f, path)
	if !within && rule.Mode == policy.Keep {
		return v, true
	}
	switch v.kind {
	case '{':
		if !within && path != "" {
			return out, false
		}
		out.kind = '{'
		for _, m := range v.members {
			if value, kept := redacted(f, path+"."+m.key, m.value); kept {
				out.members = append(out.members, member{m.key, value})
			}
		}
		return out, len(out.members) > 0 || rule.Mode == policy.Keep || path == ""
	case '[':
		out.kind = '['
		for _, e := range v.elements {
			if value, kept := redacted(f, path, e); kept {
				out.elements = append(out.elements, value)
			}
		}
		return out, len(out.elements) > 0 || rule.Mode == policy.Keep
	}
	switch rule.Mode {
	case policy.Keep:
		return v, true
	case policy.Pseudonym:
		return tree{kind: '"', text: pseudonymOf(v.text)}, true
	case policy.Generalize:
		text := rule.Mapping.Apply(v.text)
		return tree{kind: '"', text: text}, text != ""
	case policy.Drop:
	}
	return out, false
}

// half is half of a surrogate pair, which we refuse and encoding/json does not.
var half = regexp.MustCompile(`(?i)\\ud[89a-f]`)

// FuzzRedact gives whatever a line could be to rules: JSON is read as
// encoding/json reads it, what is left is what a plain reading of the rules
// leaves, and valid. Nothing panics.
func FuzzRedact(f *testing.F) {
	rules := map[string]string{
		"message": "keep", "user": "pseudonym", "status": "class", "a": "keep", "a.b": "drop", "a.b.c": "keep", "d.e": "pseudonym", "f.g.h": "keep",
	}
	var allMasks policy.LineRule
	for _, d := range policy.Detectors {
		allMasks.Masks = append(allMasks.Masks, policy.Mask{Name: string(d)})
	}
	allMasks.Masks = append(allMasks.Masks, policy.Mask{Name: "ticket", Pattern: regexp.MustCompile(`TCK-[0-9]+|^\pL`)})
	named := []map[string]string{rules, {"*": "keep", "user": "drop", "d.e": "drop", "a.b": "pseudonym"}, {"*": "pseudonym", "f": "class"}}
	var bare, masked []*Redactor
	var of []*policy.Fields
	for _, r := range named {
		of = append(of, fields(r))
		bare = append(bare, mustNew(f, byRules(policy.LineRule{JSON: fields(r)})))
		masked = append(masked, mustNew(f, byRules(policy.LineRule{JSON: fields(r)}, allMasks)))
	}
	logfmt := mustNew(f, byRules(policy.LineRule{Logfmt: fields(named[1])}, allMasks))
	text := mustNew(f, byRules(allMasks))
	shape := mustNew(f, policy.Line{Mode: policy.LineShape})
	find := detectors[policy.EmailDetector].find

	f.Fuzz(func(t *testing.T, line string) {
		var fired Fired
		readable := json.Valid([]byte(line)) && strings.HasPrefix(strings.TrimLeft(line, " \t\r\n"), "{") && utf8.ValidString(line)
		var in tree
		if readable {
			in = treeOf(t, line)
		}
		for i, r := range bare {
			out := r.Redact(line, &fired)
			if !readable || in.depth() > MaxDepth {
				if out != "" {
					t.Fatalf("not readable, and %q is left of it", out)
				}
				continue
			}
			if out == "" {
				if !half.MatchString(line) {
					t.Fatal("readable, and nothing is left of it")
				}
				continue
			}
			want, _ := redacted(of[i], "", in)
			if !json.Valid([]byte(out)) || !treeOf(t, out).equal(want) {
				t.Fatalf("rules %v leave\n%s, want\n%+v", named[i], out, want)
			}
			withMasks := masked[i].Redact(line, &fired)
			if !json.Valid([]byte(withMasks)) || !utf8.ValidString(withMasks) {
				t.Fatalf("masks leave %q", withMasks)
			}
			if len(treeOf(t, withMasks).members) != len(want.members) {
				t.Fatalf("masks leave %s of %s", withMasks, out)
			}
		}
		if out := logfmt.Redact(line, &fired); out != "" && logfmt.Redact(out, &fired) == "" {
			t.Fatalf("%q is left, and not logfmt", out)
		}
		// Of JSON the strings are masked, and not what is around them.
		if out := text.Redact(line, &fired); !json.Valid([]byte(out)) && len(find([]byte(out), nil)) > 0 && !strings.ContainsAny(out, `\%`) {
			t.Fatalf("an address is left in %q", out)
		}
		template := shape.Redact(line, &fired)
		if again := shape.Redact(strings.ReplaceAll(template, placeholder, "17"), &fired); template != "" && template[0] != '{' && again != template {
			t.Fatalf("the template %q has the template %q", template, again)
		}
	})
}
