package traces_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/tracestest"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// keepWorld is a keeping store whose own store can be emptied.
type keepWorld struct {
	*traces.Keeping
	w   *tracestest.World
	now time.Time
	dir string
}

func newKeepWorld(t *testing.T) *keepWorld {
	t.Helper()
	k := &keepWorld{w: tracestest.NewWorld(3, 3), now: tracestest.Start.Add(2 * tracestest.Length), dir: filepath.Join(t.TempDir(), "kept")}
	k.reopen(t, storeOf(t, k.w))
	return k
}

func (k *keepWorld) reopen(t *testing.T, source traces.Source) {
	t.Helper()
	keeping, err := traces.NewKeeping(source, traces.KeepingConfig{Dir: k.dir, For: time.Hour, Now: func() time.Time { return k.now }})
	if err != nil {
		t.Fatal(err)
	}
	k.Keeping = keeping
}

// asks asks for traces to be kept, for an organization.
func (k *keepWorld) asks(t *testing.T, by tenants.OrgID, o policy.Obligations, ids ...pcommon.TraceID) ([]string, error) {
	t.Helper()
	local, err := traces.NewLocal(traces.LocalConfig{Org: "globex", Source: k.Keeping, Secret: testSecret, Now: func() time.Time { return k.now }})
	if err != nil {
		t.Fatal(err)
	}
	released, _, err := local.Answer(context.Background(), traces.Question{Kind: policy.KeepTrace, IDs: ids},
		policy.Decision{Allow: true, Obligations: o}, federation.Asking{Org: by, ExchangeID: federation.NewExchangeID(tracestest.Start)})
	if err != nil {
		return nil, err
	}
	return released.Names(), nil
}

// A trace that was asked to be kept is there when the store has let it go, also
// after a restart, looks as it did, and goes when its time is over. What isn't seen
// isn't kept.
func TestATraceIsKept(t *testing.T) {
	k := newKeepWorld(t)
	all := answerOf(t, k.Keeping, tracestest.Policy(), traces.Question{Kind: policy.Trace, IDs: k.w.IDs()})
	kept := all.Traces()[0].ID
	hidden := ptrace.NewTraces()
	rs := hidden.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", tracestest.Secret)
	span := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	span.SetTraceID(pcommon.TraceID{42})
	span.SetSpanID(pcommon.SpanID{42})
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(tracestest.Start))
	store := storeOf(t, k.w)
	if err := store.Append(hidden); err != nil {
		t.Fatal(err)
	}
	k.reopen(t, store)

	names, err := k.asks(t, "acme", tracestest.Policy(), kept, pcommon.TraceID{42}, pcommon.TraceID{43})
	if err != nil || !slices.Equal(names, []string{kept.String()}) {
		t.Fatalf("kept %v, %v; want %s alone", names, err, kept)
	}
	empty := traces.NewStore(traces.StoreConfig{})
	k.reopen(t, empty)
	byID := traces.Question{Kind: policy.Trace, IDs: k.w.IDs()}
	want := bytesOf(t, traces.Received(traces.Answer{Traces: all.Traces()[:1]}), true)
	if got := answerOf(t, k.Keeping, tracestest.Policy(), byID); !bytes.Equal(bytesOf(t, got, true), want) {
		t.Errorf("kept %s", shownAs(t, got))
	}
	search := traces.Question{Kind: policy.Search, Expression: "{}", Limit: 10, Start: tracestest.Start, End: tracestest.Start.Add(2 * tracestest.Length)}
	if got := answerOf(t, k.Keeping, tracestest.Policy(), search); !bytes.Equal(bytesOf(t, got, true), want) {
		t.Errorf("found %s", shownAs(t, got))
	}
	k.now = k.now.Add(time.Hour)
	if got := answerOf(t, k.Keeping, tracestest.Policy(), byID); len(got.Traces()) != 0 {
		t.Errorf("is there after its time: %s", shownAs(t, got))
	}
	if files, err := os.ReadDir(k.dir); err != nil || len(files) != 0 {
		t.Errorf("left %v, %v", files, err)
	}
}

// A file that can't be removed keeps no trace longer, and nobody from what else there
// is.
func TestAKeptTraceWhoseFileStays(t *testing.T) {
	k := newKeepWorld(t)
	byID := traces.Question{Kind: policy.Trace, IDs: k.w.IDs()}
	all := answerOf(t, k.Keeping, everything(), byID)
	kept := all.Traces()[0].ID
	if _, err := k.asks(t, "acme", everything(), kept); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(k.dir, kept.String()+".trace.json")
	if err := errors.Join(os.Remove(file), os.MkdirAll(filepath.Join(file, "in use"), 0o700)); err != nil {
		t.Fatal(err)
	}
	k.now = k.now.Add(2 * time.Hour)
	if got := answerOf(t, k.Keeping, everything(), byID); len(got.Traces()) != len(all.Traces()) {
		t.Errorf("%d of %d traces of the store", len(got.Traces()), len(all.Traces()))
	}
	if err := os.Remove(filepath.Join(file, "in use")); err != nil {
		t.Fatal(err)
	}
	answerOf(t, k.Keeping, everything(), byID)
	if files, err := os.ReadDir(k.dir); err != nil || len(files) != 0 {
		t.Errorf("left %v, %v", files, err)
	}
}

