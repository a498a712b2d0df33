package front_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	v1 "github.com/prometheus/prometheus/web/api/v1"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// everybody is an Authenticator that takes everyone for the same user.
type everybody struct{ err error }

func (e everybody) User(*http.Request) (tenants.User, error) {
	return tenants.User{Subject: "ada", Proof: tenants.StatedByProxy}, e.err
}

// door is a Front under test and its log.
type door struct {
	t       testing.TB
	handler *front.Front
	log     *bytes.Buffer
}

func open(t testing.TB, p *pipeline, change ...func(*front.Config)) *door {
	t.Helper()
	d := &door{t: t, log: &bytes.Buffer{}}
	c := front.Config{
		Org:            "acme",
		Answerer:       p,
		Authenticator:  everybody{},
		DefaultPurpose: "capacity",
		Version:        "v0.1.0",
		Logger:         slog.New(slog.NewJSONHandler(d.log, nil)),
		Timeout:        5 * time.Second,
	}
	for _, f := range change {
		f(&c)
	}
	f, err := front.New(c)
	if err != nil {
		t.Fatal(err)
	}
	d.handler = f
	return d
}

// reply is an answer as a client sees it.
type reply struct {
	status int
	header http.Header
	raw    string
	body   struct {
		Status    string          `json:"status"`
		Data      json.RawMessage `json:"data"`
		ErrorType string          `json:"errorType"`
		Error     string          `json:"error"`
		Warnings  []string        `json:"warnings"`
		Infos     []string        `json:"infos"`
	}
}

// parts is the completeness header.
func (r reply) parts(t testing.TB) federation.Completeness {
	t.Helper()
	var c federation.Completeness
	if err := json.Unmarshal([]byte(r.header.Get(front.CompletenessHeader)), &c); err != nil {
		t.Fatalf("header %s = %q: %v", front.CompletenessHeader, r.header.Get(front.CompletenessHeader), err)
	}
	return c
}

func (d *door) do(req *http.Request) reply {
	d.t.Helper()
	rec := httptest.NewRecorder()
	d.handler.ServeHTTP(rec, req)
	r := reply{status: rec.Code, header: rec.Result().Header, raw: rec.Body.String()}
	if strings.HasPrefix(r.header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(rec.Body.Bytes(), &r.body); err != nil {
			d.t.Fatalf("%s %s: not JSON: %v\n%s", req.Method, req.URL, err, r.raw)
		}
	}
	return r
}

func (d *door) get(path string) reply {
	d.t.Helper()
	return d.do(httptest.NewRequest(http.MethodGet, path, nil))
}

func (d *door) post(path string, form url.Values) reply {
	d.t.Helper()
	req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return d.do(req)
}

// prometheus is the API of a real Prometheus over the same store.
func prometheus(m memory) http.Handler {
	api := v1.NewAPI(newEngine(), m, nil, nil, nil, nil, nil,
		func() config.Config { return config.Config{} }, nil, v1.GlobalURLOptions{},
		func(h http.HandlerFunc) http.HandlerFunc { return h }, nil, "", false,
		slog.New(slog.DiscardHandler), nil, 0, 1, 1<<20, false, nil, nil, nil, nil, nil, nil, nil, nil,
		false, nil, false, false, false, false, 0, false, false, nil, nil)
	router := route.New()
	api.Register(router.WithPrefix("/api/v1"))
	return router
}

