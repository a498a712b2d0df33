package metrics

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
)

// floors are how exact the samples of a view are. The zero value leaves them.
type floors struct {
	// resolution is the length, in milliseconds, of the intervals of which only
	// the last sample is there, at the interval's end; zero is none.
	resolution int64
	rounding   policy.Rounding
}

func (f floors) none() bool { return f == (floors{}) }

// end is the end of the interval that a time is in: the first multiple of the
// resolution that isn't before it.
func (f floors) end(t int64) int64 { return t + mod(-t, f.resolution) }

// over reads the samples of a view's series from those of the raw one, whose
// iterator has to begin at from(mint).
func (f floors) over(raw chunkenc.Iterator, mint, maxt int64) chunkenc.Iterator {
	if f.none() {
		return raw
	}
	return &floored{raw: raw, floors: f, mint: mint, maxt: maxt}
}

// from is the first time at which a raw sample has to do with one of the view
// at mint or later.
func (f floors) from(mint int64) int64 {
	if f.resolution == 0 || mint < beginningOfTime {
		return mint
	}
	return f.end(mint) - f.resolution + 1
}

// floored reads samples as exactly as policy lets them be.
type floored struct {
	raw chunkenc.Iterator
	floors
	mint, maxt int64

	ahead     chunkenc.ValueType // of the raw sample after the current one
	started   bool
	kind      chunkenc.ValueType // of the current sample
	t         int64
	f         float64
	histogram *histogram.FloatHistogram
}

func (it *floored) Next() chunkenc.ValueType {
	if !it.started {
		it.started, it.ahead = true, it.raw.Next()
	}
	for it.ahead != chunkenc.ValNone {
		if it.read(); it.t > it.maxt {
			break
		}
		if it.t >= it.mint {
			return it.kind
		}
	}
	it.ahead, it.kind = chunkenc.ValNone, chunkenc.ValNone
	return chunkenc.ValNone
}

// read takes the next sample, and with a resolution the last one of its
// interval.
func (it *floored) read() {
	for end, first := int64(0), true; it.ahead != chunkenc.ValNone; first = false {
		at := it.raw.AtT()
		if it.resolution > 0 {
			at = it.end(at)
		}
		if !first && at != end {
			return
		}
		end, it.t = at, at
		if it.ahead == chunkenc.ValFloat {
			_, f := it.raw.At()
			it.kind, it.f, it.histogram = chunkenc.ValFloat, it.rounding.Round(f), nil
		} else {
			_, it.histogram = it.raw.AtFloatHistogram(nil)
			it.kind = chunkenc.ValFloatHistogram
			if it.histogram.CounterResetHint != histogram.GaugeType {
				// It is about the sample before, which isn't the one before in the view.
				it.histogram.CounterResetHint = histogram.UnknownCounterReset
			}
			roundHistogram(it.histogram, it.rounding)
		}
		it.ahead = it.raw.Next()
		if it.resolution == 0 {
			return
		}
	}
}

func (it *floored) Seek(t int64) chunkenc.ValueType {
	if it.kind != chunkenc.ValNone && it.t >= t {
		return it.kind
	}
	if from := it.from(t); !it.started || it.ahead != chunkenc.ValNone && it.raw.AtT() < from {
		it.started, it.ahead = true, it.raw.Seek(from)
	}
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		if it.t >= t {
			return kind
		}
	}
	return chunkenc.ValNone
}

func (it *floored) At() (int64, float64) { return it.t, it.f }

// AtHistogram is for histograms of whole numbers, of which there are none here.
func (it *floored) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	panic("a view with floors has no histograms of integers")
}

func (it *floored) AtFloatHistogram(h *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	if h == nil {
		return it.t, it.histogram.Copy()
	}
	it.histogram.CopyTo(h)
	return it.t, h
}

func (it *floored) AtT() int64 { return it.t }

func (it *floored) Err() error { return it.raw.Err() }

// roundHistogram rounds the buckets; the count stays their sum.
func roundHistogram(h *histogram.FloatHistogram, r policy.Rounding) {
	if r == (policy.Rounding{}) {
		return
	}
	h.Sum, h.ZeroCount = r.Round(h.Sum), r.Round(h.ZeroCount)
	h.Count = h.ZeroCount
	for _, buckets := range [][]float64{h.NegativeBuckets, h.PositiveBuckets} {
		for i := range buckets {
			buckets[i] = r.Round(buckets[i])
			h.Count += buckets[i]
		}
	}
}

// checkFloors refuses a question that asks for more than the obligations'
// floors let through, by its text alone. So the partner is told why.
func checkFloors(expr parser.Expr, q Question, o policy.Obligations) error {
	if o.Resolution > 0 && q.Kind == policy.Range && q.Step < o.Resolution {
		return federation.Errorf(federation.OverLimit, "the resolution is %s; ask with a step that isn't shorter", model.Duration(o.Resolution))
	}
	var err error
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		if err == nil {
			err = checkNode(node, path, o)
		}
		return nil
	})
	return err
}

func checkNode(node parser.Node, path []parser.Node, o policy.Obligations) error {
	if n, ok := node.(*parser.VectorSelector); ok && slices.ContainsFunc(o.Queries, func(q policy.Query) bool { return q.Name == n.Name }) {
		return nil
	}
	answered := func(name string) error {
		if len(o.Functions) == 0 || slices.Contains(o.Functions, name) {
			return nil
		}
		return federation.Errorf(federation.NeedsAggregation, "%s is not among the functions that are answered: %s", name, strings.Join(o.Functions, ", "))
	}
	switch n := node.(type) {
	case *parser.Call:
		return answered(n.Func.Name)
	case *parser.AggregateExpr:
		return answered(n.Op.String())
	case *parser.MatrixSelector:
		return checkRange(n.Range, o)
	case *parser.SubqueryExpr:
		step := n.Step
		if step == 0 {
			step = time.Duration(defaultSubqueryStep(0)) * time.Millisecond
		}
		return checkRange(min(n.Range, step), o)
	case *parser.VectorSelector:
		if len(o.Functions) == 0 || slices.ContainsFunc(path, func(above parser.Node) bool {
			switch above.(type) {
			case *parser.Call, *parser.AggregateExpr:
				return true
			}
			return false
		}) {
			return nil
		}
		return federation.Errorf(federation.NeedsAggregation, "a selector by itself is not answered; put one of these around it: %s", strings.Join(o.Functions, ", "))
	}
	return nil
}

func checkRange(length time.Duration, o policy.Obligations) error {
	if length < o.Resolution {
		return federation.Errorf(federation.OverLimit, "the resolution is %s; ask for ranges, and with steps of subqueries, that aren't shorter", model.Duration(o.Resolution))
	}
	return nil
}
