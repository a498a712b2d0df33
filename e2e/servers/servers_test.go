package servers_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-gateway/parley/e2e/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPrometheusScrapesItselfAndANodeExporter(t *testing.T) {
	node := servers.NodeExporter(t)
	prom := servers.Prometheus(t, servers.PrometheusConfig{Config: `
global:
  scrape_interval: 200ms
scrape_configs:
  - job_name: prometheus
    static_configs: [{targets: [$ADDRESS]}]
  - job_name: node
    static_configs: [{targets: [` + node.Address + `]}]
`})
	var up string
	eventually(t, func() bool {
		up = servers.Promtool(t, "query", "instant", prom.URL, `up == 1`)
		return strings.Contains(up, `job="prometheus"`) && strings.Contains(up, `job="node"`)
	}, "both targets are up")
	for _, address := range []string{prom.Address, node.Address} {
		if !strings.Contains(up, `instance="`+address+`"`) {
			t.Errorf("no target %s in\n%s", address, up)
		}
	}
	eventually(t, func() bool {
		version := servers.Promtool(t, "query", "instant", prom.URL, "prometheus_build_info")
		return strings.Contains(version, `version="3.16.0"`)
	}, "Prometheus names the version that its module pins")
}

func TestPrometheusKeepsItsData(t *testing.T) {
	data := t.TempDir()
	first := servers.Prometheus(t, servers.PrometheusConfig{Data: data})
	eventually(t, func() bool {
		return strings.Contains(servers.Promtool(t, "query", "instant", first.URL, "up"), "up{")
	}, "a first sample")
	first.Stop(t)

	second := servers.Prometheus(t, servers.PrometheusConfig{Data: data, Config: "scrape_configs: []"})
	if up := servers.Promtool(t, "query", "instant", second.URL, "last_over_time(up[1h])"); !strings.Contains(up, first.Address) {
		t.Errorf("what the first Prometheus scraped is gone, there is only %q", up)
	}
}

func TestLokiKeepsWhatIsPushed(t *testing.T) {
	loki := servers.StartLoki(t, servers.LokiConfig{})
	at := time.Date(2025, 1, 2, 3, 4, 5, 6, time.UTC) // long ago is as good as now
	loki.Push(t, "acme", servers.LokiStream{
		Labels: map[string]string{"app": "shop"},
		Entries: []servers.LokiEntry{
			{Time: at, Line: `level=info msg="sold"`, Metadata: map[string]string{"trace_id": "abc"}},
			{Time: at.Add(time.Nanosecond), Line: `level=error msg="sold out"`},
		},
	})
	var answer struct {
		Data struct {
			Result []struct {
				Stream map[string]string
				Values [][]string
			}
		}
	}
	span := url.Values{"query": {`{app="shop"}`}, "start": {at.Format(time.RFC3339Nano)}, "end": {at.Add(time.Second).Format(time.RFC3339Nano)}}
	if err := json.Unmarshal(loki.Query(t, "acme", "query_range", span), &answer); err != nil {
		t.Fatal(err)
	}
	lines := map[string]string{}
	for _, s := range answer.Data.Result {
		for _, v := range s.Values {
			lines[v[1]] = v[0] + " " + s.Stream["trace_id"] + " " + s.Stream["detected_level"]
		}
	}
	want := map[string]string{
		`level=info msg="sold"`:      strconv.FormatInt(at.UnixNano(), 10) + " abc info",
		`level=error msg="sold out"`: strconv.FormatInt(at.UnixNano()+1, 10) + "  error",
	}
	if !maps.Equal(lines, want) {
		t.Errorf("Loki has %v, want %v", lines, want)
	}

	query := []string{"query", `{app="shop"} |= "out"`, "--from=" + at.Format(time.RFC3339Nano), "--to=" + at.Add(time.Second).Format(time.RFC3339Nano), "--output=raw"}
	if got := strings.TrimSpace(servers.Logcli(t, loki.URL, "acme", query...)); got != `level=error msg="sold out"` {
		t.Errorf("logcli says %q", got)
	}
	if got := servers.Logcli(t, loki.URL, "globex", query...); got != "" {
		t.Errorf("logcli says %q of another tenant", got)
	}
	if got := loki.Query(t, "acme", "status/buildinfo", nil); !strings.Contains(string(got), `"version":"3.7.8"`) {
		t.Errorf("Loki doesn't name the version that its module pins: %s", got)
	}
}

func TestJaegerTakesSpans(t *testing.T) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, v2 := range []bool{false, true} {
		jaeger := servers.StartJaeger(t, servers.JaegerConfig{V2: v2})
		now := time.Now().UnixNano()
		body := fmt.Sprintf(`{"resourceSpans": [{
			"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
			"scopeSpans": [{"spans": [{"traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "spanId": "00f067aa0ba902b7", "name": "pay",
				"startTimeUnixNano": "%d", "endTimeUnixNano": "%d"}]}]
		}]}`, now, now+1000)
		response, err := client.Post(jaeger.OTLPHTTP+"/v1/traces", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Fatalf("pushing to Jaeger: status %d", response.StatusCode)
		}
		eventually(t, func() bool {
			response, err := client.Get(jaeger.URL + "/api/v3/traces/4bf92f3577b34da6a3ce929d0e0e4736")
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			return response.StatusCode == http.StatusOK
		}, "the trace is there")
		jaeger.Stop(t)
	}
}

func TestStoppedServersAreGone(t *testing.T) {
	stopped, killed := servers.NodeExporter(t), servers.NodeExporter(t)
	stopped.Stop(t)
	stopped.Stop(t)
	killed.Kill(t)
	for _, server := range []*servers.Server{stopped, killed} {
		if conn, err := net.Dial("tcp", server.Address); err == nil {
			_ = conn.Close()
			t.Errorf("%s still listens", server.Address)
		}
	}
	if !strings.Contains(stopped.Output(), "Starting node_exporter") {
		t.Errorf("the output says nothing of the start:\n%s", stopped.Output())
	}
}

// eventually waits until holds, and fails the test when it doesn't within half
// a minute.
func eventually(t *testing.T, holds func() bool, what string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("not within 30s: %s", what)
		case <-again.C:
		}
	}
}