// The same question to a real Prometheus over the union and to the gateway
// gives the same bytes.
func TestSameBytesAsPrometheus(t *testing.T) {
	oracle, d := prometheus(store()), open(t, &pipeline{store: store()})
	for _, path := range []string{
		"/api/v1/query?query=1%2B1&time=4",
		"/api/v1/query?query=vector(1)&time=300.5",
		`/api/v1/query?query="a"&time=300`,
		"/api/v1/query?query=up&time=300",
		"/api/v1/query?query=up&time=1970-01-01T00:05:00.123Z",
		"/api/v1/query?query=scalar(up{org=%22acme%22,region=%22us%22})%2B1%20%23%20why&time=300",
		"/api/v1/query?query=scalar(nothing)&time=300",
		"/api/v1/query?query=up{org=%22globex%22}[1m]&time=300",
		"/api/v1/query?query=rate(requests_total{org=%22acme%22}[1m])[1m:15s]&time=300",
		"/api/v1/query?query=latency_seconds&time=300",
		"/api/v1/query?query=sort(requests_total)&time=300",
		"/api/v1/query?query=sort_desc(requests_total)&time=300",
		"/api/v1/query?query=(sort_desc(requests_total/0))&time=300",
		"/api/v1/query?query=topk(2,requests_total)&time=300",
		"/api/v1/query?query=topk+by+(org)+(1,requests_total)&time=300",
		"/api/v1/query?query=bottomk(4,requests_total)&time=300",
		"/api/v1/query?query=requests_total&time=300&limit=2",
		"/api/v1/query?query=nothing&time=300",
		"/api/v1/query?query=up&time=300.001&lookback_delta=15s",
		"/api/v1/query_range?query=up&start=0&end=60&step=15",
		"/api/v1/query_range?query=rate(requests_total[1m])&start=60.5&end=120.25&step=0.25",
		"/api/v1/query_range?query=scalar(up{org=%22acme%22,region=%22us%22})&start=0&end=60&step=15",
		"/api/v1/query_range?query=time()&start=0&end=60&step=15",
		"/api/v1/query_range?query=latency_seconds&start=0&end=120&step=60",
		"/api/v1/query_range?query=up[1m]&start=0&end=60&step=15",
		"/api/v1/query_range?query=up&start=60&end=0&step=15",
		"/api/v1/query_range?query=up&start=0&end=60&step=0",
		"/api/v1/query_range?query=up&start=0&end=60",
		"/api/v1/query_range?query=up&start=0&end=60000000&step=1",
		"/api/v1/query?query=up{",
		"/api/v1/query?query=",
		"/api/v1/query?query=up&time=yesterday",
		"/api/v1/query?query=up&timeout=soon",
		"/api/v1/query?query=up&limit=-1",
		"/api/v1/series?match[]=up&start=0&end=600",
		"/api/v1/series?match[]=up{org=%22acme%22}&match[]={region=%22eu%22}&start=0&end=600",
		"/api/v1/series?match[]=up&start=0&end=600&limit=2",
		"/api/v1/series?start=0&end=600",
		"/api/v1/series?match[]={}&start=0&end=600",
		"/api/v1/labels?start=0&end=600",
		"/api/v1/labels",
		"/api/v1/labels?match[]=latency_seconds&match[]=up&start=0&end=600",
		"/api/v1/labels?limit=1",
		"/api/v1/label/org/values?start=0&end=600",
		"/api/v1/label/__name__/values?match[]={org=%22globex%22}&start=0&end=600",
		"/api/v1/label/nothing/values",
		"/api/v1/format_query?query=sum(up)by(org)",
		"/api/v1/format_query?query=sum(",
		"/api/v1/parse_query?query=up[5m]",
	} {
		rec := httptest.NewRecorder()
		oracle.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		got := d.get(path)
		if got.status != rec.Code || got.raw != rec.Body.String() {
			t.Errorf("%s\n  want %d %s\n   got %d %s", path, rec.Code, rec.Body, got.status, got.raw)
		}
		if strings.Contains(path, "/label/") {
			continue
		}
		address, query, _ := strings.Cut(path, "?")
		form, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if posted := d.post(address, form); posted.raw != got.raw {
			t.Errorf("POST %s\n  want %s\n   got %s", path, got.raw, posted.raw)
		}
	}
}

