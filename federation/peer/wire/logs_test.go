package wire_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/peer/wire"
	"github.com/parley-gateway/parley/policy"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
)

// logsAnswers are questions about logs of every kind, each with an answer.
func logsAnswers(t testing.TB) []struct {
	q logs.Question
	a logs.Answer
} {
	t.Helper()
	shop, err := logs.ParseSelector(`{service="shop"}`)
	if err != nil {
		t.Fatal(err)
	}
	one := []policy.Selector{shop}
	end := begin.Add(time.Hour)
	stream := labels.FromStrings("org", "globex", "service", "shop")
	numbers := func(name string) *metrics.Released {
		return metrics.ReceivedMatrix(promql.Matrix{
			{Metric: labels.FromStrings("org", "globex", name, "shop"), Floats: []promql.FPoint{{T: logs.Aligned(begin.UnixNano(), time.Minute) / 1e6, F: 12}}},
		})
	}
	whole := metrics.ReceivedMatrix(promql.Matrix{{Metric: stream, Floats: []promql.FPoint{{T: begin.UnixMilli(), F: 12}}}})
	entry := logs.Entry{At: begin.UnixNano(), Entry: logql.Entry{Line: "hello \xff", Stream: stream, Parsed: labels.FromStrings("a", "b")}}
	return []struct {
		q logs.Question
		a logs.Answer
	}{
		{logs.Question{Kind: policy.Range, Expression: `{service="shop"} | logfmt`, Limit: 3}, logs.Answer{Entries: []logs.Entry{entry}}},
		{logs.Question{Kind: policy.Series, Selectors: one}, logs.Answer{Streams: []labels.Labels{stream}}},
		{logs.Question{Kind: policy.LabelNames}, logs.Answer{Names: []string{"org", "service"}}},
		{logs.Question{Kind: policy.LabelValues, Label: "service", Selectors: one}, logs.Answer{Names: []string{"shop"}}},
		{logs.Question{Kind: policy.Stats, Selectors: one}, logs.Answer{Stats: logs.Stats{Streams: 1, Entries: 2, Bytes: 3}}},
		{logs.Question{Kind: policy.Stats, Selectors: one}, logs.Answer{}},
		{logs.Question{Kind: policy.Volume, Selectors: one}, logs.Answer{Numbers: whole}},
		{logs.Question{Kind: policy.Volume, Selectors: one, Step: time.Minute, By: []string{"service", "pod"}}, logs.Answer{Numbers: numbers("service")}},
		{logs.Question{Kind: policy.Volume, Selectors: one, Step: time.Minute, ByName: true}, logs.Answer{Numbers: numbers(logs.VolumeName)}},
		{logs.Question{Kind: policy.Patterns, Selectors: one, Step: time.Minute}, logs.Answer{Numbers: numbers(logs.PatternLabel)}},
		{logs.Question{Kind: policy.DetectedLabels}, logs.Answer{Fields: []logs.Field{{Name: "pod", Type: logs.IDField, Values: []uint64{1, 9}}}}},
		{logs.Question{Kind: policy.DetectedFields, Expression: `{service="shop"} |= "a"`, Limit: 5}, logs.Answer{Fields: []logs.Field{
			{Name: "status", Type: logs.IntField, Parsers: []logs.Parser{logs.JSON, logs.Logfmt}, Path: []string{"http", "status"}, Values: []uint64{3}},
			{Name: "trace_id", Type: logs.StringField, Values: []uint64{1, 2, 3}},
		}}},
		{logs.Question{Kind: policy.DetectedFields, Expression: `{service="shop"}`, Label: "status", Limit: 5}, logs.Answer{Names: []string{"200"}}},
		{logs.Question{Kind: policy.DetectedFields, Expression: `{service="shop"}`, Label: "status", Limit: 5, Start: begin, End: end}, logs.Answer{}},
	}
}

func receiveLogs(q logs.Question, l wire.Limits, messages []*federationv1.AskResponse) (*logs.Released, federation.Part, error) {
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
	return released.(*logs.Released), part, nil
}

// seen is what can be had of an answer.
func seen(t testing.TB, r *logs.Released) map[string]any {
	t.Helper()
	out := map[string]any{"entries": r.Entries(), "streams": r.Streams(), "names": r.Names(), "fields": r.Fields(), "stats": r.Stats()}
	if r.Numbers() != nil {
		matrix, err := r.Numbers().Matrix()
		if err != nil {
			t.Fatal(err)
		}
		out["numbers"] = matrix.String()
	}
	return out
}

