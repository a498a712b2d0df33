package traces

import (
	"cmp"
	"slices"
)

// journey is the part of a forest that is one trace to those who look at it.
type journey struct {
	f *forest
	// order are its nodes, parents before their children, the root first.
	order []int32
	root  int32
	// orgs are the organizations that have spans in it, nearest to the root first,
	// that of the root first of all: those with fewest borders on the way there,
	// then by name.
	orgs []int32
}

// journeysOf are those of the trace ids, each once, in the order of the ids.
func (f *forest) journeysOf(ids []int32) []*journey {
	roots := map[int32][]int32{}
	for i := range f.nodes {
		if n := &f.nodes[i]; n.parent == none {
			in := f.journeys[n.trace]
			roots[in] = append(roots[in], int32(i))
		}
	}
	var out []*journey
	for _, t := range ids {
		in := f.journeys[t]
		if len(roots[in]) > 0 {
			out = append(out, f.journey(roots[in]))
		}
		delete(roots, in)
	}
	return out
}

// journey is what hangs on some roots.
func (f *forest) journey(roots []int32) *journey {
	slices.SortFunc(roots, func(a, b int32) int {
		x, y := &f.nodes[a], &f.nodes[b]
		if x.placeholder != y.placeholder {
			if y.placeholder {
				return -1
			}
			return 1
		}
		return f.compare(a, b)
	})
	j := &journey{f: f, order: roots, root: roots[0]}
	var borders []int // on the way to each of order
	for range roots {
		borders = append(borders, 0)
	}
	nearest := map[int32]int{}
	for k := 0; k < len(j.order); k++ {
		i := j.order[k]
		org := f.nodes[i].org
		if was, ok := nearest[org]; org != none && (!ok || borders[k] < was) {
			nearest[org] = borders[k]
		}
		for _, kid := range f.children(i) {
			over := 0
			if o := f.nodes[kid].org; o != org && o != none && org != none {
				over = 1
			}
			j.order, borders = append(j.order, kid), append(borders, borders[k]+over)
		}
	}
	j.orgs = j.byNearness(nearest)
	return j
}

func (j *journey) byNearness(nearest map[int32]int) []int32 {
	first := j.begins()
	orgs := make([]int32, 0, len(nearest))
	for org := range nearest {
		orgs = append(orgs, org)
	}
	slices.SortFunc(orgs, func(a, b int32) int {
		if (a == first) != (b == first) {
			if a == first {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(nearest[a], nearest[b]), cmp.Compare(a, b))
	})
	return orgs
}

// begins is the organization in which the journey begins: that of the root, or of
// what comes first below it.
func (j *journey) begins() int32 {
	for _, i := range j.order {
		if org := j.f.nodes[i].org; org != none {
			return org
		}
	}
	return none
}