// What Grafana's Prometheus datasource sends, from saving it to a panel.
func TestGrafana(t *testing.T) {
	p := &pipeline{store: store(), completeness: federation.Completeness{
		{Org: "acme", Status: federation.Complete},
		{Org: "globex", Status: federation.Timeout, Reason: "no answer in time"},
		{Org: "initech", Status: federation.Complete, Notices: []string{"pod is dropped", "user is a pseudonym"}},
	}}
	d := open(t, p)

	health := d.post("/api/v1/query", url.Values{"query": {"1+1"}, "time": {"4"}})
	if health.raw != `{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}` {
		t.Errorf("save & test: %s", health.raw)
	}
	info := d.get("/api/v1/status/buildinfo")
	if info.status != http.StatusOK || strings.Contains(info.raw, "features") || !strings.Contains(info.raw, `"version":"3.9.1"`) {
		t.Errorf("buildinfo: %d %s", info.status, info.raw)
	}
	if flags := d.get("/api/v1/status/flags"); flags.status != http.StatusNotFound || flags.body.ErrorType != "not_found" {
		t.Errorf("flags must be 404, or this is taken for Thanos: %d %s", flags.status, flags.raw)
	}
	probe := d.post("/api/v1/query_exemplars", url.Values{"query": {"test"}, "start": {"1763850000000"}, "end": {"1763853600000"}})
	if probe.status != http.StatusOK || probe.raw != `{"status":"success","data":[]}` {
		t.Errorf("exemplars probe: %d %s", probe.status, probe.raw)
	}
	for path, want := range map[string]string{
		"/api/v1/rules":  `{"status":"success","data":{"groups":[]}}`,
		"/api/v1/alerts": `{"status":"success","data":{"alerts":[]}}`,
	} {
		if got := d.get(path); got.raw != want {
			t.Errorf("%s: %s", path, got.raw)
		}
	}
	if len(p.questions()) != 0 {
		t.Errorf("nothing of this touches data, but was asked: %v", p.questions())
	}

	exemplars := d.get("/api/v1/query_exemplars?query=up&start=0&end=60")
	if exemplars.raw != `{"status":"success","data":[]}` {
		t.Errorf("no notices on exemplars, and a list: %s", exemplars.raw)
	}
	panel := d.post("/api/v1/query_range?query=up", url.Values{
		"query": {"up"}, "start": {"0"}, "end": {"60"}, "step": {"15"}, "timeout": {"60s"}, "stats": {"all"},
	})
	if panel.status != http.StatusOK || strings.Contains(panel.raw, "stats") {
		t.Fatalf("panel: %d %s", panel.status, panel.raw)
	}
	if want := []string{"This answer is incomplete: globex is timeout (no answer in time)."}; !slices.Equal(panel.body.Warnings, want) {
		t.Errorf("warnings %q, want %q", panel.body.Warnings, want)
	}
	if want := []string{"Redacted by the owner. initech: pod is dropped, user is a pseudonym."}; !slices.Equal(panel.body.Infos, want) {
		t.Errorf("infos %q, want %q", panel.body.Infos, want)
	}
	labels := d.post("/api/v1/labels", url.Values{"limit": {"1"}, "start": {"0"}, "end": {"60"}, "match[]": {"up"}})
	if len(labels.body.Warnings) != 1 || !strings.Contains(labels.body.Warnings[0], "truncated") || !strings.Contains(labels.body.Warnings[0], "globex") {
		t.Errorf("one warning that says both: %q", labels.body.Warnings)
	}
}

// The answer's headers say what is in it, under which id, and who asked why.
func TestHeaders(t *testing.T) {
	p := &pipeline{store: store(), completeness: federation.Completeness{
		{Org: "acme", Status: federation.Complete, Cost: federation.Cost{Series: 1, Latency: 1}},
		{Org: "globex", Status: federation.Denied, Reason: "no agreement: «purpose»"},
	}}
	d := open(t, p)
	req := httptest.NewRequest(http.MethodGet, "/api/v1/series?match[]=up&match[]=requests_total", nil)
	req.Header.Set(front.PurposeHeader, "incident-response")
	req.Header.Set(front.CaseHeader, "INC-7")
	req.Header.Set(front.PartialHeader, "refuse")
	got := d.do(req)
	want := federation.Completeness{
		{Org: "acme", Status: federation.Complete, Cost: federation.Cost{Series: 2, Latency: 1}},
		{Org: "globex", Status: federation.Denied, Reason: "no agreement: «purpose»"},
	}
	parts := got.parts(t)
	if len(parts) != 2 || parts[0].Cost != want[0].Cost || parts[1].Reason != want[1].Reason || parts[1].Status != want[1].Status {
		t.Errorf("completeness %v, want %v", parts, want)
	}
	if len(got.body.Warnings) != 1 {
		t.Errorf("two questions, one warning: %q", got.body.Warnings)
	}
	asked := p.questions()
	if len(asked) != 2 || asked[0].ExchangeID == "" || asked[0].ExchangeID != asked[1].ExchangeID || got.header.Get(front.ExchangeHeader) != string(asked[0].ExchangeID) {
		t.Errorf("one exchange id for the request: header %q, questions %v", got.header.Get(front.ExchangeHeader), asked)
	}
	principal := tenants.Principal{
		Org: "acme", Purpose: "incident-response", Case: "INC-7",
		User: tenants.User{Subject: "ada", Proof: tenants.StatedByProxy},
	}
	if asked[0].Principal != principal || !asked[0].RefusePartial {
		t.Errorf("question %+v", asked[0])
	}
	// As a word: the digits of an exchange id may spell it.
	if strings.Contains(d.log.String(), "requests_total") || regexp.MustCompile(`\bada\b`).MatchString(d.log.String()) {
		t.Errorf("the access log knows too much: %s", d.log)
	}

	d.get("/api/v1/query?query=up")
	if last := p.questions()[2]; last.Principal.Purpose != "capacity" || last.RefusePartial {
		t.Errorf("defaults: %+v", last)
	}
	for name, values := range map[string][]string{
		front.PartialHeader: {"maybe"},
		front.PurposeHeader: {"Because I Want To"},
		front.CaseHeader:    {"two words"},
		"x-parley-purpose":  {"audit", "capacity"},
	} {
		req := httptest.NewRequest(http.MethodGet, "/api/v1/query?query=up", nil)
		for _, v := range values {
			req.Header.Add(name, v)
		}
		if got := d.do(req); got.status != http.StatusBadRequest || got.body.ErrorType != "bad_data" {
			t.Errorf("%s: %q: %d %s", name, values, got.status, got.raw)
		}
	}
}

