package rego

import (
	"encoding/json"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"

	"github.com/parley-gateway/parley/policy"
)

// rule is a label's rule in a decision: the name of a mode or a mapping.
type rule policy.LabelRule

func (r *rule) UnmarshalJSON(text []byte) error {
	if text[0] == '"' {
		var name string
		if err := json.Unmarshal(text, &name); err != nil {
			return err
		}
		mode, ok := map[string]policy.Mode{"keep": policy.Keep, "pseudonym": policy.Pseudonym, "drop": policy.Drop}[name]
		if !ok {
			return fmt.Errorf("label mode %q; want keep, pseudonym, drop or {\"generalize\": ...}", name)
		}
		*r = rule{Mode: mode}
		return nil
	}
	var object struct{ Generalize mappingDocument }
	if err := unmarshalStrictly(text, &object); err != nil {
		return err
	}
	m, err := object.Generalize.mapping()
	if err != nil {
		return fmt.Errorf("generalize: %w", err)
	}
	*r = rule{Mode: policy.Generalize, Mapping: m}
	return nil
}

type mappingDocument struct {
	Regex       *string
	Replacement string
	Prefix      int
	Buckets     []float64
	Else        string
}

func (d mappingDocument) mapping() (*policy.Mapping, error) {
	m := &policy.Mapping{Replacement: d.Replacement, Else: d.Else, Prefix: d.Prefix, Buckets: d.Buckets}
	for i, bound := range d.Buckets {
		if i > 0 && bound <= d.Buckets[i-1] {
			return nil, fmt.Errorf("buckets: %v comes after %v; want them ascending", bound, d.Buckets[i-1])
		}
	}
	if d.Regex == nil {
		if d.Prefix <= 0 && len(d.Buckets) == 0 {
			return nil, fmt.Errorf("want one of regex, prefix and buckets")
		}
		return m, nil
	}
	// Checked by itself, so that it can't close the group that anchors it.
	if _, err := syntax.Parse(*d.Regex, syntax.Perl); err != nil {
		return nil, fmt.Errorf("regex: %w", err)
	}
	var err error
	if m.Regexp, err = regexp.Compile("^(?s:" + *d.Regex + ")$"); err != nil {
		return nil, fmt.Errorf("regex: %w", err)
	}
	if err := checkReplacement(m.Regexp, m.Replacement); err != nil {
		return nil, err
	}
	return m, nil
}

// reference is one of a replacement, as regexp.Expand understands them: $$ is
// a dollar, and a name goes as far as letters, digits and underscores do.
var reference = regexp.MustCompile(`\$(?:\$|\{(\w+)\}|(\w+))`)

// checkReplacement refuses references to groups that the expression does not
// have: Expand would leave them out, so that "$1xx" always gives "".
func checkReplacement(re *regexp.Regexp, replacement string) error {
	for _, found := range reference.FindAllStringSubmatch(replacement, -1) {
		name := found[1] + found[2]
		if name == "" || re.SubexpIndex(name) >= 0 {
			continue
		}
		if n, err := strconv.Atoi(name); err == nil && n <= re.NumSubexp() {
			continue
		}
		digits := name[:len(name)-len(strings.TrimLeft(name, "0123456789"))]
		if digits != "" && digits != name {
			return fmt.Errorf("replacement: $%s is the group named %q, which the regex does not have; write ${%s}%s", name, name, digits, name[len(digits):])
		}
		return fmt.Errorf("replacement: the regex has no group %q", name)
	}
	return nil
}
