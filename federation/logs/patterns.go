package logs

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs/line"
)

// PatternLabel is the label under which Patterns say which one it is.
const PatternLabel = "pattern"

// patterns answers which patterns the lines of the view have, and how many lines
// there are of each in each interval. A Loki finds patterns by comparing lines
// with one another; these are of each line by itself, so that no line shows in
// the pattern of another.
func (v *view) patterns(ctx context.Context, q Question, most int) (*Released, error) {
	counts := newIntervals(q)
	var scratch []byte
	held := 0
	q.Start, q.End = q.Start.Add(1), q.End.Add(1)
	err := v.counted(ctx, q, most, func(e visibleEntry) error {
		if e.line == "" {
			return nil // of which nothing leaves has no pattern
		}
		scratch = line.AppendPattern(scratch[:0], e.line)
		ls := labels.FromStrings(federation.OrgLabel, e.stream.Get(federation.OrgLabel), PatternLabel, string(scratch))
		if counts.sums[ls] == nil {
			if held += len(scratch) + patternBytes; held > maxHeld {
				return federation.Errorf(federation.OverLimit, "the lines have more patterns than a gateway holds at once; ask for less time or fewer streams")
			}
		}
		counts.add(ls, e.at, 1)
		return nil
	})
	return counts.released(), err
}

// patternBytes are about what a pattern takes beside its text.
const patternBytes = 256

func mergePatterns(_ Question, parts []*Released) (*Released, error) { return addUp(parts, false) }
