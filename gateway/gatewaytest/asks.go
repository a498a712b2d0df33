package gatewaytest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/tenants"
)

// Reply is what a front door said.
type Reply struct {
	Code   int
	Header http.Header
	Body   []byte
}

// Answer is the body of a Reply in Prometheus's API.
type Answer struct {
	Status    string   `json:"status"`
	ErrorType string   `json:"errorType"`
	Error     string   `json:"error"`
	Warnings  []string `json:"warnings"`
	Infos     []string `json:"infos"`
	Data      struct {
		Result []struct {
			Metric map[string]string  `json:"metric"`
			Value  [2]json.RawMessage `json:"value"`
		} `json:"result"`
	} `json:"data"`
}

// Answer decodes the body.
func (r Reply) Answer(t testing.TB) Answer {
	t.Helper()
	var a Answer
	if err := json.Unmarshal(r.Body, &a); err != nil {
		t.Fatalf("%d %q: %v", r.Code, r.Body, err)
	}
	return a
}

// Vector is the result of an instant query: values by labels, as Prometheus
// writes both.
func (r Reply) Vector(t testing.TB) map[string]string {
	t.Helper()
	if r.Code != http.StatusOK {
		t.Fatalf("%d %s", r.Code, r.Body)
	}
	out := map[string]string{}
	for _, s := range r.Answer(t).Data.Result {
		var value string
		if err := json.Unmarshal(s.Value[1], &value); err != nil {
			t.Fatalf("%s: %v", r.Body, err)
		}
		out[labels.FromMap(s.Metric).String()] = value
	}
	return out
}

// Completeness is the reply's, by organization.
func (r Reply) Completeness(t testing.TB) map[tenants.OrgID]federation.Part {
	t.Helper()
	var parts federation.Completeness
	if err := json.Unmarshal([]byte(r.Header.Get(front.CompletenessHeader)), &parts); err != nil {
		t.Fatalf("completeness %q of %d %s: %v", r.Header.Get(front.CompletenessHeader), r.Code, r.Body, err)
	}
	out := map[tenants.OrgID]federation.Part{}
	for _, p := range parts {
		out[p.Org] = p
	}
	return out
}

// URL is the base of its front door.
func (o *Org) URL() string { return "http://" + o.frontAddr }

// Do sends a request to its front door as one of its own users; header is a
// list of name, value pairs, Host among them.
func (o *Org) Do(ctx context.Context, path string, query url.Values, header ...string) (Reply, error) {
	return o.do(ctx, http.MethodGet, path, query, header...)
}

func (o *Org) do(ctx context.Context, method, path string, query url.Values, header ...string) (Reply, error) {
	request, err := http.NewRequestWithContext(ctx, method, o.URL()+path+"?"+query.Encode(), nil)
	if err != nil {
		return Reply{}, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			request.Host = header[i+1]
			continue
		}
		request.Header.Set(header[i], header[i+1])
	}
	response, err := o.world.client.Do(request)
	if err != nil {
		return Reply{}, err
	}
	defer response.Body.Close() //nolint:errcheck // nothing was written
	body, err := io.ReadAll(response.Body)
	return Reply{Code: response.StatusCode, Header: response.Header, Body: body}, err
}

// Get is Do for a request that gets a reply.
func (o *Org) Get(path string, query url.Values, header ...string) Reply {
	o.world.t.Helper()
	reply, err := o.Do(o.world.t.Context(), path, query, header...)
	if err != nil {
		o.world.t.Fatal(err)
	}
	return reply
}

// Post asks for something to be done, at a path with parameters.
func (o *Org) Post(path string, query url.Values, header ...string) Reply {
	o.world.t.Helper()
	reply, err := o.do(o.world.t.Context(), http.MethodPost, path, query, header...)
	if err != nil {
		o.world.t.Fatal(err)
	}
	return reply
}

// Instant are the parameters of PromQL asked at the time of the last sample of
// metricstest's stores.
func Instant(expr string) url.Values { return at(expr, metricstest.End()) }

func at(expr string, t time.Time) url.Values {
	return url.Values{"query": {expr}, "time": {strconv.FormatInt(t.Unix(), 10)}}
}

// Asks asks PromQL at the time of the last sample of metricstest's stores.
func (o *Org) Asks(expr string, header ...string) Reply {
	o.world.t.Helper()
	return o.Get("/api/v1/query", Instant(expr), header...)
}

// AsksWithin is Asks for a user who waits for so long.
func (o *Org) AsksWithin(expr string, patience time.Duration) Reply {
	o.world.t.Helper()
	query := Instant(expr)
	query.Set("timeout", patience.String())
	return o.Get("/api/v1/query", query)
}

// AsksNow asks PromQL at this moment for a user who waits for so long.
func (o *Org) AsksNow(expr string, patience time.Duration) Reply {
	o.world.t.Helper()
	query := at(expr, time.Now())
	query.Set("timeout", patience.String())
	return o.Get("/api/v1/query", query)
}

// AsksRange asks PromQL over all of metricstest's stores.
func (o *Org) AsksRange(expr string, step time.Duration, header ...string) Reply {
	o.world.t.Helper()
	return o.Get("/api/v1/query_range", url.Values{
		"query": {expr},
		"start": {strconv.FormatInt(metricstest.Start.Unix(), 10)},
		"end":   {strconv.FormatInt(metricstest.End().Unix(), 10)},
		"step":  {fmt.Sprintf("%gs", step.Seconds())},
	}, header...)
}
