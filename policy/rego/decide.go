package rego

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	opa "github.com/open-policy-agent/opa/v1/rego"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// maxKeyBytes bounds the cache's memory: a longer question is decided anew.
const maxKeyBytes = 64 << 10

// verdict decides, from the cache where it can. The error is ctx's alone.
func (rev *revision) verdict(ctx context.Context, r policy.Request, now time.Time) (verdict, error) {
	if rev.unavailable != "" {
		return denied(rev.id, "%s", rev.unavailable), nil
	}
	name, refusal := rev.deciding(r)
	if refusal != "" {
		return denied(rev.id, "%s", refusal), nil
	}
	p := rev.packages[name]
	if p == nil {
		return denied(rev.id, "policy package %s: there is none, or it has no rule %s", quote(name), decisionRule), nil
	}
	input, err := describe(r, now, p.reads)
	if err != nil {
		return denied(rev.id, "%v", err), nil
	}
	key := name + "\n" + string(input)
	cacheable := !p.reads.now && len(key) <= maxKeyBytes
	if cacheable {
		if v, ok := rev.cache.get(key); ok {
			return v, nil
		}
	}
	v, err := rev.evaluate(ctx, p, input, r.Side, r.Signal, rev.within)
	switch {
	case ctx.Err() != nil:
		return verdict{}, ctx.Err()
	case err != nil:
		return denied(rev.id, "policy package %s: %v", name, err), nil
	}
	v.decision.Revision = rev.id
	if !v.decision.Allow && len(v.decision.Reasons) == 0 {
		v.decision.Reasons = []string{"policy package " + name + " denies"}
	}
	if cacheable {
		rev.cache.add(key, v)
	}
	return v, nil
}

// deciding is the package that decides on r, or why none does.
func (rev *revision) deciding(r policy.Request) (name, refusal string) {
	ours := r.Principal.Org == r.Owner
	switch {
	case r.Principal.Org == "":
		return "", "nobody asks: the principal has no organization"
	case r.Owner == "":
		return "", "nobody is asked: the question has no owner"
	case r.Side == policy.Ask:
		return rev.orDefault(r.Package, ask, defaultAsk), ""
	case r.Side != policy.Answer:
		return "", "side " + quote(string(r.Side)) + ": want ask or answer"
	case ours:
		return rev.orDefault(r.Package, own, defaultOwn), ""
	case r.Package == "":
		return defaultAnswer, ""
	case !answers(r.Package):
		return "", "policy package " + quote(r.Package) + " is not for partners"
	}
	return r.Package, ""
}

func (rev *revision) orDefault(named, overriding, otherwise string) string {
	switch {
	case named != "":
		return named
	case rev.packages[overriding] != nil:
		return overriding
	}
	return otherwise
}

// answers says whether a package may decide what a partner is answered.
func answers(name string) bool {
	return name == defaultAnswer || !reserved(name) && name != own && name != ask
}

// evaluate runs the policy. Any error denies and isn't cached.
func (rev *revision) evaluate(
	ctx context.Context, p *prepared, input []byte, side policy.Side, signal tenants.Signal, within allowance,
) (verdict, error) {
	value, err := parseInput(input)
	if err != nil {
		return verdict{}, err
	}
	var v verdict
	err = rev.bounded(ctx, within, func(e *evaluation) (err error) {
		v, err = rev.decide(e, p, value, side, signal)
		return err
	})
	if err != nil {
		return verdict{}, err
	}
	return v, nil
}

// decide asks the policy, and its include rules for the selectors of datasets.
func (rev *revision) decide(e *evaluation, p *prepared, input ast.Value, side policy.Side, signal tenants.Signal) (verdict, error) {
	size := 0
	results, err := p.query.Eval(e.ctx, append(e.options(&size), opa.EvalParsedInput(input))...)
	switch {
	case err != nil && e.ctx.Err() != nil:
		return verdict{}, context.Cause(e.ctx)
	case err != nil:
		return verdict{}, err
	case len(results) == 0:
		return verdict{}, errUndefined
	case len(results) > 1 || len(results[0].Expressions) != 1:
		return verdict{}, errors.New("it gives more than one decision")
	}
	v, err := rev.shape.read(results[0].Expressions[0].Value, side, p.elementOf)
	if err != nil {
		return verdict{}, err
	}
	if v.decision.Allow && side == policy.Answer {
		v = v.about(signal)
	}
	v.size = size
	for i, ds := range v.decision.Obligations.Datasets {
		rule, ok := v.includes[i]
		if !ok {
			continue
		}
		selectors, err := rev.include(e, p, rule, input)
		switch {
		case err != nil && e.ctx.Err() != nil:
			return verdict{}, err
		case err != nil:
			return verdict{}, fmt.Errorf("dataset %q: %w", ds.Name, err)
		}
		p.includes[rule].of.set(&v.decision.Obligations.Datasets[i], selectors)
		v.size += selectorBytes(selectors)
	}
	return v, nil
}

// errUndefined is a policy that says nothing of a question.
var errUndefined = errors.New("it says nothing of this question: its decision is undefined")
