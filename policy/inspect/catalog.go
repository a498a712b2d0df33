package inspect

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Catalog is what a partner may ask, to be handed to it. It holds nothing that
// policy doesn't release: no label that is hidden, nothing of what is denied or
// of how series are chosen by what is hidden, no name of a dataset, no reason.
// Where that can't be told apart, it says less.
type Catalog struct {
	Owner   tenants.OrgID `json:"owner"`
	Partner tenants.OrgID `json:"partner"`
	// Until is when the agreement ends; zero where it isn't known.
	Until    time.Time        `json:"until,omitzero"`
	Rates    Rates            `json:"rates,omitzero"`
	Purposes []CatalogPurpose `json:"purposes"`
	// BreakGlass is how long a grant lasts in an emergency; zero: there is none.
	BreakGlass time.Duration `json:"break_glass_ns,omitzero"`
}

// Rates are what is counted before policy is asked.
type Rates struct {
	Concurrent       int `json:"concurrent"`
	QueriesPerMinute int `json:"queries_per_minute"`
	// Tails of logs that may run at once; zero where the agreement isn't about logs.
	Tails int `json:"tails,omitzero"`
}

// CatalogPurpose is what may be asked for a purpose: nothing, where there are no
// terms.
type CatalogPurpose struct {
	Purpose tenants.Purpose `json:"purpose"`
	Terms   []CatalogTerms  `json:"terms"`
	// Emergency are those under a break-glass grant, in place of the others.
	Emergency []CatalogTerms `json:"emergency,omitempty"`
}

// CatalogTerms are what is released of the questions for which the conditions
// hold.
type CatalogTerms struct {
	Conditions []Condition    `json:"conditions,omitempty"`
	Sets       []CatalogSet   `json:"sets"`
	Queries    []CatalogQuery `json:"queries,omitempty"`
	MaxAge     time.Duration  `json:"max_age_ns,omitzero"`
	Delay      time.Duration  `json:"delay_ns,omitzero"`
	NotBefore  time.Time      `json:"not_before,omitzero"`
	NotAfter   time.Time      `json:"not_after,omitzero"`
	Resolution time.Duration  `json:"resolution_ns,omitzero"`
	Functions  []string       `json:"functions,omitempty"`
	Limits     CatalogLimits  `json:"limits"`
	// Pseudonyms is for how long they stay the same.
	Pseudonyms string        `json:"pseudonyms"`
	Kinds      []policy.Kind `json:"kinds"`
}

// CatalogLimits are those of an answer.
type CatalogLimits struct {
	Series  int `json:"series"`
	Samples int `json:"samples"`
	Bytes   int `json:"bytes"`
	// Lines is zero where the terms are not of logs.
	Lines int `json:"lines,omitzero"`
	// Spans is zero where the terms are not of traces.
	Spans int           `json:"spans,omitzero"`
	Range time.Duration `json:"range_ns"`
}

// CatalogSet is a set of series, of cells, of streams or of spans.
type CatalogSet struct {
	Signal tenants.Signal `json:"signal"`
	// Selectors choose them, as far as the partner may know.
	Selectors []string       `json:"selectors"`
	Release   policy.Release `json:"release"`
	Labels    []CatalogLabel `json:"labels"`
	// Others is how labels not named are, if they are released.
	Others string `json:"others,omitempty"`
	// Least is how many different units or events are in a cell at least; zero for
	// rows.
	Least    int    `json:"least,omitempty"`
	Events   bool   `json:"events,omitempty"`
	Rounding string `json:"rounding,omitempty"`
	// Lines are how lines of streams leave: none, shape, rules or keep.
	Lines string `json:"lines,omitempty"`
	// Fields are those that are left of lines of JSON or logfmt, and OtherFields how
	// those not named are, if they are left.
	Fields      []CatalogLabel `json:"fields,omitempty"`
	OtherFields string         `json:"other_fields,omitempty"`
	// Masks are names of what is replaced in lines.
	Masks []string `json:"masks,omitempty"`
	// Spans are how spans leave: boundary, shape, attributes or full. Folded says
	// of the first two whether it is told how many a withheld one stands for, and
	// DurationsWithheld that it isn't how long they took.
	Spans             string `json:"spans,omitempty"`
	Folded            bool   `json:"folded_counts,omitempty"`
	DurationsWithheld bool   `json:"durations_withheld,omitempty"`
}

