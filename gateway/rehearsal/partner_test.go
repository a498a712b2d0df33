package rehearsal_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/tracestest"
	"github.com/parley-gateway/parley/gateway/gatewaytest"
	"github.com/parley-gateway/parley/gateway/rehearsal"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/tenants"
)

// logsOfGlobex has something of every way to hide.
const logsOfGlobex = `{"allow": true, "pseudonym_epoch": "8760h", "limits": {"lines": 50}, "datasets": [
	{"name": "shop", "streams": ["{service=\"shop\"}"], "release": "row", "labels": {"service": "keep", "pod": "pseudonym", "trace_id": "keep"},
		"line": [{"json": {"status": "keep", "message": "keep", "user": "pseudonym"}}, {"mask": ["email"]}]},
	{"name": "eu", "streams": ["{region=\"eu\"}"], "release": "row", "labels": {"service": "keep", "pod": "keep"}, "line": "keep"},
	{"name": "mail", "streams": ["{service=\"mail\"}"], "release": "row", "labels": {"*": "keep"}, "line": [{"mask": ["email", "ipv4"]}]},
	{"name": "cron", "streams": ["{service=\"cron\"}"], "release": "row", "labels": {"service": "keep"}, "line": "shape"},
	{"name": "bank", "streams": ["{service=\"bank\"}"], "release": "row", "labels": {"service": "keep"}, "line": "none"},
	{"name": "vault", "streams": ["{service=\"vault\"}"], "release": "deny"}]}`

// linesOfGlobex are of every dataset, and of none.
func linesOfGlobex() []gatewaytest.Line {
	var out []gatewaytest.Line
	for i := range 12 {
		of := func(text string, stream ...string) {
			out = append(out, gatewaytest.Line{
				Ago: 60 * i, Text: text, Stream: labels.FromStrings(stream...),
				Metadata: labels.FromStrings("trace_id", fmt.Sprint("t", i), "session", fmt.Sprint("s", i)),
			})
		}
		pod := fmt.Sprint("pod-", i%2)
		of(fmt.Sprintf(`{"status":%d,"message":"of ada%d@mail.example","user":"ada","card":"4111"}`, 200+100*(i%4), i), "service", "shop", "pod", pod, "region", []string{"eu", "us"}[i%2])
		of(fmt.Sprintf("sent to ada%d@mail.example from 10.0.0.%d", i, i), "service", "mail", "pod", pod)
		of(fmt.Sprintf("job %d took %dms", i, i), "service", "cron")
		of("secret transfer", "service", "bank", "pod", pod)
		of("secret key", "service", "vault")
		of("nobody's", "service", "else")
	}
	return append(out, gatewaytest.Line{Ago: 5, Text: "not JSON", Stream: labels.FromStrings("service", "shop", "pod", "pod-0", "region", "us")})
}

