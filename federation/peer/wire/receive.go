package wire

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/policy"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
	"github.com/parley-gateway/parley/tenants"
)

// Limits bound the answer that is accepted. A zero field is the default of
// DefaultLimits, never "unlimited".
type Limits struct {
	// Series, names, metadata entries or exemplars.
	Series int
	// Samples; a native histogram counts as one.
	Samples int
	// Spans of traces.
	Spans int
	// Bytes is the size in memory, about: what repeated references to one
	// symbol unfold to is counted each time.
	Bytes int
}

// DefaultLimits are those of a zero Limits.
var DefaultLimits = Limits{Series: 200_000, Samples: 20_000_000, Spans: 500_000, Bytes: 256 << 20}

func (l Limits) orDefault() Limits {
	return Limits{
		Series:  cmp.Or(l.Series, DefaultLimits.Series),
		Samples: cmp.Or(l.Samples, DefaultLimits.Samples),
		Spans:   cmp.Or(l.Spans, DefaultLimits.Spans),
		Bytes:   cmp.Or(l.Bytes, DefaultLimits.Bytes),
	}
}

var (
	errUnknown        = errors.New("fields that this version doesn't know")
	errUnasked        = errors.New("something else than was asked for")
	errOrder          = errors.New("entries that are out of order or there twice")
	errTooManySamples = federation.Errorf(federation.OverLimit, "the answer has more samples than are accepted of a partner; ask for less")
	errTooManySeries  = federation.Errorf(federation.OverLimit, "the answer has more series than are accepted of a partner; ask for less")
	errTooManyBytes   = federation.Errorf(federation.OverLimit, "the answer is larger than is accepted of a partner; ask for less")
)

// Receiver puts an answer together from its messages. It is not safe for
// concurrent use.
//
// An error is final: an OverLimit *federation.Error, or what is wrong with the
// answer, in words that quote none of it.
type Receiver struct {
	org    tenants.OrgID
	signal tenants.Signal
	// asked is the question; of one about logs, what is like one about metrics.
	asked  metrics.Question
	limits Limits

	// Of a question about logs:
	wantsEntries, wantsStreams bool
	mostEntries                int
	earliest, latest           int64 // the latter excluded
	backward                   bool
	losesOrg                   bool             // entries may lack the label org
	tail                       bool             // the answer is a part of a tail
	now                        func() time.Time // of a tail
	ahead                      int              // how many entries of a tail were left out
	entriesOf                  []logs.Entry
	streams                    []labels.Labels
	mostValues                 int // of a field; 0: none are asked for
	fields                     []logs.Field
	stats                      logs.Stats

	traces *tracesReceiver // of a question about traces; nil of others

	series    []metrics.ReleasedSeries
	names     []string
	metadata  map[string][]metadata.Metadata
	exemplars []exemplar.QueryResult
	part      *federationv1.Part

	chunks   chunkReader
	builder  labels.ScratchBuilder
	samples  int
	entries  int // of names, metadata or exemplars
	bytes    int
	received int // message bytes
	metric   string
}

// NewReceiver returns a Receiver for org's answer to q. The error is a
// BadQuestion.
func NewReceiver(org tenants.OrgID, question federation.Question, l Limits) (*Receiver, error) {
	r := newReceiver(org, l)
	switch q := question.(type) {
	case metrics.Question:
		return r, r.asksMetrics(q)
	case logs.Question:
		return r, r.asksLogs(q)
	case traces.Question:
		return r, r.asksTraces(q)
	}
	return nil, bad("a question of type %T can't be asked", question)
}

func newReceiver(org tenants.OrgID, l Limits) *Receiver {
	return &Receiver{org: org, limits: l.orDefault(), builder: labels.NewScratchBuilder(16)}
}

// asksMetrics prepares the receiver for an answer about metrics.
func (r *Receiver) asksMetrics(q metrics.Question) error {
	r.signal = q.Signal()
	g := grid{start: federation.Milliseconds(q.Start), end: federation.Milliseconds(q.End)}
	switch q.Kind {
	case policy.Range:
		g.step = q.Step.Milliseconds()
	case policy.Instant:
		// A range selector yields its samples as they are in the store.
		req, err := q.Request()
		if err != nil {
			return err
		}
		g.start = min(g.start, federation.Milliseconds(req.Window.Start))
		g.end = max(g.end, federation.Milliseconds(req.Window.End))
	}
	r.asked, r.chunks = q, chunkReader{grid: g}
	return nil
}

