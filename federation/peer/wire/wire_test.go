package wire_test

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/peer/wire"
	"github.com/parley-gateway/parley/policy"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
	"github.com/parley-gateway/parley/tenants"
)

const exchangeID = "019b2f3e-8a00-7c54-9d31-5f0e6c8a4b17"

// begin is the start of the questions here; samples are a minute apart.
var begin = time.Unix(1_700_000_000, 0).UTC()

func rangeQuestion() metrics.Question {
	return metrics.Question{
		Kind: policy.Range, Expression: "up", Start: begin, End: begin.Add(time.Hour), Step: time.Minute,
	}
}

func at(minute int) int64 { return begin.Add(time.Duration(minute) * time.Minute).UnixMilli() }

func floats(t testing.TB, minute int, values ...float64) chunks.Meta {
	t.Helper()
	c := chunkenc.NewXORChunk()
	app, err := c.Appender()
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range values {
		app.Append(at(minute+i), v)
	}
	return chunks.Meta{Chunk: c, MinTime: at(minute), MaxTime: at(minute + len(values) - 1)}
}

func histograms(t testing.TB, minute int, hs ...*histogram.FloatHistogram) chunks.Meta {
	t.Helper()
	c := chunkenc.NewFloatHistogramChunk()
	app, err := c.Appender()
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range hs {
		if _, _, app, err = app.AppendFloatHistogram(nil, at(minute+i), h, true); err != nil {
			t.Fatal(err)
		}
	}
	return chunks.Meta{Chunk: c, MinTime: at(minute), MaxTime: at(minute + len(hs) - 1)}
}

func integerHistograms(t testing.TB, minute int, hs ...*histogram.Histogram) chunks.Meta {
	t.Helper()
	c := chunkenc.NewHistogramChunk()
	app, err := c.Appender()
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range hs {
		if _, _, app, err = app.AppendHistogram(nil, at(minute+i), h, true); err != nil {
			t.Fatal(err)
		}
	}
	return chunks.Meta{Chunk: c, MinTime: at(minute), MaxTime: at(minute + len(hs) - 1)}
}

func nativeHistogram() *histogram.FloatHistogram {
	return &histogram.FloatHistogram{
		Schema: 2, ZeroThreshold: 0.001, ZeroCount: 2, Count: 12, Sum: 34.5,
		PositiveSpans: []histogram.Span{{Offset: -3, Length: 2}, {Offset: 4, Length: 1}}, PositiveBuckets: []float64{3, 4, 1},
		NegativeSpans: []histogram.Span{{Offset: 0, Length: 1}}, NegativeBuckets: []float64{2},
	}
}

func customHistogram() *histogram.FloatHistogram {
	return &histogram.FloatHistogram{
		Schema: histogram.CustomBucketsSchema, Count: 6, Sum: 3.5,
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 3}}, PositiveBuckets: []float64{1, 2, 3},
		CustomValues: []float64{0.1, 0.5, 2.5},
	}
}

func gaugeHistogram() *histogram.FloatHistogram {
	h := nativeHistogram()
	h.CounterResetHint = histogram.GaugeType
	h.PositiveBuckets[0] = -5 // as a difference of two may have
	return h
}

// richSeries are samples of every sort.
func richSeries(t testing.TB) []metrics.ReleasedSeries {
	return []metrics.ReleasedSeries{
		{Labels: labels.FromStrings("__name__", "custom", "org", "globex"), Chunks: []chunks.Meta{histograms(t, 0, customHistogram(), customHistogram())}},
		{Labels: labels.FromStrings("__name__", "gauge", "org", "globex"), Chunks: []chunks.Meta{histograms(t, 0, gaugeHistogram())}},
		{Labels: labels.FromStrings("__name__", "integers", "org", "globex"), Chunks: []chunks.Meta{integerHistograms(t, 1, &histogram.Histogram{
			Schema: 0, ZeroThreshold: math.Ldexp(0.5, -127), Count: 3, Sum: 4,
			PositiveSpans: []histogram.Span{{Offset: 1, Length: 2}}, PositiveBuckets: []int64{1, 1},
		})}},
		{Labels: labels.FromStrings("__name__", "mixed", "org", "globex"), Chunks: []chunks.Meta{floats(t, 0, 1), histograms(t, 2, nativeHistogram())}},
		{Labels: labels.FromStrings("__name__", "up", "org", "globex", "région", "Zürich 🏔"), Chunks: []chunks.Meta{
			floats(t, 0, 1, math.Inf(-1), math.NaN()),
			floats(t, 3, math.Float64frombits(value.StaleNaN), math.Copysign(0, -1)),
		}},
		{Labels: labels.FromStrings("org", "globex"), Chunks: []chunks.Meta{floats(t, 0, 1)}},
	}
}

