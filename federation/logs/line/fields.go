package line

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/parley-gateway/parley/policy"
)

// field is what rules say of a field, and of those in it.
type field struct {
	rule policy.LabelRule
	// counts is the index of the rule's count; keep has none.
	counts int
	// named says that the field's own name is in the policy, and not from data.
	named bool
	// inner are rules of fields within it. Where there are none, the rule holds
	// for all of it.
	inner []innerField
	// byName are the same where there are many.
	byName map[string]*field
	// rest is for those within it that aren't named.
	rest *field
}

type innerField struct {
	name  string
	field *field
}

// few is up to how many names are looked for one by one.
const few = 8

func newField(rule policy.LabelRule, counts int) *field {
	rest := &field{rule: rule, counts: counts}
	rest.rest = rest
	return &field{rule: rule, counts: counts, rest: rest}
}

// paths takes a name apart into keys, from the outermost inwards.
func paths(name string) []string { return strings.Split(name, ".") }

// keys leaves a name whole.
func keys(name string) []string { return []string{name} }

// fields compiles rules of fields, each under its keys.
func (r *Redactor) fields(kind string, f *policy.Fields, split func(name string) []string) (*field, error) {
	rules := map[string]policy.LabelRule{}
	maps.Copy(rules, f.Named)
	count := func(name string, rule policy.LabelRule) (int, error) {
		switch {
		case (rule.Mode == policy.Generalize) != (rule.Mapping != nil):
			return 0, fmt.Errorf("line: %s: field %q is in mode %s, with a mapping or without one", kind, name, rule.Mode)
		case rule.Mode > policy.Keep:
			return 0, fmt.Errorf("line: %s: field %q is in %s, which is not known", kind, name, rule.Mode)
		case rule.Mode == policy.Pseudonym && r.pseudonym == nil:
			return 0, fmt.Errorf("line: %s: field %q gets a pseudonym, and nothing makes one", kind, name)
		case rule.Mode == policy.Keep:
			return 0, nil
		}
		return r.counted(kind + " " + rule.Mode.String() + " " + name), nil
	}
	counts, err := count("*", f.Others)
	if err != nil {
		return nil, err
	}
	root := newField(f.Others, counts)
	// A name comes after those it is within, and takes over what they say.
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		at := root
		for _, key := range split(name) {
			if key == "" {
				return nil, fmt.Errorf("line: %s: field %q has an empty name in it", kind, name)
			}
			next, ok := at.byName[key]
			if !ok {
				next = newField(at.rule, at.counts)
				next.named = true
				at.add(key, next)
			}
			at = next
		}
		if counts, err = count(name, rules[name]); err != nil {
			return nil, err
		}
		at.says(rules[name], counts)
	}
	root.settle()
	return root, nil
}

func (f *field) add(key string, inner *field) {
	if f.byName == nil {
		f.byName = map[string]*field{}
	}
	f.byName[key] = inner
	f.inner = append(f.inner, innerField{key, inner})
}

func (f *field) says(rule policy.LabelRule, counts int) {
	f.rule, f.counts = rule, counts
	f.rest.rule, f.rest.counts = rule, counts
}

// settle drops what a few names are not looked up in.
func (f *field) settle() {
	for _, i := range f.inner {
		i.field.settle()
	}
	if len(f.inner) <= few {
		f.byName = nil
	}
}

// whole says that one rule holds for all of a field.
func (f *field) whole() bool { return len(f.inner) == 0 }

func (f *field) child(key []byte) *field {
	if f.byName != nil {
		if inner, ok := f.byName[string(key)]; ok {
			return inner
		}
		return f.rest
	}
	for i := range f.inner {
		if f.inner[i].name == string(key) {
			return f.inner[i].field
		}
	}
	return f.rest
}

// at is the field at a path within f.
func (f *field) at(path []byte) *field {
	for {
		dot := bytes.IndexByte(path, '.')
		if dot < 0 || f.whole() {
			return f.child(path)
		}
		f = f.child(path[:dot])
		path = path[dot+1:]
	}
}