// Add takes the next message.
func (r *Receiver) Add(m *federationv1.AskResponse) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a message that can't be read: %v", p)
		}
	}()
	if hasUnknown(m) {
		return errUnknown
	}
	if r.part != nil {
		return errors.New("more after its closing part")
	}
	r.received += proto.Size(m)
	switch m := m.GetMessage().(type) {
	case *federationv1.AskResponse_Series:
		return r.addSeries(m.Series)
	case *federationv1.AskResponse_Names:
		return r.addNames(m.Names)
	case *federationv1.AskResponse_Metadata:
		return r.addMetadata(m.Metadata)
	case *federationv1.AskResponse_Exemplars:
		return r.addExemplars(m.Exemplars)
	case *federationv1.AskResponse_Entries:
		return r.addEntries(m.Entries)
	case *federationv1.AskResponse_Fields:
		return r.addFields(m.Fields)
	case *federationv1.AskResponse_LogsStats:
		return r.addStats(m.LogsStats)
	case *federationv1.AskResponse_Trace:
		return r.addTrace(m.Trace)
	case *federationv1.AskResponse_Values:
		return r.addValues(m.Values)
	case *federationv1.AskResponse_Operations:
		return r.addOperations(m.Operations)
	case *federationv1.AskResponse_Dependencies:
		return r.addDependencies(m.Dependencies)
	case *federationv1.AskResponse_Part:
		r.part = m.Part
		return nil
	}
	return errUnknown
}

// Finish returns the answer once all messages were added. The part has
// everything but its latency.
func (r *Receiver) Finish() (federation.Released, federation.Part, error) {
	if r.part == nil {
		return nil, federation.Part{}, errors.New("an end before its closing part")
	}
	part, err := r.decodePart(r.part)
	if err != nil {
		return nil, federation.Part{}, err
	}
	if r.traces != nil {
		released, err := r.traces.finish(r.names)
		return released, part, err
	}
	if r.signal != tenants.Logs {
		return metrics.Received(r.series, r.names, r.metadata, r.exemplars), part, nil
	}
	var numbers *metrics.Released
	if r.asks(policy.Instant, policy.Range, policy.Volume, policy.Patterns) {
		numbers = metrics.Received(r.series, nil, nil, nil)
	}
	return logs.Received(logs.Answer{
		Entries: r.entriesOf, Numbers: numbers, Streams: r.streams, Names: r.names, Fields: r.fields, Stats: r.stats,
	}), part, nil
}

// charge counts n bytes of memory.
func (r *Receiver) charge(n int) error {
	if r.bytes += n; r.bytes > r.limits.Bytes {
		return errTooManyBytes
	}
	return nil
}

// count counts a name, metadata entry or exemplar of n bytes.
func (r *Receiver) count(n int) error {
	if r.entries++; r.entries > r.limits.Series {
		return errTooManySeries
	}
	return r.charge(n + entryOverhead)
}

// entryOverhead is about what an entry takes beside its text.
const entryOverhead = 64

func (r *Receiver) asks(kinds ...policy.Kind) bool { return slices.Contains(kinds, r.asked.Kind) }

func (r *Receiver) addSeries(b *federationv1.SeriesBatch) error {
	if !r.asks(policy.Instant, policy.Range, policy.Series, policy.Volume, policy.Patterns) {
		return errUnasked
	}
	if hasUnknown(b) {
		return errUnknown
	}
	for i, s := range b.GetSeries() {
		if hasUnknown(s) {
			return errUnknown
		}
		ls, err := r.seriesLabels(b.GetSymbols(), s.GetLabelRefs())
		if err != nil {
			return err
		}
		order := -1
		if last := len(r.series) - 1; last >= 0 {
			order = labels.Compare(r.series[last].Labels, ls)
		}
		switch {
		case order < 0:
			if len(r.series) == r.limits.Series {
				return errTooManySeries
			}
			r.series = append(r.series, metrics.ReleasedSeries{Labels: ls})
		case order > 0, i > 0, len(s.GetChunks()) == 0:
			return errOrder
		}
		if err := r.addChunks(&r.series[len(r.series)-1], s.GetChunks()); err != nil {
			return err
		}
	}
	return nil
}

func (r *Receiver) addChunks(s *metrics.ReleasedSeries, in []*federationv1.Chunk) error {
	if len(in) > 0 && r.asked.LabelsOnly {
		return errUnasked
	}
	after := int64(math.MinInt64)
	if n := len(s.Chunks); n > 0 {
		after = s.Chunks[n-1].MaxTime
	}
	for _, c := range in {
		if err := r.charge(len(c.GetData()) + entryOverhead); err != nil {
			return err
		}
		meta, err := r.chunks.read(c, after, r.limits.Samples-r.samples)
		if err != nil {
			return err
		}
		r.samples += meta.Chunk.NumSamples()
		after = meta.MaxTime
		s.Chunks = append(s.Chunks, meta)
	}
	return nil
}

