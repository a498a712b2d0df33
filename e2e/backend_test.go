package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

// backend is a Prometheus whose query API answers as a test tells it. The rest
// is that of a real one. It is the transport to it.
type backend struct {
	version string // what it says it is; empty: it doesn't say
	also    string // that it says it is, in JSON
	status  int    // of the query API
	body    string

	next    *http.Transport
	queried int // how often it was asked to evaluate
}

func (b *backend) RoundTrip(r *http.Request) (*http.Response, error) {
	reply := httptest.NewRecorder()
	switch {
	case r.URL.Path == "/api/v1/status/buildinfo" && b.version == "":
		http.NotFound(reply, r)
	case r.URL.Path == "/api/v1/status/buildinfo":
		_, _ = fmt.Fprintf(reply, `{"status":"success","data":{"version":%q,"goVersion":"go1.26.8"%s}}`, b.version, b.also)
	case strings.HasPrefix(r.URL.Path, "/api/v1/query"):
		b.queried++
		reply.WriteHeader(b.status)
		_, _ = io.WriteString(reply, b.body)
	default:
		return b.next.RoundTrip(r)
	}
	return reply.Result(), nil
}

// local answers from the backend, which otherwise is the Prometheus at base.
func (b *backend) local(t *testing.T, base string) *metrics.Local {
	t.Helper()
	b.next = &http.Transport{}
	t.Cleanup(b.next.CloseIdleConnections)
	return local(t, source(t, metrics.PrometheusConfig{Client: &http.Client{Transport: b}}, base))
}

// TestBackendsThatAnswerOtherwise asks a backend that has something to say
// that a partner must not hear: user-0 is a value that policy drops.
func TestBackendsThatAnswerOtherwise(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	store := newTwins(t, r)
	o := policies(r)["pods by pseudonym"]
	at := metricstest.End()
	q := metrics.Question{Kind: policy.Instant, Expression: benchmarked[0], Start: at, End: at}
	want, err := answerOf(local(t, source(t, metrics.PrometheusConfig{NoPushDown: true}, store.prometheus.URL)), q, o)
	if err != nil || len(want) == 0 {
		t.Fatalf("the view answers %v: %v", want, err)
	}
	const (
		duplicate = `{"status":"error","errorType":"execution","error":"found duplicate series for the match group {user=\"user-0\"}"}`
		sample    = `{"metric":{"region":"eu-west"},"value":[1767323000,"1"]}`
		cantRead  = "acme: unavailable: the metrics store can't be read now"
		garbled   = "acme: unavailable: the metrics store sent an answer that can't be read"
	)
	success := func(data string) string { return `{"status":"success","data":` + data + `}` }
	vector := func(results string) string { return `{"resultType":"vector","result":[` + results + `]}` }
	for _, c := range []struct {
		name    string
		backend backend
		asked   bool   // the backend is asked to evaluate
		told    string // what the asker is told; empty: the answer of the view
	}{
		{name: "an error with labels", backend: backend{status: 422, body: duplicate}, asked: true},
		{name: "a bad request", backend: backend{status: 400, body: duplicate}, asked: true},
		{name: "too many requests", backend: backend{status: 429, body: duplicate}, asked: true},
		{name: "an error that says it is fine", backend: backend{status: 200, body: duplicate}, asked: true},
		{name: "a warning", backend: backend{status: 200, body: `{"status":"success","warnings":["no data of user-0"],"data":` + vector(sample) + `}`}, asked: true},
		{
			name:    "a histogram",
			backend: backend{status: 200, body: success(vector(`{"metric":{},"histogram":[1767323000,{"count":"1","sum":"1","buckets":[[0,"1","2","1"]]}]}`))}, asked: true,
		},
		{name: "an internal error", backend: backend{status: 500, body: duplicate}, asked: true, told: cantRead},
		{name: "no time now", backend: backend{status: 503, body: duplicate}, asked: true, told: cantRead},
		{name: "a page", backend: backend{status: 200, body: "<html>user-0</html>"}, asked: true, told: garbled},
		{name: "half of an answer", backend: backend{status: 200, body: success(vector(sample))[:40]}, asked: true, told: garbled},
		{name: "Prometheus 2", backend: backend{version: "2.55.1", status: 500}},
		{name: "a Mimir", backend: backend{version: "3.0.5", also: `,"application":"Grafana Mimir"`, status: 500}},
		{name: "something else", backend: backend{version: "9009", status: 500}},
		{name: "a server that doesn't say", backend: backend{version: "-", status: 500}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &c.backend
			switch b.version {
			case "":
				b.version = "3.16.0"
			case "-":
				b.version = ""
			}
			got, err := answerOf(b.local(t, store.prometheus.URL), q, o)
			if asked := b.queried > 0; asked != c.asked {
				t.Errorf("asked to evaluate %t, want %t", asked, c.asked)
			}
			if c.told == "" {
				if diff := difference(want, nil, got, err); diff != "" {
					t.Error(diff)
				}
			} else if said := told(err); said != c.told {
				t.Errorf("the asker is told %q, want %q", said, c.told)
			}
		})
	}
}

// TestBackendAddsLabels has a backend answer with a label that nobody asked
// for and that policy drops.
func TestBackendAddsLabels(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	store := newTwins(t, r)
	at := metricstest.End()
	b := &backend{version: "3.16.0", status: 200, body: `{"status":"success","data":{"resultType":"vector","result":[` +
		`{"metric":{"region":"eu-west","status":"200","user":"user-0","pod":"pod-0"},"value":[1767323000,"1"]}]}}`}
	got, err := answerOf(b.local(t, store.prometheus.URL), metrics.Question{Kind: policy.Instant, Expression: benchmarked[0], Start: at, End: at}, policies(r)["pods by pseudonym"])
	for _, hidden := range []string{"user-0", "pod-0"} {
		if strings.Contains(fmt.Sprint(got, err), hidden) {
			t.Errorf("%s left: %v %v", hidden, got, err)
		}
	}
}

// TestBackendIsAway tells a store that can't be reached from one that is slow.
func TestBackendIsAway(t *testing.T) {
	o := policies(rand.New(rand.NewPCG(5, 5)))["pods by pseudonym"]
	at := metricstest.End()
	q := metrics.Question{Kind: policy.Instant, Expression: benchmarked[0], Start: at, End: at}
	l := local(t, source(t, metrics.PrometheusConfig{}, "http://"+freeAddress(t)))
	if _, err := answerOf(l, q, o); told(err) != "acme: unavailable: the metrics store can't be read now" {
		t.Errorf("nobody there: %s", told(err))
	}
	// One that takes longer than the question may, with or without push-down.
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/buildinfo") {
			_, _ = io.WriteString(w, `{"status":"success","data":{"version":"3.16.0"}}`)
			return
		}
		<-release
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	for _, noPushDown := range []bool{false, true} {
		l := local(t, source(t, metrics.PrometheusConfig{NoPushDown: noPushDown}, server.URL))
		if _, err := answerWithin(l, q, o, 200*time.Millisecond); federation.AsError(err) == nil || federation.AsError(err).Kind != federation.DeadlineExceeded {
			t.Errorf("slow, push-down off %t: %s", noPushDown, told(err))
		}
	}
}