// An answer that can't say what it lacks isn't given.
func TestCompletenessThatCantBeWritten(t *testing.T) {
	p := &pipeline{store: store(), completeness: federation.Completeness{{
		Org: "acme", Status: federation.Complete, Coverage: policy.Window{End: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)},
	}}}
	d := open(t, p)
	for _, path := range []string{"/api/v1/query?query=up", "/api/v1/series?match[]=up", "/api/v1/metadata"} {
		got := d.get(path)
		if got.status != http.StatusServiceUnavailable || got.body.Status != "error" || strings.Contains(got.raw, "instance") {
			t.Errorf("%s: %d %s", path, got.status, got.raw)
		}
		if !strings.Contains(d.log.String(), "the completeness of the answer can't be written") {
			t.Errorf("%s: the log doesn't say why: %s", path, d.log)
		}
		d.log.Reset()
	}
}

// Every kind of error has the status and type a client understands, and says
// what the gateway said and no more.
func TestErrors(t *testing.T) {
	secret := errors.New("found duplicate series {pod=\"secret\"}")
	for _, c := range []struct {
		err    error
		status int
		kind   string
		text   string
	}{
		{federation.Errorf(federation.Refused, "policy refuses"), 422, "execution", "policy refuses"},
		{&federation.Error{Kind: federation.Refused, Org: "globex", Message: "refused", Err: secret}, 422, "execution", "globex: refused"},
		{federation.Errorf(federation.NeedsAggregation, "sum it"), 422, "execution", "sum it"},
		{federation.Errorf(federation.OverLimit, "too many"), 422, "execution", "too many"},
		{federation.Errorf(federation.BadQuestion, "unclear"), 400, "bad_data", "unclear"},
		{federation.Errorf(federation.Unavailable, "audit is full"), 503, "unavailable", "audit is full"},
		{federation.Errorf(federation.DeadlineExceeded, "too slow"), 503, "timeout", "too slow"},
		{federation.Errorf(federation.Internal, "oops"), 503, "unavailable", "oops"},
		{secret, 503, "unavailable", "internal error; the gateway's log has the details"},
	} {
		d := open(t, &pipeline{err: c.err})
		for _, path := range []string{
			"/api/v1/query?query=up", "/api/v1/query_range?query=up&start=0&end=60&step=15",
			"/api/v1/query_exemplars?query=up&start=0&end=60", "/api/v1/series?match[]=up", "/api/v1/series?match[]=up&match[]=x",
			"/api/v1/labels", "/api/v1/labels?match[]=up&match[]=x", "/api/v1/label/org/values", "/api/v1/metadata",
		} {
			req := httptest.NewRequest(http.MethodGet, path, nil)
			req.Header.Set("Accept-Encoding", "gzip")
			got := d.do(req)
			if got.status != c.status || got.body.Status != "error" || got.body.ErrorType != c.kind || got.body.Error != c.text {
				t.Errorf("%v: %s: %d %s", c.err, path, got.status, got.raw)
			}
			if got.header.Get("Content-Encoding") != "" || got.header.Get(front.ExchangeHeader) == "" {
				t.Errorf("%v: %s: headers %v", c.err, path, got.header)
			}
		}
	}
}

