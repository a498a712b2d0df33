package wire_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/encoding/protodelim"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/peer/wire"
	"github.com/parley-gateway/parley/policy"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
)

var tailQuestion = logs.Question{Kind: policy.Tail, Expression: `{service="checkout"}`, Start: begin.Add(-time.Hour), End: begin, Limit: 10, Backward: true}

// tailPart is a part of globex's tail.
type tailPart struct {
	entries []logs.Entry
	part    federation.Part
}

func tailEntry(second int, line string, stream ...string) logs.Entry {
	e := logs.Entry{At: begin.Add(time.Duration(second) * time.Second).UnixNano()}
	e.Line, e.Stream, e.Parsed = line, labels.FromStrings(append([]string{"org", "globex"}, stream...)...), labels.FromStrings("level", "info")
	return e
}

func tailParts() []tailPart {
	var many []logs.Entry
	for i := range 500 {
		many = append(many, tailEntry(i, fmt.Sprint("line ", i), "service", []string{"checkout", "cart"}[i%2]))
	}
	return []tailPart{
		{nil, federation.Part{Status: federation.Complete, Notices: []string{"policy says: keep service"}, Coverage: policy.Window{Start: begin, End: begin.Add(time.Hour)}}},
		{many, federation.Part{Status: federation.Complete}},
		{[]logs.Entry{tailEntry(-100, "late")}, federation.Part{Status: federation.Complete}},
		{[]logs.Entry{tailEntry(600, "not UTF-8: \xff\x00"), tailEntry(600, "")}, federation.Part{Status: federation.Partial, Reason: "lines were left out", Dropped: 12}},
	}
}

func tailMessages(t testing.TB, parts ...tailPart) []*federationv1.AskResponse {
	t.Helper()
	var out []*federationv1.AskResponse
	for _, p := range parts {
		messages, _, err := wire.EncodeAnswer(logs.Received(logs.Answer{Entries: p.entries}), p.part)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, messages...)
	}
	return out
}

// receiveTail reads messages until one is refused.
func receiveTail(t testing.TB, l wire.Limits, messages []*federationv1.AskResponse) (parts []tailPart, err error) {
	t.Helper()
	receiver, err := wire.NewTailReceiver("globex", tailQuestion, l, func() time.Time { return begin.Add(10 * time.Minute) })
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		released, part, whole, err := receiver.Add(m)
		if err != nil {
			return parts, err
		}
		if whole {
			parts = append(parts, tailPart{released.Entries(), part})
		}
	}
	return parts, nil
}

func TestTailOnTheWire(t *testing.T) {
	want := tailParts()
	got, err := receiveTail(t, wire.Limits{}, tailMessages(t, want...))
	if err != nil || len(got) != len(want) {
		t.Fatalf("got %d parts, %v", len(got), err)
	}
	for i, p := range got {
		if diff := cmp.Diff(want[i].entries, p.entries, cmp.Comparer(labels.Equal)); diff != "" {
			t.Errorf("part %d (-want +got):\n%s", i, diff)
		}
		w := want[i].part
		if p.part.Org != "globex" || p.part.Status != w.Status || p.part.Reason != w.Reason || p.part.Dropped != w.Dropped || p.part.Cost.Lines != len(p.entries) {
			t.Errorf("part %d says %+v, want %+v", i, p.part, w)
		}
	}
	if _, err := receiveTail(t, wire.Limits{Bytes: 1000}, tailMessages(t, want[1])); federation.AsError(err).Kind != federation.OverLimit {
		t.Errorf("a part that is too large: %v", err)
	}
	if _, err := wire.NewTailReceiver("globex", rangeQuestion(), wire.Limits{}, time.Now); federation.AsError(err).Kind != federation.BadQuestion {
		t.Errorf("a tail of metrics: %v", err)
	}
	if _, err := wire.NewReceiver("globex", tailQuestion, wire.Limits{}); err == nil {
		t.Error("a tail has an answer that ends")
	}
	again := tailQuestion
	again.Backward = false
	if _, err := wire.EncodeAsk(ask(again)); err == nil {
		t.Error("a tail of all that there was has a limit")
	}
}

// Entries of the future would be the first of everybody's until then. They are left
// out and counted; those from before the question are refused.
func TestTailsAreOfTheirTime(t *testing.T) {
	soon, later := tailEntry(659, "soon"), tailEntry(660, "later") // it is second 600
	parts, err := receiveTail(t, wire.Limits{}, tailMessages(t, tailPart{[]logs.Entry{soon, later, later}, federation.Part{Status: federation.Complete, Dropped: 3}}))
	if err != nil || len(parts) != 1 {
		t.Fatalf("got %d parts, %v", len(parts), err)
	}
	if diff := cmp.Diff([]logs.Entry{soon}, parts[0].entries, cmp.Comparer(labels.Equal)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if p := parts[0].part; p.Status != federation.Partial || p.Dropped != 5 || p.Reason == "" || p.Cost.Lines != 1 {
		t.Errorf("the part says %+v", p)
	}
	for second, accepted := range map[int]bool{-3600: true, -3601: false} {
		_, err := receiveTail(t, wire.Limits{}, tailMessages(t, tailPart{[]logs.Entry{tailEntry(second, "old")}, federation.Part{Status: federation.Complete}}))
		if (err == nil) != accepted {
			t.Errorf("an entry of second %d: %v", second, err)
		}
	}
}

// FuzzTail reads arbitrary bytes as the messages of a tail, each after its length.
// What is accepted is bounded, globex's own, in order within a part, and can be
// sent again.
func FuzzTail(f *testing.F) {
	add := func(messages []*federationv1.AskResponse) {
		var buf bytes.Buffer
		for _, m := range messages {
			if _, err := protodelim.MarshalTo(&buf, m); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(buf.Bytes())
	}
	parts := tailParts()
	parts[1].entries = parts[1].entries[:5]
	add(tailMessages(f, parts...))
	for _, p := range parts {
		add(tailMessages(f, p))
	}
	limits := wire.Limits{Series: 1000, Samples: 10_000, Bytes: 1 << 20}
	f.Fuzz(func(t *testing.T, data []byte) {
		var messages []*federationv1.AskResponse
		for r := bytes.NewReader(data); r.Len() > 0; {
			m := &federationv1.AskResponse{}
			if protodelim.UnmarshalFrom(r, m) != nil {
				break
			}
			messages = append(messages, m)
		}
		parts, _ := receiveTail(t, limits, messages)
		for _, p := range parts {
			released := logs.Received(logs.Answer{Entries: p.entries})
			if released.Bytes() > limits.Bytes || p.part.Dropped < 0 {
				t.Fatalf("accepted %d bytes, %d left out", released.Bytes(), p.part.Dropped)
			}
			for i, e := range p.entries {
				for _, ls := range []labels.Labels{e.Stream, e.Metadata, e.Parsed} {
					if org := ls.Get("org"); org != "" && org != "globex" {
						t.Fatalf("accepted %s", ls)
					}
				}
				if i > 0 && e.At < p.entries[i-1].At {
					t.Fatal("accepted entries that are out of order")
				}
			}
			again, err := receiveTail(t, wire.Limits{}, tailMessages(t, p))
			if err != nil || len(again) != 1 || len(again[0].entries) != len(p.entries) {
				t.Fatalf("was accepted but not a second time: %v", err)
			}
		}
	})
}