func complete() federation.Part {
	return federation.Part{
		Org: "globex", Status: federation.Complete,
		Coverage: policy.Window{Start: begin, End: begin.Add(time.Hour)},
		Notices:  []string{"the label pod is dropped"},
	}
}

func encode(t testing.TB, released *metrics.Released) []*federationv1.AskResponse {
	t.Helper()
	messages, _, err := wire.EncodeAnswer(released, complete())
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

func receive(q metrics.Question, l wire.Limits, messages []*federationv1.AskResponse) (*metrics.Released, federation.Part, error) {
	receiver, err := wire.NewReceiver("globex", q, l)
	if err != nil {
		return nil, federation.Part{}, err
	}
	for _, m := range messages {
		if err := receiver.Add(m); err != nil {
			return nil, federation.Part{}, err
		}
	}
	released, part, err := receiver.Finish()
	if err != nil {
		return nil, part, err
	}
	return released.(*metrics.Released), part, nil
}

func sameSeries(t *testing.T, got, want []metrics.ReleasedSeries) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d series, want %d", len(got), len(want))
	}
	for i := range want {
		if !labels.Equal(got[i].Labels, want[i].Labels) {
			t.Errorf("series %d: got %s, want %s", i, got[i].Labels, want[i].Labels)
		}
		if len(got[i].Chunks) != len(want[i].Chunks) {
			t.Fatalf("series %d: got %d chunks, want %d", i, len(got[i].Chunks), len(want[i].Chunks))
		}
		for j, w := range want[i].Chunks {
			g := got[i].Chunks[j]
			if g.MinTime != w.MinTime || g.MaxTime != w.MaxTime || g.Chunk.Encoding() != w.Chunk.Encoding() || !bytes.Equal(g.Chunk.Bytes(), w.Chunk.Bytes()) {
				t.Errorf("series %d, chunk %d differs", i, j)
			}
		}
	}
}

func TestAnswerSamplesOfEverySort(t *testing.T) {
	want := richSeries(t)
	messages, size, err := wire.EncodeAnswer(metrics.Received(want, nil, nil, nil), complete())
	if err != nil {
		t.Fatal(err)
	}
	got, part, err := receive(rangeQuestion(), wire.Limits{}, messages)
	if err != nil {
		t.Fatal(err)
	}
	sameSeries(t, got.Series(), want)
	wantPart := complete()
	wantPart.Cost = federation.Cost{Series: 6, Samples: 12, Bytes: size}
	if diff := cmp.Diff(wantPart, part); diff != "" {
		t.Errorf("part (-want +got):\n%s", diff)
	}
}

