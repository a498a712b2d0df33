package wire_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/peer/wire"
	"github.com/parley-gateway/parley/policy"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
)

// FuzzAskRequest reads arbitrary bytes as a request. What is accepted can be
// asked again and means the same.
func FuzzAskRequest(f *testing.F) {
	selector, err := metrics.ParseSelector(`up{job=~"a|b"}`)
	if err != nil {
		f.Fatal(err)
	}
	for _, q := range []metrics.Question{
		rangeQuestion(),
		{Kind: policy.Instant, Expression: "sum(up[5m])", Start: begin, End: begin},
		{Kind: policy.Series, Selectors: []policy.Selector{selector}, Start: begin, End: begin.Add(time.Hour), LabelsOnly: true},
		{Kind: policy.LabelValues, Label: "job", Start: begin, End: begin},
	} {
		request, err := wire.EncodeAsk(ask(q))
		if err != nil {
			f.Fatal(err)
		}
		data, err := proto.Marshal(request)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, c := range logsAnswers(f) {
		c.q.Start, c.q.End = begin, begin.Add(time.Hour)
		request, err := wire.EncodeAsk(wire.Ask{ExchangeID: exchangeID, Purpose: "audit", Question: c.q})
		if err != nil {
			f.Fatal(err)
		}
		data, err := proto.Marshal(request)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, c := range tracesAnswers() {
		request, err := wire.EncodeAsk(ask(c.q))
		if err != nil {
			f.Fatal(err)
		}
		data, err := proto.Marshal(request)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		request := &federationv1.AskRequest{}
		if proto.Unmarshal(data, request) != nil {
			return
		}
		first, err := wire.DecodeAsk(request)
		if err != nil {
			if e := federation.AsError(err); e.Kind != federation.BadQuestion {
				t.Fatalf("got %v, want bad-question", err)
			}
			if !wire.IsStated(wire.EncodeFailure(err).Err()) {
				t.Fatalf("can't be told: %v", err)
			}
			return
		}
		_, _ = first.Question.Request() // a bad expression is an error, never a panic
		again, err := wire.EncodeAsk(first)
		if err != nil {
			t.Fatalf("was accepted but can't be asked: %v", err)
		}
		second, err := wire.DecodeAsk(again)
		if err != nil {
			t.Fatal(err)
		}
		third, err := wire.EncodeAsk(second)
		if err != nil || !proto.Equal(again, third) {
			t.Fatalf("changes on the way:\n%v\n%v\n%v", again, third, err)
		}
	})
}

// FuzzChunk reads arbitrary bytes as a chunk of a series. What is accepted can
// be decoded in full, by code that doesn't expect to fail.
func FuzzChunk(f *testing.F) {
	for _, s := range richSeries(f) {
		for _, c := range s.Chunks {
			f.Add(uint32(c.Chunk.Encoding()), c.Chunk.Bytes())
		}
	}
	f.Add(uint32(2), hugeLayout())
	q := metrics.Question{Kind: policy.Series, End: begin.AddDate(1000, 0, 0)}
	f.Fuzz(func(t *testing.T, encoding uint32, data []byte) {
		part := &federationv1.Part{Status: "complete", Series: 1}
		if len(data) >= 2 {
			part.Samples = int64(data[0])<<8 | int64(data[1])
		}
		released, _, err := receive(q, wire.Limits{}, []*federationv1.AskResponse{
			{Message: &federationv1.AskResponse_Series{Series: &federationv1.SeriesBatch{
				Symbols: []string{"org", "globex"},
				Series:  []*federationv1.Series{{LabelRefs: []uint32{0, 1}, Chunks: []*federationv1.Chunk{{Encoding: encoding, Data: data}}}},
			}}},
			{Message: &federationv1.AskResponse_Part{Part: part}},
		})
		if err == nil {
			decode(t, released, int(part.Samples))
		}
	})
}

// decode does with an answer what an engine does.
func decode(t *testing.T, released *metrics.Released, want int) {
	t.Helper()
	matrix, err := released.Matrix()
	if err != nil {
		t.Fatalf("was accepted but can't be decoded: %v", err)
	}
	samples := 0
	for _, s := range matrix {
		if s.Metric.Get("org") != "globex" {
			t.Fatalf("accepted %s", s.Metric)
		}
		samples += len(s.Floats) + len(s.Histograms)
		for _, h := range s.Histograms {
			// Spans without buckets are valid, but Add of Prometheus v0.309 panics
			// on some of them; its engine makes that the query's error.
			compact := h.H.Copy().Compact(0)
			for _, other := range []*histogram.FloatHistogram{compact, nativeHistogram(), customHistogram()} {
				_, _, _, _ = compact.Copy().Add(other) // an error is fine
				_, _, _, _ = other.Copy().Add(compact)
			}
			_ = h.H.String()
		}
	}
	if samples != want {
		t.Fatalf("decoded %d samples, counted %d", samples, want)
	}
}

// FuzzAskResponse reads arbitrary bytes as the messages of an answer, each
// after its length. What is accepted can be decoded in full and sent again.
func FuzzAskResponse(f *testing.F) {
	add := func(kind byte, released *metrics.Released) {
		var buf bytes.Buffer
		for _, m := range encode(f, released) {
			if _, err := protodelim.MarshalTo(&buf, m); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(kind, buf.Bytes())
	}
	for _, s := range richSeries(f) {
		add(0, metrics.Received([]metrics.ReleasedSeries{s}, nil, nil, nil))
	}
	add(1, metrics.Received(richSeries(f), nil, nil, nil))
	add(2, metrics.Received([]metrics.ReleasedSeries{{Labels: labels.FromStrings("org", "globex")}}, nil, nil, nil))
	add(3, metrics.Received(nil, []string{"a", "b"}, nil, nil))
	questions := []metrics.Question{
		rangeQuestion(),
		{Kind: policy.Series, Start: begin, End: begin.Add(time.Hour)},
		{Kind: policy.Series, Start: begin, End: begin.Add(time.Hour), LabelsOnly: true},
		{Kind: policy.LabelNames},
		{Kind: policy.LabelValues, Label: "org"},
		{Kind: policy.Metadata},
		{Kind: policy.Exemplars, Expression: "up", Start: begin, End: begin.Add(time.Hour)},
		{Kind: policy.Instant, Expression: "up[5m]", Start: begin.Add(time.Hour), End: begin.Add(time.Hour)},
	}
	limits := wire.Limits{Series: 1000, Samples: 10_000, Bytes: 1 << 20}
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		q := questions[int(kind)%len(questions)]
		var messages []*federationv1.AskResponse
		for r := bytes.NewReader(data); r.Len() > 0; {
			m := &federationv1.AskResponse{}
			if protodelim.UnmarshalFrom(r, m) != nil {
				break
			}
			messages = append(messages, m)
		}
		released, part, err := receive(q, limits, messages)
		if err != nil {
			return
		}
		decode(t, released, part.Cost.Samples)
		again, _, err := wire.EncodeAnswer(released, part)
		if err != nil {
			t.Fatalf("was accepted but can't be sent: %v", err)
		}
		if _, _, err := receive(q, wire.Limits{}, again); err != nil {
			t.Fatalf("was accepted but not a second time: %v", err)
		}
	})
}
