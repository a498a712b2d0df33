package rego

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/parley-gateway/parley/policy"
)

// mistakes are what is wrong with the shape of a decision on a question, each
// where it is most probably written.
func (rev *revision) mistakes(ctx context.Context, p *prepared, r policy.Request, now time.Time, shape shapeError) problems {
	rules, _ := rev.evaluated(ctx, p, r, now)
	decided := decidedAt(p, rules)
	written := rev.written()
	var out problems
	for _, m := range shape {
		at := decided
		path := m.path
		if m.dataset != "" {
			if w, ok := likeliest(written, m, p, rules); ok {
				at = w.Place
				if len(path) > 2 {
					at = follow(ast.NewTerm(w.object), path[2:], at)
				}
			}
		} else if len(path) > 0 {
			at = rev.decisionWith(p, path, decided)
		}
		out = append(out, Problem{File: at.File, Line: at.Line, Text: m.text})
	}
	return out
}

// conflict is an evaluation that ended because rules of one name gave different
// values.
func (rev *revision) conflict(ctx context.Context, p *prepared, r policy.Request, now time.Time, err error) (Problem, bool) {
	var evaluation *topdown.Error
	if !errors.As(err, &evaluation) || evaluation.Code != topdown.ConflictErr || evaluation.Location == nil {
		return Problem{}, false
	}
	at := placeOf(evaluation.Location)
	rules, _ := rev.evaluated(ctx, p, r, now)
	name, others := "a rule", []string{}
	for _, rule := range rules {
		if rule.Place == at {
			name = rule.Name
		}
	}
	for _, rule := range rules {
		if rule.Name == name && rule.Held && !rule.Default && rule.Place != at {
			other := rule.Place.String()
			if rule.Place.File == at.File {
				other = "line " + strconv.Itoa(rule.Place.Line)
			}
			others = append(others, other)
		}
	}
	text := name + " has two values for one question"
	if len(others) > 0 {
		text += ", this one and that of " + strings.Join(others, " and ")
	}
	return Problem{File: at.File, Line: at.Line, Text: fmt.Sprintf("%s; let their conditions exclude each other (purpose %s, of %s to %s)",
		text, r.Principal.Purpose, r.Principal.Org, r.Owner)}, true
}

// likeliest is the dataset that a mistake is most probably in: one of its name,
// best with what is wrong and in a rule that held.
func likeliest(all []writtenDataset, m misshapen, p *prepared, rules []Rule) (best writtenDataset, found bool) {
	most := 0
	for _, w := range all {
		if w.name != m.dataset {
			continue
		}
		likeness := 1
		if len(m.path) > 2 && w.object.Get(ast.StringTerm(m.path[2])) != nil {
			likeness += 4
		}
		if slices.ContainsFunc(rules, func(r Rule) bool { return r.Held && r.Place == w.from }) {
			likeness += 2
		}
		if w.from.File == p.place.file {
			likeness++
		}
		if likeness > most {
			best, most, found = w, likeness, true
		}
	}
	return best, found
}

// follow is the place of what a path leads to, as far as it is written there.
func follow(from *ast.Term, path []string, at Place) Place {
	for _, part := range path {
		switch v := from.Value.(type) {
		case ast.Object:
			var key *ast.Term
			v.Foreach(func(k, _ *ast.Term) {
				if k.Value.Compare(ast.String(part)) == 0 {
					key = k
				}
			})
			if key == nil {
				return at
			}
			at, from = placeOf(key.Location), v.Get(key)
		case *ast.Array:
			n, err := strconv.Atoi(part)
			if err != nil || n < 0 || n >= v.Len() {
				return at
			}
			from = v.Elem(n)
			if from.Location != nil {
				at = placeOf(from.Location)
			}
		default:
			return at
		}
	}
	return at
}

// decisionWith is the place of a part of a decision: in a rule of the package
// that writes it as an object with that part, best the one that decided.
func (rev *revision) decisionWith(p *prepared, path []string, decided Place) Place {
	modules, _, _ := parse(rev.src)
	at, found := decided, false
	for _, module := range modules {
		if packageName(module.Package.Path) != p.name {
			continue
		}
		for _, rule := range module.Rules {
			if rule.Head.Ref().String() != decisionRule || rule.Head.Value == nil {
				continue
			}
			object, ok := rule.Head.Value.Value.(ast.Object)
			if !ok || object.Get(ast.StringTerm(path[0])) == nil {
				continue
			}
			if here := placeOf(rule.Location) == decided; here || !found {
				at, found = follow(rule.Head.Value, path, placeOf(rule.Location)), true
				if here {
					return at
				}
			}
		}
	}
	return at
}