func TestAnswerNamesMetadataExemplars(t *testing.T) {
	names := []string{"__name__", "org", "region"}
	got, _, err := receive(metrics.Question{Kind: policy.LabelNames}, wire.Limits{}, encode(t, metrics.Received(nil, names, nil, nil)))
	if err != nil || !cmp.Equal(got.Names(), names) {
		t.Errorf("names: got %v, %v", got, err)
	}

	md := map[string][]metadata.Metadata{
		"up":   {{Type: "gauge", Help: "Is it?", Unit: ""}, {Type: "gauge", Help: "It is."}},
		"errs": {{Type: "counter", Unit: "errors"}},
	}
	got, _, err = receive(metrics.Question{Kind: policy.Metadata}, wire.Limits{}, encode(t, metrics.Received(nil, nil, md, nil)))
	if err != nil || !cmp.Equal(got.Metadata(), md) {
		t.Errorf("metadata: got %v, %v", got, err)
	}

	exemplars := []exemplar.QueryResult{{
		SeriesLabels: labels.FromStrings("__name__", "up", "org", "globex"),
		Exemplars:    []exemplar.Exemplar{{Labels: labels.FromStrings("trace_id", "4bf9"), Value: 0.5, Ts: at(3), HasTs: true}, {Ts: at(4)}},
	}}
	q := metrics.Question{Kind: policy.Exemplars, Expression: "up", Start: begin, End: begin.Add(time.Hour)}
	got, _, err = receive(q, wire.Limits{}, encode(t, metrics.Received(nil, nil, nil, exemplars)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(exemplars, got.Exemplars(), cmp.Comparer(labels.Equal)); diff != "" {
		t.Errorf("exemplars (-want +got):\n%s", diff)
	}
}

// A series too large for one message goes on in the next.
func TestAnswerInManyMessages(t *testing.T) {
	noise := func(n int) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = math.Sin(float64(i)) * 1e9
		}
		return out
	}
	q := metrics.Question{Kind: policy.Series, Start: begin, End: begin.Add(1e6 * time.Minute)}
	var big []chunks.Meta
	for i := range 200 {
		big = append(big, floats(t, i*1000, noise(1000)...))
	}
	want := []metrics.ReleasedSeries{
		{Labels: labels.FromStrings("a", "1", "org", "globex"), Chunks: big[:1]},
		{Labels: labels.FromStrings("b", "1", "org", "globex"), Chunks: big},
		{Labels: labels.FromStrings("c", "1", "org", "globex"), Chunks: big[:2]},
	}
	messages := encode(t, metrics.Received(want, nil, nil, nil))
	if len(messages) < 4 {
		t.Errorf("got %d messages, want the large series cut", len(messages))
	}
	for i, m := range messages {
		if size := proto.Size(m); size > 1<<20 {
			t.Errorf("message %d has %d bytes", i, size)
		}
	}
	got, _, err := receive(q, wire.Limits{}, messages)
	if err != nil {
		t.Fatal(err)
	}
	sameSeries(t, got.Series(), want)
}

func TestAnswerRangeSelectorAtAnInstant(t *testing.T) {
	q := metrics.Question{Kind: policy.Instant, Expression: "up[5m] offset 1m", Start: begin.Add(10 * time.Minute), End: begin.Add(10 * time.Minute)}
	series := []metrics.ReleasedSeries{{Labels: labels.FromStrings("org", "globex"), Chunks: []chunks.Meta{floats(t, 5, 1, 2, 3)}}}
	if _, _, err := receive(q, wire.Limits{}, encode(t, metrics.Received(series, nil, nil, nil))); err != nil {
		t.Error(err)
	}
	series[0].Chunks = []chunks.Meta{floats(t, 15, 1)}
	if _, _, err := receive(q, wire.Limits{}, encode(t, metrics.Received(series, nil, nil, nil))); err == nil {
		t.Error("a sample after the instant was accepted")
	}
}