// seriesLabels returns the labels that the references stand for.
func (r *Receiver) seriesLabels(symbols []string, refs []uint32) (labels.Labels, error) {
	return r.owned(r.referenced(symbols, refs, false))
}

// referenced returns the labels that references stand for.
func (r *Receiver) referenced(symbols []string, refs []uint32, emptyValues bool) (labels.Labels, error) {
	if len(refs)%2 != 0 {
		return labels.EmptyLabels(), errors.New("a label without a value")
	}
	return r.labels(func(yield func(name, value string) bool) error {
		for i := 0; i < len(refs); i += 2 {
			name, value := refs[i], refs[i+1]
			if int(name) >= len(symbols) || int(value) >= len(symbols) {
				return errors.New("a reference to a symbol that isn't there")
			}
			if !yield(symbols[name], symbols[value]) {
				return nil
			}
		}
		return nil
	}, emptyValues)
}

// ownedLabels builds the labels of a series, whose org must be the one that
// was asked.
func (r *Receiver) ownedLabels(pairs func(func(name, value string) bool) error) (labels.Labels, error) {
	return r.owned(r.labels(pairs, false))
}

func (r *Receiver) owned(ls labels.Labels, err error) (labels.Labels, error) {
	if err != nil {
		return ls, err
	}
	if ls.Get(federation.OrgLabel) != string(r.org) {
		return ls, errors.New("a series that isn't its own: its label org names another organization, or none")
	}
	return ls, nil
}

// labels builds labels of what a partner sent. What a pipeline sets of a line may
// be empty; no other label is.
func (r *Receiver) labels(pairs func(func(name, value string) bool) error, emptyValues bool) (labels.Labels, error) {
	r.builder.Reset()
	var bad error
	last := ""
	err := pairs(func(name, value string) bool {
		switch {
		case name <= last: // the empty name among them
			bad = errors.New("labels that are out of order or there twice")
		case value == "" && !emptyValues:
			bad = errors.New("a label without a value")
		case federation.Reserved(name):
			bad = errors.New("a label with a reserved name")
		default:
			bad = r.charge(len(name) + len(value) + 4)
		}
		last = name
		r.builder.Add(name, value)
		return bad == nil
	})
	if err = cmp.Or(bad, err); err != nil {
		return labels.EmptyLabels(), err
	}
	return r.builder.Labels(), nil
}

func (r *Receiver) addNames(b *federationv1.NameBatch) error {
	if !r.asks(policy.LabelNames, policy.LabelValues) && (!r.asks(policy.DetectedFields) || r.mostValues > 0) {
		return errUnasked
	}
	if hasUnknown(b) {
		return errUnknown
	}
	for _, name := range b.GetNames() {
		last := ""
		if len(r.names) > 0 {
			last = r.names[len(r.names)-1]
		}
		switch {
		case name <= last:
			return errOrder
		case r.asks(policy.LabelNames) && federation.Reserved(name):
			return errors.New("a label with a reserved name")
		case r.asks(policy.LabelValues) && r.asked.Label == federation.OrgLabel && name != string(r.org):
			return errors.New("a value of the label org that isn't its own")
		}
		if err := r.count(len(name)); err != nil {
			return err
		}
		r.names = append(r.names, name)
	}
	return nil
}

func (r *Receiver) addMetadata(b *federationv1.MetadataBatch) error {
	if !r.asks(policy.Metadata) {
		return errUnasked
	}
	if hasUnknown(b) {
		return errUnknown
	}
	for _, m := range b.GetMetrics() {
		switch {
		case hasUnknown(m):
			return errUnknown
		case m.GetMetric() == "" || m.GetMetric() < r.metric:
			return errOrder
		case !slices.Contains(metricTypes, model.MetricType(m.GetType())):
			return errors.New("metadata with an unknown type")
		}
		if err := r.count(len(m.GetMetric()) + len(m.GetHelp()) + len(m.GetUnit())); err != nil {
			return err
		}
		r.metric = m.GetMetric()
		if r.metadata == nil {
			r.metadata = map[string][]metadata.Metadata{}
		}
		r.metadata[r.metric] = append(r.metadata[r.metric], metadata.Metadata{
			Type: model.MetricType(m.GetType()),
			Help: m.GetHelp(),
			Unit: m.GetUnit(),
		})
	}
	return nil
}