// Every kind of question about logs arrives as it was asked, and its answer as
// it was given. No other kind of question takes that answer.
func TestLogsQuestionsAndAnswers(t *testing.T) {
	all := logsAnswers(t)
	for i, c := range all {
		c.q.Start, c.q.End = begin, begin.Add(time.Hour)
		request, err := wire.EncodeAsk(wire.Ask{ExchangeID: exchangeID, Purpose: "audit", Question: c.q})
		if err != nil {
			t.Fatalf("%s: %v", c.q.Kind, err)
		}
		asked, err := wire.DecodeAsk(request)
		if err != nil {
			t.Fatalf("%s: %v", c.q.Kind, err)
		}
		again, err := wire.EncodeAsk(asked)
		if err != nil || !proto.Equal(request, again) {
			t.Errorf("%s changes on the way:\n%v\n%v", c.q.Kind, request, again)
		}
		sent := logs.Received(c.a)
		messages, size, err := wire.EncodeAnswer(sent, complete())
		if err != nil {
			t.Fatalf("%s: %v", c.q.Kind, err)
		}
		got, part, err := receiveLogs(c.q, wire.Limits{}, messages)
		if err != nil {
			t.Fatalf("%s: %v", c.q.Kind, err)
		}
		if part.Cost.Bytes != size {
			t.Errorf("%s: %d bytes, want %d", c.q.Kind, part.Cost.Bytes, size)
		}
		want := seen(t, sent)
		if _, none := want["numbers"]; !none && seen(t, got)["numbers"] != nil {
			t.Errorf("%s: numbers that weren't sent", c.q.Kind)
		}
		if diff := cmp.Diff(want, seen(t, got), cmp.Comparer(labels.Equal)); diff != "" {
			t.Errorf("%s (-sent +received):\n%s", c.q.Kind, diff)
		}
		for j, other := range all {
			other.q.Start, other.q.End = begin, begin.Add(time.Hour)
			if len(messages) == 1 || form(all[i].q) == form(other.q) {
				continue
			}
			if _, _, err := receiveLogs(other.q, wire.Limits{}, messages); err == nil {
				t.Errorf("the answer to %s %d is taken for one to %s %d", c.q.Kind, i, other.q.Kind, j)
			}
		}
	}
}

// form is what answers to a question consist of.
func form(q logs.Question) string {
	switch {
	case q.Numbers():
		return "numbers"
	case q.Kind == policy.LabelNames, q.Kind == policy.LabelValues, q.Kind == policy.DetectedFields && q.Label != "":
		return "names"
	case q.Kind == policy.DetectedFields, q.Kind == policy.DetectedLabels:
		return "fields"
	}
	return string(q.Kind)
}

