package logs

import (
	"slices"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Plan is how a Local would answer a query, as far as the question and policy
// alone say. It is for the owner's eyes.
type Plan struct {
	// Selectors are the query's log selectors, in order.
	Selectors []SelectorPlan `json:"selectors"`
	// Aggregations are what is evaluated over lines, of a query that yields numbers.
	Aggregations []AggregationPlan `json:"aggregations,omitempty"`
	// Coverage is the part of the question's time that may be seen; zero is none.
	Coverage policy.Window `json:"coverage,omitzero"`
	// Notices are what the partner is told with the answer.
	Notices []string `json:"notices,omitempty"`
}

// SelectorPlan is a log selector of a query.
type SelectorPlan struct {
	Selector string `json:"selector"` // with its pipeline
	// Datasets can match its streams: by their index in the obligations, those that
	// deny among them.
	Datasets []int `json:"datasets"`
	// Raw are those of its matchers that a stream of the store has to match for what
	// is released of it to match.
	Raw policy.Selector `json:"-"`
	// Source is the selector by which streams are read from the store; empty where
	// none are. Sought are the texts, and line filters, that the store may look for
	// in raw lines, since what is released of a line says the same.
	Source string   `json:"source,omitempty"`
	Sought []string `json:"sought,omitempty"`
	// Hidden are labels of its matchers that these datasets hide: to the partner no
	// stream has them.
	Hidden []string `json:"hidden,omitempty"`
	// Mentions are the labels of which it, or what is around it, speaks.
	Mentions []metrics.Mention `json:"mentions,omitempty"`
}

// AggregationPlan is where lines become numbers.
type AggregationPlan struct {
	Expression string `json:"expression"`
	// PushedDown is what a Loki is asked to evaluate itself, where it can; empty:
	// lines are read and evaluated here, over the view, for the reason in
	// NotPushedDown.
	PushedDown    string `json:"pushed_down,omitempty"`
	NotPushedDown string `json:"not_pushed_down,omitempty"`
}

// PlanConfig is what a plan is made for.
type PlanConfig struct {
	Org tenants.OrgID // whose data
	By  tenants.OrgID // who asks
	Now func() time.Time
}

// NewPlan plans an instant or a range query. The error is the *federation.Error
// that the partner would be given, whatever the store holds.
func NewPlan(c PlanConfig, q Question, o policy.Obligations) (Plan, error) {
	l := &Local{config: LocalConfig{Org: c.Org, Now: c.Now}}
	v, err := l.view(o, federation.Asking{Org: c.By, ExchangeID: federation.NewExchangeID(c.Now())})
	if err != nil {
		return Plan{}, federation.AsError(err)
	}
	expr, err := q.parse()
	if err != nil {
		return Plan{}, federation.AsError(err)
	}
	p := Plan{Coverage: v.coverage(q), Notices: v.notices(q)}
	mentions := mentionsIn(expr)
	for i, s := range logql.Selectors(expr) {
		selector := v.planSelector(s)
		selector.Mentions = mentions[i]
		p.Selectors = append(p.Selectors, selector)
	}
	if err = checkFloors(q, o); err == nil {
		err = v.planAnswer(&p, q, expr, o.Limits.OrDefault())
	}
	if err != nil {
		e := federation.AsError(err)
		e.Org = c.Org
		return p, e
	}
	return p, nil
}

// planAnswer plans how an expression is evaluated.
func (v *view) planAnswer(p *Plan, q Question, expr logql.Expr, limits tenants.Limits) error {
	if selector, ok := expr.(*logql.LogSelector); ok {
		_, err := v.pipelineOf(q, selector, limits)
		return err
	}
	in, err := forAnswering(expr)
	if err != nil {
		return err
	}
	for _, leaf := range in.leaves {
		if _, err := newRange(leaf, q, newAllowance(entriesRead(limits))); err != nil {
			return err
		}
		a := AggregationPlan{Expression: leaf.String()}
		if raw, _, err := v.rawLeaf(leaf, q); err != nil {
			a.NotPushedDown = err.Error()
		} else {
			a.PushedDown = raw.String()
		}
		p.Aggregations = append(p.Aggregations, a)
	}
	return nil
}

// planSelector says which datasets a selector meets, and what is read for it.
func (v *view) planSelector(s *logql.LogSelector) SelectorPlan {
	p := SelectorPlan{Selector: s.String(), Datasets: []int{}}
	raw, possible := v.labels.RawMatchers(s.Matchers)
	p.Raw = raw
	for i := range v.datasets {
		if possible && slices.ContainsFunc(v.datasets[i].Streams, func(of policy.Selector) bool { return redact.Compatible(of, raw) }) {
			p.Datasets = append(p.Datasets, i)
		}
	}
	p.Hidden = v.labels.Hidden(s.Matchers, p.Datasets)
	pushed, read := v.labels.Narrow(s.Matchers)
	if !read {
		return p
	}
	p.Source = FormatSelector(pushed)
	sel := selectionOf(s, 0, 0)
	sel.matchers = pushed
	v.filterBefore(&sel)
	for _, f := range sel.filters {
		p.Sought = append(p.Sought, f.String())
	}
	if len(sel.filters) == 0 {
		for _, text := range sel.contains {
			p.Sought = append(p.Sought, (&logql.LineFilter{Op: logql.Contains, Alternatives: []logql.LinePattern{{Text: text}}}).String())
		}
	}
	return p
}
