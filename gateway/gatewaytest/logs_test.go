package gatewaytest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/gateway/gatewaytest"
	"github.com/parley-gateway/parley/tenants"
)

// checkout are lines of a service, with a person in each.
func checkout(people ...string) []gatewaytest.Line {
	var out []gatewaytest.Line
	for i, who := range people {
		level := []string{"info", "error"}[i%2]
		out = append(out, gatewaytest.Line{
			Ago: 60 * (i + 1), Stream: labels.FromStrings("service", "checkout", "level", level, "pod", "pod-"+who),
			Metadata: labels.FromStrings("trace_id", "t"+who),
			Text:     `{"level":"` + level + `","user_id":"` + who + `","message":"order of ` + who + `@example.com failed","duration_ms":` + []string{"10", "700"}[i%2] + `}`,
		})
	}
	return out
}

const releaseCheckout = `{"allow": true, "datasets": [{"name": "checkout", "streams": ["{service=\"checkout\"}"], "release": "row",
	"labels": {"service": "keep", "level": "keep"},
	"line": [{"json": {"level": "keep", "message": "keep", "duration_ms": "keep", "user_id": "pseudonym"}}, {"mask": ["email"]}]}]}`

// threeWithLogs are acme, globex and initech, each with lines of its people.
// globex's have a 0 in their names, which no pseudonym has.
func threeWithLogs(t *testing.T) *gatewaytest.World {
	t.Helper()
	world := gatewaytest.New(t, "acme", "globex", "initech")
	world.Org("acme").Writes(checkout("ann", "abe")...)
	world.Org("globex").Writes(checkout("gus0", "gil0", "gem0")...)
	world.Org("initech").Writes(checkout("ida")...)
	for _, owner := range []tenants.OrgID{"acme", "globex", "initech"} {
		for _, asker := range []tenants.OrgID{"acme", "globex", "initech"} {
			if owner != asker {
				world.Org(owner).Releases(asker, releaseCheckout)
			}
		}
	}
	return world
}

func TestLogsOfThreeOrganizations(t *testing.T) {
	t.Parallel()
	world := threeWithLogs(t)
	world.Start()
	acme := world.Org("acme")

	got := acme.AsksLogs(`{service="checkout", org=~"globex|initech"} |= "failed" | json | duration_ms > 500`)
	lines := got.Lines(t)
	if len(lines) != 1 {
		t.Fatalf("got %v", lines)
	}
	for stream, all := range lines {
		if !strings.Contains(stream, `org="globex"`) || strings.Contains(stream, "pod") || strings.Contains(stream, "trace_id") || len(all) != 1 {
			t.Errorf("got %s %q", stream, all)
		}
		if !strings.Contains(all[0], "order of <email> failed") || strings.Contains(all[0], "gil0") {
			t.Errorf("got %q", all[0])
		}
	}
	for org, part := range got.Completeness(t) {
		if org != "acme" && (part.Status != federation.Complete || len(part.Notices) == 0) {
			t.Errorf("%s: %+v", org, part)
		}
	}

	numbers := acme.AsksLogsNow(`sum by (org, level) (count_over_time({service="checkout"}[1h]))`).Vector(t)
	want := map[string]string{
		`{level="error", org="acme"}`: "1", `{level="info", org="acme"}`: "1",
		`{level="error", org="globex"}`: "1", `{level="info", org="globex"}`: "2",
		`{level="info", org="initech"}`: "1",
	}
	if diff := cmp.Diff(want, numbers); diff != "" {
		t.Errorf("numbers (-want +got):\n%s", diff)
	}
	for expr, want := range map[string]map[string]string{
		`sum (count_over_time({service="checkout"}[1h]))`:                                      {"{}": "6"},
		`sum by (level) (count_over_time({service="checkout"} | json | duration_ms > 5 [1h]))`: {`{level="error"}`: "2", `{level="info"}`: "4"},
		`avg (count_over_time({service="checkout", level="info"}[1h]))`:                        {"{}": "1.3333333333333333"},
		`topk(1, sum by (org) (count_over_time({service="checkout"}[1h])))`:                    {`{org="globex"}`: "3"},
		`sum(count_over_time({service="checkout", org="globex"}[1h])) / 3`:                     {"{}": "1"},
		`absent_over_time({service="nothing"}[1h])`:                                            {`{service="nothing"}`: "1"},
		`vector(1) + vector(1)`: {"{}": "2"},
		// Of entries of all organizations together: put together of each one's, or
		// evaluated at acme over redacted entries.
		`count_over_time({service="checkout"} | keep service [1h])`:                                         {`{service="checkout"}`: "6"},
		`sum by (level) (count_over_time({service="checkout"} | drop org [1h]))`:                            {`{level="error"}`: "2", `{level="info"}`: "4"},
		`max_over_time({service="checkout"} | json | unwrap duration_ms [1h]) by (service)`:                 {`{service="checkout"}`: "700"},
		`avg_over_time({service="checkout"} | json | unwrap duration_ms [1h]) by (level)`:                   {`{level="error"}`: "700", `{level="info"}`: "10"},
		`quantile_over_time(0.5, {service="checkout"} | json | unwrap duration_ms [1h]) by () / vector(10)`: {"{}": "1"},
		`count_over_time({service="checkout"} | drop org | json | org="" | keep level [1h])`:                {`{level="error"}`: "2", `{level="info"}`: "4"},
		`avg_over_time({service="checkout", org="globex"} | json | unwrap duration_ms [1h]) by (service)`:   {`{service="checkout"}`: "240"},
	} {
		if diff := cmp.Diff(want, acme.AsksLogsNow(expr).Vector(t)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", expr, diff)
		}
	}
}

