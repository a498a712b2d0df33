package traces

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Of a call it is not known when it was, but that it ran beside one that ended
// later: then it doesn't matter when. Otherwise anybody may have had the time.
func TestWhatEndsLastIsOnTheCriticalPath(t *testing.T) {
	const at = 1_000_000
	for name, test := range map[string]struct {
		stray  uint64 // when a call begins whose caller is missing, for 100
		shares []Share
		path   []byte
	}{
		"it ended before": {300, []Share{
			{Org: fuzzedOrgs[0], Time: Interval{200, 200}},
			{Org: fuzzedOrgs[0], To: fuzzedOrgs[1], Time: Interval{100, 100}},
			{Org: fuzzedOrgs[1], Time: Interval{500, 500}},
			{Org: fuzzedOrgs[1], To: fuzzedOrgs[2], Time: Interval{100, 100}},
			{Org: fuzzedOrgs[2], Time: Interval{100, 100}},
		}, []byte{1, 2, 3, 4, 5}},
		// The clocks of the two are known within 100 of one another.
		"it may have ended later": {750, []Share{
			{Org: fuzzedOrgs[0], Time: Interval{150, 1000}},
			{Time: Interval{0, 300}},
			{Org: fuzzedOrgs[0], To: fuzzedOrgs[1], Time: Interval{0, 800}},
			{Org: fuzzedOrgs[1], Time: Interval{0, 800}},
			{Org: fuzzedOrgs[1], To: fuzzedOrgs[2], Time: Interval{0, 800}},
			{Org: fuzzedOrgs[2], Time: Interval{0, 850}},
		}, []byte{1}},
	} {
		t.Run(name, func(t *testing.T) {
			fragments := []ptrace.Traces{ptrace.NewTraces(), ptrace.NewTraces(), ptrace.NewTraces()}
			for _, s := range []struct {
				org        int
				id, parent byte
				kind       ptrace.SpanKind
				from, to   uint64
			}{
				{0, 1, 0, ptrace.SpanKindServer, 0, 1000},
				{0, 2, 1, ptrace.SpanKindClient, 100, 900},
				{1, 3, 2, ptrace.SpanKindServer, 150, 850},
				{1, 4, 3, ptrace.SpanKindClient, 600, 800},
				{2, 5, 4, ptrace.SpanKindServer, 650, 750},
				{2, 6, 99, ptrace.SpanKindServer, test.stray, test.stray + 100},
			} {
				spanIn(fragments[s.org], 1, s.id, s.parent, at+s.from, at+s.to).SetKind(s.kind)
			}
			got := stitched(t, fragments...)
			if len(got) != 1 {
				t.Fatalf("%d traces", len(got))
			}
			b := got[0].Report.Blame
			if diff := cmp.Diff(test.shares, b.Shares); diff != "" {
				t.Errorf("shares (-want +got):\n%s", diff)
			}
			var path []byte
			for _, ref := range b.Critical {
				path = append(path, ref.Span[0])
			}
			if diff := cmp.Diff(test.path, path); diff != "" {
				t.Errorf("path (-want +got):\n%s", diff)
			}
		})
	}
}