// Every way to break an answer is found.
func TestAnswerRefused(t *testing.T) {
	unknownField := protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1)
	series := func(m []*federationv1.AskResponse) *federationv1.SeriesBatch { return m[0].GetSeries() }
	chunk := func(m []*federationv1.AskResponse, s int) *federationv1.Chunk {
		return series(m).GetSeries()[s].GetChunks()[0]
	}
	closing := func(m []*federationv1.AskResponse) *federationv1.Part { return m[len(m)-1].GetPart() }
	symbol := func(m []*federationv1.AskResponse, from, to string) {
		for i, s := range series(m).GetSymbols() {
			if s == from {
				series(m).Symbols[i] = to
			}
		}
	}
	type messages = []*federationv1.AskResponse
	for name, damage := range map[string]func(messages) messages{
		"another's org":      func(m messages) messages { symbol(m, "globex", "initech"); return m },
		"no org":             func(m messages) messages { series(m).Series[5].LabelRefs = nil; return m },
		"odd references":     func(m messages) messages { s := series(m).Series[0]; s.LabelRefs = s.LabelRefs[:1]; return m },
		"reference too high": func(m messages) messages { series(m).Series[0].LabelRefs[1] = 1 << 31; return m },
		"empty label value":  func(m messages) messages { symbol(m, "Zürich 🏔", ""); return m },
		"empty label name":   func(m messages) messages { symbol(m, "__name__", ""); return m },
		"reserved name":      func(m messages) messages { symbol(m, "région", "__parley_surrogate__"); return m },
		"labels unsorted":    func(m messages) messages { symbol(m, "__name__", "z"); return m },
		"series twice":       func(m messages) messages { b := series(m); b.Series[1] = b.Series[0]; return m },
		"series unsorted": func(m messages) messages {
			b := series(m)
			b.Series[1], b.Series[0] = b.Series[0], b.Series[1]
			return m
		},
		"batch twice":          func(m messages) messages { return messages{m[0], m[0], m[1]} },
		"unknown encoding":     func(m messages) messages { chunk(m, 0).Encoding = 9; return m },
		"encoding overflow":    func(m messages) messages { chunk(m, 0).Encoding = 257; return m },
		"wrong encoding":       func(m messages) messages { chunk(m, 0).Encoding = 2; return m },
		"empty chunk":          func(m messages) messages { chunk(m, 0).Data = nil; return m },
		"no samples":           func(m messages) messages { chunk(m, 5).Data = []byte{0, 0, 0}; return m },
		"chunk cut short":      func(m messages) messages { c := chunk(m, 0); c.Data = c.Data[:len(c.Data)/2]; return m },
		"more samples claimed": func(m messages) messages { chunk(m, 5).Data[0] = 0xff; return m },
		"billions of buckets":  func(m messages) messages { chunk(m, 0).Data = hugeLayout(); return m },
		"samples twice": func(m messages) messages {
			s := series(m).Series[5]
			s.Chunks = append(s.Chunks, s.Chunks[0])
			return m
		},
		"before the window": func(m messages) messages { chunk(m, 5).Data = floats(t, -1, 1).Chunk.Bytes(); return m },
		"after the window":  func(m messages) messages { chunk(m, 5).Data = floats(t, 61, 1).Chunk.Bytes(); return m },
		"between steps": func(m messages) messages {
			c := chunkenc.NewXORChunk()
			app, _ := c.Appender()
			app.Append(at(0)+1, 1)
			chunk(m, 5).Data = c.Bytes()
			return m
		},
		"unknown field":           func(m messages) messages { m[0].ProtoReflect().SetUnknown(unknownField); return m },
		"unknown field of series": func(m messages) messages { series(m).Series[1].ProtoReflect().SetUnknown(unknownField); return m },
		"unknown field of chunk":  func(m messages) messages { chunk(m, 1).ProtoReflect().SetUnknown(unknownField); return m },
		"unknown field of part":   func(m messages) messages { closing(m).ProtoReflect().SetUnknown(unknownField); return m },
		"empty message":           func(m messages) messages { return append(messages{{}}, m...) },
		"not what was asked": func(m messages) messages {
			return append(messages{{Message: &federationv1.AskResponse_Names{Names: &federationv1.NameBatch{Names: []string{"a"}}}}}, m...)
		},
		"no part":            func(m messages) messages { return m[:1] },
		"two parts":          func(m messages) messages { return append(m, m[1]) },
		"more after part":    func(m messages) messages { return messages{m[1], m[0]} },
		"nil part":           func(messages) messages { return messages{{Message: &federationv1.AskResponse_Part{}}} },
		"nil series":         func(messages) messages { return messages{{Message: &federationv1.AskResponse_Series{}}} },
		"status denied":      func(m messages) messages { closing(m).Status = "denied"; return m },
		"another count":      func(m messages) messages { closing(m).Samples++; return m },
		"part with newlines": func(m messages) messages { closing(m).Reason = "a\nb"; return m },
		"long notice":        func(m messages) messages { closing(m).Notices = []string{strings.Repeat("x", 1<<11)}; return m },
		"coverage reversed":  func(m messages) messages { closing(m).CoverageEndMs = 1; return m },
	} {
		t.Run(name, func(t *testing.T) {
			var copied messages
			for _, m := range encode(t, metrics.Received(richSeries(t), nil, nil, nil)) {
				copied = append(copied, proto.Clone(m).(*federationv1.AskResponse))
			}
			if _, _, err := receive(rangeQuestion(), wire.Limits{}, damage(copied)); err == nil {
				t.Error("was accepted")
			} else if strings.Contains(err.Error(), "globex") || strings.Contains(err.Error(), "initech") {
				t.Errorf("the error quotes data: %v", err)
			}
		})
	}
}

