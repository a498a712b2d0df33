package rego

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// samplesFolder is the subfolder of a policy folder whose JSON files are samples.
const samplesFolder = "samples"

// proofTimeout bounds one evaluation while loading: generous, since a machine
// that is busy for a moment must not keep a policy from loading.
const proofTimeout = 10 * time.Second

// wholeProofTimeout bounds all of them together: no other policies are loaded
// until then.
const wholeProofTimeout = time.Minute

// Sample is a file samples/*.json of a policy folder: a question that is run
// through a policy at every load. A result of the wrong shape, or another
// answer than the one expected, keeps the policies from loading.
type Sample struct {
	// Package is the policy package, such as parley.partners.globex.
	Package string `json:"package"`
	// Input is as input.schema.json has it. What policies are given only if
	// they read it may stay in.
	Input json.RawMessage `json:"input"`
	// Allow is what the decision has to be; without it any will do.
	Allow *bool `json:"allow"`
}

func isSample(f file) bool {
	dir, _, nested := strings.Cut(f.path, "/")
	return !f.library && nested && dir == samplesFolder && path.Ext(f.path) == ".json"
}

// prove checks that every package which will be asked exists, and runs sample
// questions through it: of each partner, one per side, signal, kind and purpose.
// The shape of every result is checked; that it is undefined is an answer.
func (rev *revision) prove(ctx context.Context, src *sources, now time.Time) error {
	p := &proof{revision: rev, each: allowance{proofTimeout, rev.within.memory}, all: wholeProofTimeout, slow: map[*prepared]bool{}}
	return p.run(ctx, src, now)
}

// proof is one that is under way.
type proof struct {
	*revision
	// each is what one evaluation may take, and all how long all of them may.
	each allowance
	all  time.Duration
	// slow are those that took more, and aren't tried again.
	slow map[*prepared]bool
}

func (rev *proof) run(ctx context.Context, src *sources, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, rev.all)
	defer cancel()
	var found problems
	for _, name := range []string{own, ask} {
		if place, ok := rev.declared[name]; ok && rev.packages[name] == nil {
			found = append(found, place.problem("package %s has no rule %s", name, decisionRule))
		}
	}
	for _, a := range src.agreements {
		found = append(found, rev.proveFor(ctx, src, a, "policy", now)...)
		if a.BreakGlass != nil {
			a.Policy = a.BreakGlass.Policy
			found = append(found, rev.proveFor(ctx, src, a, "break_glass.policy", now)...)
		}
	}
	found = append(found, rev.try(ctx, src.ownQuestions(now), now)...)
	for _, f := range src.files {
		if isSample(f) && ctx.Err() == nil {
			found = append(found, rev.sample(ctx, f)...)
		}
	}
	if ctx.Err() != nil {
		found = append(found, Problem{Text: fmt.Sprintf("the policies take longer than %s to be tried with all questions of all partners", rev.all)})
	}
	return once(found).orNil()
}

// proveFor tries the package that an agreement names under a key.
func (rev *proof) proveFor(ctx context.Context, src *sources, a tenants.Agreement, key string, now time.Time) problems {
	switch {
	case a.Policy == "":
	case !answers(a.Policy):
		return problems{{File: a.File, Text: key + " " + quote(a.Policy) + " is not for partners; name a package of the policy folder"}}
	case rev.packages[a.Policy] == nil:
		return problems{{File: a.File, Text: key + " " + rev.missing(a.Policy)}}
	}
	return rev.try(ctx, src.questions(a, now), now)
}

func (rev *revision) missing(name string) string {
	if place, found := rev.declared[name]; found {
		return fmt.Sprintf("%q: the package, in %s, has no rule %s", name, place.file, decisionRule)
	}
	return fmt.Sprintf("%q: the policy folder has no such package", name)
}