// Where policy shows less time than was asked for, the answer says so: no lines
// and hidden lines aren't the same.
func TestLessTimeThanAskedIsSaid(t *testing.T) {
	t.Parallel()
	world := threeWithLogs(t)
	from := metricstest.End().Add(-90 * time.Second).UTC()
	world.Org("globex").Releases("acme", strings.Replace(releaseCheckout, `{"allow": true,`, fmt.Sprintf(`{"allow": true, "not_before": %q,`, from.Format(time.RFC3339)), 1))
	world.Start()
	reply := world.Org("acme").AsksLogs(`{service="checkout", org="globex"}`)
	if lines := reply.Lines(t); len(lines) != 1 {
		t.Errorf("got %v", lines)
	}
	if warnings := strings.Join(reply.Answer(t).Warnings, "\n"); !strings.Contains(warnings, "shows nothing before "+from.Format(time.RFC3339)) {
		t.Errorf("warnings %s", warnings)
	}
	if warnings := world.Org("acme").AsksLogs(`{service="checkout", org="initech"}`).Answer(t).Warnings; strings.Contains(strings.Join(warnings, "\n"), "shows nothing") {
		t.Errorf("all of the time is shown: %v", warnings)
	}
}

// The order that sort gives an instant answer is the answer's.
func TestSortedNumbersOfLogs(t *testing.T) {
	t.Parallel()
	world := threeWithLogs(t)
	world.Start()
	for op, want := range map[string]string{"sort": "initech acme globex", "sort_desc": "globex acme initech"} {
		reply := world.Org("acme").AsksLogsNow(op + `(sum by (org) (count_over_time({service="checkout"}[1h])))`)
		var orgs []string
		for _, s := range reply.Answer(t).Data.Result {
			orgs = append(orgs, s.Metric["org"])
		}
		if got := strings.Join(orgs, " "); got != want {
			t.Errorf("%s: %s, want %s", op, got, want)
		}
	}
}

// A question that reads the lines of all organizations says so where one of
// them lets none leave, or has too many.
func TestAnswersOverAllEntriesAreWholeOrSaySo(t *testing.T) {
	t.Parallel()
	world := threeWithLogs(t)
	world.Org("initech").Releases("acme", `{"allow": true, "datasets": [{"name": "checkout", "streams": ["{service=\"checkout\"}"], "release": "row", "labels": {"service": "keep"}, "line": "none"}]}`)
	var many []gatewaytest.Line
	for i := range 12_000 {
		many = append(many, gatewaytest.Line{Ago: 1 + i/4, Text: fmt.Sprintf(`{"n":%d}`, i), Stream: labels.FromStrings("service", "many")})
	}
	world.Org("globex").Writes(many...)
	world.Org("globex").Releases("acme", `{"allow": true, "datasets": [{"name": "all", "streams": ["{}"], "release": "row", "labels": {"*": "keep"}, "line": "keep"}]}`)
	world.Start()
	acme := world.Org("acme")
	none := acme.AsksLogsNow(`avg_over_time({service="checkout"} | json | unwrap duration_ms [1h]) by (service)`)
	if part := none.Completeness(t)["initech"]; part.Status != federation.Denied || !strings.Contains(part.Reason, "no lines") {
		t.Errorf("no lines leave initech: %+v", part)
	}
	world.Org("globex").Agrees("acme", func(a *gatewaytest.Agreement) { a.Limits = "{lines: 50}" })
	limited := func() federation.Part {
		return acme.AsksLogsNow(`avg_over_time({service="checkout"} | json | unwrap duration_ms [1h]) by (service)`).Completeness(t)["globex"]
	}
	acme.Eventually("globex lets few lines leave", func() bool { return limited().Status != federation.Complete })
	if part := limited(); !strings.Contains(part.Reason, "keep the label org in it") {
		t.Errorf("more lines than may leave: %+v", part)
	}
	world.Org("globex").Agrees("acme", nil)
	acme.Eventually("globex lets lines leave again", func() bool { return limited().Status == federation.Complete })
	got := acme.AsksLogsNow(`stddev_over_time({service="many"} | json | unwrap n [1h]) by (service)`).Vector(t)
	if diff := cmp.Diff(map[string]string{`{service="many"}`: "3464.1016031096237"}, got); diff != "" {
		t.Errorf("pages of entries (-want +got):\n%s", diff)
	}
}

// What policy hides in a line can't be found, counted or told from its absence.
func TestHiddenPartsOfLinesCantBeSearched(t *testing.T) {
	t.Parallel()
	world := threeWithLogs(t)
	world.Start()
	acme := world.Org("acme")
	for _, expr := range []string{
		`{org="globex", service="checkout"} |= "gil0"`,
		`{org="globex", service="checkout"} |~ "g(us|il)0"`,
		`{org="globex", service="checkout"} | json | user_id = "gil0"`,
		`{org="globex", service="checkout"} | regexp "(?P<who>gil0)" | who != ""`,
		`{org="globex", pod="pod-gil0"}`,
		`{org="globex", service="checkout"} | trace_id != ""`,
	} {
		if lines := acme.AsksLogs(expr).Lines(t); len(lines) > 0 {
			t.Errorf("%s: %v", expr, lines)
		}
	}
	if lines := acme.AsksLogs(`{org="globex", service="checkout"} != "gil0"`).Lines(t); len(lines) != 2 {
		t.Errorf("what isn't there leaves everything: %v", lines)
	}
	values := acme.Get("/loki/api/v1/label/pod/values", nil)
	if values.Code != http.StatusOK || strings.Contains(string(values.Body), "pod-g") {
		t.Errorf("values of a dropped label: %d %s", values.Code, values.Body)
	}
}
