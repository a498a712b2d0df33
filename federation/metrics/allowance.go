package metrics

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/tenants"
)

// There are two kinds of bounds, and they must not be mixed up.
//
// What leaves is bounded by what was agreed, and nothing but what leaves is
// counted: see withinLimits. A hidden series can't make one too many.
//
// What is held in memory until then is bounded for our own sake, by an
// allowance. It counts samples and series of the view alone: a series that is
// hidden is let go as soon as its labels are read, however many there are. Some
// of what is hidden has to be held and so is counted all the same: the rows
// under cells and published queries, the samples beyond the view's time in a
// chunk at its end, and all that a server sends in one piece, such as lists of
// names and metadata, or samples where it doesn't stream chunks. Who meets such
// a bound learns that there is very much, and is told the same whatever it is
// much of.

// allowance is what one question may take of our memory. It is not safe for
// concurrent use.
type allowance struct {
	// engine holds no more than samples at once.
	engine  *promql.Engine
	samples int
	// bytes is how much more may be held of series, as they were read.
	bytes int
}

const (
	// leastSamples may be held at once, however few may leave: an aggregation
	// makes few of many.
	leastSamples = 1_000_000
	// bytesPerSample is how many bytes of series may be held for each sample
	// that may. In chunks, one takes about 1.3.
	bytesPerSample = 32
	// bytesPerPair is about the most that a sample takes in JSON.
	bytesPerPair = 64
	// seriesOverhead and chunkOverhead are about what a series and a chunk take
	// beside their content.
	seriesOverhead = 256
	chunkOverhead  = 96
)

// allow returns what a question may take whose answer may have at most so much.
func (l *Local) allow(limits tenants.Limits) *allowance {
	samples := min(l.config.MaxSamples, max(limits.OrDefault().Samples, leastSamples))
	return &allowance{engine: l.engines.get(samples), samples: samples, bytes: min(samples*bytesPerSample, maxReadResponse)}
}

// hold counts a series.
func (a *allowance) hold(s viewSeries) error {
	a.bytes -= seriesOverhead
	s.labels.Range(func(l labels.Label) { a.bytes -= len(l.Name) + len(l.Value) })
	if read, ok := s.chunks.(rawChunks); ok { // an embedded store's are not in memory
		for _, c := range read.chunks {
			a.bytes -= chunkOverhead + len(c.Chunk.Bytes())
		}
	}
	if a.bytes < 0 {
		return tooMuch()
	}
	return nil
}

// take counts what is held beside series as they were read.
func (a *allowance) take(bytes int) error {
	if a.bytes -= bytes; a.bytes < 0 {
		return tooMuch()
	}
	return nil
}

// takeCell counts cells.
func (a *allowance) takeCell(of ...promql.Series) error {
	bytes := 0
	for _, s := range of {
		bytes += cellBytes(s)
	}
	return a.take(bytes)
}

// cellBytes is about what a cell holds: its values, and once more with the
// markers of where they end.
func cellBytes(s promql.Series) int {
	bytes := seriesOverhead + 2*sampleBytes*(len(s.Floats)+len(s.Histograms))
	for _, p := range s.Histograms {
		bytes += p.H.Size()
	}
	return bytes
}

// run evaluates an expression over a view, and gives back what it held of series.
func (a *allowance) run(ctx context.Context, over storage.Queryable, expression string, q Question) (promql.Matrix, error) {
	before := a.bytes
	defer func() { a.bytes = before }()
	return run(ctx, a.engine, over, expression, q)
}

// answerBytes bounds the JSON of an answer that somebody else evaluated.
func (a *allowance) answerBytes() int64 { return int64(min(a.samples*bytesPerPair, maxReadResponse)) }

// engines are those in use, by how many samples they hold. Making one takes
// longer than a small question. A Local that only plans has nil.
type engines struct {
	lookback time.Duration

	mu   sync.Mutex
	made map[int]*promql.Engine // guarded by mu
}

// maxEngines is more than there are different limits at a time.
const maxEngines = 16

func (e *engines) get(samples int) *promql.Engine {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	engine := e.made[samples]
	if engine == nil {
		if len(e.made) >= maxEngines || e.made == nil {
			e.made = map[int]*promql.Engine{}
		}
		engine = newEngine(samples, e.lookback)
		e.made[samples] = engine
	}
	return engine
}

// withinLimits checks an answer against what may leave at once.
func withinLimits(by tenants.OrgID, r *Released, limits tenants.Limits) error {
	series, samples := r.counted()
	most := limits.OrDefault()
	if err := limits.CheckSeries(by, series); err != nil {
		message := fmt.Sprintf("the answer has more than %d series; ask for fewer, or aggregate", most.Series)
		if len(r.names)+len(r.metadata) > 0 {
			message = fmt.Sprintf("the list has more than %d entries; give a selector, or a limit", most.Series)
		}
		return &federation.Error{Kind: federation.OverLimit, Err: err, Message: message}
	}
	if err := limits.CheckSamples(by, samples); err != nil {
		message := fmt.Sprintf("the answer has more than %d samples; ask for less time, a larger step or fewer series", most.Samples)
		if len(r.exemplars) > 0 {
			message = fmt.Sprintf("the answer has more than %d exemplars; ask for less time or fewer series", most.Samples)
		}
		return &federation.Error{Kind: federation.OverLimit, Err: err, Message: message}
	}
	if err := limits.CheckBytes(by, r.Bytes()); err != nil {
		message := fmt.Sprintf("the answer has more than %d bytes; ask for less time, a larger step or fewer series", most.Bytes)
		if len(r.names)+len(r.metadata) > 0 {
			message = fmt.Sprintf("the list has more than %d bytes; give a selector, or a limit", most.Bytes)
		}
		return &federation.Error{Kind: federation.OverLimit, Err: err, Message: message}
	}
	return nil
}

// counted is what of an answer counts against limits: series, and as series
// names and entries of metadata; samples, and as samples exemplars.
func (r *Released) counted() (series, samples int) {
	series, samples = r.Cost()
	series += len(r.names) + len(r.exemplars)
	for _, entries := range r.metadata {
		series += len(entries)
	}
	for _, e := range r.exemplars {
		samples += len(e.Exemplars)
	}
	return series, samples
}
