package logs

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

var planned = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

func planOf(t *testing.T, q Question, o policy.Obligations) (Plan, error) {
	t.Helper()
	return NewPlan(PlanConfig{Org: "acme", By: "globex", Now: func() time.Time { return planned }}, q, o)
}

// askedNow asks for the last hour, or for numbers of now.
func askedNow(expression string) Question {
	q := Question{Kind: policy.Range, Expression: expression, Start: planned.Add(-time.Hour), End: planned, Limit: 10, Backward: true}
	if !q.Entries() {
		q.Kind, q.Start = policy.Instant, planned
	}
	return q
}

// Every label that a query speaks of is known, and where.
func TestMentions(t *testing.T) {
	for expression, want := range map[string][]string{
		`{x="1", y=~".+"}`:                                                {"x matcher; y matcher"},
		`{x="1"} |= "y" | json | z > 1 and w="2"`:                         {"w label filter; x matcher; z label filter"},
		`{x="1"} | line_format "{{.y}}" | label_format z=w, v="{{.u}}"`:   {"u label_format; v written by label_format; w label_format; x matcher; y line_format; z written by label_format"},
		`{x="1"} | json a="b.c" | logfmt d | keep y | drop z="1"`:         {"a written by json; d written by logfmt; x matcher; y keep; z drop"},
		`sum by (x) (rate({y="1"} | logfmt | unwrap z | z > 1 [5m]))`:     {"x by; y matcher; z label filter, unwrap"},
		`max without (x) (max_over_time({y="1"} | unwrap z [5m]) by (w))`: {"w by; x without; y matcher; z unwrap"},
		`rate({x="1"}[5m]) / on (y) group_left (z) rate({w="1"}[5m])`:     {"x matcher; y on; z group_left", "w matcher; y on; z group_left"},
		`rate({x="1"}[5m]) - ignoring (y) rate({x="1"}[5m])`:              {"x matcher; y ignoring", "x matcher; y ignoring"},
		`label_replace(sum(rate({x="1"}[5m])), "y", "$1", "z", "(.*)")`:   {"x matcher; y written by label_replace; z label_replace"},
		`sum by (x) (count_over_time({x="1"}[1m])) or vector(0)`:          {"x by, matcher"},
	} {
		plan, err := planOf(t, askedNow(expression), policy.Obligations{})
		if err != nil {
			t.Fatalf("%s: %v", expression, err)
		}
		var got []string
		for _, s := range plan.Selectors {
			var said []string
			for _, m := range s.Mentions {
				said = append(said, fmt.Sprintf("%s %s", m.Label, strings.Join(m.In, ", ")))
			}
			got = append(got, strings.Join(said, "; "))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%q\nwant\n%q", expression, got, want)
		}
	}
}