// Who only reads has what another gateway keeps, and leaves the folder as it is.
func TestKeptTracesAreOnlyRead(t *testing.T) {
	k := newKeepWorld(t)
	all := answerOf(t, k.Keeping, everything(), traces.Question{Kind: policy.Trace, IDs: k.w.IDs()})
	kept := all.Traces()[0].ID
	if _, err := k.asks(t, "acme", everything(), kept); err != nil {
		t.Fatal(err)
	}
	read := func(dir string) *traces.Keeping {
		reading, err := traces.NewKeeping(traces.NewStore(traces.StoreConfig{}), traces.KeepingConfig{Dir: dir, ReadOnly: true, Now: func() time.Time { return k.now }})
		if err != nil {
			t.Fatal(err)
		}
		return reading
	}
	byID := traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{kept}}
	if got := answerOf(t, read(k.dir), everything(), byID); len(got.Traces()) != 1 || got.Disclosed().Spans != all.Traces()[0].Spans.SpanCount() {
		t.Errorf("%d spans of a kept trace", got.Disclosed().Spans)
	}
	k.Keeping = read(k.dir)
	if _, err := k.asks(t, "acme", everything(), kept); err == nil {
		t.Error("a trace is kept where it is only read")
	}
	k.now = k.now.Add(2 * time.Hour)
	if got := answerOf(t, k.Keeping, everything(), byID); len(got.Traces()) != 0 {
		t.Error("a trace is there whose time is over")
	}
	if files, err := os.ReadDir(k.dir); err != nil || len(files) != 1 {
		t.Errorf("left %v, %v", files, err)
	}
	nowhere := filepath.Join(t.TempDir(), "kept")
	read(nowhere)
	if _, err := os.Stat(nowhere); err == nil {
		t.Error("a folder was made")
	}
}

// With kept traces among them, answers are those of the store alone while it has
// them: nothing comes twice or in another order.
func TestKeptTracesComeOnce(t *testing.T) {
	for seed := range uint64(60) {
		w := tracestest.NewWorld(seed, seed)
		store := storeOf(t, w)
		keeping, err := traces.NewKeeping(store, traces.KeepingConfig{Now: func() time.Time { return tracestest.Start.Add(2 * tracestest.Length) }})
		if err != nil {
			t.Fatal(err)
		}
		k := &keepWorld{Keeping: keeping, now: tracestest.Start.Add(2 * tracestest.Length)}
		if _, err := k.asks(t, "acme", everything(), w.IDs()[:1+len(w.IDs())/2]...); err != nil {
			t.Fatal(err)
		}
		for _, q := range questionsOf(seed, w) {
			got, want := answerOf(t, keeping, tracestest.Policy(), q), answerOf(t, store, tracestest.Policy(), q)
			if !bytes.Equal(bytesOf(t, got, true), bytesOf(t, want, true)) {
				t.Fatalf("world %d, %+v:\nwith kept ones %s\nwithout        %s", seed, q, shownAs(t, got), shownAs(t, want))
			}
		}
	}
}

func TestKeepingIsBounded(t *testing.T) {
	k := newKeepWorld(t)
	var ids []pcommon.TraceID
	for _, trace := range answerOf(t, k.Keeping, everything(), traces.Question{Kind: policy.Trace, IDs: k.w.IDs()}).Traces() {
		ids = append(ids, trace.ID)
	}
	if len(ids) < 3 {
		t.Fatal("the world is too small for this test")
	}
	o := everything()
	o.Limits.KeptTraces = 2
	if _, err := k.asks(t, "acme", o, ids[:2]...); err != nil {
		t.Fatal(err)
	}
	if _, err := k.asks(t, "acme", o, ids[0]); err != nil {
		t.Errorf("one that is kept already: %v", err)
	}
	if _, err := k.asks(t, "acme", o, ids[2]); federation.AsError(err).Kind != federation.OverLimit {
		t.Errorf("a third: %v, want over-limit", err)
	}
	if _, err := k.asks(t, "initech", o, ids[2]); err != nil {
		t.Errorf("another organization's first: %v", err)
	}
	// One that was asked for all that it may leaves room for another.
	sizes := 0
	for _, trace := range k.w.Traces() {
		sizes += (&ptrace.ProtoMarshaler{}).TracesSize(trace)
	}
	shared, err := traces.NewKeeping(storeOf(t, k.w), traces.KeepingConfig{MaxBytes: 3 * sizes, Now: func() time.Time { return k.now }})
	if err != nil {
		t.Fatal(err)
	}
	k.Keeping, o.Limits.KeptTraces = shared, 100
	if _, err := k.asks(t, "acme", o, ids...); federation.AsError(err).Kind != federation.OverLimit {
		t.Errorf("more than a quarter: %v, want over-limit", err)
	}
	if _, err := k.asks(t, "initech", o, ids[len(ids)-1]); err != nil {
		t.Errorf("another organization's: %v", err)
	}
	small, err := traces.NewKeeping(storeOf(t, k.w), traces.KeepingConfig{MaxBytes: 10})
	if err != nil {
		t.Fatal(err)
	}
	k.Keeping = small
	if _, err := k.asks(t, "acme", o, ids[0]); federation.AsError(err).Kind != federation.OverLimit {
		t.Errorf("more than there is room for: %v, want over-limit", err)
	}
	broken := filepath.Join(k.dir, "4bf92f3577b34da6a3ce929d0e0e4736.trace.json")
	if err := os.WriteFile(broken, []byte(`{"by": {}, "otlp": "////"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := traces.NewKeeping(storeOf(t, k.w), traces.KeepingConfig{Dir: k.dir}); err == nil {
		t.Error("a file that can't be read was passed over")
	}
}
