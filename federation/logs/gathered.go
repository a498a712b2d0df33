package logs

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/prometheus/promql"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/policy"
)

const (
	// maxGathered is how many entries of one member an asker reads to evaluate
	// what nobody else can.
	maxGathered = 200_000
	// gatheredPage is how many it asks for at once: as many as may leave at once
	// unless an agreement says otherwise.
	gatheredPage = 5_000
)

// contribution is what one member has to the leaves of a query. They are in order
// of organization, as entries of one time are.
type contribution struct {
	entries  map[int][]Entry // of leaves that are of entries of all, by leaf
	matrices map[int]promql.Matrix
	parts    []federation.Part
	err      error
}

// gather answers a query of which some range aggregations are of entries of
// several organizations together and can't be put together of each one's: it
// reads redacted entries and evaluates all of it here.
func (f *Federated) gather(ctx context.Context, q Question, in standIn, members []Member) (*Released, federation.Completeness, error) {
	members = slices.SortedFunc(slices.Values(members), func(a, b Member) int { return cmp.Compare(a.Org, b.Org) })
	of := make([]contribution, len(members))
	var running sync.WaitGroup
	for i := range members {
		running.Go(func() { of[i] = contributionOf(ctx, q, in, members, i) })
	}
	running.Wait()

	var completeness federation.Completeness
	var failed error
	answered := false
	for i, c := range of {
		part := federation.Sum(members[i].Org, c.parts)
		if c.err != nil {
			e := federation.AsError(c.err)
			part.Status, part.Reason, part.Coverage = federation.StatusOf(e), e.Message, policy.Window{}
			failed = cmp.Or(failed, c.err)
		}
		answered = answered || c.err == nil && len(c.parts) > 0
		completeness = append(completeness, part)
	}
	if failed != nil && !answered {
		return nil, completeness, failed
	}
	of = slices.DeleteFunc(of, func(c contribution) bool { return c.err != nil })
	store := leafStore{byName: map[string]promql.Matrix{}}
	left := newAllowance(f.maxSamples)
	for i, leaf := range in.leaves {
		matrix, err := leafOfAll(ctx, q, leaf, i, of, left)
		if err != nil {
			return nil, completeness, err
		}
		store.byName[leafName(i)] = matrix
	}
	matrix, err := metrics.Evaluate(ctx, f.engine, store, asMetrics(q, in))
	if err != nil {
		return nil, completeness, err
	}
	return &Released{numbers: metrics.ReceivedMatrix(withoutName(matrix))}, completeness, nil
}

// contributionOf asks one member for what it has to each leaf.
func contributionOf(ctx context.Context, q Question, in standIn, members []Member, i int) contribution {
	m := &members[i]
	c := contribution{entries: map[int][]Entry{}, matrices: map[int]promql.Matrix{}}
	for at, leaf := range in.leaves {
		r := rangeOf(leaf)
		if !concernedBy(m, r) {
			continue
		}
		if merges(r, members) {
			entries, parts, err := entriesOf(ctx, q, r, m)
			c.entries[at], c.parts = entries, append(c.parts, parts...)
			if err != nil {
				c.err = err
				return c
			}
			continue
		}
		released, part, err := m.Ask(ctx, Question{Kind: q.Kind, Expression: leaf.String(), Start: q.Start, End: q.End, Step: q.Step})
		c.parts = append(c.parts, part)
		if err == nil && released.numbers == nil {
			err = errors.New("an answer without numbers to a question for them")
		}
		if err == nil {
			c.matrices[at], err = released.numbers.Matrix()
		}
		if err != nil {
			c.err = err
			return c
		}
	}
	return c
}

func concernedBy(m *Member, r *logql.RangeAggregation) bool {
	return concerns(m.Org, []policy.Selector{r.Selector.Matchers})
}

// entriesOf are all entries of a member that a range aggregation reads, page by
// page. Its pipeline runs here: what it does may depend on what is aggregated.
func entriesOf(ctx context.Context, q Question, r *logql.RangeAggregation, m *Member) (entries []Entry, parts []federation.Part, err error) {
	ask := Question{Kind: policy.Range, Expression: (&logql.LogSelector{Matchers: r.Selector.Matchers, Stages: leadingFilters(r.Selector)}).String(), Limit: gatheredPage}
	ask.Start, ask.End = q.Start.Add(-r.Offset-r.Range+1), q.End.Add(-r.Offset+1)
	size := 0
	for {
		released, part, err := m.Ask(ctx, ask)
		parts = append(parts, part)
		if e := federation.AsError(err); e != nil && e.Kind == federation.OverLimit {
			return nil, parts, federation.Errorf(federation.OverLimit, "%s is of lines of several organizations together and takes all of them (%s); keep the label org in it", r.Op, e.Message)
		}
		if err != nil {
			return nil, parts, err
		}
		page := released.entries
		size += released.Bytes()
		whole := len(page) < gatheredPage
		if !whole {
			// The last moment of the page may have entries that aren't in it.
			last := page[len(page)-1].At
			page = page[:slices.IndexFunc(page, func(e Entry) bool { return e.At == last })]
			ask.Start = time.Unix(0, last)
		}
		entries = append(entries, page...)
		switch {
		case whole:
			return entries, parts, nil
		case len(page) == 0 || len(entries) > maxGathered || size > maxHeld:
			return nil, parts, federation.Errorf(federation.OverLimit,
				"%s is of lines of several organizations together, and these are too many to be read for it; keep the label org in it, or ask for less time", r.Op)
		}
	}
}

// leadingFilters are the line filters that a pipeline begins with.
func leadingFilters(s *logql.LogSelector) []logql.Stage {
	for i, stage := range s.Stages {
		if _, ok := stage.(*logql.LineFilter); !ok {
			return s.Stages[:i]
		}
	}
	return s.Stages
}

// leafOfAll are the series of a leaf, of what all members contributed to it, and of
// what is left to it.
func leafOfAll(ctx context.Context, q Question, leaf logql.Expr, at int, of []contribution, left *allowance) (promql.Matrix, error) {
	var all promql.Matrix
	var parts []*Released
	for _, c := range of {
		all = append(all, c.matrices[at]...)
		if entries, ok := c.entries[at]; ok {
			parts = append(parts, &Released{entries: entries})
		}
	}
	if parts == nil {
		return all, nil
	}
	evaluated, err := newRange(leaf, q, left)
	if err != nil {
		return nil, err
	}
	merged, err := mergeEntries(Question{}, parts)
	if err != nil {
		return nil, err
	}
	for _, e := range merged.entries {
		evaluated.Add(ctx, e.At, e.Line, e.Stream, e.Metadata)
	}
	return matrixOf(ctx, evaluated)
}