// hugeLayout is a histogram chunk of a few bytes that announces 2^31 buckets.
func hugeLayout() []byte {
	w := &bitWriter{}
	w.write(0, 8)               // zero threshold 0
	w.write(0, 1)               // schema 0
	w.write(0b10, 2)            // one positive span
	w.write(1, 3)               //
	w.write(0b11111110, 8)      // of length
	w.write(1<<31, 56)          //
	w.write(0, 1)               // at offset 0
	w.write(0, 1)               // no negative spans
	w.write(math.MaxUint64, 64) // whatever
	return append([]byte{0, 1, 0}, w.bytes...)
}

type bitWriter struct {
	bytes []byte
	n     int
}

func (w *bitWriter) write(v uint64, size int) {
	for i := size - 1; i >= 0; i-- {
		if w.n%8 == 0 {
			w.bytes = append(w.bytes, 0)
		}
		w.bytes[w.n/8] |= byte(v>>i&1) << (7 - w.n%8)
		w.n++
	}
}

func TestAnswerOverLimit(t *testing.T) {
	messages := encode(t, metrics.Received(richSeries(t), nil, nil, nil))
	for name, l := range map[string]wire.Limits{
		"series": {Series: 5}, "samples": {Samples: 11}, "bytes": {Bytes: 200},
	} {
		_, _, err := receive(rangeQuestion(), l, messages)
		if e := federation.AsError(err); e == nil || e.Kind != federation.OverLimit {
			t.Errorf("%s: got %v, want over-limit", name, err)
		}
	}
}

