package rego

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	opa "github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/parley-gateway/parley/policy"
)

// Explanation is a decision and what in the policy's files made it.
type Explanation struct {
	Decision policy.Decision
	// Package decided; empty where none was asked.
	Package string
	// MaxAge and Delay are what moves the decision's NotBefore and NotAfter along
	// with the clock; zero is nothing.
	MaxAge, Delay time.Duration
	// Rules are those of the policy's own files that were evaluated and have
	// conditions, and all of the package's rules named decision, in the order of
	// their places.
	Rules []Rule
	// Datasets says of those of the decision, in their order, where they are
	// written.
	Datasets []Written
}

// Rule is a rule that was evaluated.
type Rule struct {
	Name    string `json:"name"` // without its package, if that is the one that decides
	Place   Place  `json:"place"`
	Decides bool   `json:"decides"`
	// Default is a rule that holds where no other of its name does.
	Default bool `json:"default,omitempty"`
	Held    bool `json:"held"`
	// Unmet is the condition at which one that doesn't hold ended.
	Unmet *Condition `json:"unmet,omitempty"`
}

// Written is where a dataset is.
type Written struct {
	// Place is of its name, or of the decision it is part of where it is put
	// together by rules.
	Place Place `json:"place"`
	// Keys are the places of its keys, such as release, k and "*".
	Keys map[string]Place `json:"keys,omitempty"`
	// Labels are the places of the labels it names.
	Labels map[string]Place `json:"labels,omitempty"`
}

// Of is where something is said of a label, or the dataset if nothing is.
func (w Written) Of(label string) Place {
	for _, places := range []map[string]Place{w.Labels, w.Keys} {
		if at, ok := places[label]; ok {
			return at
		}
	}
	return w.Place
}

// Explain decides and says why. The error is that of an ended ctx.
func (p *Policies) Explain(ctx context.Context, r policy.Request) (Explanation, error) {
	now := p.config.Now()
	rev := p.current.Load()
	v, err := rev.verdict(ctx, r, now)
	if err != nil {
		return Explanation{}, fmt.Errorf("decide: %w", err)
	}
	out := Explanation{Decision: v.at(now), MaxAge: v.maxAge, Delay: v.delay}
	name, refusal := rev.deciding(r)
	asked := rev.packages[name]
	if refusal != "" || asked == nil {
		return out, nil
	}
	out.Package = name
	if out.Rules, err = rev.evaluated(ctx, asked, r, now); err != nil {
		return out, err
	}
	written := rev.written()
	for _, d := range out.Decision.Obligations.Datasets {
		out.Datasets = append(out.Datasets, findWritten(written, d, asked, out.Rules))
	}
	return out, nil
}

// evaluated evaluates once more, with a trace and without the shortcuts that
// leave rules out.
func (rev *revision) evaluated(ctx context.Context, p *prepared, r policy.Request, now time.Time) ([]Rule, error) {
	input, err := describe(r, now, p.reads)
	if err != nil {
		return nil, err
	}
	value, err := parseInput(input)
	if err != nil {
		return nil, err
	}
	e := allowance{proofTimeout, rev.within.memory}.begin(ctx)
	defer e.end()
	t := &ruleTracer{revision: rev, pkg: p.name, byQuery: map[uint64]*traced{}}
	_, err = p.query.Eval(e.ctx, append(e.options(new(int)), opa.EvalParsedInput(value), opa.EvalQueryTracer(t), opa.EvalRuleIndexing(false), opa.EvalEarlyExit(false))...)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return t.rules(), nil // the decision says what went wrong
	}
	return t.rules(), nil
}

// ruleTracer notes the rules of the policy's own files that are evaluated.
type ruleTracer struct {
	*revision
	pkg     string
	byQuery map[uint64]*traced
}

type traced struct {
	rule  *ast.Rule
	held  bool
	unmet *Condition
}

// Enabled implements topdown.QueryTracer.
func (t *ruleTracer) Enabled() bool { return true }

// Config implements topdown.QueryTracer.
func (t *ruleTracer) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

// TraceEvent implements topdown.QueryTracer.
func (t *ruleTracer) TraceEvent(e topdown.Event) {
	switch n := e.Node.(type) {
	case *ast.Rule:
		if e.Op == topdown.EnterOp && t.own(n.Location) {
			t.byQuery[e.QueryID] = &traced{rule: n}
		}
		if seen := t.byQuery[e.QueryID]; seen != nil && e.Op == topdown.ExitOp {
			seen.held = true
		}
	case *ast.Expr:
		if seen := t.byQuery[e.QueryID]; seen != nil && e.Op == topdown.FailOp {
			c := conditionOf(n)
			seen.unmet = &c
		}
	}
}

// own says whether something is written in the policy folder.
func (rev *revision) own(l *ast.Location) bool {
	return l != nil && slices.ContainsFunc(rev.src.files, func(f file) bool { return f.name == l.File && !f.library })
}

