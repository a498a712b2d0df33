package metrics

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"

	"github.com/parley-gateway/parley/policy"
)

// inProd answers as a Prometheus with the external label env="prod" and one
// series, up{job="api"} 1, whose remote read alone shows that label.
func inProd(t *testing.T, config string, at time.Time) http.HandlerFunc {
	t.Helper()
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/v1/status/buildinfo":
			say(t, w, `{"status":"success","data":{"version":"3.9.1"}}`)
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
			say(t, w, `{"status":"success","data":[{"seriesLabels":{"__name__":"up","job":"api"},"exemplars":[{"labels":{},"value":"1","timestamp":1}]}]}`)
		case "/api/v1/read":
			request, err := remote.DecodeReadRequest(r)
			if err != nil {
				t.Error(err)
				return
			}
			for _, m := range request.Queries[0].Matchers {
				if m.Name == "env" {
					t.Errorf("a matcher on an external label is sent: %v", m)
				}
			}
			w.Header().Set("Content-Type", sampledMedia)
			w.Header().Set("Content-Encoding", "snappy")
			answer := &prompb.ReadResponse{Results: []*prompb.QueryResult{{Timeseries: []*prompb.TimeSeries{{
				Labels:  []prompb.Label{{Name: "__name__", Value: "up"}, {Name: "env", Value: "prod"}, {Name: "job", Value: "api"}},
				Samples: []prompb.Sample{{Value: 1, Timestamp: at.UnixMilli()}},
			}}}}}
			if err := remote.EncodeReadResponse(answer, w); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				t.Error(err)
			}
		default:
			t.Errorf("asked for %s", r.URL.Path)
		}
	}
}

// To a policy that tells organizations' clusters apart by external labels, all
// ways to a Prometheus show the same series.
func TestExternalLabelsAreThereOnEveryWay(t *testing.T) {
	at := time.Unix(1_700_000_000, 0).UTC()
	const config = `{"status":"success","data":{"yaml":"global:\n  scrape_interval: 15s\n  external_labels:\n    env: prod\n    org: someone\n"}}`
	env := func(kind labels.MatchType, value string) *labels.Matcher {
		return labels.MustNewMatcher(kind, "env", value)
	}
	up := policy.Selector{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, "up")}
	questions := map[string]Question{
		"pushed down":     {Kind: policy.Instant, Expression: "sum(up)", Start: at, End: at},
		"grouped by it":   {Kind: policy.Instant, Expression: "sum by (env) (up)", Start: at, End: at},
		"series":          {Kind: policy.Series, Selectors: []policy.Selector{up}, Start: at, End: at},
		"labels of":       {Kind: policy.Series, LabelsOnly: true, Selectors: []policy.Selector{up}, Start: at, End: at},
		"values":          {Kind: policy.LabelValues, Label: "job", Start: at, End: at},
		"values of it":    {Kind: policy.LabelValues, Label: "env", Selectors: []policy.Selector{up}, Start: at, End: at},
		"exemplars":       {Kind: policy.Exemplars, Expression: "up", Start: at, End: at},
		"matched by it":   {Kind: policy.Instant, Expression: `sum(up{env=~"prod|dev"})`, Start: at, End: at},
		"matched by less": {Kind: policy.Instant, Expression: `sum(up{env!="dev"})`, Start: at, End: at},
	}
	for name, c := range map[string]struct {
		config string
		series policy.Selector
		seen   bool
	}{
		"all":                   {config, policy.Selector{}, true},
		"this":                  {config, policy.Selector{env(labels.MatchEqual, "prod")}, true},
		"another":               {config, policy.Selector{env(labels.MatchEqual, "dev")}, false},
		"all but this":          {config, policy.Selector{env(labels.MatchNotEqual, "prod")}, false},
		"all of the metric":     {config, up, true},
		"another's of a metric": {config, append(policy.Selector{env(labels.MatchNotEqual, "prod")}, up...), false},
	} {
		source, _ := backend(t, inProd(t, c.config, at))
		local, err := NewLocal(LocalConfig{Org: "acme", Source: source, Secret: make([]byte, 32)})
		if err != nil {
			t.Fatal(err)
		}
		d := policy.Decision{Allow: true, Obligations: policy.Obligations{Datasets: []policy.Dataset{{
			Series: []policy.Selector{c.series}, Release: policy.Row, Others: policy.LabelRule{Mode: policy.Keep},
		}}}}
		for asked, q := range questions {
			released, _, err := local.Answer(t.Context(), q, d, Asking{Org: "globex", ExchangeID: "x"})
			if err != nil {
				t.Errorf("policy for %s, %s: %v", name, asked, err)
				continue
			}
			if got := len(released.Series()) + len(released.Names()) + len(released.Exemplars()); got > 0 != c.seen {
				t.Errorf("policy for %s, %s: %d entries, want some: %t", name, asked, got, c.seen)
			}
		}
	}
}

// A server that doesn't tell its external labels evaluates nothing itself.
func TestUnknownExternalLabelsAreNotPushedDown(t *testing.T) {
	at := time.Unix(1_700_000_000, 0).UTC()
	source, _ := backend(t, inProd(t, "", at))
	if _, err := source.evaluate(t.Context(), evaluation{expression: "sum(up)", question: Question{Kind: policy.Instant}}); !errors.Is(err, errNotEvaluated) {
		t.Error(err)
	}
}
