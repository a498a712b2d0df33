package traces

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
)

// call is a client span of one organization and its server span in another.
type call struct {
	from, to   int
	start, end uint64 // of the client span
	in, out    uint64 // of the server span
	kind       ptrace.SpanKind
	gaveUp     bool
}

// calls is the trace of some calls, which a root of the first organization makes.
func calls(t *testing.T, all ...call) Trace {
	t.Helper()
	fragments := []ptrace.Traces{ptrace.NewTraces(), ptrace.NewTraces(), ptrace.NewTraces()}
	spanIn(fragments[0], 1, 1, 0, 0, 1000)
	servers := map[int]byte{0: 1}
	for i, c := range all {
		id := byte(2 + 2*i)
		client := spanIn(fragments[c.from], 1, id, servers[c.from], c.start, c.end)
		client.SetKind(ptrace.SpanKindClient)
		if c.gaveUp {
			client.Status().SetCode(ptrace.StatusCodeError)
		}
		server := spanIn(fragments[c.to], 1, id+1, id, c.in, c.out)
		server.SetKind(ptrace.SpanKindServer)
		if c.kind != 0 {
			server.SetKind(c.kind)
			client.SetKind(ptrace.SpanKindProducer)
		}
		servers[c.to] = id + 1
	}
	got := stitched(t, fragments...)
	if len(got) != 1 {
		t.Fatalf("%d traces", len(got))
	}
	return got[0]
}

func TestClocks(t *testing.T) {
	for name, test := range map[string]struct {
		calls         []call
		globex, third Clock // of globex and initech
	}{
		"in time, nothing is moved": {
			calls:  []call{{from: 0, to: 1, start: 100, end: 200, in: 120, out: 180}},
			globex: Clock{Possible: Interval{-20, 20}},
		},
		"too early, by as little as possible": {
			calls:  []call{{from: 0, to: 1, start: 100, end: 200, in: 20, out: 80}},
			globex: Clock{Shift: 80, Possible: Interval{80, 120}},
		},
		"two calls tell more": {
			calls: []call{
				{from: 0, to: 1, start: 100, end: 200, in: 20, out: 80},
				{from: 0, to: 1, start: 300, end: 380, in: 210, out: 280},
			},
			globex: Clock{Shift: 90, Possible: Interval{90, 100}},
		},
		"who gave up tells nothing of the end": {
			calls:  []call{{from: 0, to: 1, start: 100, end: 110, in: 20, out: 80, gaveUp: true}},
			globex: Clock{Shift: 80, Possible: Interval{80, Unbounded}},
		},
		"a message is sent before it is read": {
			calls:  []call{{from: 0, to: 1, start: 100, end: 110, in: 20, out: 80, kind: ptrace.SpanKindConsumer}},
			globex: Clock{Shift: 80, Possible: Interval{80, Unbounded}},
		},
		"a server that ran longer than its client contradicts": {
			calls:  []call{{from: 0, to: 1, start: 100, end: 110, in: 20, out: 80}},
			globex: Clock{Contradicts: true, Possible: Interval{-Unbounded, Unbounded}},
		},
		"through another": {
			calls: []call{
				{from: 0, to: 1, start: 100, end: 200, in: 20, out: 80},
				{from: 1, to: 2, start: 30, end: 70, in: 535, out: 565},
			},
			globex: Clock{Shift: 80, Possible: Interval{80, 120}},
			third:  Clock{Shift: -415, Possible: Interval{-425, -375}},
		},
		"what hangs on a clock that contradicts isn't moved": {
			calls: []call{
				{from: 0, to: 1, start: 100, end: 110, in: 20, out: 80},
				{from: 1, to: 2, start: 30, end: 70, in: 535, out: 565},
			},
			globex: Clock{Contradicts: true, Possible: Interval{-Unbounded, Unbounded}},
			third:  Clock{Unbounded: true, Possible: Interval{-Unbounded, Unbounded}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := calls(t, test.calls...)
			test.globex.Org, test.third.Org = "globex", "initech"
			want := []Clock{{Org: "acme"}, test.globex}
			if test.third.Possible != (Interval{}) {
				want = append(want, test.third)
			}
			if !slices.Equal(got.Report.Clocks, want) {
				t.Errorf("clocks are\n%+v, not\n%+v", got.Report.Clocks, want)
			}
		})
	}
}

// The interval stands on the resources, as the report has it.
func TestShiftsAreOnResources(t *testing.T) {
	got := calls(t, call{from: 0, to: 1, start: 100, end: 200, in: 20, out: 80})
	for _, rs := range got.Spans.ResourceSpans().All() {
		attributes := rs.Resource().Attributes().AsRaw()
		switch attributes[OrgAttribute] {
		case "acme":
			if len(attributes) != 1 {
				t.Errorf("acme has %v", attributes)
			}
		case "globex":
			if attributes[ShiftAttribute] != int64(80) || attributes[ShiftMinAttribute] != int64(80) || attributes[ShiftMaxAttribute] != int64(120) {
				t.Errorf("globex has %v", attributes)
			}
			if at := rs.ScopeSpans().At(0).Spans().At(0).StartTimestamp(); at != 100 {
				t.Errorf("its span begins at %d", at)
			}
		}
	}
}

// A clock that drifts is wrong by no more than what it drifted.
func TestClocksThatDrift(t *testing.T) {
	const perSecond = 200_000 // nanoseconds
	contradictions := 0
	for seed := range uint64(600) {
		tale := tell(seed, options{async: 0.2, retries: 0.2, spans: 40, drift: perSecond})
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			got := tale.ask(t, tale.ids[0])[0]
			tale.compare(t, got)
			var last int64
			for _, s := range tale.spans {
				last = max(last, s.end)
			}
			drifted := time.Duration(2*perSecond*(last-base)/int64(time.Second)) + 1
			root := tale.spans[0].org
			for _, c := range got.Report.Clocks {
				if c.Contradicts {
					contradictions++
					continue
				}
				truth := time.Duration(tale.offset[root](base) - tale.offset[slices.Index(tale.orgs, c.Org)](base))
				if c.Possible.Min > -Unbounded && truth < c.Possible.Min-drifted || c.Possible.Max < Unbounded && truth > c.Possible.Max+drifted {
					t.Errorf("the clock of %s is wrong by %s, which isn't in %v, or %s around it", c.Org, truth, c.Possible, drifted)
				}
			}
		})
	}
	if contradictions > 50 {
		t.Errorf("%d contradictions", contradictions)
	}
}
