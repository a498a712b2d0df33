package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/parley-gateway/parley/e2e/servers"
)

// acmeTraces is a gateway's configuration with a place for its traces.
const acmeTraces = `org: acme
trust_domain: acme.example
identity: {development: {dir: ca}}
front: {listen: "%s"}
agreements: {dir: agreements}
metrics: {tsdb: {dir: tsdb}}
traces: %s
pseudonyms: {key_file: pseudonyms.key}
audit: {dir: audit}
`

// TestTracesComeFromEachBackend sends the same spans to each of the backends that
// there are, and finds the same trace through a gateway on it: by its id, and by
// a search.
func TestTracesComeFromEachBackend(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	v1, v2 := servers.StartJaeger(t, servers.JaegerConfig{}), servers.StartJaeger(t, servers.JaegerConfig{V2: true})
	overGRPC, overHTTP := freeAddress(t), freeAddress(t)
	backends := []struct{ name, section, otlp string }{
		{"the embedded store", fmt.Sprintf(`{store: {otlp_grpc_listen: "%s", otlp_http_listen: "%s"}}`, overGRPC, overHTTP), "http://" + overHTTP},
		{"Jaeger 1 over gRPC", fmt.Sprintf(`{jaeger: {grpc: "%s", insecure: true, bearer_token_file: "%s", tenant: acme}}`, v1.QueryGRPC, token), v1.OTLPHTTP},
		{"Jaeger 1 over HTTP", fmt.Sprintf(`{jaeger: {url: "%s"}}`, v1.URL), ""},
		{"Jaeger 2 over gRPC", fmt.Sprintf(`{jaeger: {grpc: "%s", insecure: true}}`, v2.QueryGRPC), v2.OTLPHTTP},
		{"Jaeger 2 over HTTP", fmt.Sprintf(`{jaeger: {url: "%s", tenant: acme}}`, v2.URL), ""},
	}
	start := time.Now().Add(-time.Minute)
	answers := map[string]string{}
	for _, b := range backends {
		o := &org{name: "acme", dir: t.TempDir(), front: freeAddress(t)}
		o.write(t, "pseudonyms.key", strings.Repeat("k", 32))
		if err := os.Mkdir(filepath.Join(o.dir, "agreements"), 0o700); err != nil {
			t.Fatal(err)
		}
		o.write(t, "gateway.yml", fmt.Sprintf(acmeTraces, o.front, b.section))
		o.gateway = servers.Start(t, o.front, "/-/ready", parley(t), "serve", "--config", filepath.Join(o.dir, "gateway.yml"))
		if b.otlp != "" {
			sendOTLP(t, b.otlp, shopTrace(start))
		}
		eventually(t, func() string {
			answers[b.name] = o.trace(t, "4bf92f3577b34da6a3ce929d0e0e4736")
			if strings.Count(answers[b.name], "\n") < 2 {
				return b.name + " has " + answers[b.name]
			}
			return ""
		})
		if found := o.get(t, "/tempo/api/search?q="+`%7Bresource.service.name%3D%22bank%22%7D`, http.StatusOK); !strings.Contains(found, `4bf92f3577b34da6a3ce929d0e0e4736`) {
			t.Errorf("%s: a search finds %s", b.name, found)
		}
		if found := o.get(t, "/tempo/api/search?q="+`%7Bresource.service.name%3D%22nobody%22%7D`, http.StatusOK); strings.Contains(found, "traceID") {
			t.Errorf("%s: a search for nothing finds %s", b.name, found)
		}
		o.get(t, "/tempo/api/v2/traces/00000000000000000000000000000001", http.StatusNotFound)
		o.gateway.Stop(t)
	}
	for name, answer := range answers {
		if want := answers[backends[0].name]; answer != want {
			t.Errorf("%s has\n%s\nand %s\n%s", name, answer, backends[0].name, want)
		}
	}
}

// shopTrace are two spans of a trace as OTLP.
func shopTrace(start time.Time) string {
	const span = `{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"%s"}}]},"scopeSpans":[{"scope":{"name":"test"},"spans":[
		{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"%s","parentSpanId":"%s","name":"%s","kind":%d,"startTimeUnixNano":"%d","endTimeUnixNano":"%d",
		"attributes":[{"key":"http.response.status_code","value":{"intValue":"200"}},{"key":"user.id","value":{"stringValue":"u1"}}]}]}]}`
	at := start.Truncate(time.Microsecond).UnixNano() // Jaeger may have no less
	return `{"resourceSpans":[` + fmt.Sprintf(span, "shop", "00f067aa0ba902b7", "", "GET /checkout", 2, at, at+9_000_000) + "," +
		fmt.Sprintf(span, "bank", "00f067aa0ba902b8", "00f067aa0ba902b7", "pay", 2, at+1_000_000, at+8_000_000) + `]}`
}

// oneShot leaves no connection behind.
var oneShot = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func sendOTLP(t *testing.T, base, body string) {
	t.Helper()
	response, err := oneShot.Post(base+"/v1/traces", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if answer, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK || bytes.Contains(answer, []byte("rejected")) {
		t.Fatalf("sending spans: status %d: %v %s", response.StatusCode, err, answer)
	}
}

func (o *org) get(t *testing.T, path string, want int) string {
	t.Helper()
	response, err := oneShot.Get("http://" + o.front + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != want {
		t.Errorf("%s: status %d, want %d: %v %s", path, response.StatusCode, want, err, body)
	}
	return string(body)
}

// trace is a line for each of a trace's spans, as the front door has them in
// protobuf.
func (o *org) trace(t *testing.T, id string) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, "http://"+o.front+"/tempo/api/v2/traces/"+id, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/protobuf")
	response, err := oneShot.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return fmt.Sprintf("status %d: %s", response.StatusCode, body)
	}
	number, _, n := protowire.ConsumeTag(body) // the first field is the trace
	text, length := protowire.ConsumeBytes(body[max(n, 0):])
	if number != 1 || length < 0 {
		t.Fatalf("an answer of %d bytes without a trace", len(body))
	}
	var u ptrace.ProtoUnmarshaler
	trace, err := u.UnmarshalTraces(text)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, resource := range trace.ResourceSpans().All() {
		for _, scope := range resource.ScopeSpans().All() {
			for _, span := range scope.Spans().All() {
				lines = append(lines, fmt.Sprintln(span.SpanID(), span.ParentSpanID(), span.Name(), span.Kind(), span.StartTimestamp(), span.EndTimestamp(),
					span.Attributes().AsRaw(), resource.Resource().Attributes().AsRaw()))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