// rules are those traced, each once: held if it held for any of its arguments.
func (t *ruleTracer) rules() []Rule {
	byRule := map[*ast.Rule]*Rule{}
	for _, id := range slices.Sorted(maps.Keys(t.byQuery)) {
		seen := t.byQuery[id]
		if byRule[seen.rule] == nil {
			byRule[seen.rule] = t.describe(seen.rule)
		}
		r := byRule[seen.rule]
		r.Held = r.Held || seen.held
		if seen.unmet != nil {
			r.Unmet = seen.unmet
		}
	}
	var out []Rule
	for rule, r := range byRule {
		if r.Held {
			r.Unmet = nil
		}
		if r.Decides || conditional(rule) {
			out = append(out, *r)
		}
	}
	slices.SortFunc(out, func(a, b Rule) int {
		return cmp.Or(strings.Compare(a.Place.File, b.Place.File), cmp.Compare(a.Place.Line, b.Place.Line), strings.Compare(a.Name, b.Name))
	})
	return slices.Compact(out)
}

func (t *ruleTracer) describe(rule *ast.Rule) *Rule {
	name := rule.Head.Ref().String()
	pkg := packageName(rule.Module.Package.Path)
	r := &Rule{Place: placeOf(rule.Location), Default: rule.Default, Decides: pkg == t.pkg && name == decisionRule}
	if pkg != t.pkg {
		name = pkg + "." + name
	}
	r.Name = name
	return r
}

// conditional says whether a rule could have not held: what its value needs is
// in its body too, since it was compiled.
func conditional(rule *ast.Rule) bool {
	return slices.ContainsFunc(rule.Body, func(e *ast.Expr) bool {
		term, ok := e.Terms.(*ast.Term)
		return !e.Generated && (!ok || !ast.Boolean(true).Equal(term.Value))
	})
}

// writtenDataset is an object of a policy that looks like a dataset.
type writtenDataset struct {
	Written

	name string
	// from is the place of the rule it is in.
	from   Place
	object ast.Object
}

// written finds the datasets that are written as one object. Policies are small
// and this is for people, so that it is done anew each time.
func (rev *revision) written() []writtenDataset {
	modules, _, _ := parse(rev.src)
	var out []writtenDataset
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		for _, rule := range modules[name].Rules {
			from := placeOf(rule.Location)
			ast.WalkTerms(rule, func(t *ast.Term) bool {
				if d, ok := readDataset(t); ok {
					d.from = from
					out = append(out, d)
				}
				return false
			})
		}
	}
	return out
}

func readDataset(t *ast.Term) (writtenDataset, bool) {
	object, ok := t.Value.(ast.Object)
	if !ok {
		return writtenDataset{}, false
	}
	name := object.Get(ast.StringTerm("name"))
	has := func(key string) bool { return object.Get(ast.StringTerm(key)) != nil }
	if name == nil || !slices.ContainsFunc([]string{"release", "series", "include", "streams", "spans", "labels", "dimensions"}, has) {
		return writtenDataset{}, false
	}
	text, ok := name.Value.(ast.String)
	if !ok {
		return writtenDataset{}, false
	}
	d := writtenDataset{name: string(text), object: object, Written: Written{Place: placeOf(name.Location), Keys: keysOf(object)}}
	if labels := object.Get(ast.StringTerm("labels")); labels != nil {
		if object, ok := labels.Value.(ast.Object); ok {
			d.Labels = keysOf(object)
		}
	}
	return d, true
}

func keysOf(object ast.Object) map[string]Place {
	out := map[string]Place{}
	object.Foreach(func(key, _ *ast.Term) {
		if s, ok := key.Value.(ast.String); ok {
			out[string(s)] = placeOf(key.Location)
		}
	})
	return out
}

// findWritten is where a dataset is most probably written: an object of its
// name, best with the labels it has and in a rule of the package that decided.
func findWritten(all []writtenDataset, d policy.Dataset, p *prepared, rules []Rule) Written {
	best, most := Written{Place: decidedAt(p, rules)}, 0
	for _, w := range all {
		if w.name != d.Name {
			continue
		}
		likeness := 1
		if sameLabels(w, d) {
			likeness += 4
		}
		if slices.ContainsFunc(rules, func(r Rule) bool { return r.Held && r.Place == w.from }) {
			likeness += 2
		}
		if w.from.File == p.place.file {
			likeness++
		}
		if likeness > most {
			best, most = w.Written, likeness
		}
	}
	return best
}

func sameLabels(w writtenDataset, d policy.Dataset) bool {
	named := slices.Sorted(maps.Keys(w.Labels))
	named = slices.DeleteFunc(named, func(name string) bool { return name == "*" })
	if d.Release == policy.Aggregate {
		return !slices.ContainsFunc(named, func(name string) bool { _, ok := d.Labels[name]; return !ok })
	}
	return slices.Equal(named, slices.Sorted(maps.Keys(d.Labels)))
}

// decidedAt is the rule that decided.
func decidedAt(p *prepared, rules []Rule) Place {
	for _, r := range rules {
		if r.Decides && r.Held && !r.Default {
			return r.Place
		}
	}
	return Place{File: p.place.file, Line: p.place.line}
}
