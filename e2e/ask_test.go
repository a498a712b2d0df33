package e2e

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/parley-gateway/parley/e2e/servers"
	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway/front"
)

// reply is an HTTP answer.
type reply struct {
	status int
	header http.Header
	body   string
}

// asks sends a form to a path of a gateway or of a Prometheus. Headers are
// names and values by turns.
func asks(t testing.TB, base, path string, form url.Values, headers ...string) reply {
	t.Helper()
	r, err := tryAsking(t, base, path, form, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tryAsking(t testing.TB, base, path string, form url.Values, headers ...string) (reply, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path+"?"+form.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for pair := range slices.Chunk(headers, 2) {
		request.Header.Set(pair[0], pair[1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	response, err := client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return reply{}, err
	}
	return reply{status: response.StatusCode, header: response.Header, body: string(body)}, nil
}

// url is that of the gateway for its own users.
func (o *org) url() string { return "http://" + o.front }

// asks asks the gateway one expression at a moment.
func (o *org) asks(t testing.TB, expression string, at time.Time, headers ...string) reply {
	t.Helper()
	return asks(t, o.url(), "/api/v1/query", url.Values{"query": {expression}, "time": {seconds(at)}}, headers...)
}

// answer is what Prometheus's API wraps data in.
type answer struct {
	Status    string          `json:"status"`
	Data      json.RawMessage `json:"data"`
	ErrorType string          `json:"errorType"`
	Error     string          `json:"error"`
	Warnings  []string        `json:"warnings"`
	Infos     []string        `json:"infos"`
}

func (r reply) answer(t testing.TB) answer {
	t.Helper()
	var a answer
	if err := json.Unmarshal([]byte(r.body), &a); err != nil {
		t.Fatalf("status %d, and the body isn't JSON: %v\n%s", r.status, err, r.body)
	}
	return a
}

// vector is the answer's samples by series.
func (r reply) vector(t testing.TB) map[string]string {
	t.Helper()
	var data struct {
		Result model.Vector `json:"result"`
	}
	if a := r.answer(t); a.Status != "success" {
		t.Fatalf("status %d: %s", r.status, r.body)
	} else if err := json.Unmarshal(a.Data, &data); err != nil {
		t.Fatalf("%v in %s", err, r.body)
	}
	return byMetric(data.Result, "")
}

// completeness is the header's, by organization.
func (r reply) completeness(t testing.TB) map[string]federation.Part {
	t.Helper()
	var parts federation.Completeness
	if err := json.Unmarshal([]byte(r.header.Get(front.CompletenessHeader)), &parts); err != nil {
		t.Fatalf("header %s: %v\n%v\n%s", front.CompletenessHeader, err, r.header, r.body)
	}
	out := map[string]federation.Part{}
	for _, p := range parts {
		out[string(p.Org)] = p
	}
	return out
}

// statuses are the statuses of the answer's parts.
func (r reply) statuses(t testing.TB) map[string]federation.Status {
	t.Helper()
	out := map[string]federation.Status{}
	for name, part := range r.completeness(t) {
		out[name] = part.Status
	}
	return out
}

// promtoolInstant is what promtool is answered, by series. With an org, the
// series get its label.
func promtoolInstant(t testing.TB, base, org, expression string, at time.Time) map[string]string {
	t.Helper()
	var v model.Vector
	printed := servers.Promtool(t, "query", "instant", "-o", "json", "--time="+seconds(at), base, expression)
	if err := json.Unmarshal([]byte(printed), &v); err != nil {
		t.Fatalf("%v in %s", err, printed)
	}
	return byMetric(v, org)
}

// promtoolRange is promtoolInstant for a range.
func promtoolRange(t testing.TB, base, org, expression string, start, end time.Time, step string) map[string]string {
	t.Helper()
	var m model.Matrix
	printed := servers.Promtool(t, "query", "range", "-o", "json",
		"--start="+seconds(start), "--end="+seconds(end), "--step="+step, base, expression)
	if err := json.Unmarshal([]byte(printed), &m); err != nil {
		t.Fatalf("%v in %s", err, printed)
	}
	out := map[string]string{}
	for _, s := range m {
		var values []string
		for _, v := range s.Values {
			values = append(values, v.String())
		}
		for _, h := range s.Histograms {
			values = append(values, h.String())
		}
		out[nameOf(s.Metric, org)] = strings.Join(values, " ")
	}
	return out
}

// promtoolLines are the lines that promtool prints for a listing, sorted.
func promtoolLines(t testing.TB, arguments ...string) []string {
	t.Helper()
	return slices.Sorted(strings.Lines(servers.Promtool(t, append([]string{"query"}, arguments...)...)))
}

func byMetric(v model.Vector, org string) map[string]string {
	out := map[string]string{}
	for _, s := range v {
		value := s.Value.String()
		if s.Histogram != nil {
			value = s.Histogram.String()
		}
		out[nameOf(s.Metric, org)] = value
	}
	return out
}

func nameOf(m model.Metric, org string) string {
	if org != "" {
		m = m.Clone()
		m["org"] = model.LabelValue(org)
	}
	return m.String()
}

func together(parts ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, p := range parts {
		maps.Copy(out, p)
	}
	return out
}

func seconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}
