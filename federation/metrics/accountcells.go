package metrics

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/policy"
)

// CellAccount is what becomes of the cells of a leaf, of one dataset.
type CellAccount struct {
	Leaf    string `json:"leaf"`
	Dataset int    `json:"dataset"`
	Series  int    `json:"series"`
	Cells   int    `json:"cells"`
	// Times is at how many the leaf is evaluated.
	Times int `json:"times"`
	// Released leave at all times at which they are there, and Partly at some. The
	// others never do: most of the time Small have too few units, one unit has too
	// much of Dominated, Mixed have no sum, and Merged are buckets of too few
	// observations to be told apart.
	Released  int `json:"released"`
	Partly    int `json:"partly"`
	Small     int `json:"small"`
	Dominated int `json:"dominated"`
	Mixed     int `json:"mixed"`
	Merged    int `json:"merged"`
	// Suppressed are cells that don't leave at some time, those that do least often
	// first; Unlisted is how many more there are.
	Suppressed []SuppressedCell `json:"suppressed,omitempty"`
	Unlisted   int              `json:"unlisted,omitempty"`
}

// CellFate is why a cell is suppressed.
type CellFate string

// The fates.
const (
	SmallCell     CellFate = "small"
	DominatedCell CellFate = "dominated"
	MixedCell     CellFate = "mixed"
	MergedCell    CellFate = "merged"
)

var cellFates = map[cellFate]CellFate{cellSmall: SmallCell, cellDominated: DominatedCell, cellMixed: MixedCell, cellMerged: MergedCell}

// SuppressedCell is a cell that doesn't leave at some time.
type SuppressedCell struct {
	// Labels tell it from the others of its dataset, as they are in the store.
	Labels map[string]string `json:"labels"`
	// Fate is why it doesn't, most of the time.
	Fate CellFate `json:"fate"`
	// Times is at how many it doesn't, of those Of at which it is there. It has
	// from LeastUnits to MostUnits units then.
	Times      int `json:"times"`
	Of         int `json:"of"`
	LeastUnits int `json:"least_units"`
	MostUnits  int `json:"most_units"`
}

// EventAccount is what becomes of the increases that a leaf over events is a sum
// of: of each cell in each interval of the resolution.
type EventAccount struct {
	Leaf    string `json:"leaf"`
	Dataset int    `json:"dataset"`
	Series  int    `json:"series"`
	Cells   int    `json:"cells"`
	// Interval is the resolution, and Intervals how many there are of each cell.
	Interval  time.Duration `json:"interval_ns"`
	Intervals int           `json:"intervals"`
	// Released are intervals of cells that leave, with no event or enough; Small are
	// of fewer than k, and Merged buckets of too few to be told apart. Of Unknown no
	// series has an increase.
	Released int `json:"released"`
	Small    int `json:"small"`
	Merged   int `json:"merged"`
	Unknown  int `json:"unknown"`
	// Gaps are intervals without a sample of a series that is there before and
	// after: what it gained isn't known.
	Gaps int `json:"gaps"`
	// Suppressed are cells of which some interval doesn't leave, those of which most
	// don't first; Unlisted is how many more there are.
	Suppressed []SuppressedEvents `json:"suppressed,omitempty"`
	Unlisted   int                `json:"unlisted,omitempty"`
}

// SuppressedEvents is a cell of events of which some interval doesn't leave.
type SuppressedEvents struct {
	Labels map[string]string `json:"labels"`
	// Intervals don't leave, of those Of that are known. They have from Least to
	// Most events.
	Intervals int     `json:"intervals"`
	Of        int     `json:"of"`
	Least     float64 `json:"least"`
	Most      float64 `json:"most"`
}

// PublishedAccount is what a published query gives.
type PublishedAccount struct {
	Query string `json:"query"`
	// Expression is evaluated over the store as it is.
	Expression string `json:"expression"`
	Series     int    `json:"series"`
}

// maxSuppressed is how many suppressed cells are listed.
const maxSuppressed = 20

// accountLeaf counts what becomes of a leaf, and notes which values of labels the
// cells that are released show: by the text of their selector, see unordered.
func (l *Local) accountLeaf(ctx context.Context, out *Account, leaf leaf, v *view, q Question, counted map[string]valuesByLabel) error {
	if leaf.times.count() == 0 {
		return nil
	}
	before := v.may.bytes
	defer func() { v.may.bytes = before }()
	if leaf.query != nil {
		given, err := l.releasePublished(ctx, leaf, v, leaf.times.question(q.Lookback))
		out.Published = append(out.Published, PublishedAccount{Query: leaf.query.Name, Expression: leaf.expr.String(), Series: len(given.sums)})
		return err
	}
	values := counted[unordered(leaf.selector.LabelMatchers)]
	met := v.rules.cellsOf(leaf.selector.LabelMatchers)
	on := slices.DeleteFunc(slices.Clone(leaf.selector.LabelMatchers), func(m *labels.Matcher) bool { return m.Name == labels.MetricName })
	for i := range v.rules.datasets {
		d := &v.rules.datasets[i]
		// What is suppressed depends on more cells than are asked for.
		asked := func(cell labels.Labels) bool { return redact.Matches(on, v.rules.seenLabels(d, cell)) }
		leaves := func(cell labels.Labels) { values.see(cell, v.rules.seenLabels(d, cell)) }
		switch {
		case !slices.Contains(met, d):
		case countsEvents(d):
			w := windowsOf(leaf, v.rules.resolution)
			matrix, err := counters(ctx, leaf, w, v, d)
			if err != nil {
				return err
			}
			account, err := accountEvents(ctx, matrix, w, d, v.may, asked, leaves)
			if err != nil {
				return err
			}
			account.Leaf, account.Dataset = leaf.expr.String(), i
			out.Events = append(out.Events, account)
		default:
			raw, err := l.evaluateRaw(ctx, leaf, leaf.times.question(q.Lookback), v, v.raw(d), d)
			if err != nil {
				return err
			}
			account, err := accountCells(ctx, raw, leaf, d, v.may, asked, leaves)
			if err != nil {
				return err
			}
			account.Dataset = i
			out.Cells = append(out.Cells, account)
		}
	}
	return nil
}