var metricTypes = []model.MetricType{
	"",
	model.MetricTypeCounter, model.MetricTypeGauge, model.MetricTypeHistogram, model.MetricTypeGaugeHistogram,
	model.MetricTypeSummary, model.MetricTypeInfo, model.MetricTypeStateset, model.MetricTypeUnknown,
}

func (r *Receiver) addExemplars(b *federationv1.ExemplarBatch) error {
	if !r.asks(policy.Exemplars) {
		return errUnasked
	}
	if hasUnknown(b) {
		return errUnknown
	}
	for _, s := range b.GetSeries() {
		if hasUnknown(s) {
			return errUnknown
		}
		ls, err := r.ownedLabels(textPairs(s.GetLabels()))
		if err != nil {
			return err
		}
		if n := len(r.exemplars); n > 0 && labels.Compare(r.exemplars[n-1].SeriesLabels, ls) >= 0 {
			return errOrder
		}
		result := exemplar.QueryResult{SeriesLabels: ls}
		for _, e := range s.GetExemplars() {
			if hasUnknown(e) {
				return errUnknown
			}
			if err := r.count(0); err != nil {
				return err
			}
			if !r.chunks.grid.holds(e.GetTimestampMs()) {
				return errors.New("an exemplar outside the time that was asked for")
			}
			els, err := r.labels(textPairs(e.GetLabels()), false)
			if err != nil {
				return err
			}
			result.Exemplars = append(result.Exemplars, exemplar.Exemplar{
				Labels: els, Value: e.GetValue(), Ts: e.GetTimestampMs(), HasTs: e.GetHasTimestamp(),
			})
		}
		r.exemplars = append(r.exemplars, result)
	}
	return nil
}

// textPairs yields the labels in a list of names and values.
func textPairs(texts []string) func(func(name, value string) bool) error {
	return func(yield func(name, value string) bool) error {
		if len(texts)%2 != 0 {
			return errors.New("a label without a value")
		}
		for i := 0; i < len(texts); i += 2 {
			if !yield(texts[i], texts[i+1]) {
				return nil
			}
		}
		return nil
	}
}

func (r *Receiver) decodePart(p *federationv1.Part) (federation.Part, error) {
	part := federation.Part{
		Org:     r.org,
		Status:  federation.Status(p.GetStatus()),
		Reason:  p.GetReason(),
		Cost:    federation.Cost{Series: len(r.series) + len(r.streams), Samples: r.samples, Lines: len(r.entriesOf), Bytes: r.received},
		Dropped: int(p.GetDropped()),
		Notices: p.GetNotices(),
	}
	if r.traces != nil {
		part.Cost.Series, part.Cost.Spans = len(r.names)+r.traces.series(), r.traces.spans
	}
	switch {
	case hasUnknown(p):
		return part, errUnknown
	case part.Status != federation.Complete && part.Status != federation.Partial:
		return part, errors.New("a status that no answer has")
	case !plain(part.Reason, maxText):
		return part, errors.New("a reason that can't be shown")
	case p.GetSeries() != int64(part.Cost.Series) || p.GetSamples() != int64(part.Cost.Samples) || p.GetLines() != int64(part.Cost.Lines+r.ahead), p.GetSpans() != int64(part.Cost.Spans):
		return part, errors.New("more or less than its closing part says")
	case p.GetDropped() < 0 || p.GetDropped() > maxDropped || p.GetDropped() > 0 && !r.tail:
		return part, errors.New("a number of entries left out that can't be")
	case len(part.Notices) > maxNotices:
		return part, errors.New("too many notices")
	case slices.ContainsFunc(part.Notices, func(n string) bool { return !plain(n, maxText) }):
		return part, errors.New("a notice that can't be shown")
	case !validMilliseconds(p.GetCoverageStartMs()) || !validMilliseconds(p.GetCoverageEndMs()),
		p.GetCoverageStartMs() > p.GetCoverageEndMs():
		return part, errors.New("an impossible coverage")
	}
	if p.GetCoverageStartMs() != 0 || p.GetCoverageEndMs() != 0 {
		part.Coverage = policy.Window{
			Start: time.UnixMilli(p.GetCoverageStartMs()).UTC(),
			End:   time.UnixMilli(p.GetCoverageEndMs()).UTC(),
		}
	}
	if r.ahead > 0 {
		part.Dropped += r.ahead
		part.Status, part.Reason = federation.Partial, "lines were left out: their times are still to come"
	}
	return part, nil
}
