package gatewaytest_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/gateway/gatewaytest"
	"github.com/parley-gateway/parley/policy"
)

// lastHour is parameters with that of metricstest's stores, as Loki's clients write
// it. Those it is given may be other tests' too.
func lastHour(of url.Values) url.Values {
	v := url.Values{}
	maps.Copy(v, of)
	v.Set("start", strconv.FormatInt(metricstest.End().Add(-time.Hour).UnixNano(), 10))
	v.Set("end", strconv.FormatInt(metricstest.End().UnixNano()+1, 10))
	return v
}

// summaries are questions for how much there is and of what, each with what
// three organizations answer together but for their warnings.
var summaries = []struct {
	path       string
	parameters url.Values
	want       string
	kind       policy.Kind
}{
	{"index/stats", url.Values{"query": {`{service="checkout"}`}}, `{"streams":5,"chunks":0,"bytes":606,"entries":6}`, policy.Stats},
	{"index/volume", url.Values{"query": {`{service="checkout"}`}, "targetLabels": {"level"}}, `{"status":"success","data":{"resultType":"vector","result":[` +
		`{"metric":{"level":"info"},"value":[1767324585,"405"]},{"metric":{"level":"error"},"value":[1767324585,"201"]}],"stats":{}}}`, policy.Volume},
	{"index/volume", url.Values{"query": {`{service="checkout"}`}, "aggregateBy": {"labels"}, "targetLabels": {"level,org"}}, `{"status":"success","data":{"resultType":"vector","result":[` +
		`{"metric":{"level":""},"value":[1767324585,"606"]},{"metric":{"org":""},"value":[1767324585,"606"]}],"stats":{}}}`, policy.Volume},
	{"detected_labels", url.Values{"query": {`{service="checkout"}`}}, `{"detectedLabels":[{"label":"level","cardinality":2},{"label":"org","cardinality":3},` +
		`{"label":"pod","cardinality":2},{"label":"service","cardinality":1}]}`, policy.DetectedLabels},
	{"detected_fields", url.Values{"query": {`{service="checkout", org="globex"} | json`}}, `{"fields":[` +
		`{"label":"duration_ms","type":"int","cardinality":2,"parsers":["json"],"jsonPath":["duration_ms"]},` +
		`{"label":"level_extracted","type":"string","cardinality":2,"parsers":["json"],"jsonPath":["level"]},` +
		`{"label":"message","type":"string","cardinality":1,"parsers":["json"],"jsonPath":["message"]},` +
		`{"label":"user_id","type":"string","cardinality":3,"parsers":["json"],"jsonPath":["user_id"]}],"limit":1000}`, policy.DetectedFields},
	{"detected_field/duration_ms/values", url.Values{"query": {`{service="checkout"}`}}, `{"values":["10","700"],"limit":1000}`, policy.DetectedFields},
	{"patterns", url.Values{"query": {`{service="checkout", org="initech"}`}, "step": {"1h"}}, `{"status":"success","data":[` +
		`{"pattern":"{\"level\":\"info\",\"user_id\":\"<_>\",\"message\":\"order of <_> failed\",\"duration_ms\":<_>}","level":"","samples":[[1767322800,1]]}]}`, policy.Patterns},
}