func TestTimeout(t *testing.T) {
	d := open(t, &pipeline{store: store()})
	got := d.get("/api/v1/query?query=up&timeout=1e-9")
	if got.status != 503 || got.body.ErrorType != "timeout" {
		t.Errorf("%d %s", got.status, got.raw)
	}
}

// What isn't in the table isn't served, and what isn't understood is refused.
func TestStrict(t *testing.T) {
	p := &pipeline{store: store()}
	d := open(t, p)
	for _, path := range []string{
		"/", "/api", "/api/v1", "/api/v1/", "/api/v1/query/", "//api/v1/query?query=up", "/api/v1/targets", "/api/v1/status/config",
		"/api/v1/status/tsdb", "/api/v1/status/runtimeinfo", "/api/v1/features", "/api/v1/notifications/live",
		"/api/v1/admin/tsdb/snapshot", "/api/v1/write", "/api/v1/label//values", "/api/v1/label/a/b/values", "/api/v2/query",
		"/metrics", "/debug/pprof/", "/debug/pprof/heap",
	} {
		if got := d.get(path); got.status != http.StatusNotFound || got.body.ErrorType != "not_found" || !strings.Contains(got.raw, "isn't served here; this gateway serves /api/v1/query, ") || !strings.Contains(got.raw, " /api/v1/label/<name>/values, ") {
			t.Errorf("%s: %d %s", path, got.status, got.raw)
		}
	}
	for path, want := range map[string]string{
		"/api/echo":                    "/tempo/api/echo is: the URL of the data source has to end with /tempo",
		"/api/v2/traces/1f":            "/tempo/api/v2/traces/1f is: the URL of the data source has to end with /tempo",
		"/api/services":                "/jaeger/api/services is: the URL of the data source has to end with /jaeger",
		"/api/services/a/b/operations": "has to end with /jaeger",
		"/tempo":                       "this gateway serves /tempo/api/echo, ",
		"/jaeger":                      "this gateway serves /jaeger/api/services, ",
	} {
		if got := d.get(path); got.status != http.StatusNotFound || !strings.Contains(got.raw, path+" isn't served here; ") || !strings.Contains(got.raw, want) {
			t.Errorf("%s: %d %s", path, got.status, got.raw)
		}
	}
	for _, c := range []struct{ method, path string }{
		{"DELETE", "/api/v1/series?match[]=up"},
		{"GET", "/api/v1/read"},
		{"POST", "/api/v1/metadata"},
		{"OPTIONS", "/api/v1/query"},
		{"POST", "/api/v1/label/org/values"},
		{"PUT", "/api/v1/query"},
		{"POST", "/-/ready"},
	} {
		got := d.do(httptest.NewRequest(c.method, c.path, nil))
		if got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") == "" || got.body.Status != "error" {
			t.Errorf("%s %s: %d %s", c.method, c.path, got.status, got.raw)
		}
	}
	deep := strings.Repeat("(", 1000) + "up" + strings.Repeat(")", 1000)
	for path, want := range map[string]string{
		"/api/v1/query?query=up&dedup=true":                                              `parameter "dedup" isn't known; /api/v1/query takes query, time`,
		"/api/v1/query?query=up&query=down":                                              `parameter "query" is given 2 times with different values`,
		"/api/v1/query_range?query=up&max_source_resolution=0":                           `"max_source_resolution" isn't known`,
		"/api/v1/status/buildinfo?x=1":                                                   "/api/v1/status/buildinfo takes none",
		"/api/v1/query?query=up&time=NaN":                                                "is not a time",
		"/api/v1/query?query=up&time=1e300":                                              "is not a time",
		"/api/v1/query?query=%ff":                                                        "isn't valid UTF-8",
		"/api/v1/query?query=up;time=3":                                                  "can't be read",
		"/api/v1/format_query?query=" + deep:                                             "nested deeper",
		"/api/v1/query?query=" + url.QueryEscape("count_over_time(vector(1)[290y:1ms])"): "more than 1000000 steps",
		"/api/v1/metadata?limit=many":                                                    "limit must be a number",
		"/api/v1/query_range?query=up&start=0&end=0.01&step=1e-5":                        "step must be at least 1ms",
	} {
		if got := d.get(path); got.status != http.StatusBadRequest || got.body.ErrorType != "bad_data" || !strings.Contains(got.body.Error, want) {
			t.Errorf("%s: %d %s", path, got.status, got.raw)
		}
	}
	if len(p.questions()) != 0 {
		t.Errorf("refused, and yet asked: %v", p.questions())
	}
	if got := d.get("/api/v1/query?query=" + url.QueryEscape("max_over_time(vector(1)[5m:])")); got.status != http.StatusOK {
		t.Errorf("a constant's subquery without a step: %d %s", got.status, got.raw)
	}
	if got := d.get("/api/v1/query?query=up&query=up&time=30&time=30"); got.status != http.StatusOK {
		t.Errorf("equal duplicates: %d %s", got.status, got.raw)
	}
	req := httptest.NewRequest(http.MethodPost, "/api/v1/query", strings.NewReader(`{"query":"up"}`))
	req.Header.Set("Content-Type", "application/json")
	if got := d.do(req); got.status != http.StatusBadRequest || !strings.Contains(got.body.Error, "application/x-www-form-urlencoded") {
		t.Errorf("a JSON body: %d %s", got.status, got.raw)
	}
	small := open(t, p, func(c *front.Config) { c.MaxBody = 10 })
	if got := small.post("/api/v1/query", url.Values{"query": {"up or up or up"}}); got.status != http.StatusBadRequest || !strings.Contains(got.body.Error, "larger than the 10 bytes") {
		t.Errorf("a large body: %d %s", got.status, got.raw)
	}
}

