package traces_test

import (
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/tracestest"
	"github.com/parley-gateway/parley/policy"
)

// What a view covers of a question is said by policy and the question alone. A
// trace by its id is asked for at any time.
func TestCoverage(t *testing.T) {
	hour := func(n int) time.Time { return tracestest.Start.Add(time.Duration(n) * time.Hour) }
	byID := traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{{1}}}
	search := traces.Question{Kind: policy.Search, Expression: "{}", Limit: 1, Start: hour(0), End: hour(4)}
	for name, c := range map[string]struct {
		q             traces.Question
		before, after time.Time
		want          policy.Window
	}{
		"a trace":                  {byID, time.Time{}, time.Time{}, policy.Window{Start: federation.Earliest, End: federation.Latest}},
		"a trace of late":          {byID, hour(1), time.Time{}, policy.Window{Start: hour(1), End: federation.Latest}},
		"a search":                 {search, time.Time{}, time.Time{}, policy.Window{Start: hour(0), End: hour(4)}},
		"a search within bounds":   {search, hour(1), hour(3), policy.Window{Start: hour(1), End: hour(3)}},
		"a search outside of them": {search, hour(5), hour(6), policy.Window{}},
	} {
		o := everything()
		o.NotBefore, o.NotAfter = c.before, c.after
		local, err := traces.NewLocal(traces.LocalConfig{Org: "globex", Source: traces.NewStore(traces.StoreConfig{}), Secret: testSecret})
		if err != nil {
			t.Fatal(err)
		}
		by := federation.Asking{Org: "acme", ExchangeID: federation.NewExchangeID(tracestest.Start)}
		_, part, err := local.Answer(t.Context(), c.q, policy.Decision{Allow: true, Obligations: o}, by)
		if err != nil || part.Coverage != c.want {
			t.Errorf("%s: %v, %v; want %v", name, part.Coverage, err, c.want)
		}
	}
}
