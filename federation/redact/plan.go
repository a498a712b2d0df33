package redact

import (
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
)

// RawMatchers returns those that raw labels have to match for what is released of
// them to match: besides those of OnKept such as need a label that no dataset
// replaces, since a label that is there has its own value. It is for telling an
// owner what a question meets.
func (r *Labels) RawMatchers(asked []*labels.Matcher) (raw []*labels.Matcher, possible bool) {
	if raw, possible = r.OnKept(asked); !possible {
		return nil, false
	}
	for _, m := range asked {
		if !m.Matches("") && !strings.HasSuffix(m.Name, federation.OrgLabel) && !federation.Reserved(m.Name) && !r.AlwaysKept(m.Name) && !r.replaced(m.Name) {
			raw = append(raw, m)
		}
	}
	return raw, true
}

// replaced says whether some of what is released has another value of the label.
func (r *Labels) replaced(name string) bool {
	return slices.ContainsFunc(r.datasets, func(d policy.Dataset) bool {
		mode := d.Rule(name).Mode
		return d.Release == policy.Row && (mode == policy.Pseudonym || mode == policy.Generalize)
	})
}

// Hidden are the labels of matchers that rows of these datasets, which are given by
// their index, don't have.
func (r *Labels) Hidden(asked []*labels.Matcher, among []int) []string {
	var out []string
	for _, m := range asked {
		seen, rows := m.Name == labels.MetricName || m.Name == federation.OrgLabel, false
		for _, i := range among {
			if d := &r.datasets[i]; d.Release == policy.Row {
				rows = true
				seen = seen || Strictest([]*policy.Dataset{d}, m.Name).Mode != policy.Drop
			}
		}
		if rows && !seen && !slices.Contains(out, m.Name) {
			out = append(out, m.Name)
		}
	}
	return out
}
