package servers

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// LokiConfig says what a Loki does. The zero value keeps what is pushed as long
// as the test takes.
type LokiConfig struct {
	// Config is the text of the configuration, in which $ADDRESS stands for the
	// server's own host:port, $PORT and $GRPC_PORT for the ports it listens on
	// and $DATA for its folder. Empty is loki/loki.yml beside this package.
	Config string
	// Data is the folder of what is pushed, what is there included. Empty is one
	// that goes with the test.
	Data string
	// Flags are added to the command line, where they win over Config.
	Flags []string
}

// Loki is a running Loki. It has a tenant for each name that it is asked by.
type Loki struct{ *Server }

// StartLoki starts a Loki.
func StartLoki(t testing.TB, c LokiConfig) Loki {
	t.Helper()
	if c.Config == "" {
		text, err := os.ReadFile(filepath.Join(root(t), "e2e", "servers", "loki", "loki.yml"))
		if err != nil {
			t.Fatalf("reading Loki's default configuration: %v", err)
		}
		c.Config = string(text)
	}
	if c.Data == "" {
		c.Data = t.TempDir()
	}
	config := filepath.Join(t.TempDir(), "loki.yml")
	return Loki{launch{
		name:    "loki",
		program: Program(t, "loki", "loki"),
		arguments: func(address string) []string {
			_, port, _ := net.SplitHostPort(address) // it is the kernel's
			_, grpc, _ := net.SplitHostPort(freeAddress(t))
			text := strings.NewReplacer(
				"$ADDRESS", address, "$PORT", port, "$GRPC_PORT", grpc, "$DATA", c.Data,
			).Replace(c.Config)
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatalf("writing Loki's configuration: %v", err)
			}
			return append([]string{"-config.file=" + config}, c.Flags...)
		},
		ready: "/ready",
	}.start(t)}
}

// LokiStream is what is pushed to one stream.
type LokiStream struct {
	// Labels are the stream's; Loki adds service_name to them unless its
	// configuration says otherwise.
	Labels  map[string]string
	Entries []LokiEntry
}

// LokiEntry is a line.
type LokiEntry struct {
	Time time.Time
	Line string
	// Metadata is structured metadata. Loki adds detected_level to it unless its
	// configuration says otherwise.
	Metadata map[string]string
}

// Push writes entries for a tenant, through POST /loki/api/v1/push, and returns
// when queries find them all.
func (l Loki) Push(t testing.TB, tenant string, streams ...LokiStream) {
	t.Helper()
	type stream struct {
		Stream map[string]string `json:"stream"`
		Values [][]any           `json:"values"`
	}
	var body struct {
		Streams []stream `json:"streams"`
	}
	for _, s := range streams {
		pushed := stream{Stream: s.Labels}
		for _, e := range s.Entries {
			value := []any{strconv.FormatInt(e.Time.UnixNano(), 10), e.Line}
			if len(e.Metadata) > 0 {
				value = append(value, e.Metadata)
			}
			pushed.Values = append(pushed.Values, value)
		}
		body.Streams = append(body.Streams, pushed)
	}
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatalf("pushing to Loki: %v", err)
	}
	// 204: the ingester has them, and is asked by every query.
	if status, answer := l.do(t, tenant, http.MethodPost, "/loki/api/v1/push", nil, text); status != http.StatusNoContent {
		t.Fatalf("pushing to Loki: status %d: %s", status, answer)
	}
}

// Query asks an endpoint below /loki/api/v1, such as query_range, and returns
// its answer. Another status than 200 is a failure of the test.
func (l Loki) Query(t testing.TB, tenant, endpoint string, parameters url.Values) []byte {
	t.Helper()
	status, answer := l.do(t, tenant, http.MethodGet, "/loki/api/v1/"+endpoint, parameters, nil)
	if status != http.StatusOK {
		t.Fatalf("asking Loki for %s: status %d: %s", endpoint, status, answer)
	}
	return answer
}

func (l Loki) do(t testing.TB, tenant, method, path string, parameters url.Values, body []byte) (status int, answer []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, l.URL+path+"?"+parameters.Encode(), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Scope-OrgID", tenant)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatalf("asking Loki: %v", err)
	}
	defer response.Body.Close() //nolint:errcheck // nothing was written
	if answer, err = io.ReadAll(response.Body); err != nil {
		t.Fatalf("asking Loki: %v", err)
	}
	return response.StatusCode, answer
}

// Logcli runs Loki's own client against anything that speaks its API, and
// returns what it printed. A failure of logcli is one of the test.
func Logcli(t testing.TB, address, tenant string, arguments ...string) string {
	t.Helper()
	cmd := Command(t, "loki", "logcli", slices.Concat([]string{"--addr=" + address, "--org-id=" + tenant, "--quiet"}, arguments)...)
	var failed bytes.Buffer
	cmd.Stderr = &failed
	printed, err := cmd.Output()
	if err != nil {
		t.Fatalf("logcli %s: %v\n%s%s", strings.Join(arguments, " "), err, printed, failed.Bytes())
	}
	return string(printed)
}
