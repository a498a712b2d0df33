package inspect

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
)

// Sample is a question that a partner might ask, as far as policies tell
// questions apart.
type Sample struct {
	Partner tenants.OrgID   `json:"partner"`
	Purpose tenants.Purpose `json:"purpose"`
	Case    tenants.CaseID  `json:"case,omitempty"`
	// Emergency says that it is asked under a break-glass grant.
	Emergency bool         `json:"break_glass,omitempty"`
	User      tenants.User `json:"-"`
	// Signal is what it is about: metrics, logs of some stream, or traces.
	Signal tenants.Signal `json:"signal"`
	Kind   policy.Kind    `json:"kind"`
	Metric string         `json:"metric,omitempty"`
	// Ago is how long ago the data ends that it is about, and Back how far before
	// that it begins.
	Ago, Back time.Duration `json:"-"`
}

const (
	sampleCase   tenants.CaseID          = "CASE-1"
	sampleReason tenants.EmergencyReason = "to see what is answered"
	// usualMetric is asked for where a policy names no other.
	usualMetric = "http_requests_total"
	// usualStream is asked for of logs.
	usualStream = `{service_name=~".+"}`
	// usualTrace and usualSearch are asked for of traces.
	usualTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	usualSearch = `{ resource.service.name = "checkout" }`
	// maxMetrics bounds how many metrics are asked for.
	maxMetrics = 50
)

// request is what a gateway would make of it.
func (f *Folder) request(a situation, s Sample) policy.Request {
	now := f.Now()
	r := policy.Request{
		Side: policy.Answer, Owner: f.Org, Package: a.Policy, Signal: s.Signal, Kind: s.Kind,
		Principal: tenants.Principal{Org: a.Partner, Workload: a.GatewayID, User: s.User, Purpose: s.Purpose, Case: s.Case},
		Purposes:  a.Under(s.Purpose),
		Window:    policy.Window{Start: now.Add(-s.Ago - s.Back), End: now.Add(-s.Ago)},
		Query:     s.Metric,
		Selectors: []policy.Selector{{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, s.Metric)}},
	}
	if s.Emergency {
		r.Principal.BreakGlass = sampleReason
	}
	switch s.Kind {
	case policy.Range:
		r.Query, r.Functions, r.Step = "sum(rate("+s.Metric+"[5m]))", []string{"rate", "sum"}, time.Minute
	case policy.Instant:
		r.Query, r.Functions = "sum(rate("+s.Metric+"[5m]))", []string{"rate", "sum"}
	case policy.LabelValues:
		r.Label = "job"
	case policy.Metadata:
		r.Query, r.Selectors = "", nil
	default:
	}
	switch s.Signal {
	case tenants.Logs:
		r.Selectors = []policy.Selector{{labels.MustNewMatcher(labels.MatchRegexp, "service_name", ".+")}}
		r.Query = usualStream
		if s.Kind == policy.Instant || s.Kind == policy.Range {
			r.Query = "sum(rate(" + usualStream + "[5m]))"
		}
	case tenants.Traces:
		r.Selectors, r.Query, r.Label = nil, "", map[policy.Kind]string{policy.LabelValues: "resource.service.name", policy.Operations: "checkout"}[s.Kind]
		switch s.Kind {
		case policy.Trace:
			r.Query = usualTrace
		case policy.Search:
			r.Query = usualSearch
		default:
		}
	}
	return r
}

// span is a time that questions are about.
type span struct{ back, ago time.Duration }

// samples are questions of a partner for a purpose that differ in what the
// policy looks at. The first is the plainest.
func (f *Folder) samples(a situation, purpose tenants.Purpose, metrics []string) []Sample {
	cases, users := []tenants.CaseID{""}, []tenants.User{{Subject: "someone", Proof: tenants.ProvenByJWT}}
	spans := []span{{back: time.Hour}}
	p, _ := f.Inventory.Package(a.Policy)
	switch {
	case a.emergency:
		cases = []tenants.CaseID{sampleCase}
	case p.DependsOn("principal.case"):
		cases = append(cases, sampleCase)
	}
	if p.DependsOn("principal.user", "principal.proof") {
		users = append(users, tenants.User{Subject: "someone", Proof: tenants.ProvenBySVID})
		if !a.emergency {
			users = append(users, tenants.User{})
		}
	}
	if p.DependsOn("window") {
		spans = append(spans, span{back: 30 * 24 * time.Hour}, span{back: time.Hour, ago: time.Hour})
	}
	if !p.DependsOn("metrics", "selectors", "query", "functions") {
		metrics = metrics[:1]
	}
	var out []Sample
	add := func(signal tenants.Signal, kind policy.Kind, metric string) {
		for _, span := range spans {
			for _, user := range users {
				for _, c := range cases {
					out = append(out, Sample{
						Partner: a.Partner, Purpose: purpose, Case: c, Emergency: a.emergency, User: user,
						Signal: signal, Kind: kind, Metric: metric, Ago: span.ago, Back: span.back,
					})
				}
			}
		}
	}
	for _, metric := range metrics {
		for _, kind := range sampleKinds(p, tenants.Metrics) {
			add(tenants.Metrics, kind, metric)
		}
	}
	for _, signal := range []tenants.Signal{tenants.Logs, tenants.Traces} {
		if slices.Contains(a.Signals, signal) {
			for _, kind := range sampleKinds(p, signal) {
				add(signal, kind, "")
			}
		}
	}
	return out
}