func TestLogsQuestionsThatAreRefused(t *testing.T) {
	start, hour := begin.UnixNano(), begin.Add(time.Hour).UnixNano()
	shop := []string{`{service="shop"}`}
	for name, q := range map[string]*federationv1.LogsQuestion{
		"an unknown kind":              {Kind: "shards"},
		"statistics of nothing":        {Kind: "stats"},
		"statistics of two":            {Kind: "stats", Selectors: []string{`{a="b"}`, `{a="c"}`}},
		"statistics with a step":       {Kind: "stats", Selectors: shop, StepNs: 1e9},
		"statistics by a label":        {Kind: "stats", Selectors: shop, By: []string{"a"}},
		"statistics with a label":      {Kind: "stats", Selectors: shop, Label: "a"},
		"a volume by nothing":          {Kind: "volume", Selectors: shop, By: []string{""}},
		"a volume of too many steps":   {Kind: "volume", Selectors: shop, StepNs: 1e6},
		"a volume of half a step":      {Kind: "volume", Selectors: shop, StepNs: 1e9 + 1},
		"patterns without a step":      {Kind: "patterns", Selectors: shop},
		"fields of numbers":            {Kind: "detected_fields", Expression: `rate({a="b"}[1m])`, Limit: 1},
		"fields of no lines":           {Kind: "detected_fields", Expression: `{a="b"}`},
		"fields by selector":           {Kind: "detected_fields", Selectors: shop, Limit: 1},
		"fields of the first lines":    {Kind: "detected_fields", Expression: `{a="b"}`, Limit: 1, Backward: true},
		"a label of labels":            {Kind: "detected_labels", Label: "a"},
		"a selector that isn't LogQL":  {Kind: "detected_labels", Selectors: []string{`{a=}`}},
		"a selector with a filter":     {Kind: "volume", Selectors: []string{`{a="b"} |= "c"`}},
		"a selector of reserved names": {Kind: "detected_fields", Expression: `{__parley_x="b"}`, Limit: 1},
	} {
		q.StartNs, q.EndNs = start, hour
		_, err := wire.DecodeAsk(&federationv1.AskRequest{ExchangeId: exchangeID, Purpose: "audit", Question: &federationv1.AskRequest_Logs{Logs: q}})
		if err == nil || federation.AsError(err).Kind != federation.BadQuestion {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLogsAnswersThatAreRefused(t *testing.T) {
	fields := logs.Question{Kind: policy.DetectedFields, Expression: `{a="b"}`, Limit: 2, Start: begin, End: begin.Add(time.Hour)}
	field := func(f *federationv1.Field) *federationv1.AskResponse {
		return &federationv1.AskResponse{Message: &federationv1.AskResponse_Fields{Fields: &federationv1.FieldBatch{Fields: []*federationv1.Field{f}}}}
	}
	good := field(&federationv1.Field{Name: "b", Type: "int", Values: []uint64{1, 2}})
	for name, messages := range map[string][]*federationv1.AskResponse{
		"no name":                      {field(&federationv1.Field{Type: "int", Values: []uint64{1}})},
		"an unknown type":              {field(&federationv1.Field{Name: "a", Type: "<b>", Values: []uint64{1}})},
		"an unknown parser":            {field(&federationv1.Field{Name: "a", Type: "int", Parsers: []string{"unpack"}, Values: []uint64{1}})},
		"no values":                    {field(&federationv1.Field{Name: "a", Type: "int"})},
		"more values than lines":       {field(&federationv1.Field{Name: "a", Type: "int", Values: []uint64{1, 2, 3}})},
		"values that are there twice":  {field(&federationv1.Field{Name: "a", Type: "int", Values: []uint64{1, 1}})},
		"a path without end":           {field(&federationv1.Field{Name: "a", Type: "int", Path: make([]string, 1000), Values: []uint64{1}})},
		"a field twice":                {good, good},
		"fields out of order":          {good, field(&federationv1.Field{Name: "a", Type: "int", Values: []uint64{1}})},
		"statistics instead of fields": {{Message: &federationv1.AskResponse_LogsStats{LogsStats: &federationv1.LogsStats{Entries: 1}}}},
		"names instead of fields":      {{Message: &federationv1.AskResponse_Names{Names: &federationv1.NameBatch{Names: []string{"a"}}}}},
		"a lot of small fields":        {good, field(&federationv1.Field{Name: "c", Type: "int", Values: []uint64{1}}), field(&federationv1.Field{Name: "d", Type: "int", Values: []uint64{1}})},
	} {
		receiver, err := wire.NewReceiver("globex", fields, wire.Limits{Series: 2})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			if err == nil {
				err = receiver.Add(m)
			}
		}
		if err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// FuzzLogsResponse reads arbitrary bytes as the messages of an answer about
// logs, each after its length. What is accepted can be sent again.
func FuzzLogsResponse(f *testing.F) {
	all := logsAnswers(f)
	for i := range all {
		all[i].q.Start, all[i].q.End = begin, begin.Add(time.Hour)
		messages, _, err := wire.EncodeAnswer(logs.Received(all[i].a), complete())
		if err != nil {
			f.Fatal(err)
		}
		var buf bytes.Buffer
		for _, m := range messages {
			if _, err := protodelim.MarshalTo(&buf, m); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(byte(i), buf.Bytes())
	}
	limits := wire.Limits{Series: 1000, Samples: 10_000, Bytes: 1 << 20}
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		q := all[int(kind)%len(all)].q
		var messages []*federationv1.AskResponse
		for r := bytes.NewReader(data); r.Len() > 0; {
			m := &federationv1.AskResponse{}
			if protodelim.UnmarshalFrom(r, m) != nil {
				break
			}
			messages = append(messages, m)
		}
		released, part, err := receiveLogs(q, limits, messages)
		if err != nil {
			return
		}
		for _, e := range released.Entries() {
			if org := e.Stream.Get("org"); org != "" && org != "globex" {
				t.Fatalf("accepted an entry of %s", e.Stream)
			}
		}
		if released.Numbers() != nil {
			decode(t, released.Numbers(), part.Cost.Samples)
		}
		again, _, err := wire.EncodeAnswer(released, part)
		if err != nil {
			t.Fatalf("was accepted but can't be sent: %v", err)
		}
		if _, _, err := receiveLogs(q, wire.Limits{}, again); err != nil {
			t.Fatalf("was accepted but not a second time: %v", err)
		}
	})
}

// entryAnswer is an answer of so many entries that share their labels, and its
// closing part.
func entryAnswer(entries int, stream, metadata labels.Labels) []*federationv1.AskResponse {
	batch := &federationv1.EntryBatch{}
	for _, ls := range []labels.Labels{stream, metadata, labels.EmptyLabels()} {
		set := &federationv1.LabelSet{}
		ls.Range(func(l labels.Label) {
			for _, symbol := range []string{l.Name, l.Value} {
				ref := slices.Index(batch.Symbols, symbol)
				if ref < 0 {
					ref = len(batch.Symbols)
					batch.Symbols = append(batch.Symbols, symbol)
				}
				set.LabelRefs = append(set.LabelRefs, uint32(ref))
			}
		})
		batch.LabelSets = append(batch.LabelSets, set)
	}
	for range entries {
		batch.Entries = append(batch.Entries, &federationv1.Entry{TimestampNs: begin.UnixNano(), Stream: 0, Metadata: 1, Parsed: 2})
	}
	return []*federationv1.AskResponse{
		{Message: &federationv1.AskResponse_Entries{Entries: batch}},
		{Message: &federationv1.AskResponse_Part{Part: &federationv1.Part{Status: "complete", Lines: int64(entries)}}},
	}
}

// Entries that share labels are written with each one's own: a small message could
// be a very large answer.
func TestSharedLabelsCountForEachEntry(t *testing.T) {
	q := logs.Question{Kind: policy.Range, Expression: `{service="shop"}`, Start: begin, End: begin.Add(time.Hour), Limit: 1000}
	metadata := labels.NewBuilder(labels.EmptyLabels())
	for i := range 10 {
		metadata.Set(fmt.Sprint("a", i), strings.Repeat("x", 10_000))
	}
	stream := labels.FromStrings("org", "globex")
	for entries, want := range map[int]federation.Kind{5: "", 1000: federation.OverLimit} {
		_, _, err := receiveLogs(q, wire.Limits{Bytes: 1 << 20}, entryAnswer(entries, stream, metadata.Labels()))
		if (err == nil) != (want == "") || err != nil && federation.AsError(err).Kind != want {
			t.Errorf("%d entries of 100 kB: %v", entries, err)
		}
	}
}

// Entries say whose they are, unless the question takes that away.
func TestEntriesHaveTheLabelOrg(t *testing.T) {
	for expression, accepted := range map[string]bool{
		`{service="shop"}`: false,
		`{service="shop"} | logfmt | keep org, level`:  false,
		`{service="shop"} | logfmt | drop level`:       false,
		`{service="shop"} | logfmt | keep level`:       true,
		`{service="shop"} | drop org`:                  true,
		`{service="shop"} | keep level, org="initech"`: true,
	} {
		q := logs.Question{Kind: policy.Range, Expression: expression, Start: begin, End: begin.Add(time.Hour), Limit: 3}
		if _, _, err := receiveLogs(q, wire.Limits{}, entryAnswer(1, labels.FromStrings("org", "globex"), labels.EmptyLabels())); err != nil {
			t.Errorf("%s: an entry with it: %v", expression, err)
		}
		for _, metadata := range []labels.Labels{labels.EmptyLabels(), labels.FromStrings("org", "globex")} {
			if _, _, err := receiveLogs(q, wire.Limits{}, entryAnswer(1, labels.FromStrings("service", "shop"), metadata)); (err == nil) != accepted {
				t.Errorf("%s: an entry of a stream without it, and metadata %s: %v", expression, metadata, err)
			}
		}
	}
}