// CatalogLabel is a label or a field that the partner sees.
type CatalogLabel struct {
	Name string `json:"name"`
	// How is "as it is", "by pseudonym", or in what other way.
	How string `json:"how"`
}

// CatalogQuery is a published query.
type CatalogQuery struct {
	Name       string             `json:"name"`
	Parameters []CatalogParameter `json:"parameters,omitempty"`
	Rounding   string             `json:"rounding,omitempty"`
}

// CatalogParameter is one of a published query.
type CatalogParameter struct {
	Name    string               `json:"name"`
	Type    policy.ParameterType `json:"type"`
	Values  []string             `json:"values,omitempty"`
	Default string               `json:"default,omitempty"`
	Least   float64              `json:"least,omitempty"`
	Most    float64              `json:"most,omitempty"`
}

// Condition is one on a question.
type Condition string

// The conditions.
const (
	OfACase     Condition = "a case is named"
	OfTheKind   Condition = "they are of these kinds"
	OfTheMetric Condition = "they are about what is listed, and in the form that was agreed"
	OfTheUser   Condition = "they are for some users"
	OfTheTime   Condition = "they are about some times"
	OfTheMoment Condition = "they are asked at some times"
)

// Catalog returns what a partner may ask.
func (f *Folder) Catalog(ctx context.Context, a tenants.Agreement) (Catalog, error) {
	out := Catalog{Owner: f.Org, Partner: a.Partner, Purposes: []CatalogPurpose{}}
	if !f.Assumed {
		limits := a.Limits.OrDefault()
		out.Until, out.Rates = a.NotAfter, Rates{Concurrent: limits.Concurrent, QueriesPerMinute: limits.QueriesPerMinute}
		if slices.Contains(a.Signals, tenants.Logs) {
			out.Rates.Tails = limits.Tails
		}
	}
	for _, purpose := range a.Purposes {
		p := CatalogPurpose{Purpose: purpose, Terms: []CatalogTerms{}}
		for _, s := range f.situations(a) {
			decided, err := f.distinct(ctx, s, purpose)
			if err != nil {
				return out, err
			}
			terms := &p.Terms
			if s.emergency {
				terms, out.BreakGlass = &p.Emergency, a.BreakGlass.Longest
			}
			for _, d := range decided {
				if t := f.terms(d); len(t.Sets)+len(t.Queries) > 0 {
					*terms = append(*terms, t)
				}
			}
		}
		out.Purposes = append(out.Purposes, p)
	}
	return out, nil
}

func (f *Folder) terms(d decidedFor) CatalogTerms {
	o := d.Decision.Obligations
	limits := o.Limits.Tighten(d.situation.Limits.OrDefault())
	t := CatalogTerms{
		Conditions: f.conditions(d), Sets: []CatalogSet{}, MaxAge: d.MaxAge, Delay: d.Delay, Resolution: o.Resolution, Functions: o.Functions,
		Limits:     CatalogLimits{Series: limits.Series, Samples: limits.Samples, Bytes: limits.Bytes, Range: limits.Range},
		Pseudonyms: epochText(o.Epoch),
		Kinds:      d.kinds(f),
	}
	switch d.signal() {
	case tenants.Logs:
		t.Limits.Lines = limits.Lines
	case tenants.Traces:
		t.Limits.Spans = limits.Spans
	}
	if d.MaxAge == 0 {
		t.NotBefore = o.NotBefore
	}
	if d.Delay == 0 {
		t.NotAfter = o.NotAfter
	}
	for i := range o.Datasets {
		if set := catalogSet(o.Datasets, i); len(set.Selectors) > 0 {
			t.Sets = append(t.Sets, set)
		}
	}
	for _, q := range o.Queries {
		t.Queries = append(t.Queries, catalogQuery(q))
	}
	return t
}

// signal is what the samples are about that got a decision: it has datasets of
// one alone.
func (d decidedFor) signal() tenants.Signal { return d.samples[0].Signal }

// kinds are those that a decision is for: all of its signal, where the policy
// doesn't look at the kind.
func (d decidedFor) kinds(f *Folder) []policy.Kind {
	all := policy.Kinds(d.signal())
	if p, _ := f.Inventory.Package(d.situation.Policy); !p.DependsOn("kind", "label") {
		return all
	}
	var out []policy.Kind
	for _, k := range all {
		if slices.ContainsFunc(d.samples, func(s Sample) bool { return s.Kind == k }) {
			out = append(out, k)
		}
	}
	return out
}

