package rehearsal

import (
	"encoding/json"
	"fmt"

	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/policy"
)

// Plan is a plan of the question's signal. The others are nil.
type Plan struct {
	Metrics *metrics.Plan
	Logs    *logs.Plan
	Traces  *traces.Plan
}

// MarshalJSON is that of the one there is.
func (p Plan) MarshalJSON() ([]byte, error) {
	switch {
	case p.Logs != nil:
		return json.Marshal(p.Logs)
	case p.Traces != nil:
		return json.Marshal(p.Traces)
	}
	return json.Marshal(p.Metrics)
}

// Notices are what the partner is told with the answer.
func (p Plan) Notices() []string {
	switch {
	case p.Logs != nil:
		return p.Logs.Notices
	case p.Traces != nil:
		return p.Traces.Notices
	}
	return p.Metrics.Notices
}

// Coverage is the part of the question's time that may be seen; zero is none.
func (p Plan) Coverage() policy.Window {
	switch {
	case p.Logs != nil:
		return p.Logs.Coverage
	case p.Traces != nil:
		return p.Traces.Coverage
	}
	return p.Metrics.Coverage
}

// meeting is what a part of a question asks for, and of what it speaks.
type meeting struct {
	raw policy.Selector
	// datasets are those of the plan that it may meet.
	datasets *[]int
	mentions []metrics.Mention
}

// plan is how the question is answered. The error is what the partner is told.
func (s Stage) plan(a Ask, o policy.Obligations) (out Plan, meets []meeting, err error) {
	switch q := a.Question.(type) {
	case metrics.Question:
		var plan metrics.Plan
		plan, err = metrics.NewPlan(metrics.PlanConfig{
			Org: s.Folder.Org, By: a.Partner, Lookback: s.Lookback, MaxSamples: s.MaxSamples, Now: s.Folder.Now,
		}, q, o)
		for i := range plan.Selectors {
			selector := &plan.Selectors[i]
			meets = append(meets, meeting{selector.Raw, &selector.Datasets, selector.Mentions})
		}
		out.Metrics = &plan
	case logs.Question:
		var plan logs.Plan
		plan, err = logs.NewPlan(logs.PlanConfig{Org: s.Folder.Org, By: a.Partner, Now: s.Folder.Now}, q, o)
		for i := range plan.Selectors {
			selector := &plan.Selectors[i]
			meets = append(meets, meeting{selector.Raw, &selector.Datasets, selector.Mentions})
		}
		out.Logs = &plan
	case traces.Question:
		var plan traces.Plan
		plan, err = traces.NewPlan(traces.PlanConfig{Org: s.Folder.Org, By: a.Partner, Now: s.Folder.Now}, q, o)
		out.Traces, meets = &plan, []meeting{ofTraces(plan, o)}
	default:
		err = fmt.Errorf("a question of type %T has no plan", q)
	}
	return out, meets, err
}

// ofTraces is what a question for traces asks for: they are whole, so that any
// dataset may be met.
func ofTraces(p traces.Plan, o policy.Obligations) meeting {
	all := make([]int, len(o.Datasets))
	for i := range all {
		all[i] = i
	}
	m := meeting{datasets: &all}
	for _, f := range p.Filters {
		for _, name := range f.Names {
			m.mentions = append(m.mentions, metrics.Mention{Label: name, In: []string{"filter"}})
		}
	}
	for _, name := range p.Selected {
		m.mentions = append(m.mentions, metrics.Mention{Label: name, In: []string{"select"}})
	}
	return m
}
