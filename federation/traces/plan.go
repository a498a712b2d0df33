package traces

import (
	"slices"
	"strings"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Plan is how a Local would answer a question for traces, as far as the question
// and policy alone say. It is for the owner's eyes.
type Plan struct {
	// Filters are those of a search, in order. All is evaluated over the view; what of
	// a trace is there is there whole, whichever of its spans meets one.
	Filters []FilterPlan `json:"filters,omitempty"`
	// Selected are what a search selects that policy may hide, as policy calls it, and
	// that no filter looks at.
	Selected []string `json:"selected,omitempty"`
	// Searched is when spans begin of which the store is asked for traces, and
	// Services are those that such spans have to be of; none is any. Both are zero
	// where traces are asked for by id.
	Searched policy.Window `json:"searched,omitzero"`
	Services []string      `json:"services,omitempty"`
	// Coverage is the part of the question's time that may be seen; zero is none.
	Coverage policy.Window `json:"coverage,omitzero"`
	// Notices are what the partner is told with the answer.
	Notices []string `json:"notices,omitempty"`
}

// FilterPlan is a filter of a search.
type FilterPlan struct {
	Filter string `json:"filter"`
	// Names are what it looks at that policy may hide, as policy calls it, sorted.
	Names []string `json:"names,omitempty"`
	// Hidden are those of them that no dataset shows: to the partner no span has them.
	Hidden []string `json:"hidden,omitempty"`
}

// PlanConfig is what a plan is made for.
type PlanConfig struct {
	Org tenants.OrgID // whose data
	By  tenants.OrgID // who asks
	Now func() time.Time
}

// NewPlan plans a search, or a question for traces by id. The error is the
// *federation.Error that the partner would be given, whatever the store holds.
func NewPlan(c PlanConfig, q Question, o policy.Obligations) (Plan, error) {
	refuse := func(p Plan, err error) (Plan, error) {
		e := federation.AsError(err)
		e.Org = c.Org
		return p, e
	}
	v, err := newView(c.Org, o, nil, federation.Asking{Org: c.By, ExchangeID: federation.NewExchangeID(c.Now())}, c.Now())
	if err != nil {
		return refuse(Plan{}, err)
	}
	if _, err := q.Request(); err != nil {
		return refuse(Plan{}, err)
	}
	p := Plan{Coverage: v.coverage(q), Notices: notices(o.Datasets)}
	if q.Kind == policy.Search {
		expr, err := parse(q.Expression)
		if err != nil {
			return refuse(p, err)
		}
		sel := v.selection(q, expr.Filters())
		p.Services = sel.services
		if sel.start < sel.end {
			p.Searched = policy.Window{Start: time.Unix(0, sel.start).UTC(), End: time.Unix(0, sel.end).UTC()}
		}
		for _, f := range expr.Filters() {
			p.Filters = append(p.Filters, planFilter(f, o.Datasets))
		}
		for _, a := range traceql.Attributes(expr) {
			for _, name := range namesOf(a) {
				filtered := slices.ContainsFunc(p.Filters, func(f FilterPlan) bool { return slices.Contains(f.Names, name) })
				if !filtered && !slices.Contains(p.Selected, name) {
					p.Selected = append(p.Selected, name)
				}
			}
		}
	}
	if err := checkFunctions(o); err != nil {
		return refuse(p, err)
	}
	return p, nil
}

func planFilter(f *traceql.Filter, datasets []policy.Dataset) FilterPlan {
	p := FilterPlan{Filter: f.String()}
	for _, a := range f.Attributes() {
		names := namesOf(a)
		p.Names = append(p.Names, names...)
		if len(names) > 0 && !slices.ContainsFunc(names, func(name string) bool { return shows(datasets, name) }) {
			p.Hidden = append(p.Hidden, names...)
		}
	}
	slices.Sort(p.Names)
	slices.Sort(p.Hidden)
	p.Names, p.Hidden = slices.Compact(p.Names), slices.Compact(p.Hidden)
	return p
}

// shows says whether one of the datasets shows a name or an attribute.
func shows(datasets []policy.Dataset, name string) bool {
	return slices.ContainsFunc(datasets, func(d policy.Dataset) bool {
		return d.Release == policy.Row && policy.StrictestOfSpans([]*policy.Dataset{&d}, name).Mode != policy.Drop
	})
}

// namesOf are what policy calls an attribute of TraceQL, which without a scope is a
// span's or a resource's; none for what policy can't hide and for what gateways say.
func namesOf(a traceql.Attribute) []string {
	if a.Scope != traceql.ScopeIntrinsic && strings.HasPrefix(a.Name, attributePrefix) {
		return nil
	}
	switch a.Scope {
	case traceql.ScopeNone:
		return []string{spanPrefix + a.Name, resourcePrefix + a.Name}
	case traceql.ScopeSpan:
		return []string{spanPrefix + a.Name}
	case traceql.ScopeResource:
		return []string{resourcePrefix + a.Name}
	case traceql.ScopeEvent:
		return []string{eventPrefix + a.Name}
	case traceql.ScopeLink:
		return []string{linkPrefix + a.Name}
	case traceql.ScopeInstrumentation:
		return []string{scopePrefix + a.Name}
	}
	switch a.Name {
	case traceql.Name, traceql.RootName:
		return []string{policy.SpanName}
	case traceql.Status:
		return []string{policy.SpanStatus}
	case traceql.StatusMessage:
		return []string{policy.SpanStatusMessage}
	case traceql.RootService:
		return []string{resourcePrefix + serviceName}
	case traceql.EventName:
		return []string{policy.SpanEventName}
	case traceql.ScopeName:
		return []string{policy.SpanScopeName}
	case traceql.ScopeVersion:
		return []string{policy.SpanScopeVersion}
	}
	return nil
}