// conditions are what tells the samples that got a decision from those that
// didn't.
func (f *Folder) conditions(d decidedFor) []Condition {
	all := f.samples(d.situation, d.purpose, f.metrics())
	all = slices.DeleteFunc(all, func(s Sample) bool { return s.Signal != d.signal() })
	var out []Condition
	only := func(c Condition, of func(Sample) any) {
		got := map[any]bool{}
		for _, s := range d.samples {
			got[of(s)] = true
		}
		if slices.ContainsFunc(all, func(s Sample) bool { return !got[of(s)] }) {
			out = append(out, c)
		}
	}
	only(OfACase, func(s Sample) any { return s.Case })
	only(OfTheKind, func(s Sample) any { return s.Kind })
	only(OfTheMetric, func(s Sample) any { return s.Metric })
	only(OfTheUser, func(s Sample) any { return s.User })
	only(OfTheTime, func(s Sample) any { return span{s.Back, s.Ago} })
	if p, ok := f.Inventory.Package(d.situation.Policy); ok && p.DependsOn("now") {
		out = append(out, OfTheMoment)
	}
	return out
}

// catalogSet is what may be told of a dataset; without selectors nothing may.
func catalogSet(datasets []policy.Dataset, i int) CatalogSet {
	d := &datasets[i]
	set := CatalogSet{Signal: d.Signal(), Release: d.Release, Labels: []CatalogLabel{}, Rounding: roundingText(d.Rounding)}
	if hiddenWhole(d) {
		return set
	}
	hides := hiding(datasets, i)
	members := hidingLabels(datasets, i)
	shown := shownLabels(members)
	for _, s := range d.Selectors() {
		for _, text := range tellable(s, members, hides) {
			if !slices.Contains(set.Selectors, text) {
				set.Selectors = append(set.Selectors, text)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(shown)) {
		if name != Others {
			set.Labels = append(set.Labels, CatalogLabel{Name: name, How: how(shown[name])})
		}
	}
	if rule, ok := shown[Others]; ok {
		set.Others = how(rule)
	}
	switch set.Signal {
	case tenants.Logs:
		set.lines(policy.StrictestLine(members))
	case tenants.Traces:
		span := policy.StrictestSpan(members)
		set.Spans, set.DurationsWithheld = span.Mode.String(), span.WithholdDurations
		set.Folded = span.Counts && span.Mode < policy.SpanAttributes
		if span.Mode == policy.SpanHidden {
			set.Selectors = nil
		}
	}
	if c := d.Cells; c != nil {
		set.Least, set.Events = c.K, len(c.Units) == 0
	}
	return set
}

// lines says what is left of lines, and not what isn't.
func (s *CatalogSet) lines(l policy.Line) {
	s.Lines = l.Mode.String()
	for _, rule := range l.Rules {
		for _, fields := range []*policy.Fields{rule.JSON, rule.Logfmt} {
			if fields == nil {
				continue
			}
			for _, name := range slices.Sorted(maps.Keys(fields.Named)) {
				if r := fields.Named[name]; r.Mode != policy.Drop {
					s.Fields = append(s.Fields, CatalogLabel{Name: name, How: how(r)})
				}
			}
			if fields.Others.Mode != policy.Drop {
				s.OtherFields = how(fields.Others)
			}
		}
		for _, m := range rule.Masks {
			s.Masks = append(s.Masks, m.Name)
		}
	}
}

// hiddenWhole says whether nothing leaves of what is in a dataset.
func hiddenWhole(d *policy.Dataset) bool {
	return d.Release == policy.Deny || d.Signal() == tenants.Traces && d.Span.Mode == policy.SpanHidden
}

// hiding are the selectors of what another dataset takes away from one: what is
// denied or hidden, and of rows what leaves in cells.
func hiding(datasets []policy.Dataset, i int) []policy.Selector {
	var out []policy.Selector
	for j, o := range datasets {
		if j != i && o.Signal() == datasets[i].Signal() && (hiddenWhole(&o) || o.Release == policy.Aggregate) {
			out = append(out, o.Selectors()...)
		}
	}
	return out
}

// hidingLabels are a dataset and those that hide labels of all of it, as far as
// can be told.
func hidingLabels(datasets []policy.Dataset, i int) []*policy.Dataset {
	out := []*policy.Dataset{&datasets[i]}
	if datasets[i].Release != policy.Row {
		return out
	}
	for j := range datasets {
		if j != i && datasets[j].Release == policy.Row && within(datasets[i], datasets[j]) != no {
			out = append(out, &datasets[j])
		}
	}
	return out
}

// shownLabels are the rules of labels that are seen, by name or Others.
func shownLabels(members []*policy.Dataset) map[string]policy.LabelRule {
	out := map[string]policy.LabelRule{}
	for name := range members[0].Labels {
		if rule := strictest(members, name); rule.Mode != policy.Drop {
			out[name] = rule
		}
	}
	// A name that none of them has stands for all labels that aren't named.
	if rule := strictest(members, ""); rule.Mode != policy.Drop {
		out[Others] = rule
	}
	return out
}

// strictest is the rule of a label, or of what is in a span.
func strictest(members []*policy.Dataset, name string) policy.LabelRule {
	if members[0].Signal() == tenants.Traces {
		return policy.StrictestOfSpans(members, name)
	}
	return policy.Strictest(members, name)
}

// how is a rule as its partner may know it: of a mapping what its results show.
func how(r policy.LabelRule) string {
	switch r.Mode {
	case policy.Keep:
		return "as it is"
	case policy.Pseudonym:
		return "by pseudonym"
	case policy.Generalize:
		switch m := r.Mapping; {
		case m != nil && m.Prefix == 1:
			return "by the first character"
		case m != nil && m.Prefix > 1:
			return fmt.Sprintf("by the first %d characters", m.Prefix)
		case m != nil && len(m.Buckets) > 0:
			return "in the classes " + strings.Join(m.Classes(), ", ")
		}
		return "in classes"
	case policy.Drop:
	}
	return "hidden"
}

func catalogQuery(q policy.Query) CatalogQuery {
	out := CatalogQuery{Name: q.Name, Rounding: roundingText(q.Rounding)}
	for _, name := range slices.Sorted(maps.Keys(q.Parameters)) {
		p := q.Parameters[name]
		out.Parameters = append(out.Parameters, CatalogParameter{
			Name: name, Type: p.Type, Values: p.Values, Default: p.Default, Least: p.Least, Most: p.Most,
		})
	}
	return out
}

// tellable are a selector's metrics with the conditions that the partner may
// know: on labels that it sees as they are, and of what may match, never of
// what may not.
func tellable(s policy.Selector, members []*policy.Dataset, hides []policy.Selector) []string {
	var names, others []*labels.Matcher
	for _, m := range s {
		positive := m.Type == labels.MatchEqual || m.Type == labels.MatchRegexp
		switch {
		case !positive || m.Value == "":
		case m.Name == model.MetricNameLabel:
			names = append(names, m)
		case strictest(members, m.Name).Mode == policy.Keep && !spokenOf(m, hides):
			others = append(others, m)
		}
	}
	if len(names) != 1 {
		// None, or several that only together say which: less is told.
		if covers(hides, s) != no {
			return nil
		}
		return []string{format("", others)}
	}
	var out []string
	for _, part := range alternativesOf(names[0]) {
		one := slices.Clone(s)
		one[slices.Index(one, names[0])] = part
		if covers(hides, one) != no {
			continue
		}
		text := part.Value
		if part.Type == labels.MatchRegexp && meets(one, hides) && compound(text) {
			text = prefixOf(text)
		}
		if text == "" {
			out = append(out, format("", others))
			continue
		}
		out = append(out, format(text, others))
	}
	return out
}

// spokenOf says whether what is hidden is chosen by the label of a matcher too.
func spokenOf(m *labels.Matcher, hides []policy.Selector) bool {
	return slices.ContainsFunc(hides, func(s policy.Selector) bool {
		return slices.ContainsFunc(s, func(o *labels.Matcher) bool { return o.Name == m.Name })
	})
}

func meets(s policy.Selector, hides []policy.Selector) bool {
	return slices.ContainsFunc(hides, func(h policy.Selector) bool {
		_, possible := meeting(s, h)
		return possible != no
	})
}
