package metrics

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Plan is how a Local would answer a query, as far as the question and policy
// alone say. It is for the owner's eyes.
type Plan struct {
	// Selectors are the query's, in order.
	Selectors []SelectorPlan `json:"selectors"`
	// Cells are the leaves whose series leave in cells only.
	Cells []CellPlan `json:"cells,omitempty"`
	// Published are what published queries are, with their parameters: they are
	// evaluated over the store as it is.
	Published []string `json:"published,omitempty"`
	// PushedDown is what a Prometheus is asked to evaluate itself, where it
	// can; empty: the query is evaluated here, over the view, for the reason in
	// NotPushedDown.
	PushedDown    string `json:"pushed_down,omitempty"`
	NotPushedDown string `json:"not_pushed_down,omitempty"`
	// Estimate is what it takes at least.
	Estimate Estimate `json:"estimate,omitzero"`
	// Coverage is the part of the question's time that may be seen; zero is none.
	Coverage policy.Window `json:"coverage,omitzero"`
	// Notices are what the partner is told with the answer.
	Notices []string `json:"notices,omitempty"`
}

// SelectorPlan is a selector of a query.
type SelectorPlan struct {
	Selector string `json:"selector"`
	// Query is the published query that it names, and then all there is to say.
	Query string `json:"query,omitempty"`
	// Datasets can match it: by their index in the obligations, those that deny
	// among them.
	Datasets []int `json:"datasets"`
	// Raw are those of its matchers that a series of the store has to match for
	// what is released of it to match.
	Raw policy.Selector `json:"-"`
	// Source is the selector by which rows are read from the store; empty where
	// none are.
	Source string `json:"source,omitempty"`
	// Hidden are labels of its matchers that these datasets hide: to the partner
	// no series has them.
	Hidden []string `json:"hidden,omitempty"`
	// Mentions are the labels of which it, or what is around it, speaks.
	Mentions []Mention `json:"mentions,omitempty"`
}

// CellPlan is a leaf of a query that is released in cells of one dataset.
type CellPlan struct {
	Leaf    string `json:"leaf"`
	Dataset int    `json:"dataset"`
	// Dimensions are those that the partner sees.
	Dimensions []string `json:"dimensions"`
}

// PlanConfig is what a plan is made for.
type PlanConfig struct {
	Org      tenants.OrgID // whose data
	By       tenants.OrgID // who asks
	Lookback time.Duration // zero is DefaultLookback
	// MaxSamples is LocalConfig's.
	MaxSamples int
	Now        func() time.Time
}

// NewPlan plans an instant or a range query. The error is the *federation.Error
// that the partner would be given, whatever the store holds.
func NewPlan(c PlanConfig, q Question, o policy.Obligations) (Plan, error) {
	c.Lookback, c.MaxSamples = cmp.Or(c.Lookback, DefaultLookback), cmp.Or(c.MaxSamples, defaultMaxSamples)
	l := &Local{config: LocalConfig{Org: c.Org, Lookback: c.Lookback, MaxSamples: c.MaxSamples, Now: c.Now}}
	v, err := l.view(o, Asking{Org: c.By, ExchangeID: federation.NewExchangeID(c.Now())})
	if err != nil {
		return Plan{}, federation.AsError(err)
	}
	expr, err := parser.ParseExpr(q.Expression)
	if err != nil {
		return Plan{}, federation.Errorf(federation.BadQuestion, "%v", err)
	}
	if q.Lookback == 0 {
		q.Lookback = c.Lookback
	}
	p := Plan{Coverage: coverage(q, v), Notices: notices(v, q)}
	mentions := mentionsIn(expr)
	for i, asked := range parser.ExtractSelectors(expr) {
		selector := v.rules.planSelector(asked)
		if selector.Query == "" { // whose matchers are of parameters
			selector.Mentions = mentions[i]
		}
		p.Selectors = append(p.Selectors, selector)
	}
	if err := refuseReserved(expr); err != nil {
		return p, err
	}
	if err := checkFloors(expr, q, o); err != nil {
		return p, err
	}
	if p.Estimate, err = v.estimate(q, c.Now()); err == nil {
		err = p.Estimate.within(c.By, o.Limits, v.may)
	}
	if err != nil {
		return p, err
	}
	cells, err := planCells(expr, v.rules, q)
	if err != nil {
		e := federation.AsError(err)
		e.Org = c.Org
		return p, e
	}
	if cells != nil {
		p.Cells, p.Published = v.rules.planLeaves(cells)
		return p, nil
	}
	pushed, err := v.pushable(expr, q)
	if err != nil {
		p.NotPushedDown = err.Error()
		return p, nil //nolint:nilerr // why it isn't pushed down is the answer
	}
	p.PushedDown = pushed.expression
	return p, nil
}

// planSelector says which datasets a selector meets.
func (r *rules) planSelector(asked []*labels.Matcher) SelectorPlan {
	p := SelectorPlan{Selector: brief(asked), Datasets: []int{}}
	if q := r.published(asked); q != nil {
		p.Query = q.Name
		return p
	}
	pushed, rows := r.Narrow(asked)
	if rows {
		p.Source = FormatSelector(pushed)
	}
	cells := r.cellsOf(asked)
	raw, possible := r.RawMatchers(asked)
	p.Raw = raw
	for i := range r.datasets {
		d := &r.datasets[i]
		meets := false
		switch d.Release {
		case policy.Aggregate:
			meets = slices.Contains(cells, d)
		case policy.Row, policy.Deny:
			meets = possible && slices.ContainsFunc(d.Series, func(s policy.Selector) bool { return redact.Compatible(s, raw) })
		}
		if meets {
			p.Datasets = append(p.Datasets, i)
		}
	}
	p.Hidden = r.Hidden(asked, p.Datasets)
	return p
}

func (r *rules) planLeaves(plan *cellPlan) (out []CellPlan, published []string) {
	for _, l := range plan.leaves {
		if l.query != nil {
			published = append(published, l.expr.String())
			continue
		}
		for _, d := range r.cellsOf(l.selector.LabelMatchers) {
			at := slices.IndexFunc(r.datasets, func(o policy.Dataset) bool { return o.Cells == d.Cells && o.Name == d.Name })
			out = append(out, CellPlan{Leaf: l.expr.String(), Dataset: at, Dimensions: seenDimensions(d)})
		}
	}
	return out, published
}
