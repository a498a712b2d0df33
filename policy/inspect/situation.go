package inspect

import (
	"slices"

	"github.com/parley-gateway/parley/tenants"
)

// situation is an agreement as it is every day or in an emergency, with the
// policy that decides then.
type situation struct {
	tenants.Agreement

	emergency bool
}

// situations are those in which a partner may ask: every day, and in an emergency
// if that was agreed. Where agreements are assumed, an emergency is tried of
// policies that look at whether there is one.
func (f *Folder) situations(a tenants.Agreement) []situation {
	out := []situation{{Agreement: a}}
	if a.BreakGlass == nil {
		return out
	}
	if p, _ := f.Inventory.Package(a.BreakGlass.Policy); f.Assumed && !p.DependsOn("principal.break_glass") {
		return out
	}
	a.Policy = a.BreakGlass.Policy
	return append(out, situation{Agreement: a, emergency: true})
}

// of says which situation a text is about.
func (s situation) of(text string) string {
	if s.emergency {
		return text + " in an emergency"
	}
	return text
}

// names says whether an agreement names a package, for every day or emergencies.
func names(a tenants.Agreement, policy string) bool {
	return a.Policy == policy || a.BreakGlass != nil && a.BreakGlass.Policy == policy
}

// unionOf are the situations that are in either list.
func unionOf(a, b []situation) []situation {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.ContainsFunc(out, func(o situation) bool { return o.emergency == s.emergency && o.Policy == s.Policy }) {
			out = append(out, s)
		}
	}
	return out
}
