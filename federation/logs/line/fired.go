package line

import (
	"cmp"
	"slices"
)

// Fired is how often rules did something to lines: for audit, never a value. It
// also holds memory that is used again from line to line. Its zero value is
// ready; each goroutine has its own.
type Fired struct {
	by     *Redactor
	counts []uint64
	all    map[*Redactor][]uint64

	in, out, key, value []byte
	masking             [2][]byte
	spans               []span
	reading             reading
}

// Count is how often one rule fired.
type Count struct {
	// Rule is named by policy alone: "json drop *" and "json pseudonym user_id",
	// the same for logfmt and other modes than keep; "mask email"; "shape" and
	// "none"; and "unparsable" for lines that are not what rules say they are.
	Rule  string
	Times uint64
}

// of are the counts of a redactor, by index.
func (f *Fired) of(r *Redactor) []uint64 {
	if f.by == r {
		return f.counts
	}
	counts := f.all[r]
	if counts == nil {
		if f.all == nil {
			f.all = map[*Redactor][]uint64{}
		}
		counts = make([]uint64, len(r.names))
		f.all[r] = counts
	}
	f.by, f.counts = r, counts
	return counts
}

// Counts are those of rules that fired, sorted by name.
func (f *Fired) Counts() []Count {
	byName := map[string]uint64{}
	for r, counts := range f.all {
		for i, n := range counts {
			byName[r.names[i]] += n
		}
	}
	var out []Count
	for name, n := range byName {
		if n > 0 {
			out = append(out, Count{Rule: name, Times: n})
		}
	}
	slices.SortFunc(out, func(a, b Count) int { return cmp.Compare(a.Rule, b.Rule) })
	return out
}

// Reset has all counts begin again.
func (f *Fired) Reset() { f.by, f.counts, f.all = nil, nil, nil }
