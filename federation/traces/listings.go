package traces

import (
	"cmp"
	"slices"
	"strings"
)

// mergeListings makes one answer of the members', each once and in order.
func mergeListings(q Question, all answers) *Released {
	out := &Released{}
	for _, a := range all {
		if a.released == nil {
			continue
		}
		out.names = append(out.names, a.released.names...)
		out.operations = append(out.operations, a.released.operations...)
		out.dependencies = append(out.dependencies, a.released.dependencies...)
	}
	slices.Sort(out.names)
	out.names = limited(slices.Compact(out.names), q.Limit)
	slices.SortFunc(out.operations, compareOperations)
	out.operations = limited(slices.Compact(out.operations), q.Limit)
	out.dependencies = summed(out.dependencies)
	return out
}

func limited[T any](all []T, limit int) []T {
	if limit > 0 && len(all) > limit {
		return all[:limit]
	}
	return all
}

func compareOperations(a, b Operation) int {
	return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind), compareOrgs(a.Org, b.Org))
}

func compareDependencies(a, b Dependency) int {
	return cmp.Or(
		strings.Compare(a.Parent, b.Parent), strings.Compare(a.Child, b.Child),
		compareOrgs(a.ParentOrg, b.ParentOrg), compareOrgs(a.ChildOrg, b.ChildOrg),
	)
}

// summed sums up the calls of each pair.
func summed(all []Dependency) []Dependency {
	slices.SortFunc(all, compareDependencies)
	var out []Dependency
	for _, d := range all {
		if last := len(out) - 1; last >= 0 && compareDependencies(out[last], d) == 0 {
			out[last].Calls += d.Calls
			continue
		}
		out = append(out, d)
	}
	return out
}