// try runs questions, and reports each package and problem once. A package that
// takes too long for one is not tried with others.
func (rev *proof) try(ctx context.Context, questions []policy.Request, now time.Time) problems {
	var found problems
	for _, r := range questions {
		if ctx.Err() != nil {
			return found
		}
		name, refusal := rev.deciding(r)
		p := rev.packages[name]
		if refusal != "" || p == nil {
			found = append(found, Problem{Text: fmt.Sprintf("policy package %q can't be tried: %s", name, refusal)})
			continue
		}
		if rev.slow[p] {
			continue
		}
		errs := rev.ask(ctx, p, r, now)
		if ctx.Err() != nil {
			return found
		}
		for _, err := range errs {
			rev.slow[p] = rev.slow[p] || errors.As(err, new(tooSlow)) || errors.As(err, new(tooLarge))
			var shape shapeError
			if errors.As(err, &shape) {
				found = append(found, rev.mistakes(ctx, p, r, now, shape)...)
				continue
			}
			if conflict, ok := rev.conflict(ctx, p, r, now, err); ok {
				found = append(found, conflict)
				continue
			}
			at, text := p.place, err.Error()
			var included *includeError
			if errors.As(err, &included) {
				at, text = place{file: included.File, line: included.Line}, included.Text
			}
			if slices.ContainsFunc(found, func(q Problem) bool {
				return strings.HasSuffix(q.Text, text) && q.File == at.file && q.Line == at.line
			}) {
				continue
			}
			found = append(found, at.problem("package %s, tried with a question (%s, %s, %s, purpose %s, of %s to %s): %s",
				name, r.Side, r.Signal, r.Kind, r.Principal.Purpose, r.Principal.Org, r.Owner, text))
		}
	}
	return found
}

