package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
)

// backend is a Prometheus that a test plays.
func backend(t *testing.T, handler http.HandlerFunc) (source *Prometheus, connections *atomic.Int32) {
	t.Helper()
	connections = &atomic.Int32{}
	server := httptest.NewUnstartedServer(handler)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	if source, err = NewPrometheus(PrometheusConfig{URL: base, Client: client}); err != nil {
		t.Fatal(err)
	}
	return source, connections
}

func say(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Error(err)
	}
}

// A question that is given up while the version is asked for says nothing of
// the backend, and holds up nobody.
func TestVersionIsNotForgottenForAQuestionThatWasGivenUp(t *testing.T) {
	arrived := make(chan struct{})
	var slow atomic.Bool
	slow.Store(true)
	source, _ := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if slow.Load() {
			close(arrived)
			<-r.Context().Done()
			return
		}
		say(t, w, `{"status":"success","data":{"version":"3.9.1","goVersion":"go1.26.8"}}`)
	})
	givenUp, giveUp := context.WithCancel(t.Context())
	first := make(chan bool)
	go func() { first <- source.evaluates(givenUp) }()
	<-arrived
	slow.Store(false)
	if !source.evaluates(t.Context()) {
		t.Error("a question waits for another one's, or takes its word")
	}
	giveUp()
	if <-first {
		t.Error("a question that was given up knows the version")
	}
	if !source.evaluates(t.Context()) {
		t.Error("the version was forgotten")
	}
}

// What only resembles a Prometheus 3 has a PromQL of its own, and what is asked
// may be replaced by it.
func TestWhatIsLikePrometheusEvaluatesNothing(t *testing.T) {
	const prometheus = `"revision":"a","branch":"HEAD","buildUser":"x","buildDate":"20260101","goVersion":"go1.26.8"`
	now := time.Unix(1_700_000_000, 0)
	var says atomic.Value
	source, _ := backend(t, func(w http.ResponseWriter, _ *http.Request) { say(t, w, fmt.Sprint(says.Load())) })
	source.config.Now = func() time.Time { return now }
	for data, want := range map[string]bool{
		`{"version":"3.9.1",` + prometheus + `}`:                       true,
		`{"version":"3.9.1-rc.0","application":"",` + prometheus + `}`: true,
		`{"version":"2.55.1",` + prometheus + `}`:                      false,
		`{"version":"0.40.1",` + prometheus + `}`:                      false, // Thanos
		`{"application":"Grafana Mimir","version":"3.0.5","revision":"a","branch":"HEAD","goVersion":"go1.26.8","features":{}}`: false,
		`{"version":"3.0.5","application":"something newer",` + prometheus + `}`:                                                false,
		`{"version":"3.0.5"}`: false,
		`"3.9.1"`:             false,
	} {
		says.Store(`{"status":"success","data":` + data + `}`)
		now = now.Add(versionTTL + 1)
		if got := source.evaluates(t.Context()); got != want {
			t.Errorf("%s evaluates: %t", data, got)
		}
		says.Store(`{"status":"error"}`)
		now = now.Add(versionTTL - 1)
		if got := source.evaluates(t.Context()); got != want {
			t.Errorf("%s is forgotten at once", data)
		}
	}
}

// Questions take turns on a connection.
func TestEvaluateKeepsItsConnection(t *testing.T) {
	source, connections := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("query") == "bad" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		flusher, ok := w.(http.Flusher)
		if !ok {
			t.Error("a response that can't be flushed")
			return
		}
		say(t, w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
		flusher.Flush()
		say(t, w, strings.Repeat("\n", 100))
	})
	for _, expression := range []string{"good", "bad", "good", "bad", "good"} {
		_, err := source.evaluate(t.Context(), evaluation{expression: expression, question: Question{Kind: policy.Instant}, maxBytes: 1000})
		if (err != nil) != (expression == "bad") {
			t.Errorf("%s: %v", expression, err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for five questions, one after another", n)
	}
}

// A server that acts on hints could leave out labels that decide what is hidden.
func TestReadGivesNoHints(t *testing.T) {
	var hints atomic.Pointer[prompb.ReadHints]
	source, _ := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/status/config" {
			say(t, w, `{"status":"success","data":{"yaml":""}}`)
			return
		}
		request, err := remote.DecodeReadRequest(r)
		if err != nil {
			t.Error(err)
			return
		}
		hints.Store(request.Queries[0].Hints)
		w.Header().Set("Content-Type", streamedMedia)
	})
	v := &view{source: source, rules: newRules("acme", everythingKept, keys{}), oldest: math.MinInt64, newest: math.MaxInt64, may: &allowance{bytes: 1000}}
	m, err := run(t.Context(), newEngine(1000, time.Minute), v, `sum by (region) (rate(x{region="eu"}[5m]))`, Question{Kind: policy.Instant, Start: time.Now()})
	if err != nil || len(m) > 0 {
		t.Errorf("got %v, %v", m, err)
	}
	if got := hints.Load(); got != nil {
		t.Errorf("the server is told of %v", got)
	}
}

var everythingKept = policy.Obligations{Datasets: []policy.Dataset{{
	Series: []policy.Selector{{}}, Release: policy.Row, Others: policy.LabelRule{Mode: policy.Keep},
}}}

// What a server is asked has a matcher that the empty label doesn't match; it
// refuses anything else.
func TestExemplarsOfWhatOnlyTheViewCanMatch(t *testing.T) {
	var asked atomic.Value
	source, _ := backend(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.FormValue("query"))
		say(t, w, `{"status":"success","data":[]}`)
	})
	source.config.ExternalLabels = map[string]string{}
	if _, err := source.rawExemplars(t.Context(), 0, 1, [][]*labels.Matcher{nil}); err != nil {
		t.Fatal(err)
	}
	if got := asked.Load(); got != `{__name__=~".+"}` {
		t.Errorf("asked for %v", got)
	}
}

// The cause is for the log, which gets no question: that may hold personal data.
func TestUnavailableQuotesNoQuestion(t *testing.T) {
	source, _ := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		hijacker, ok := w.(http.Hijacker)
		if !ok {
			t.Error("a response that can't be hijacked")
			return
		}
		conn, _, err := hijacker.Hijack()
		if err = errors.Join(err, conn.Close()); err != nil {
			t.Error(err)
		}
	})
	source.config.ExternalLabels = map[string]string{}
	sel := selection{mint: 0, maxt: time.Now().UnixMilli(), matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "user", "alice")}}
	_, err := source.listRaw(t.Context(), sel, "pod", 0)
	var e *federation.Error
	if !errors.As(err, &e) || e.Kind != federation.Unavailable || strings.Contains(err.Error(), "alice") || !strings.Contains(err.Error(), "EOF") {
		t.Errorf("got %v", err)
	}
}
