package metrics

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
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

// inProd answers as a Prometheus with the external label env="prod" and one
// series, up{job="api"} 1, whose remote read alone shows that label.
func inProd(t *testing.T, config string, at time.Time) http.HandlerFunc {
	t.Helper()
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/v1/status/buildinfo":
			say(t, w, `{"status":"success","data":{"version":"3.9.1","goVersion":"go1.26.8"}}`)
		case "/api/v1/status/config":
			if config == "" {
				http.Error(w, "not for you", http.StatusForbidden)
				return
			}
			say(t, w, config)
		case "/api/v1/query":
			say(t, w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[0,"1"]}]}}`)
		case "/api/v1/series":
			say(t, w, `{"status":"success","data":[{"__name__":"up","job":"api"}]}`)
		case "/api/v1/label/job/values":
			say(t, w, `{"status":"success","data":["api"]}`)
		case "/api/v1/labels":
			say(t, w, `{"status":"success","data":["__name__","job"]}`)
		case "/api/v1/query_exemplars":
			say(t, w, `{"status":"success","data":[{"seriesLabels":{"__name__":"up","job":"api"},"exemplars":[{"labels":{},"value":"1","timestamp":1700000000}]}]}`)
		case "/api/v1/read":
			request, err := remote.DecodeReadRequest(r)
			if err != nil {
				t.Error(err)
				return
			}
			w.Header().Set("Content-Type", sampledMedia)
			w.Header().Set("Content-Encoding", "snappy")
			answer := &prompb.ReadResponse{Results: []*prompb.QueryResult{{}}}
			if selectsStored(t, request.Queries[0]) {
				answer.Results[0].Timeseries = []*prompb.TimeSeries{{
					Labels:  []prompb.Label{{Name: "__name__", Value: "up"}, {Name: "env", Value: "prod"}, {Name: "job", Value: "api"}},
					Samples: []prompb.Sample{{Value: 1, Timestamp: at.UnixMilli()}},
				}}
			}
			if err := remote.EncodeReadResponse(answer, w); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				t.Error(err)
			}
		default:
			t.Errorf("asked for %s", r.URL.Path)
		}
	}
}

// selectsStored says whether up{job="api"} is selected as a Prometheus does it
// whose external label env="prod" is not stored: a matcher for just that counts
// as met, and any other looks at what is stored.
func selectsStored(t *testing.T, q *prompb.Query) bool {
	t.Helper()
	matchers, err := remote.FromLabelMatchers(q.Matchers)
	if err != nil {
		t.Error(err)
		return false
	}
	series := labels.FromStrings("__name__", "up", "job", "api")
	return !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool {
		met := m.Name == "env" && m.Type == labels.MatchEqual && m.Value == "prod"
		return !met && !m.Matches(series.Get(m.Name))
	})
}

type externalQuestion struct {
	name     string
	question Question
}

func externalQuestions(at time.Time) []externalQuestion {
	up := policy.Selector{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, "up")}
	return []externalQuestion{
		{"pushed down", Question{Kind: policy.Instant, Expression: "sum(up)", Start: at, End: at}},
		{"grouped by it", Question{Kind: policy.Instant, Expression: "sum by (env) (up)", Start: at, End: at}},
		{"series", Question{Kind: policy.Series, Selectors: []policy.Selector{up}, Start: at, End: at}},
		{"labels of", Question{Kind: policy.Series, LabelsOnly: true, Selectors: []policy.Selector{up}, Start: at, End: at}},
		{"values", Question{Kind: policy.LabelValues, Label: "job", Start: at, End: at}},
		{"values of it", Question{Kind: policy.LabelValues, Label: "env", Selectors: []policy.Selector{up}, Start: at, End: at}},
		{"exemplars", Question{Kind: policy.Exemplars, Expression: "up", Start: at, End: at}},
		{"matched by it", Question{Kind: policy.Instant, Expression: `sum(up{env=~"prod|dev"})`, Start: at, End: at}},
		{"matched by less", Question{Kind: policy.Instant, Expression: `sum(up{env!="dev"})`, Start: at, End: at}},
	}
}

// externalPolicy releases what a selector chooses, which is or isn't in prod.
type externalPolicy struct {
	name   string
	series policy.Selector
	seen   bool
}

func externalPolicies() []externalPolicy {
	env := func(kind labels.MatchType, value string) *labels.Matcher {
		return labels.MustNewMatcher(kind, "env", value)
	}
	up := policy.Selector{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, "up")}
	return []externalPolicy{
		{"all", policy.Selector{}, true},
		{"this", policy.Selector{env(labels.MatchEqual, "prod")}, true},
		{"this and others", policy.Selector{env(labels.MatchRegexp, "prod|dev")}, true},
		{"another", policy.Selector{env(labels.MatchEqual, "dev")}, false},
		{"all but this", policy.Selector{env(labels.MatchNotEqual, "prod")}, false},
		{"none", policy.Selector{env(labels.MatchEqual, "")}, false},
		{"all of the metric", up, true},
		{"another's of a metric", append(policy.Selector{env(labels.MatchNotEqual, "prod")}, up...), false},
	}
}

func (p externalPolicy) asks(t *testing.T, source Source, q Question) (*Released, error) {
	t.Helper()
	local, err := NewLocal(LocalConfig{Org: "acme", Source: source, Secret: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	released, _, err := local.Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: policy.Obligations{Datasets: []policy.Dataset{{
		Series: []policy.Selector{p.series}, Release: policy.Row, Others: policy.LabelRule{Mode: policy.Keep},
	}}}}, Asking{Org: "globex", ExchangeID: "x"})
	return released, err
}

func entries(r *Released) int { return len(r.Series()) + len(r.Names()) + len(r.Exemplars()) }

// To a policy that tells organizations' clusters apart by external labels, all
// ways to a Prometheus show the same series.
func TestExternalLabelsAreThereOnEveryWay(t *testing.T) {
	at := time.Unix(1_700_000_000, 0).UTC()
	const config = `{"status":"success","data":{"yaml":"global:\n  scrape_interval: 15s\n  external_labels:\n    env: prod\n    org: someone\n"}}`
	for _, p := range externalPolicies() {
		source, _ := backend(t, inProd(t, config, at))
		for _, q := range externalQuestions(at) {
			released, err := p.asks(t, source, q.question)
			if err != nil {
				t.Errorf("policy for %s, %s: %v", p.name, q.name, err)
				continue
			}
			if got := entries(released); got > 0 != p.seen {
				t.Errorf("policy for %s, %s: %d entries, want some: %t", p.name, q.name, got, p.seen)
			}
		}
	}
}

// A server that doesn't tell its external labels is asked for nothing but
// remote read, which alone shows them.
func TestUnknownExternalLabelsAreReadNotListed(t *testing.T) {
	at := time.Unix(1_700_000_000, 0).UTC()
	for _, q := range externalQuestions(at) {
		for _, p := range externalPolicies() {
			var log strings.Builder
			var asked atomic.Bool
			source, _ := backend(t, func(w http.ResponseWriter, r *http.Request) {
				asked.Store(true)
				switch r.URL.Path {
				case "/api/v1/status/buildinfo", "/api/v1/status/config", "/api/v1/read":
				default:
					t.Errorf("%s: %s is asked for %s", p.name, q.name, r.URL.Path)
				}
				inProd(t, "", at)(w, r)
			})
			source.config.Logger = slog.New(slog.NewTextHandler(&log, nil))
			released, err := p.asks(t, source, q.question)
			if q.question.Kind == policy.Exemplars {
				e := federation.AsError(err)
				if e == nil || e.Kind != federation.Unavailable || strings.Contains(e.Message, "external") || !strings.Contains(e.Err.Error(), "metrics.prometheus.external_labels") {
					t.Errorf("%s, %s: %v", p.name, q.name, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s, %s: %v", p.name, q.name, err)
				continue
			}
			if got := entries(released); got > 0 != p.seen {
				t.Errorf("%s, %s: %d entries, want some: %t", p.name, q.name, got, p.seen)
			}
			// Where question and policy exclude each other there is nothing to ask.
			if told := strings.Contains(log.String(), "metrics.prometheus.external_labels"); told != asked.Load() || p.seen && !told {
				t.Errorf("%s, %s: asked %t, the operator is told what to do %t: %s", p.name, q.name, asked.Load(), told, log.String())
			}
		}
	}
}

// What the operator states is what counts, and the server isn't asked.
func TestStatedExternalLabels(t *testing.T) {
	at := time.Unix(1_700_000_000, 0).UTC()
	source, _ := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/status/config" {
			t.Error("the server is asked")
		}
		inProd(t, "", at)(w, r)
	})
	for _, p := range externalPolicies() {
		source.config.ExternalLabels = map[string]string{"env": "prod"}
		for _, q := range externalQuestions(at) {
			released, err := p.asks(t, source, q.question)
			if err != nil {
				t.Errorf("policy for %s, %s: %v", p.name, q.name, err)
				continue
			}
			if got := entries(released); got > 0 != p.seen {
				t.Errorf("policy for %s, %s: %d entries, want some: %t", p.name, q.name, got, p.seen)
			}
		}
	}
	source.config.ExternalLabels = map[string]string{}
	if listed, err := source.listRaw(t.Context(), selection{}, "job", 0); err != nil || len(listed) != 1 {
		t.Errorf("that there are none was stated, and a list is %v: %v", listed, err)
	}
}
