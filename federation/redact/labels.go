// Package redact says what a view holds of labels: which series or streams of a
// store there are for an asker, under which names and values.
//
//	seen := redact.New("globex", obligations.Datasets, key)
//	visible, ok := seen.Visible(raw)
//
// It is what the views of all signals have in common. Samples, lines and spans
// are theirs.
package redact

import (
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// ExportedOrgLabel is what an owner's own org label is called in the view,
// after Prometheus's rule for labels that clash with a target's.
const ExportedOrgLabel = "exported_" + federation.OrgLabel

// Labels are the obligations of one decision, ready to be applied to raw
// labels. They are for one question, and not safe for concurrent use: values
// mapped once are remembered.
type Labels struct {
	org        tenants.OrgID
	datasets   []policy.Dataset
	pseudonyms *Pseudonyms

	builder labels.ScratchBuilder
	adder   *labels.Builder // of the org label
	member  []*policy.Dataset
}

// New returns the Labels of an organization's datasets, all of one signal.
func New(org tenants.OrgID, datasets []policy.Dataset, pseudonyms *Pseudonyms) *Labels {
	return &Labels{
		org: org, datasets: datasets, pseudonyms: pseudonyms,
		builder: labels.NewScratchBuilder(16), adder: labels.NewBuilder(labels.EmptyLabels()),
	}
}

// WithOrg sets the org label. One that was there becomes exported_org, with
// the prefix repeated while that is taken too.
func (r *Labels) WithOrg(raw labels.Labels) labels.Labels {
	own := raw.Get(federation.OrgLabel)
	b := r.adder
	b.Reset(raw)
	if own != "" {
		name := ExportedOrgLabel
		for raw.Has(name) {
			name = "exported_" + name
		}
		b.Set(name, own)
	}
	return b.Set(federation.OrgLabel, string(r.org)).Labels()
}

// Membership returns the datasets that release what has the given labels, its
// org label among them: none when one of those it belongs to denies, or
// releases in cells. They are valid until the next call.
func (r *Labels) Membership(ls labels.Labels) []*policy.Dataset {
	member := r.member[:0]
	for i := range r.datasets {
		d := &r.datasets[i]
		if !slices.ContainsFunc(d.Selectors(), func(s policy.Selector) bool { return Matches(s, ls) }) {
			continue
		}
		if d.Release != policy.Row {
			return nil
		}
		member = append(member, d)
	}
	r.member = member
	return member
}

// Seen are the labels as the datasets let them be seen.
func (r *Labels) Seen(member []*policy.Dataset, ls labels.Labels) labels.Labels {
	r.builder.Reset()
	ls.Range(func(l labels.Label) {
		if value, _ := r.Shown(member, l); value != "" {
			r.builder.Add(l.Name, value)
		}
	})
	return r.builder.Labels()
}

// Shown returns what the view holds of a label of a series or stream, and whether
// that lost anything. __name__ and org are always kept.
func (r *Labels) Shown(member []*policy.Dataset, l labels.Label) (value string, hidden bool) {
	if l.Name == labels.MetricName || l.Name == federation.OrgLabel {
		return l.Value, false
	}
	return r.InMode(member, l)
}

// InMode is Shown for a label of anything else, such as an exemplar.
func (r *Labels) InMode(member []*policy.Dataset, l labels.Label) (value string, hidden bool) {
	rule := Strictest(member, l.Name)
	switch rule.Mode {
	case policy.Keep:
		return l.Value, false
	case policy.Pseudonym:
		return r.pseudonyms.Of(l.Value), false
	case policy.Generalize:
		return rule.Mapping.Apply(l.Value), true
	case policy.Drop:
	}
	return "", true
}

// Strictest is the rule that hides most.
func Strictest(member []*policy.Dataset, name string) policy.LabelRule {
	if federation.Reserved(name) {
		return policy.LabelRule{}
	}
	rule := policy.Strictest(member, name)
	if name != ExportedOrgLabel && isOwnOrg(name) {
		// The store's own org label, under a name that the policy's author needn't
		// think of: what is said of exported_org holds for it too.
		switch of := policy.Strictest(member, ExportedOrgLabel); {
		case of.Mode < rule.Mode:
			rule = of
		case of.Mode == rule.Mode && of.Mapping != rule.Mapping:
			rule = policy.LabelRule{} // two generalizations have no common one
		}
	}
	return rule
}

// isOwnOrg says whether a label is the store's own org label, or what it is
// called where that name is taken.
func isOwnOrg(name string) bool {
	for {
		rest, exported := strings.CutPrefix(name, "exported_")
		if !exported {
			return name == federation.OrgLabel
		}
		name = rest
	}
}

// Narrow returns the matchers a source may apply to raw labels without changing
// what the view holds: those of the asker on labels that are always kept, and
// those of the one dataset selector that can match. possible is false when
// nothing can match.
func (r *Labels) Narrow(asked []*labels.Matcher) (pushed []*labels.Matcher, possible bool) {
	if pushed, possible = r.OnKept(asked); !possible {
		return nil, false
	}
	candidates := r.Candidates(pushed)
	switch len(candidates) {
	case 0:
		return nil, false
	case 1:
		for _, m := range candidates[0].Selector {
			if !strings.HasSuffix(m.Name, federation.OrgLabel) {
				pushed = append(pushed, m)
			}
		}
	}
	return WithoutImplied(pushed), true
}

// Candidate is a selector of a dataset that releases rows.
type Candidate struct {
	Dataset  *policy.Dataset
	Selector policy.Selector
}

// Candidates are the selectors that can match what the matchers do.
func (r *Labels) Candidates(pushed []*labels.Matcher) []Candidate {
	var out []Candidate
	for i := range r.datasets {
		d := &r.datasets[i]
		if d.Release != policy.Row {
			continue
		}
		for _, s := range d.Selectors() {
			if Compatible(s, pushed) {
				out = append(out, Candidate{d, s})
			}
		}
	}
	return out
}

// MayBeHidden says whether a dataset that doesn't release rows may be of what
// the matchers select.
func (r *Labels) MayBeHidden(pushed []*labels.Matcher) bool {
	return slices.ContainsFunc(r.datasets, func(d policy.Dataset) bool {
		return d.Release != policy.Row && slices.ContainsFunc(d.Selectors(), func(s policy.Selector) bool { return Compatible(s, pushed) })
	})
}

// Org is whose data it is.
func (r *Labels) Org() tenants.OrgID { return r.org }

// OnKept returns the matchers on labels that are always kept, which say of raw
// labels what they say of the view's.
func (r *Labels) OnKept(asked []*labels.Matcher) (kept []*labels.Matcher, possible bool) {
	for _, m := range asked {
		switch {
		case m.Name == federation.OrgLabel:
			if !m.Matches(string(r.org)) {
				return nil, false
			}
		case r.AlwaysKept(m.Name):
			kept = append(kept, m)
		}
	}
	return kept, true
}

// AlwaysKept says whether the view holds the label under its own name with its
// own value wherever it is.
func (r *Labels) AlwaysKept(name string) bool {
	if name == labels.MetricName {
		return true
	}
	if strings.HasSuffix(name, federation.OrgLabel) || federation.Reserved(name) {
		return false
	}
	for i := range r.datasets {
		d := &r.datasets[i]
		if d.Release == policy.Row && Strictest([]*policy.Dataset{d}, name).Mode != policy.Keep {
			return false
		}
	}
	return true
}

// Compatible says whether something could match both: false only when a matcher
// for equality of one contradicts the other.
func Compatible(s policy.Selector, asked []*labels.Matcher) bool {
	for _, a := range asked {
		for _, m := range s {
			if m.Name == a.Name && (a.Type == labels.MatchEqual && !m.Matches(a.Value) || m.Type == labels.MatchEqual && !a.Matches(m.Value)) {
				return false
			}
		}
	}
	return true
}

// WithoutImplied leaves out the matchers that are met wherever one for equality
// is: a policy's pattern of the name that is asked for says nothing more.
func WithoutImplied(matchers []*labels.Matcher) []*labels.Matcher {
	var out []*labels.Matcher
	for i, m := range matchers {
		implied := false
		for j, by := range matchers {
			implied = implied || by.Type == labels.MatchEqual && by.Name == m.Name && m.Matches(by.Value) && (m.Type != labels.MatchEqual || j < i)
		}
		if !implied {
			out = append(out, m)
		}
	}
	return out
}

// Matches says whether labels satisfy all matchers.
func Matches(s []*labels.Matcher, ls labels.Labels) bool {
	for _, m := range s {
		if !m.Matches(ls.Get(m.Name)) {
			return false
		}
	}
	return true
}