// once leaves out problems that are there already.
func once(found problems) problems {
	var out problems
	for _, p := range found {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// ask evaluates a question, and what the decision would include for another one.
func (rev *proof) ask(ctx context.Context, p *prepared, r policy.Request, now time.Time) []error {
	input, err := describe(r, now, p.reads)
	if err != nil {
		return []error{err}
	}
	var errs []error
	if _, err := rev.evaluate(ctx, p, input, r.Side, r.Signal, rev.each); err != nil && !errors.Is(err, errUndefined) {
		errs = append(errs, err)
	}
	value, err := parseInput(input)
	if err != nil {
		return append(errs, err)
	}
	for _, rule := range slices.Sorted(maps.Keys(p.named)) {
		err := rev.bounded(ctx, rev.each, func(e *evaluation) error {
			_, err := rev.include(e, p, rule, value)
			return err
		})
		if err != nil {
			errs = append(errs, err)
		}
		if errors.As(err, new(tooSlow)) || errors.As(err, new(tooLarge)) {
			break
		}
	}
	return errs
}

// questions are samples of what the partner may ask us and we may ask it.
func (s *sources) questions(a tenants.Agreement, now time.Time) []policy.Request {
	var out []policy.Request
	for _, signal := range a.Signals {
		for _, kind := range policy.Kinds(signal) {
			for _, purpose := range a.Purposes {
				answer := question(signal, kind, now)
				answer.Side, answer.Package, answer.Owner = policy.Answer, a.Policy, s.org
				answer.Principal = tenants.Principal{
					Org: a.Partner, Workload: a.GatewayID, Purpose: purpose,
					User: tenants.User{Subject: "someone", Proof: tenants.ProvenByJWT},
				}
				answer.Purposes = a.Under(purpose)
				asked := answer
				asked.Side, asked.Package, asked.Owner = policy.Ask, "", a.Partner
				asked.Principal.Org = s.org
				out = append(out, answer, asked)
			}
		}
	}
	return out
}

// ownQuestions are samples of what our own users ask of our own data.
func (s *sources) ownQuestions(now time.Time) []policy.Request {
	var out []policy.Request
	for _, signal := range []tenants.Signal{tenants.Metrics, tenants.Logs, tenants.Traces} {
		for _, kind := range policy.Kinds(signal) {
			r := question(signal, kind, now)
			r.Side, r.Owner = policy.Answer, s.org
			r.Principal = tenants.Principal{Org: s.org, Purpose: "operations"}
			r.Purposes = tenants.Agreement{}.Under(r.Principal.Purpose)
			asked := r
			asked.Side = policy.Ask
			out = append(out, r, asked)
		}
	}
	return out
}

func question(signal tenants.Signal, kind policy.Kind, now time.Time) policy.Request {
	r := policy.Request{
		Signal: signal, Kind: kind,
		Window: policy.Window{Start: now.Add(-time.Hour), End: now},
		Query:  `http_requests_total{service="api"}`,
		Selectors: []policy.Selector{{
			labels.MustNewMatcher(labels.MatchEqual, "service", "api"),
			labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "http_requests_total"),
		}},
	}
	switch kind {
	case policy.Instant:
		r.Query, r.Functions = "sum(rate("+r.Query+"[5m]))", []string{"rate", "sum"}
	case policy.Range:
		r.Query, r.Functions, r.Step = "sum(rate("+r.Query+"[5m]))", []string{"rate", "sum"}, 30*time.Second
	case policy.LabelValues:
		r.Label = "service"
	case policy.Metadata:
		r.Query, r.Selectors = "", nil
	default:
	}
	switch signal {
	case tenants.Logs:
		return aboutLogs(r)
	case tenants.Traces:
		return aboutTraces(r)
	}
	return r
}

// aboutTraces is a question about metrics asked of traces.
func aboutTraces(r policy.Request) policy.Request {
	r.Selectors, r.Functions, r.Step, r.Query, r.Label = nil, nil, 0, "", ""
	switch r.Kind {
	case policy.Trace:
		r.Query = "4bf92f3577b34da6a3ce929d0e0e4736"
	case policy.Search:
		r.Query = `{ resource.service.name = "api" }`
	case policy.LabelValues:
		r.Label = "resource.service.name"
	case policy.Operations:
		r.Label = "api"
	default:
	}
	return r
}

// aboutLogs is a question about metrics asked of logs.
func aboutLogs(r policy.Request) policy.Request {
	const stream = `{service="api"}`
	r.Selectors = []policy.Selector{{labels.MustNewMatcher(labels.MatchEqual, "service", "api")}}
	r.Query = stream
	switch r.Kind {
	case policy.Instant, policy.Range:
		r.Query = "sum(rate(" + stream + "[5m]))"
	case policy.Tail:
		r.Query = stream + ` |= "error"`
	default:
	}
	return r
}

// sample runs a file of samples.
func (rev *proof) sample(ctx context.Context, f file) problems {
	problem := func(format string, args ...any) problems {
		return problems{{File: f.name, Text: fmt.Sprintf(format, args...)}}
	}
	var s Sample
	if err := unmarshalStrictly(f.text, &s); err != nil {
		return problems{{File: f.name, Line: lineOf(f.text, err), Text: err.Error()}}
	}
	p := rev.packages[s.Package]
	if p == nil {
		return problem("package %q: there is none with a rule %s", s.Package, decisionRule)
	}
	input := struct {
		Side   policy.Side
		Signal tenants.Signal
	}{Signal: tenants.Metrics} // of samples from before there were others
	if err := json.NewDecoder(bytes.NewReader(s.Input)).Decode(&input); err != nil {
		return problem("input: %v", err)
	}
	if rev.slow[p] {
		return nil
	}
	v, err := rev.evaluate(ctx, p, s.Input, input.Side, input.Signal, rev.each)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil && !errors.Is(err, errUndefined) {
		return problem("package %s: %v", s.Package, err)
	}
	if s.Allow != nil && *s.Allow != v.decision.Allow {
		return problem("package %s: expected allow to be %t, it is %t %q", s.Package, *s.Allow, v.decision.Allow, v.decision.Reasons)
	}
	return nil
}