// What Loki answers from its index is counted in what every owner shows, asked
// of all of them and recorded like any other question.
func TestSummariesOfLogsOfThreeOrganizations(t *testing.T) {
	t.Parallel()
	world := threeWithLogs(t)
	world.Start()
	acme, globex := world.Org("acme"), world.Org("globex")
	for _, c := range summaries {
		reply := acme.Get("/loki/api/v1/"+c.path, lastHour(c.parameters))
		if reply.Code != http.StatusOK {
			t.Errorf("%s: %d %s", c.path, reply.Code, reply.Body)
			continue
		}
		body, warnings := withoutWarnings(t, reply)
		if diff := cmp.Diff(c.want, body); diff != "" {
			t.Errorf("%s %v (-want +got):\n%s", c.path, c.parameters, diff)
		}
		if len(warnings) != 1 || !strings.Contains(warnings[0], "Redacted by the owner.") {
			t.Errorf("%s: warnings %q", c.path, warnings)
		}
		if !strings.Contains(c.parameters.Get("query"), "initech") {
			if record := last(t, globex); record.Kind != c.kind || record.Query == "" || record.Exchange != reply.Header.Get("X-Parley-Exchange") {
				t.Errorf("%s: globex recorded %+v", c.path, record)
			}
		}
	}

	numbers := acme.AsksLogsNow(`sum by (level) (bytes_over_time({service="checkout"}[1h]))`).Vector(t)
	if diff := cmp.Diff(map[string]string{`{level="error"}`: "201", `{level="info"}`: "405"}, numbers); diff != "" {
		t.Errorf("what LogQL counts (-volume +LogQL):\n%s", diff)
	}

	globex.Stop()
	for _, c := range summaries {
		if strings.Contains(c.parameters.Get("query"), "org=") {
			continue
		}
		reply := acme.Get("/loki/api/v1/"+c.path, lastHour(c.parameters))
		if part := reply.Completeness(t)["globex"]; reply.Code != http.StatusOK || part.Status != federation.Unreachable {
			t.Errorf("%s without globex: %d %+v", c.path, reply.Code, part)
		}
		if _, warnings := withoutWarnings(t, reply); len(warnings) != 2 || !strings.Contains(warnings[0], "globex is unreachable") {
			t.Errorf("%s without globex: %q", c.path, warnings)
		}
	}
}

// withoutWarnings is an answer of Loki's API without its warnings, and these.
func withoutWarnings(t *testing.T, r gatewaytest.Reply) (string, []string) {
	t.Helper()
	var noted struct{ Warnings []string }
	if err := json.Unmarshal(r.Body, &noted); err != nil {
		t.Fatalf("%s: %v", r.Body, err)
	}
	body := strings.TrimSpace(string(r.Body))
	before, after, found := strings.Cut(body, `,"warnings":[`)
	if !found {
		return body, nil
	}
	return before + after[strings.LastIndex(after, "]")+1:], noted.Warnings
}

// A policy tells these questions apart, and what isn't served says so.
func TestPolicyDecidesOnSummariesOfLogs(t *testing.T) {
	t.Parallel()
	world := threeWithLogs(t)
	globex := world.Org("globex")
	globex.Decides("acme", `default decision := {"allow": false, "reasons": ["only how much there is"]}

decision := `+releaseCheckout+` if input.kind in {"stats", "volume"}`)
	world.Start()
	acme := world.Org("acme")
	for _, c := range summaries {
		status := acme.Get("/loki/api/v1/"+c.path, lastHour(c.parameters)).Completeness(t)["globex"].Status
		want := federation.Denied
		switch {
		case strings.Contains(c.parameters.Get("query"), "initech"):
			want = federation.NotAsked
		case c.kind == policy.Stats || c.kind == policy.Volume:
			want = federation.Complete
		}
		if status != want {
			t.Errorf("%s: globex is %q, want %q", c.path, status, want)
		}
	}
	// Where nobody else is asked, a denial is an error that Grafana shows.
	denied := acme.Get("/loki/api/v1/detected_fields", lastHour(url.Values{"query": {`{org="globex"}`}}))
	var told struct{ Status, Message string }
	if err := json.Unmarshal(denied.Body, &told); err != nil || denied.Code != http.StatusForbidden || told.Status != "error" || told.Message != "globex: "+federation.NotAllowed {
		t.Errorf("a denial: %d %s", denied.Code, denied.Body)
	}
	for _, path := range []string{"index/shards", "rules", "push", "delete", "config"} {
		reply := acme.Get("/loki/api/v1/"+path, nil)
		var body struct{ Status, Message string }
		if err := json.Unmarshal(reply.Body, &body); err != nil || reply.Code != http.StatusNotFound || body.Status != "error" || !strings.Contains(body.Message, "isn't served here") {
			t.Errorf("%s: %d %s", path, reply.Code, reply.Body)
		}
	}
}
