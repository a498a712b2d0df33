package metrics

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
)

// half answers as a Thanos of which a store is away: lists lack up{job="db"},
// and come with what warnings says. Remote read has all.
func half(t *testing.T, at time.Time, warnings string) http.HandlerFunc {
	t.Helper()
	return func(w http.ResponseWriter, r *http.Request) {
		lists := map[string]string{
			"/api/v1/series":                `[{"__name__":"up","job":"api"}]`,
			"/api/v1/labels":                `["__name__"]`,
			"/api/v1/label/job/values":      `["api"]`,
			"/api/v1/label/__name__/values": `["up"]`,
			"/api/v1/metadata":              `{"up":[{"type":"gauge","help":"h","unit":""}]}`,
			"/api/v1/query_exemplars":       `[{"seriesLabels":{"__name__":"up","job":"api"},"exemplars":[{"labels":{"trace_id":"1"},"value":"1.5","timestamp":1.5}]}]`,
		}
		if data, ok := lists[r.URL.Path]; ok {
			say(t, w, `{"status":"success","data":`+data+`,"warnings":`+warnings+`}`)
			return
		}
		if r.URL.Path != "/api/v1/read" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.Header().Set("Content-Type", sampledMedia)
		w.Header().Set("Content-Encoding", "snappy")
		answer := &prompb.ReadResponse{Results: []*prompb.QueryResult{{}}}
		for _, job := range []string{"api", "db"} {
			answer.Results[0].Timeseries = append(answer.Results[0].Timeseries, &prompb.TimeSeries{
				Labels:  []prompb.Label{{Name: "__name__", Value: "up"}, {Name: "job", Value: job}},
				Samples: []prompb.Sample{{Value: 1, Timestamp: at.UnixMilli()}},
			})
		}
		if err := remote.EncodeReadResponse(answer, w); err != nil {
			t.Error(err)
		}
	}
}

// A list that may lack something is read from the samples, or not had at all.
func TestPartialLists(t *testing.T) {
	at := time.Unix(1_700_000_000, 0).UTC()
	up := policy.Selector{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, "up")}
	allowed := policy.Decision{Allow: true, Obligations: everythingKept}
	for _, c := range []struct {
		name     string
		question Question
		// whole and partial are what is answered without and with a warning, and
		// truncated with the one that a limit was met.
		whole, partial, truncated string
	}{
		{"series", Question{Kind: policy.Series, LabelsOnly: true, Selectors: []policy.Selector{up}}, "api", "api db", "api db"},
		{"names", Question{Kind: policy.LabelNames}, "__name__ org", "__name__ job org", "__name__ job org"},
		{"values", Question{Kind: policy.LabelValues, Label: "job"}, "api", "api db", "api db"},
		{"names of one selector", Question{Kind: policy.LabelNames, Selectors: []policy.Selector{up}}, "__name__ org", "__name__ job org", "__name__ job org"},
		{"one value", Question{Kind: policy.LabelValues, Label: "job", Limit: 1}, "api", "api", "api"},
		{"two values", Question{Kind: policy.LabelValues, Label: "job", Limit: 2}, "api", "api db", "api"},
		{"values of no legacy name", Question{Kind: policy.LabelValues, Label: "../job"}, "", "", ""},
		{"metadata", Question{Kind: policy.Metadata}, "up", "unavailable", "unavailable"},
		{"exemplars", Question{Kind: policy.Exemplars, Expression: "up"}, "1.5@1500", "unavailable", "unavailable"},
	} {
		c.question.Start, c.question.End = at, at
		if c.question.Kind == policy.Exemplars {
			c.question.Start = time.Unix(0, 0)
		}
		for warnings, want := range map[string]string{
			`[]`: c.whole, `null`: c.whole, `["store 10.0.0.7 is away"]`: c.partial, `["` + truncated + `"]`: c.truncated,
			`["` + truncated + `","store 10.0.0.7 is away"]`: c.partial,
		} {
			source, _ := backend(t, half(t, at, warnings))
			source.config.ExternalLabels = map[string]string{}
			local, err := NewLocal(LocalConfig{Org: "acme", Source: source, Secret: make([]byte, minSecret), Now: func() time.Time { return at }})
			if err != nil {
				t.Fatal(err)
			}
			released, _, err := local.Answer(t.Context(), c.question, allowed, Asking{Org: "globex"})
			got := listed(released)
			if e := federation.AsError(err); e != nil {
				got = string(e.Kind)
				if strings.Contains(err.Error(), "10.0.0.7") {
					t.Errorf("%s: what the server says is quoted: %v", c.name, err)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s with warnings %s (-want +got):\n%s%v", c.name, warnings, diff, err)
			}
		}
	}
}

// listed is what a list has, in a line.
func listed(r *Released) string {
	if r == nil {
		return ""
	}
	out := slices.Clone(r.Names())
	for _, s := range r.Series() {
		out = append(out, s.Labels.Get("job"))
	}
	for name := range r.Metadata() {
		out = append(out, name)
	}
	for _, s := range r.Exemplars() {
		for _, e := range s.Exemplars {
			out = append(out, fmt.Sprintf("%v@%d", e.Value, e.Ts))
		}
	}
	return strings.Join(out, " ")
}

// A server, or a proxy before it, may not want to be posted to.
func TestListsAreGotWhereNothingMayBePosted(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented} {
		source, _ := backend(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet {
				w.WriteHeader(status)
				return
			}
			say(t, w, fmt.Sprintf(`{"status":"success","data":[%q]}`, r.FormValue("match[]")))
		})
		source.config.ExternalLabels = map[string]string{}
		names, err := source.listRaw(t.Context(), selection{matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, "job", "a+")}}, "", 0)
		if diff := cmp.Diff([]string{`{job=~"a+"}`}, names); err != nil || diff != "" {
			t.Errorf("after %d: %v\n%s", status, err, diff)
		}
	}
}