// A plan is what a Local does: it refuses what the Local refuses, in the same words,
// and says of the rest what is known without data.
func TestPlan(t *testing.T) {
	keep, pseudonym := policy.LabelRule{Mode: policy.Keep}, policy.LabelRule{Mode: policy.Pseudonym}
	of := func(name, selector string, line policy.Line, labels map[string]policy.LabelRule) policy.Dataset {
		return policy.Dataset{Name: name, Streams: selectorOf(t, selector), Release: policy.Row, Labels: labels, Line: line}
	}
	masked := policy.Line{Mode: policy.LineByRules, Rules: []policy.LineRule{{Masks: []policy.Mask{{Name: "email"}}}}}
	o := policy.Obligations{
		Limits: tenants.Limits{Lines: 20},
		Datasets: []policy.Dataset{
			of("checkout", `{service="checkout"}`, masked, map[string]policy.LabelRule{"service": keep, "pod": pseudonym}),
			of("mail", `{service="mail"}`, policy.Line{Mode: policy.LineKeep}, map[string]policy.LabelRule{"service": keep}),
			of("search", `{service="search"}`, policy.Line{}, map[string]policy.LabelRule{"service": keep}),
			{Name: "vault", Streams: selectorOf(t, `{service="vault"}`), Release: policy.Deny},
		},
	}
	local, err := NewLocal(LocalConfig{Org: "acme", Source: NewStore(StoreConfig{}), Secret: make([]byte, minSecret), Now: func() time.Time { return planned }})
	if err != nil {
		t.Fatal(err)
	}
	floors := o
	floors.Resolution = time.Minute
	numbersAlone := o
	numbersAlone.Functions = []string{"count_over_time"}
	many := askedNow(`{service="mail"}`)
	many.Limit = 21
	for _, c := range []struct {
		q       Question
		o       policy.Obligations
		want    string
		refused federation.Kind
	}{
		{q: askedNow(`{service="checkout", pod="a"} |= "timeout"`), o: o, want: `[0] {service="checkout"} seeks |= "timeout"`},
		{q: askedNow(`{service="checkout"} |= "<email>"`), o: o, want: `[0] {service="checkout"}`},
		{q: askedNow(`{service="checkout", region="eu"}`), o: o, want: `[0] {service="checkout"} hides region`},
		{q: askedNow(`{service="mail"} |~ "sent.*" != "x" | json | y="1"`), o: o, want: `[1] {service="mail"} seeks |~ "sent.*" != "x"`},
		{q: askedNow(`{service="vault"}`), o: o, want: `[3] `},
		{q: askedNow(`{service="else"}`), o: o, want: `[] `},
		{q: askedNow(`{service="mail", org="globex"}`), o: o, want: `[] `},
		{q: askedNow(`sum by (service) (count_over_time({service="mail"} |= "x" [5m]))`), o: o, want: `[1] {service="mail"} seeks |= "x"; a Loki: sum by (service) (count_over_time({service="mail", service="mail"} |= "x" [5m]))`},
		{q: askedNow(`sum by (pod) (count_over_time({service="mail"}[5m]))`), o: o, want: `[1] {service="mail"}; here: ` + errGrouping.Error()},
		{q: askedNow(`sum by (service) (bytes_over_time({service="checkout"}[5m]))`), o: o, want: `[0] {service="checkout"}; here: ` + errHidden.Error()},
		{q: askedNow(`sum by (service) (rate({service=~"mail|checkout"}[5m]))`), o: o, want: `[0 1] {service=~"mail|checkout"}; here: ` + errStreams.Error()},
		{q: askedNow(`sum by (service) (count_over_time({service="mail"}[5m]))`), o: floors, want: `[1] {service="mail"}; here: ` + errMoments.Error()},

		{q: askedNow(`{service="search"}`), o: o, want: `[2] {service="search"}`, refused: federation.NeedsAggregation},
		{q: many, o: o, want: `[1] {service="mail"}`, refused: federation.OverLimit},
		{q: askedNow(`{service="mail"}`), o: numbersAlone, want: `[1] {service="mail"}`, refused: federation.NeedsAggregation},
		{q: askedNow(`rate({service="mail"}[5m])`), o: numbersAlone, want: `[1] {service="mail"}`, refused: federation.NeedsAggregation},
		{q: askedNow(`sum(count_over_time({service="mail"}[5s]))`), o: floors, want: `[1] {service="mail"}`, refused: federation.NeedsAggregation},
		{q: askedNow(`{service="mail"} | label_format org="x"`), o: o, refused: federation.BadQuestion},
		{q: askedNow(`{service="`), o: o, refused: federation.BadQuestion},
	} {
		plan, err := planOf(t, c.q, c.o)
		got := ""
		for _, s := range plan.Selectors {
			got += fmt.Sprint(s.Datasets, " ", s.Source)
			if len(s.Sought) > 0 {
				got += " seeks " + strings.Join(s.Sought, " ")
			}
			if len(s.Hidden) > 0 {
				got += " hides " + strings.Join(s.Hidden, ", ")
			}
		}
		for _, a := range plan.Aggregations {
			if a.PushedDown != "" {
				got += "; a Loki: " + a.PushedDown
			} else {
				got += "; here: " + a.NotPushedDown
			}
		}
		if got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.q.Expression, got, c.want)
		}
		_, part, answered := local.Answer(t.Context(), c.q, policy.Decision{Allow: true, Obligations: c.o}, federation.Asking{Org: "globex", ExchangeID: federation.NewExchangeID(planned)})
		if said, does := messageOf(err), messageOf(answered); said != does || kindIn(err) != c.refused {
			t.Errorf("%s: the plan is refused with %q, want kind %q, and the question with %q", c.q.Expression, said, c.refused, does)
		}
		if diff := cmp.Diff(part.Notices, plan.Notices); answered == nil && diff != "" {
			t.Errorf("%s: notices (-told +planned):\n%s", c.q.Expression, diff)
		}
	}
}

// messageOf is what an asker reads of an error.
func messageOf(err error) string {
	if err == nil {
		return ""
	}
	return federation.AsError(err).Message
}

func kindIn(err error) federation.Kind {
	if err == nil {
		return ""
	}
	return federation.AsError(err).Kind
}
