package traces_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/tracestest"
	"github.com/parley-gateway/parley/policy"
)

// A plan is what a Local does: it refuses what the Local refuses, in the same words,
// and says of the rest what is known without data.
func TestPlan(t *testing.T) {
	now := func() time.Time { return tracestest.Start.Add(2 * tracestest.Length) }
	search := func(expression string) traces.Question {
		return traces.Question{Kind: policy.Search, Expression: expression, Start: tracestest.Start, End: tracestest.Start.Add(tracestest.Length), Limit: 20}
	}
	numbers, later := tracestest.Policy(), tracestest.Policy()
	numbers.Functions = []string{"sum"}
	later.NotBefore = now()
	web := tracestest.Policy()
	web.Datasets = slices.DeleteFunc(web.Datasets, func(d policy.Dataset) bool { return d.Name != tracestest.Web })
	local, err := traces.NewLocal(traces.LocalConfig{Org: "globex", Source: traces.NewStore(traces.StoreConfig{}), Secret: testSecret, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		q       traces.Question
		o       policy.Obligations
		want    string
		refused federation.Kind
	}{
		{q: traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{{1}}}, o: web},
		{q: search(`{ }`), o: web, want: "of [web]: { }"},
		{q: search(`{ }`), o: tracestest.Policy(), want: "of [batch core open vault web]: { }"},
		{q: search(`{ resource.service.name = "web" && duration > 1s }`), o: tracestest.Policy(), want: `of [web]: { resource.service.name = "web" && duration > 1s } looks at resource.service.name`},
		{q: search(`{ span.user.id = "ada" }`), o: web, want: `of [web]: { span.user.id = "ada" } looks at span.user.id`},
		{q: search(`{ .card = "1" && resource.parley.org = "globex" }`), o: web, want: `of [web]: { .card = "1" && resource.parley.org = "globex" } looks at resource.card, span.card, of which resource.card, span.card are hidden`},
		{
			q: search(`{ event:name = "x" && statusMessage = "y" } >> { kind = client && instrumentation:name = "z" } | select(link.foo, name)`), o: web,
			want: `of [web]: { event:name = "x" && statusMessage = "y" } looks at event.name, status_message, of which status_message are hidden: ` +
				`{ kind = client && instrumentation:name = "z" } looks at scope.name, of which scope.name are hidden, selects link.foo, name`,
		},
		{q: search(`{ }`), o: later, want: "never: { }"},

		{q: search(`{ span.`), o: web, refused: federation.BadQuestion},
		{q: search(`{ }`), o: numbers, want: "of [batch core open vault web]: { }", refused: federation.NeedsAggregation},
		{q: traces.Question{Kind: policy.Trace}, o: web, refused: federation.BadQuestion},
	} {
		plan, err := traces.NewPlan(traces.PlanConfig{Org: "globex", By: "acme", Now: now}, c.q, c.o)
		got := ""
		if len(plan.Filters) > 0 {
			got = "never"
		}
		if (plan.Searched != policy.Window{}) {
			got = fmt.Sprint("of ", plan.Services)
		}
		for _, f := range plan.Filters {
			got += ": " + f.Filter
			if len(f.Names) > 0 {
				got += " looks at " + strings.Join(f.Names, ", ")
			}
			if len(f.Hidden) > 0 {
				got += ", of which " + strings.Join(f.Hidden, ", ") + " are hidden"
			}
		}
		if len(plan.Selected) > 0 {
			got += ", selects " + strings.Join(plan.Selected, ", ")
		}
		name := c.q.Asked().Query
		if got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
		kind, message := said(err)
		_, part, answered := local.Answer(t.Context(), c.q, policy.Decision{Allow: true, Obligations: c.o}, federation.Asking{Org: "acme", ExchangeID: federation.NewExchangeID(now())})
		if _, told := said(answered); kind != c.refused || message != told {
			t.Errorf("%s: the plan is refused with %q (%q), want %q, and the question with %q", name, message, kind, c.refused, told)
		}
		if answered == nil && !slices.Equal(part.Notices, plan.Notices) {
			t.Errorf("%s: notices %q, and %q are told", name, plan.Notices, part.Notices)
		}
		if answered == nil && part.Coverage != plan.Coverage {
			t.Errorf("%s: coverage %v, and %v is told", name, plan.Coverage, part.Coverage)
		}
	}
}

func said(err error) (federation.Kind, string) {
	if err == nil {
		return "", ""
	}
	e := federation.AsError(err)
	return e.Kind, e.Message
}