func accountCells(ctx context.Context, raw rawLeaf, leaf leaf, d *policy.Dataset, may *allowance, asked func(labels.Labels) bool, leaves func(labels.Labels)) (CellAccount, error) {
	a := CellAccount{Leaf: leaf.expr.String(), Times: leaf.times.count()}
	released, err := releaseCells(ctx, raw, leaf, d, may)
	if err != nil {
		return a, err
	}
	t, err := newThreshold(raw, leaf, d, may)
	if err != nil {
		return a, err
	}
	for _, c := range released {
		if c.other || !asked(c.labels) {
			continue
		}
		a.Cells++
		a.Series += len(c.members)
		suppressed := t.suppressed(c)
		if suppressed.Times < suppressed.Of {
			leaves(c.labels)
		}
		switch {
		case suppressed.Of == 0: // of stale markers alone
			continue
		case suppressed.Times == 0:
			a.Released++
			continue
		case suppressed.Times < suppressed.Of:
			a.Partly++
		default:
			*map[CellFate]*int{SmallCell: &a.Small, DominatedCell: &a.Dominated, MixedCell: &a.Mixed, MergedCell: &a.Merged}[suppressed.Fate]++
		}
		a.Suppressed = append(a.Suppressed, suppressed)
	}
	slices.SortFunc(a.Suppressed, func(a, b SuppressedCell) int {
		return cmp.Or(cmp.Compare(a.Of-a.Times, b.Of-b.Times), cmp.Compare(b.Times, a.Times), labels.Compare(labels.FromMap(a.Labels), labels.FromMap(b.Labels)))
	})
	a.Suppressed, a.Unlisted = first(a.Suppressed)
	return a, nil
}

// suppressed says at which times a cell doesn't leave, and why.
func (t *threshold) suppressed(c *cell) SuppressedCell {
	out := SuppressedCell{Labels: c.labels.Map()}
	leaves := map[int]bool{}
	for _, p := range c.count.Floats {
		leaves[t.leaf.times.index(p.T)] = true
	}
	t.judge(c)
	byFate := map[CellFate]int{}
	for i, f := range t.fates {
		if f == cellEmpty {
			continue
		}
		out.Of++
		if leaves[i] {
			continue
		}
		if f == cellLeaves { // it would have, if its buckets had enough
			f = cellMerged
		}
		byFate[cellFates[f]]++
		n := int(t.units[i])
		if out.Times++; out.Times == 1 {
			out.LeastUnits = n
		}
		out.LeastUnits, out.MostUnits = min(out.LeastUnits, n), max(out.MostUnits, n)
	}
	for _, fate := range []CellFate{SmallCell, DominatedCell, MixedCell, MergedCell} {
		if byFate[fate] > byFate[out.Fate] {
			out.Fate = fate
		}
	}
	return out
}

func accountEvents(ctx context.Context, counters promql.Matrix, w windows, d *policy.Dataset, may *allowance, asked func(labels.Labels) bool, leaves func(labels.Labels)) (EventAccount, error) {
	a := EventAccount{Interval: time.Duration(w.length) * time.Millisecond, Intervals: w.count()}
	names := cellLabels(d, false)
	for _, s := range counters {
		if !asked(s.Metric.MatchLabels(true, names...)) {
			continue
		}
		a.Series++
		for i := 1; i < len(s.Floats); i++ {
			a.Gaps += int((s.Floats[i].T-s.Floats[i-1].T)/w.length) - 1
		}
	}
	finest, err := sortIntoEventCells(ctx, counters, w, d, may)
	if err != nil {
		return a, err
	}
	before := map[string][]float64{}
	for key, c := range finest {
		before[key] = slices.Clone(c.sums)
	}
	suppressEvents(finest, w, d)
	for key, c := range finest {
		if !asked(c.labels) {
			continue
		}
		a.Cells++
		suppressed := SuppressedEvents{Labels: c.labels.Map(), Least: math.Inf(1)}
		for j, v := range before[key] {
			switch {
			case math.IsNaN(v):
				a.Unknown++
				continue
			case !math.IsNaN(c.sums[j]):
				a.Released++
			case isBucket(c.labels):
				a.Merged++
			default:
				a.Small++
			}
			suppressed.Of++
			if math.IsNaN(c.sums[j]) {
				suppressed.Intervals++
				suppressed.Least, suppressed.Most = min(suppressed.Least, v), max(suppressed.Most, v)
			}
		}
		if suppressed.Intervals < suppressed.Of {
			leaves(c.labels)
		}
		if suppressed.Intervals > 0 {
			a.Suppressed = append(a.Suppressed, suppressed)
		}
	}
	slices.SortFunc(a.Suppressed, func(a, b SuppressedEvents) int {
		return cmp.Or(cmp.Compare(b.Intervals, a.Intervals), labels.Compare(labels.FromMap(a.Labels), labels.FromMap(b.Labels)))
	})
	a.Suppressed, a.Unlisted = first(a.Suppressed)
	return a, nil
}

// first is as much of a list as is shown, and how many more there are.
func first[T any](all []T) (some []T, more int) {
	n := min(len(all), maxSuppressed)
	return all[:n], len(all) - n
}