func TestNobody(t *testing.T) {
	p := &pipeline{store: store()}
	d := open(t, p, func(c *front.Config) { c.Authenticator = everybody{errors.New("token of mallory is expired")} })
	got := d.get("/api/v1/query?query=up")
	if got.status != http.StatusUnauthorized || got.body.ErrorType != "unauthorized" || strings.Contains(got.raw, "mallory") {
		t.Errorf("%d %s", got.status, got.raw)
	}
	if len(p.questions()) != 0 {
		t.Error("asked for nobody")
	}
	if got := d.get("/-/healthy"); got.status != http.StatusOK {
		t.Errorf("health needs no user: %d", got.status)
	}
}

func TestOperations(t *testing.T) {
	checks := []front.Check{{Name: "policy", OK: true}, {Name: "audit", OK: true}}
	d := open(t, &pipeline{}, func(c *front.Config) {
		c.Ready = func() []front.Check { return checks }
		c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") })
		c.Profiling = true
	})
	if got := d.get("/-/ready"); got.status != http.StatusOK || !strings.Contains(got.raw, `"ready": true`) {
		t.Errorf("ready: %d %s", got.status, got.raw)
	}
	checks[1] = front.Check{Name: "audit", Detail: "the disk is full"}
	if got := d.get("/-/ready"); got.status != http.StatusServiceUnavailable || !strings.Contains(got.raw, "the disk is full") {
		t.Errorf("not ready: %d %s", got.status, got.raw)
	}
	if got := d.get("/metrics"); got.raw != "up 1\n" {
		t.Errorf("metrics: %s", got.raw)
	}
	d.get("/-/healthy")
	if log := d.log.String(); log != "" {
		t.Errorf("what machines ask again and again is in the log: %s", log)
	}
	if got := d.get("/debug/pprof/cmdline"); got.status != http.StatusOK {
		t.Errorf("pprof: %d", got.status)
	}
	if log := d.log.String(); strings.Count(log, `"level":"INFO","msg":"request"`) != 1 {
		t.Errorf("what people ask is not: %s", log)
	}
}

func TestPanic(t *testing.T) {
	defect := func(gateway.Question) error { panic("a defect") }
	d := open(t, &pipeline{fail: defect}, func(c *front.Config) { c.Ready = func() []front.Check { panic("a defect") } })
	for _, path := range []string{"/-/ready", "/api/v1/query?query=up", "/api/v1/metadata"} {
		got := d.get(path)
		if got.status != http.StatusServiceUnavailable || got.body.Status != "error" || strings.Contains(got.raw, "a defect") {
			t.Errorf("%s: %d %s", path, got.status, got.raw)
		}
	}
	if !strings.Contains(d.log.String(), "a defect") {
		t.Errorf("the log says nothing: %s", d.log)
	}
}

func TestConfig(t *testing.T) {
	if _, err := front.New(front.Config{}); err == nil || !strings.Contains(err.Error(), "Config.Org") {
		t.Errorf("an empty config: %v", err)
	}
}
