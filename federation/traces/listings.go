package traces

import (
	"math"
	"slices"
)

// mergeListings makes one answer of the members', each once and in order.
func mergeListings(q Question, all answers) *Released {
	out := &Released{}
	for _, a := range all {
		if a.released == nil {
			continue
		}
		out.names = append(out.names, a.released.names...)
		out.values = append(out.values, a.released.values...)
		out.operations = append(out.operations, a.released.operations...)
		out.dependencies = append(out.dependencies, a.released.dependencies...)
	}
	slices.Sort(out.names)
	out.names = limited(slices.Compact(out.names), q.Limit)
	slices.SortFunc(out.values, CompareValues)
	out.values = limited(slices.Compact(out.values), q.Limit)
	slices.SortFunc(out.operations, CompareOperations)
	out.operations = limited(slices.Compact(out.operations), q.Limit)
	out.dependencies = summed(out.dependencies)
	return out
}

// summed sums up the calls of each pair.
func summed(all []Dependency) []Dependency {
	slices.SortFunc(all, CompareDependencies)
	var out []Dependency
	for _, d := range all {
		if last := len(out) - 1; last >= 0 && CompareDependencies(out[last], d) == 0 {
			out[last].Calls += min(d.Calls, math.MaxUint64-out[last].Calls)
			continue
		}
		out = append(out, d)
	}
	return out
}
