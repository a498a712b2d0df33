package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parley-gateway/parley/gateway/front"
)

// releaseLogs is what globex releases to acme: its lines as they are, or if there
// is an incident what rules leave of them.
const releaseLogs = `decision := {"allow": true, "datasets": [{"name": "checkout", "streams": ["{service=\"checkout\"}"], "release": "row",
	"labels": {"service": "keep", "level": "keep", "region": "keep", "pod": "pseudonym"}, "line": line}]}

line := "keep" if input.principal.purpose == "slo-review"

line := [
	{"json": {"timestamp": "keep", "level": "keep", "service": "keep", "message": "keep", "duration_ms": "keep", "agent_count": "keep"}},
	{"mask": ["email", "ipv4", "bearer"]},
] if input.principal.purpose == "incident-response"`

// logQuestion is LogQL that the benchmarks ask.
type logQuestion struct {
	name string
	// expression has $SELECTOR where the streams are selected.
	expression string
	limit      int
	instant    bool
	ruled      bool          // asked of what rules leave of lines
	time       time.Duration // from the first line on; zero is that of all lines
	turns      int           // at least, of each side
}

// A question that reads all lines takes its time.
const fewTurns, oneTurn = 3, 1

// gibibyte is the time of a gibibyte of five million lines. A gateway that looks at
// each takes about a minute, and has two for a partner.
const gibibyte = logsSpan * 4 / 5

// logQuestions are answered by Loki itself where nothing that they look at is
// hidden; those that are ruled never are.
var logQuestions = []logQuestion{
	{name: "needle", expression: `$SELECTOR |= "needle"`, limit: 100, turns: fewTurns},
	{name: "first", expression: `$SELECTOR`, limit: 10, turns: minTurns},
	{name: "rate", expression: `sum by (level) (rate($SELECTOR[5m]))`, turns: fewTurns},
	{name: "ruled-first", expression: `$SELECTOR`, limit: 10, ruled: true, turns: minTurns},
	{name: "ruled-rate", expression: `sum by (level) (rate($SELECTOR | json | duration_ms > 500 [5m]))`, ruled: true, time: gibibyte, turns: oneTurn},
	{name: "ruled-count", expression: `sum(count_over_time($SELECTOR | json | level_extracted="error" [6h]))`, instant: true, ruled: true, time: gibibyte, turns: oneTurn},
}

// BenchmarkLogs asks about the lines of one Loki, against that Loki: its own
// organization through one gateway, which hides nothing, and a partner through
// its own gateway and that one, which policy answers.
func BenchmarkLogs(b *testing.B) {
	globex, acme := newOrg(b, tenant), newOrg(b, "acme")
	globex.server = lokiWithLines(b).Server
	acme.stores = "metrics: {tsdb: {dir: tsdb}}" // which a gateway needs
	globex.stores = acme.stores + fmt.Sprintf("\nlogs: {loki: {url: %q, tenant: %s}}", globex.server.URL, tenant)
	federate(b, "logs", []*org{acme, globex}, map[string]string{tenant: releaseLogs, "acme": `decision := {"allow": false}`}, nil)
	for _, q := range logQuestions {
		if !q.ruled {
			b.Run("own/"+q.name, func(b *testing.B) { measureLogs(b, q, globex, []*org{globex}) })
		}
		b.Run("partner/"+q.name, func(b *testing.B) { measureLogs(b, q, acme, []*org{acme, globex}) })
	}
}

// measureLogs asks the gateway of one of the organizations, and the Loki of the
// last, whose gateway's memory is looked at.
func measureLogs(b *testing.B, q logQuestion, asked *org, orgs []*org) {
	c, owner := newClient(b), orgs[len(orgs)-1]
	if q.ruled {
		c = c.with(front.PurposeHeader, "incident-response")
	}
	var got, want logAnswer
	compare(b, orgs, owner, q.turns,
		func() error {
			return got.ask(b.Context(), c, "http://"+asked.front, q, `{org="globex", service="checkout"}`)
		},
		func() error {
			return want.ask(b.Context(), c.with("X-Scope-OrgID", tenant), owner.server.URL, q, `{service="checkout"}`)
		})
	if err := got.same(want); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(*howManyLines), "lines")
}

// logAnswer is the last answer to a question.
type logAnswer struct {
	body   []byte
	header http.Header
}

func (a *logAnswer) ask(ctx context.Context, c client, base string, q logQuestion, selector string) (err error) {
	end := logsStart.Add(cmp.Or(q.time, logsSpan))
	endpoint, parameters := "query_range", url.Values{
		"query": {strings.ReplaceAll(q.expression, "$SELECTOR", selector)},
		"start": {nanoseconds(logsStart)}, "end": {nanoseconds(end)}, "step": {"3m"},
	}
	if q.limit > 0 {
		parameters.Set("limit", strconv.Itoa(q.limit))
	}
	if q.instant {
		endpoint, parameters = "query", url.Values{"query": parameters["query"], "time": parameters["end"]}
	}
	a.body, err = c.get(ctx, base+"/loki/api/v1/"+endpoint+"?"+parameters.Encode(), func(h http.Header) error { a.header = h; return nil })
	return err
}

func nanoseconds(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }

// same is an error if a gateway's answer isn't whole, or isn't what a Loki
// answers: as many lines, or the same numbers by level.
func (a *logAnswer) same(loki logAnswer) error {
	if err := whole(a.header); err != nil {
		return err
	}
	got, err := a.numbers()
	if err != nil {
		return err
	}
	want, err := loki.numbers()
	if err != nil {
		return err
	}
	if len(want) == 0 || len(got) != len(want) {
		return fmt.Errorf("the gateway answers with %v, Loki with %v", got, want)
	}
	for name, w := range want {
		near := func(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Abs(b) }
		if !slices.EqualFunc(got[name], w, near) {
			return fmt.Errorf("%q: the gateway answers with %v, Loki with %v", name, got[name], w)
		}
	}
	return nil
}

// numbers are those of an answer by level. Of lines it is how many there are.
func (a *logAnswer) numbers() (map[string][]float64, error) {
	var answer struct {
		Data struct {
			ResultType string
			Result     []struct {
				Metric map[string]string
				Value  []any
				Values [][]any
			}
		}
	}
	if err := json.Unmarshal(a.body, &answer); err != nil {
		return nil, err
	}
	out := map[string][]float64{}
	lines := 0
	for _, s := range answer.Data.Result {
		if answer.Data.ResultType == "streams" {
			lines += len(s.Values)
			out["lines"] = []float64{float64(lines)}
			continue
		}
		if s.Value != nil {
			s.Values = append(s.Values, s.Value)
		}
		for _, point := range s.Values {
			text, _ := point[1].(string)
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, err
			}
			out[s.Metric["level"]] = append(out[s.Metric["level"]], value)
		}
	}
	return out, nil
}
