package inspect

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/parley-gateway/parley/tenants"
)

// Change is what is decided otherwise by another folder of policies, of some
// questions of a partner for a purpose, every day or in an emergency.
type Change struct {
	Partner   tenants.OrgID   `json:"partner"`
	Purpose   tenants.Purpose `json:"purpose"`
	Emergency bool            `json:"break_glass,omitempty"`
	// Questions of so many were decided otherwise, and in the same way.
	Questions int `json:"questions"`
	Of        int `json:"of"`
	// Examples are one of them for each kind and case.
	Examples    []Sample     `json:"examples"`
	Differences []Difference `json:"differences"`
}

// Diff compares what two folders decide on sample questions of the partners of
// either, in the order of the newer one's agreements.
func Diff(ctx context.Context, before, after *Folder) ([]Change, error) {
	var out []Change
	for _, a := range union(after.Agreements, before.Agreements) {
		situations := unionOf(after.situations(a), before.situations(a))
		for _, purpose := range a.Purposes {
			for _, s := range situations {
				changes, err := diff(ctx, before, after, s, purpose)
				if err != nil {
					return nil, err
				}
				out = append(out, changes...)
			}
		}
	}
	return out, nil
}

// union has the agreements of both, with the purposes of either.
func union(a, b []tenants.Agreement) []tenants.Agreement {
	out := slices.Clone(a)
	for _, other := range b {
		i := slices.IndexFunc(out, func(o tenants.Agreement) bool { return o.Partner == other.Partner && o.Policy == other.Policy })
		if i < 0 {
			out = append(out, other)
			continue
		}
		purposes := slices.Clone(out[i].Purposes)
		for _, p := range other.Purposes {
			if !slices.Contains(purposes, p) {
				purposes = append(purposes, p)
			}
		}
		out[i].Purposes = purposes
	}
	return out
}

func diff(ctx context.Context, before, after *Folder, a situation, purpose tenants.Purpose) ([]Change, error) {
	samples := slices.Concat(
		after.samples(a, purpose, after.metrics()),
		before.samples(a, purpose, before.metrics()),
	)
	samples = each(samples)
	old, err := before.decide(ctx, a, samples)
	if err != nil {
		return nil, err
	}
	next, err := after.decide(ctx, a, samples)
	if err != nil {
		return nil, err
	}
	var out []Change
	known := map[string]int{}
	for i, s := range samples {
		differences := Differences(old[i].Decision, next[i].Decision)
		if len(differences) == 0 {
			continue
		}
		text, err := json.Marshal(differences)
		if err != nil {
			return nil, err
		}
		at, ok := known[string(text)]
		if !ok {
			at = len(out)
			known[string(text)] = at
			out = append(out, Change{Partner: a.Partner, Purpose: purpose, Emergency: a.emergency, Of: len(samples), Differences: differences})
		}
		c := &out[at]
		c.Questions++
		if !slices.ContainsFunc(c.Examples, func(e Sample) bool { return e.Signal == s.Signal && e.Kind == s.Kind && e.Case == s.Case }) {
			c.Examples = append(c.Examples, s)
		}
	}
	return out, nil
}

// each removes samples that are there twice.
func each(samples []Sample) []Sample {
	seen := map[Sample]bool{}
	return slices.DeleteFunc(samples, func(s Sample) bool {
		if seen[s] {
			return true
		}
		seen[s] = true
		return false
	})
}
