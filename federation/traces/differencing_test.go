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

// So many different searches are answered, and any number of traces by id.
func TestSearchesAreBudgeted(t *testing.T) {
	local, err := traces.NewLocal(traces.LocalConfig{Org: "globex", Source: traces.NewStore(traces.StoreConfig{}), Secret: testSecret})
	if err != nil {
		t.Fatal(err)
	}
	o := everything()
	o.Differencing = policy.Differencing{Budget: 2, Within: time.Hour, Refuse: true}
	ask := func(q traces.Question) error {
		by := federation.Asking{Org: "acme", ExchangeID: federation.NewExchangeID(tracestest.Start)}
		_, _, err := local.Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: o}, by)
		return err
	}
	for i := range 10 {
		if err := ask(traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{{byte(i + 1)}}}); err != nil {
			t.Fatalf("trace %d: %v", i, err)
		}
	}
	search := func(expression string) error {
		return ask(traces.Question{Kind: policy.Search, Expression: expression, Limit: 1, Start: tracestest.Start, End: tracestest.Start.Add(time.Hour)})
	}
	for i, expression := range []string{"{ duration > 1s }", "{ duration > 2s }", "{ duration > 2s }", "{ duration > 3s }"} {
		if err := search(expression); (err != nil) != (i == 3) || i == 3 && federation.AsError(err).Kind != federation.OverLimit {
			t.Errorf("%s: %v", expression, err)
		}
	}
}