// sampleKinds are those that a package tells apart, the plainest first.
func sampleKinds(p rego.Package, signal tenants.Signal) []policy.Kind {
	plainest := policy.Range
	if signal == tenants.Traces {
		plainest = policy.Trace
	}
	if !p.DependsOn("kind", "label") {
		return []policy.Kind{plainest}
	}
	kinds := append(slices.DeleteFunc(policy.Kinds(signal), func(k policy.Kind) bool { return k == plainest }), plainest)
	slices.Reverse(kinds)
	return kinds
}

// metrics are those that questions are about: a usual one, and those that the
// policies' own expressions match.
func (f *Folder) metrics() []string {
	out := []string{usualMetric}
	for _, s := range f.Inventory.Strings {
		m, err := labels.NewMatcher(labels.MatchRegexp, model.MetricNameLabel, s)
		if err != nil || len(out) == maxMetrics {
			continue
		}
		name, found, known := valueOf([]*labels.Matcher{m, labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, "[a-zA-Z_:][a-zA-Z0-9_:]+")})
		if found && known && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// Decided is a sample and what came of it.
type Decided struct {
	Sample
	Decision policy.Decision
}

func (f *Folder) decide(ctx context.Context, a situation, samples []Sample) ([]Decided, error) {
	out := make([]Decided, 0, len(samples))
	for _, s := range samples {
		d, err := f.Policies.Decide(ctx, f.request(a, s))
		if err != nil {
			return nil, err
		}
		out = append(out, Decided{s, d})
	}
	return out, nil
}

// decidedFor is a decision that allows, with what it is for.
type decidedFor struct {
	rego.Explanation

	situation situation
	purpose   tenants.Purpose
	// samples are those that got it.
	samples []Sample
}

func (d decidedFor) String() string {
	return d.situation.of(fmt.Sprintf("%s for %s", d.situation.Partner, d.purpose))
}

// distinct are the different obligations that samples of a purpose get.
func (f *Folder) distinct(ctx context.Context, a situation, purpose tenants.Purpose) ([]decidedFor, error) {
	decided, err := f.decide(ctx, a, f.samples(a, purpose, f.metrics()))
	if err != nil {
		return nil, err
	}
	var out []decidedFor
	known := map[string]int{}
	for _, d := range decided {
		if !d.Decision.Allow {
			continue
		}
		text, err := json.Marshal(Differences(policy.Decision{Allow: true}, d.Decision))
		if err != nil {
			return nil, err
		}
		i, ok := known[string(text)]
		if !ok {
			e, err := f.Policies.Explain(ctx, f.request(a, d.Sample))
			if err != nil {
				return nil, err
			}
			i = len(out)
			known[string(text)], out = i, append(out, decidedFor{Explanation: e, situation: a, purpose: purpose})
		}
		out[i].samples = append(out[i].samples, d.Sample)
	}
	return out, nil
}

// Answer is whether questions for a purpose are answered.
type Answer string

// The answers.
const (
	Answered  Answer = "yes"
	WithCase  Answer = "case" // those that name a case
	Sometimes Answer = "some" // some of them
	Never     Answer = "no"
)

// Answers returns whether a partner is answered every day, by purpose in the
// order of the agreement's, and whether it is in an emergency: nothing, if there
// is no policy for that.
func (f *Folder) Answers(ctx context.Context, a tenants.Agreement) (everyDay, emergency []Answer, err error) {
	for _, s := range f.situations(a) {
		var answers []Answer
		for _, purpose := range a.Purposes {
			decided, err := f.decide(ctx, s, f.samples(s, purpose, f.metrics()))
			if err != nil {
				return nil, nil, err
			}
			answers = append(answers, answerTo(ofAnswered(decided)))
		}
		if s.emergency {
			emergency = answers
		} else {
			everyDay = answers
		}
	}
	return everyDay, emergency, nil
}

// ofAnswered are the samples of signals of which any is answered: a policy may be
// about one signal alone.
func ofAnswered(decided []Decided) []Decided {
	answered := map[tenants.Signal]bool{}
	for _, d := range decided {
		answered[d.Signal] = answered[d.Signal] || d.Decision.Allow
	}
	var out []Decided
	for _, d := range decided {
		if answered[d.Signal] {
			out = append(out, d)
		}
	}
	return out
}

func answerTo(decided []Decided) Answer {
	allowed, withCase, allowedWithCase := 0, 0, 0
	for _, d := range decided {
		if d.Case != "" {
			withCase++
		}
		if d.Decision.Allow {
			allowed++
			if d.Case != "" {
				allowedWithCase++
			}
		}
	}
	switch {
	case allowed == 0:
		return Never
	case allowed == len(decided):
		return Answered
	case allowed == withCase && allowedWithCase == withCase:
		return WithCase
	}
	return Sometimes
}
