package rego

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/parley-gateway/parley/policy"
)

// line is what leaves of lines in a decision: the name of a mode or a list of
// rules.
type line policy.Line

func (l *line) UnmarshalJSON(text []byte) error {
	if text[0] == '"' {
		var name string
		if err := json.Unmarshal(text, &name); err != nil {
			return err
		}
		mode, ok := map[string]policy.LineMode{"keep": policy.LineKeep, "shape": policy.LineShape, "none": policy.LineNone}[name]
		if !ok {
			return fmt.Errorf("%q; want keep, shape, none or a list of rules", name)
		}
		*l = line{Mode: mode}
		return nil
	}
	var rules []lineRule
	if err := unmarshalStrictly(text, &rules); err != nil {
		return err
	}
	if len(rules) == 0 {
		return errors.New("a list of no rules; want keep, shape, none or at least one rule")
	}
	*l = line{Mode: policy.LineByRules}
	for i, r := range rules {
		if i > 0 && len(r.Mask) == 0 {
			return errors.New("json or logfmt is the first rule, and there is one of them at most; masks come after it, and see its values")
		}
		l.Rules = append(l.Rules, r.rule())
	}
	return nil
}

type lineRule struct {
	JSON   fields
	Logfmt fields
	Mask   masks
}

func (r lineRule) rule() policy.LineRule {
	return policy.LineRule{JSON: r.JSON.fields(), Logfmt: r.Logfmt.fields(), Masks: r.Mask}
}

// fields are rules by path or key, "*" among them.
type fields map[string]rule

func (f fields) fields() *policy.Fields {
	if f == nil {
		return nil
	}
	out := &policy.Fields{Named: make(map[string]policy.LabelRule, len(f))}
	for name, r := range f {
		if name == "*" {
			out.Others = policy.LabelRule(r)
			continue
		}
		out.Named[name] = policy.LabelRule(r)
	}
	return out
}

// masks are one or a list of them.
type masks []policy.Mask

func (m *masks) UnmarshalJSON(text []byte) error {
	if text[0] != '[' {
		text = slices.Concat([]byte("["), text, []byte("]"))
	}
	var list []mask
	if err := unmarshalStrictly(text, &list); err != nil {
		return err
	}
	for _, one := range list {
		*m = append(*m, policy.Mask(one))
	}
	return nil
}

// mask is the name of a detector or an expression of the owner's.
type mask policy.Mask

func (m *mask) UnmarshalJSON(text []byte) error {
	if text[0] == '"' {
		if err := json.Unmarshal(text, &m.Name); err != nil {
			return err
		}
		if !isDetector(m.Name) {
			return fmt.Errorf("mask %q: want one of %s, or an object with name and pattern", m.Name, policy.Detectors)
		}
		return nil
	}
	var object struct{ Name, Pattern string }
	if err := unmarshalStrictly(text, &object); err != nil {
		return err
	}
	if isDetector(object.Name) {
		return fmt.Errorf("mask %q: a detector has this name; call it something else", object.Name)
	}
	re, err := regexp.Compile(object.Pattern)
	if err != nil {
		return fmt.Errorf("mask %s: pattern: %w", object.Name, err)
	}
	if re.MatchString("") {
		return fmt.Errorf("mask %s: pattern %s matches empty text, and so everywhere", object.Name, object.Pattern)
	}
	m.Name, m.Pattern = object.Name, re
	return nil
}

func isDetector(name string) bool { return slices.Contains(policy.Detectors, policy.Detector(name)) }
