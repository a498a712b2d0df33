package front_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/tenants"
)

// reported are journeys of which the first has all that a report can say.
func reported() *spans {
	s := journeys()
	ref := func(org tenants.OrgID, trace, span byte) traces.SpanRef {
		return traces.SpanRef{Org: org, Trace: pcommon.TraceID{15: trace}, Span: pcommon.SpanID{7: span}}
	}
	origin := ref("globex", 1, 3)
	s.traces[1].Report = &traces.Report{
		Joins:      []traces.Join{{By: traces.ByBoundary, Trace: pcommon.TraceID{15: 7}, Parent: ref("acme", 1, 2), Child: ref("globex", 7, 3), Attribute: "order.id"}},
		Conflicts:  []traces.Conflict{{Kept: ref("acme", 1, 2), Dropped: ref("globex", 1, 2), Differs: []string{"organization", "name"}}},
		Missing:    []traces.Missing{{Span: ref("", 1, 9), Orgs: []tenants.OrgID{"initech"}, Reason: traces.MissingUnreachable, Children: 2}},
		Broken:     []traces.Broken{{Span: ref("globex", 1, 4), What: traces.BrokenTimes}},
		Unfollowed: []pcommon.TraceID{{15: 8}},
		Clocks: []traces.Clock{
			{Org: "acme"},
			{Org: "globex", Shift: 80, Possible: traces.Interval{Min: 80, Max: traces.Unbounded}},
			{Org: "initech", Contradicts: true, Possible: traces.Interval{Min: -traces.Unbounded, Max: traces.Unbounded}},
		},
		Blame: traces.Blame{
			Duration: 1200 * time.Millisecond,
			Shares: []traces.Share{
				{Org: "acme", Time: traces.Interval{Min: 200, Max: 200}}, {Org: "acme", To: "globex", Time: traces.Interval{Min: 0, Max: 7}},
			},
			Critical:    []traces.SpanRef{ref("acme", 1, 1), ref("acme", 1, 2)},
			ErrorOrigin: &origin,
		},
	}
	return s
}

// What is asked at the paths that are our own, and the answers: testdata/traces.txt,
// as the clients of others have theirs.
func TestTracesWithWhatIsKnownOfThem(t *testing.T) {
	golden := readGolden(t, "testdata/traces.txt")
	for i, g := range golden {
		s := reported()
		path, query, _ := strings.Cut(g.request, "?")
		got := tracesDoor(t, s).get(path + "?" + encoded(t, query))
		golden[i].answer = nil
		for _, q := range s.asked {
			golden[i].answer = append(golden[i].answer, askedInWords(q))
		}
		golden[i].answer = append(golden[i].answer, http.StatusText(got.status)+", "+got.header.Get("Content-Type"), strings.TrimSpace(got.raw))
		if diff := cmp.Diff(g.answer, golden[i].answer); diff != "" {
			t.Errorf("%s\n%s (-want +got):\n%s", g.name, g.request, diff)
		}
		if said := got.header.Get(front.CompletenessHeader); (said != "") != (len(s.asked) > 0) {
			t.Errorf("%s: the completeness %q of %d questions", g.name, said, len(s.asked))
		}
	}
	if *updateGolden {
		writeGolden(t, "testdata/traces.txt", golden)
	}
}