// offstage is what globex's operator tries its policies with: the files and the store
// of its gateway, which runs.
func offstage(t *testing.T, globex *gatewaytest.Org) (rehearsal.Stage, rehearsal.Backend) {
	t.Helper()
	agreements, err := tenants.ReadAgreements(filepath.Join(globex.Dir, "agreements"), tenants.Self{Org: globex.ID, TrustDomain: globex.TrustDomain()})
	if err != nil {
		t.Fatal(err)
	}
	folder, err := inspect.Load(t.Context(), inspect.Config{Org: globex.ID, Dir: filepath.Join(globex.Dir, "policies"), Agreements: agreements, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return rehearsal.Stage{Folder: folder}, rehearsal.Backend{
		Logs: globex.Logs, Traces: globex.Traces, Secret: []byte(strings.Repeat(string(globex.ID), 32)), Timeout: time.Minute,
	}
}

// same says whether an answer that a partner got is the one that was tried.
func same(t *testing.T, name string, tried rehearsal.Trial, got rehearsal.Answer, part federation.Part, err error) {
	t.Helper()
	if err != nil {
		e := federation.AsError(err)
		if tried.Refused == nil || tried.Refused.Told != e.Message || tried.Refused.Kind != e.Kind {
			t.Errorf("%s: the partner is told %q, and tried it is %+v", name, e.Message, tried.Refused)
		}
		return
	}
	text := func(v any) string {
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if want := text(got); tried.Refused != nil || text(tried.Released) != want {
		t.Errorf("%s: tried (%+v)\n%s\nthe partner gets\n%s", name, tried.Refused, text(tried.Released), want)
	}
	if text(tried.Notices) != text(part.Notices) {
		t.Errorf("%s: notices\n%q\nand for the partner\n%q", name, tried.Notices, part.Notices)
	}
}

// What is tried is what a partner gets at the peer door, to the byte; and what is said
// to be between both answers is.
func TestLogsThatAreTriedAreWhatAPartnerGets(t *testing.T) {
	notAfter := metricstest.End().Add(-5 * time.Minute).Format(time.RFC3339)
	for name, bounds := range map[string]string{"all of time": "", "moments": `"resolution": "1m",`, "the past": `"not_after": "` + notAfter + `",`} {
		t.Run(name, func(t *testing.T) { logsAreTried(t, strings.Replace(logsOfGlobex, `"limits"`, bounds+`"limits"`, 1)) })
	}
}

func logsAreTried(t *testing.T, decision string) {
	t.Helper()
	world := gatewaytest.New(t, "acme", "globex")
	globex := world.Org("globex")
	globex.Writes(linesOfGlobex()...)
	globex.Releases("acme", decision)
	world.Start()
	stage, backend := offstage(t, globex)
	partner := world.Caller(world.Org("acme").Issue("/parley", time.Hour), "globex", "")
	lines := func(expression string, limit int) logs.Question {
		return logs.Question{
			Kind: policy.Range, Expression: expression, Start: metricstest.End().Add(-time.Hour), End: metricstest.End().Add(1), Limit: limit, Backward: true,
		}
	}
	numbers := func(expression string) logs.Question {
		return logs.Question{Kind: policy.Instant, Expression: expression, Start: metricstest.End(), End: metricstest.End()}
	}
	answered := 0
	for _, q := range []logs.Question{
		lines(`{service=~".+"}`, 50),
		lines(`{service=~".+"}`, 51), // more than are agreed
		lines(`{service="shop"}`, 50),
		lines(`{service="shop"} |= "ada"`, 50),
		lines(`{service="shop", pod="pod-0"}`, 50), // which is hidden
		lines(`{service="shop"} | json | status >= 400`, 5),
		lines(`{service="mail"} |= "10.0.0"`, 50),
		lines(`{service="mail"} |~ "ema.l"`, 50),
		lines(`{service="cron"}`, 50),
		lines(`{service="bank"}`, 50),
		lines(`{service="vault"}`, 50),
		lines(`{service="else"}`, 50),
		lines(`{service="`, 50),
		numbers(`sum by (org, service, pod) (count_over_time({service=~".+"}[1h]))`),
		numbers(`sum by (org, user) (count_over_time({service="shop"} | json | __error__="" [1h]))`),
		numbers(`sum by (org, service) (bytes_over_time({service="bank"}[1h]))`),
		numbers(`sum by (org) (rate({service="vault"}[1h])) or sum by (org) (rate({service="mail"}[1h]))`),
	} {
		tried, err := stage.Try(t.Context(), backend, rehearsal.Ask{Partner: "acme", Purpose: "slo-review", Question: q})
		if err != nil {
			t.Fatalf("%s: %v", q.Expression, err)
		}
		released, part, err := partner.AsksLogs(q)
		var got rehearsal.Answer
		if err == nil {
			answered++
			var shown error
			if got, shown = rehearsal.AnswerOf(released); shown != nil {
				t.Fatal(shown)
			}
		}
		same(t, q.Expression, tried, got, part, err)
		explained, err := stage.Explain(t.Context(), rehearsal.Ask{Partner: "acme", Purpose: "slo-review", Question: q})
		if err != nil {
			t.Fatal(err)
		}
		if (explained.Refused == nil) != (tried.Refused == nil) || explained.Refused != nil && *explained.Refused != *tried.Refused {
			t.Errorf("%s: explained %+v, tried %+v", q.Expression, explained.Refused, tried.Refused)
		}
		if tried.Account == nil {
			continue
		}
		for _, a := range tried.Account.Logs.Selectors {
			if sum := a.Withheld + a.Elsewhen + a.Unchanged + a.Changed + a.Emptied; sum != a.Lines {
				t.Errorf("%s: of %d lines %d are accounted for", q.Expression, a.Lines, sum)
			}
			if of := a.Released + a.Outside + a.Unmatched + total(a.Denied); of != a.Streams {
				t.Errorf("%s: of %d streams %d are accounted for", q.Expression, a.Streams, of)
			}
		}
		if a := tried.Account.Logs.Selectors[0]; q.Entries() && tried.Refused == nil && !strings.Contains(q.Expression, "|") {
			if want := len(tried.Released.Lines); want < q.Limit && a.Unchanged+a.Changed+a.Emptied != want {
				t.Errorf("%s: %d lines leave, and %+v is accounted for", q.Expression, want, a)
			}
		}
	}
	if answered < 10 {
		t.Errorf("only %d questions were answered: the test is blind", answered)
	}
}

func total(numbers map[int]int) (n int) {
	for _, more := range numbers {
		n += more
	}
	return n
}

// recordsWorlds gives an organization the traces of some worlds.
func recordsWorlds(t *testing.T, o *gatewaytest.Org, n uint64) (ids []pcommon.TraceID) {
	t.Helper()
	store := traces.NewStore(traces.StoreConfig{Now: func() time.Time { return tracestest.Start.Add(2 * tracestest.Length) }})
	o.Traces = store
	for seed := range n {
		made := tracestest.NewWorld(seed, seed+1)
		ids = append(ids, made.IDs()...)
		for _, trace := range made.Traces() {
			if err := store.Append(trace); err != nil {
				t.Fatal(err)
			}
		}
	}
	return ids
}

// The same of traces, over worlds in which everything is hidden that can be.
func TestTracesThatAreTriedAreWhatAPartnerGets(t *testing.T) {
	half := tracestest.Start.Add(tracestest.Length / 2).Format(time.RFC3339)
	for name, bounds := range map[string]string{"all of time": "", "moments": `"resolution": "1s",`, "the past": `"not_after": "` + half + `",`} {
		t.Run(name, func(t *testing.T) {
			tracesAreTried(t, strings.Replace(tracestest.Decision, `"datasets"`, bounds+`"datasets"`, 1))
		})
	}
}

func tracesAreTried(t *testing.T, decision string) {
	t.Helper()
	world := gatewaytest.New(t, "acme", "globex")
	globex := world.Org("globex")
	ids := recordsWorlds(t, globex, 10)
	globex.Releases("acme", decision)
	world.Start()
	stage, backend := offstage(t, globex)
	partner := world.Caller(world.Org("acme").Issue("/parley", time.Hour), "globex", "")
	questions := []traces.Question{{Kind: policy.Trace, IDs: []pcommon.TraceID{{15: 1}}}} // which isn't there
	for _, id := range ids {
		questions = append(questions, traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{id}})
	}
	for _, expression := range []string{`{ }`, `{ resource.service.name = "web" }`, `{ status = error } >> { kind = client }`, `{ span.secret = "x" }`, `{ span.`} {
		questions = append(questions, traces.Question{Kind: policy.Search, Expression: expression, Start: tracestest.Start, End: tracestest.Start.Add(tracestest.Length), Limit: 20})
	}
	shown, withheld := 0, 0
	for _, q := range questions {
		name := q.Asked().Query
		tried, err := stage.Try(t.Context(), backend, rehearsal.Ask{Partner: "acme", Purpose: "slo-review", Question: q})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		released, part, err := partner.AsksTraces(q)
		var got rehearsal.Answer
		if err == nil {
			var shown error
			if got, shown = rehearsal.AnswerOf(released); shown != nil {
				t.Fatal(shown)
			}
		}
		same(t, name, tried, got, part, err)
		if tried.Account == nil || err != nil {
			continue
		}
		counted := map[string]int{}
		for _, trace := range released.Traces() {
			counted[trace.ID.String()] = trace.Spans.SpanCount()
		}
		for _, a := range tried.Account.Traces.Traces {
			left := 0
			for _, n := range a.Shown {
				left += n
			}
			if sum := left + a.Folded + total(a.Hidden) + total(a.Denied) + a.Outside + a.Nameless; sum != a.Spans {
				t.Errorf("%s: of %d spans %d are accounted for: %+v", a.TraceID, a.Spans, sum, a)
			}
			if n, there := counted[a.TraceID]; there && n != left+a.Withheld {
				t.Errorf("%s: %d spans leave, and %+v is accounted for", a.TraceID, n, a)
			}
			if q.Kind == policy.Trace && counted[a.TraceID] == 0 && left+a.Withheld > 0 && !a.Elsewhen {
				t.Errorf("%s: nothing leaves, and %+v is accounted for", a.TraceID, a)
			}
			shown, withheld = shown+left, withheld+a.Withheld
		}
	}
	if shown < 100 || withheld < 20 {
		t.Errorf("only %d spans were shown and %d withheld: the test is blind", shown, withheld)
	}
}

// What the policy names and the logs and traces don't have is said.
func TestFindingsOfLogsAndTraces(t *testing.T) {
	world := gatewaytest.New(t, "acme", "globex")
	globex := world.Org("globex")
	globex.Writes(linesOfGlobex()...)
	recordsWorlds(t, globex, 3)
	globex.Releases("acme", `{"allow": true, "datasets": [
	{"name": "shop", "streams": ["{service=\"shop\", regoin=~\"eu|us\"}"], "release": "row", "labels": {"trace_id": "keep"}, "line": "none"},
	{"name": "mail", "streams": ["{service=\"mial\"}"], "release": "row", "line": "none"},
	{"name": "cron", "streams": ["{service=\"cron\"}"], "release": "row", "line": "none"},
	{"name": "web", "spans": ["{\"resource.service.name\"=~\"web|crore\"}", "{\"resource.service.name\"=\"crore\", kind=\"server\"}"], "release": "row", "span": "full"},
	{"name": "open", "spans": ["{\"resource.service.name\"=\"open\", \"span.x\"=\"y\"}"], "release": "row", "span": "shape"}]}`)
	stage, backend := offstage(t, globex)
	for _, c := range []struct {
		q    federation.Question
		want []string
	}{
		{
			logs.Question{Kind: policy.Instant, Expression: `sum(rate({service="cron"}[5m]))`, Start: metricstest.End(), End: metricstest.End()},
			[]string{
				"acme.rego:4: dataset shop matches no streams", `acme.rego:4: in your data there is no label "regoin"; did you mean region?`,
				"acme.rego:5: dataset mail matches no streams",
			},
		},
		{
			traces.Question{Kind: policy.Search, Expression: "{ }", Start: tracestest.Start, End: tracestest.Start.Add(tracestest.Length), Limit: 1},
			[]string{`acme.rego:7: in your data there is no service "crore"; did you mean core?`, `acme.rego:8: no span of these traces has "span.x"`},
		},
	} {
		tried, err := stage.Try(t.Context(), backend, rehearsal.Ask{Partner: "acme", Purpose: "slo-review", Question: c.q})
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, f := range tried.Findings {
			said = append(said, fmt.Sprintf("%s:%d: %s", filepath.Base(f.Place.File), f.Place.Line, f.Text))
		}
		if !slices.Equal(said, c.want) || tried.NotLooked != "" {
			t.Errorf("findings (%s):\n%s\nwant:\n%s", tried.NotLooked, strings.Join(said, "\n"), strings.Join(c.want, "\n"))
		}
	}
}