// Names that mean something inside a gateway don't come in, as those of labels
// or in a list of them. As a value they are like any other.
func TestAnswerWithReservedNames(t *testing.T) {
	const reserved = "__parley_surrogate__"
	of := func(kind policy.Kind, label string) metrics.Question {
		return metrics.Question{Kind: kind, Label: label, Start: begin, End: begin.Add(time.Hour)}
	}
	series := []metrics.ReleasedSeries{{Labels: labels.FromStrings("org", "globex", reserved, "x"), Chunks: []chunks.Meta{floats(t, 5, 1)}}}
	for name, c := range map[string]struct {
		question metrics.Question
		answer   *metrics.Released
		refused  bool
	}{
		"label": {rangeQuestion(), metrics.Received(series, nil, nil, nil), true},
		"name":  {of(policy.LabelNames, ""), metrics.Received(nil, []string{reserved, "a"}, nil, nil), true},
		"value": {of(policy.LabelValues, "job"), metrics.Received(nil, []string{reserved, "a"}, nil, nil), false},
	} {
		_, _, err := receive(c.question, wire.Limits{}, encode(t, c.answer))
		if (err != nil) != c.refused || err != nil && !strings.Contains(err.Error(), "reserved name") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// One long symbol that many series refer to is counted for each of them.
func TestAnswerSymbolsThatUnfold(t *testing.T) {
	long := strings.Repeat("x", 1<<16)
	batch := &federationv1.SeriesBatch{Symbols: []string{"a", long, "org", "globex"}}
	for range 10_000 {
		batch.Symbols = append(batch.Symbols, "a"+string(rune('a'+len(batch.Symbols)%26))+strings.Repeat("b", len(batch.Symbols)/26))
		batch.Series = append(batch.Series, &federationv1.Series{LabelRefs: []uint32{0, 1, uint32(len(batch.Symbols) - 1), 1, 2, 3}})
		if len(batch.Symbols) > 300 {
			break
		}
	}
	m := &federationv1.AskResponse{Message: &federationv1.AskResponse_Series{Series: batch}}
	_, _, err := receive(rangeQuestion(), wire.Limits{Bytes: 1 << 18}, []*federationv1.AskResponse{m})
	if e := federation.AsError(err); e == nil || e.Kind != federation.OverLimit {
		t.Errorf("got %v, want over-limit", err)
	}
}

func ask(q federation.Question) wire.Ask {
	return wire.Ask{
		ExchangeID: exchangeID, Purpose: "incident-response", Case: "INC-42",
		User: tenants.User{Subject: "ada@acme.example", Proof: tenants.ProvenByJWT}, Question: q,
	}
}

func TestAskOfEveryKind(t *testing.T) {
	selector, err := metrics.ParseSelector(`up{job=~"a|b","région"!="x"}`)
	if err != nil {
		t.Fatal(err)
	}
	end := begin.Add(time.Hour)
	for _, q := range []metrics.Question{
		{Kind: policy.Instant, Expression: "sum(up)", Start: begin, End: begin, Lookback: time.Minute},
		rangeQuestion(),
		{Kind: policy.Range, Expression: "up", Start: begin.Add(7 * time.Millisecond), End: end, Step: 1001 * time.Millisecond},
		{Kind: policy.Series, Selectors: []policy.Selector{selector}, Start: begin, End: end, LabelsOnly: true, Limit: 7},
		{Kind: policy.LabelNames, Start: begin, End: end},
		{Kind: policy.LabelValues, Label: "région", Selectors: []policy.Selector{selector}, Start: begin, End: end},
		{Kind: policy.Metadata, Label: "up", Limit: 10},
		{Kind: policy.Exemplars, Expression: "up", Start: begin, End: end},
	} {
		want := ask(q)
		request, err := wire.EncodeAsk(want)
		if err != nil {
			t.Errorf("%s: %v", q.Kind, err)
			continue
		}
		got, err := wire.DecodeAsk(request)
		if err != nil {
			t.Errorf("%s: %v", q.Kind, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b policy.Selector) bool {
			return metrics.FormatSelector(a) == metrics.FormatSelector(b)
		})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", q.Kind, diff)
		}
	}
}

// A question about all time, as Prometheus's API has it when none is stated,
// is narrowed to times that can be written down.
func TestAskAboutAllTime(t *testing.T) {
	q := metrics.Question{
		Kind: policy.LabelNames, Start: time.Unix(math.MinInt64/1000+62135596801, 0), End: time.Unix(math.MaxInt64/1000-62135596801, 999999999),
	}
	request, err := wire.EncodeAsk(ask(q))
	if err != nil {
		t.Fatal(err)
	}
	got, err := wire.DecodeAsk(request)
	if err != nil {
		t.Fatal(err)
	}
	if got.Question.Asked().Window.Start.Year() != 1 || got.Question.Asked().Window.End.Year() != 9999 {
		t.Errorf("got %v to %v", got.Question.Asked().Window.Start, got.Question.Asked().Window.End)
	}
}

func TestAskRefused(t *testing.T) {
	unknownField := protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1)
	for name, damage := range map[string]func(*federationv1.AskRequest, *federationv1.MetricsQuestion){
		"no exchange id": func(r *federationv1.AskRequest, _ *federationv1.MetricsQuestion) { r.ExchangeId = "" },
		"not a uuid": func(r *federationv1.AskRequest, _ *federationv1.MetricsQuestion) {
			r.ExchangeId = strings.ToUpper(exchangeID)
		},
		"purpose":     func(r *federationv1.AskRequest, _ *federationv1.MetricsQuestion) { r.Purpose = "Incident Response" },
		"case":        func(r *federationv1.AskRequest, _ *federationv1.MetricsQuestion) { r.CaseId = "a b" },
		"user":        func(r *federationv1.AskRequest, _ *federationv1.MetricsQuestion) { r.User.Subject = "a\x00" },
		"proof":       func(r *federationv1.AskRequest, _ *federationv1.MetricsQuestion) { r.User.Proof = "trust me" },
		"no question": func(r *federationv1.AskRequest, _ *federationv1.MetricsQuestion) { r.Question = nil },
		"nil question": func(r *federationv1.AskRequest, _ *federationv1.MetricsQuestion) {
			r.Question = &federationv1.AskRequest_Metrics{}
		},
		"unknown kind":     func(_ *federationv1.AskRequest, m *federationv1.MetricsQuestion) { m.Kind = "delete" },
		"end before start": func(_ *federationv1.AskRequest, m *federationv1.MetricsQuestion) { m.EndMs = m.StartMs - 1 },
		"no step":          func(_ *federationv1.AskRequest, m *federationv1.MetricsQuestion) { m.StepMs = 0 },
		"negative step":    func(_ *federationv1.AskRequest, m *federationv1.MetricsQuestion) { m.StepMs = -1 },
		"huge step":        func(_ *federationv1.AskRequest, m *federationv1.MetricsQuestion) { m.StepMs = math.MaxInt64 },
		"too many steps":   func(_ *federationv1.AskRequest, m *federationv1.MetricsQuestion) { m.StepMs = 300 },
		"year 10000":       func(_ *federationv1.AskRequest, m *federationv1.MetricsQuestion) { m.EndMs = math.MaxInt64 },
		"before year 1":    func(_ *federationv1.AskRequest, m *federationv1.MetricsQuestion) { m.StartMs = math.MinInt64 },
		"lookback":         func(_ *federationv1.AskRequest, m *federationv1.MetricsQuestion) { m.LookbackMs = -1 },
		"limit":            func(_ *federationv1.AskRequest, m *federationv1.MetricsQuestion) { m.Limit = -1 },
		"labels only":      func(_ *federationv1.AskRequest, m *federationv1.MetricsQuestion) { m.LabelsOnly = true },
		"label":            func(_ *federationv1.AskRequest, m *federationv1.MetricsQuestion) { m.Label = "x" },
		"no expression":    func(_ *federationv1.AskRequest, m *federationv1.MetricsQuestion) { m.Expression = "" },
		"long expression": func(_ *federationv1.AskRequest, m *federationv1.MetricsQuestion) {
			m.Expression = strings.Repeat("x", 1<<17)
		},
		"selectors": func(_ *federationv1.AskRequest, m *federationv1.MetricsQuestion) { m.Selectors = []string{"up"} },
		"unknown field": func(r *federationv1.AskRequest, _ *federationv1.MetricsQuestion) {
			r.ProtoReflect().SetUnknown(unknownField)
		},
		"unknown in user": func(r *federationv1.AskRequest, _ *federationv1.MetricsQuestion) {
			r.User.ProtoReflect().SetUnknown(unknownField)
		},
		"unknown in signal": func(_ *federationv1.AskRequest, m *federationv1.MetricsQuestion) {
			m.ProtoReflect().SetUnknown(unknownField)
		},
		"bad selector": func(_ *federationv1.AskRequest, m *federationv1.MetricsQuestion) {
			proto.Reset(m)
			m.Kind, m.Selectors = "series", []string{"up{"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			request, err := wire.EncodeAsk(ask(rangeQuestion()))
			if err != nil {
				t.Fatal(err)
			}
			damage(request, request.GetMetrics())
			got, err := wire.DecodeAsk(request)
			if e := federation.AsError(err); e == nil || e.Kind != federation.BadQuestion {
				t.Errorf("got %v, want bad-question", err)
			}
			if name != "purpose" && got.Purpose != "incident-response" {
				t.Errorf("the purpose is lost for the record")
			}
		})
	}
}

func TestFailure(t *testing.T) {
	for _, kind := range federation.Kinds {
		in := &federation.Error{Kind: kind, Message: "because", Err: errSecret{}}
		status := wire.EncodeFailure(in)
		if strings.Contains(status.String(), "secret") {
			t.Errorf("%s: the cause crossed the wire", kind)
		}
		got, ok := wire.DecodeFailure("globex", status.Err())
		if !ok || got.Kind != kind || got.Org != "globex" {
			t.Errorf("%s: got %v", kind, got)
		}
		want := "because"
		if kind == federation.Refused {
			want = federation.NotAllowed
		}
		if got.Message != want {
			t.Errorf("%s: got message %q, want %q", kind, got.Message, want)
		}
	}
	got, ok := wire.DecodeFailure("globex", wire.EncodeFailure(errSecret{}).Err())
	if !ok || got.Kind != federation.Internal || strings.Contains(got.Message, "secret") {
		t.Errorf("got %v", got)
	}
	if _, ok := wire.DecodeFailure("globex", errSecret{}); ok {
		t.Error("an error that the partner didn't state counts as its word")
	}
}

type errSecret struct{}

func (errSecret) Error() string { return "secret" }
