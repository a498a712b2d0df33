package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/alecthomas/kong"
	"go.uber.org/goleak"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway/front"
)

// gatewayStub answers every question the same way and keeps the last request.
type gatewayStub struct {
	status       int
	body         string
	completeness string

	path   string
	header http.Header
	form   map[string][]string
}

func (g *gatewayStub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		panic(err)
	}
	g.path, g.header, g.form = r.URL.Path, r.Header, r.PostForm
	if g.completeness != "" {
		w.Header().Set(front.CompletenessHeader, g.completeness)
	}
	if g.status != 0 {
		w.WriteHeader(g.status)
	}
	_, _ = io.WriteString(w, g.body)
}

const twoParts = `[{"org":"acme","status":"complete","cost":{"series":2,"samples":4,"bytes":9,"latency_ns":1500000},"notices":["user is a pseudonym"]},` +
	`{"org":"globex","status":"denied","reason":"policy refuses\u001b[2J"}]`

// query runs the command line against the stub.
func query(t *testing.T, g *gatewayStub, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	defer goleak.VerifyNone(t)
	server := httptest.NewServer(g)
	defer server.Close()
	var c queryCommand
	parser, err := kong.New(&c, kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(append([]string{"--gateway", server.URL}, args...)); err != nil {
		return "", "", err
	}
	var out, notes bytes.Buffer
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	err = c.ask(t.Context(), client, time.Unix(1000, 0), &out, &notes)
	return out.String(), strings.ReplaceAll(notes.String(), server.URL, "GATEWAY"), err
}

func TestQueryInstant(t *testing.T) {
	g := &gatewayStub{completeness: twoParts, body: `{"status":"success","data":{"resultType":"vector","result":[` +
		`{"metric":{"__name__":"up","org":"acme","pod":"a"},"value":[1000,"1"]},` +
		`{"metric":{"__name__":"up","org":"globex"},"value":[1000,"NaN"]},` +
		`{"metric":{"__name__":"lat","org":"é"},"histogram":[1000,{"count":"3","sum":"1.5","buckets":[[0,"0","1","3"]]}]}]}}`}
	stdout, stderr, err := query(t, g, "--purpose", "capacity", "--case", "INC-1", `sum(up{a="b"})`)
	if err != nil {
		t.Fatal(err)
	}
	const want = `METRIC  ORG     POD  VALUE
up      acme    a    1
up      globex       NaN
lat     é            histogram of 3, sum 1.5
`
	if stdout != want {
		t.Errorf("got\n%swant\n%s", stdout, want)
	}
	const lines = `acme    complete  2 series, 4 samples, 1.5ms; redacted: user is a pseudonym
globex  denied    policy refuses\x1b[2J
`
	if stderr != lines {
		t.Errorf("got\n%swant\n%s", stderr, lines)
	}
	if g.path != "/api/v1/query" || g.form["time"][0] != "1000" || g.form["query"][0] != `sum(up{a="b"})` ||
		g.header.Get(front.PurposeHeader) != "capacity" || g.header.Get(front.CaseHeader) != "INC-1" {
		t.Errorf("asked %s %v %v", g.path, g.form, g.header)
	}
}

func TestQueryRange(t *testing.T) {
	g := &gatewayStub{body: `{"status":"success","data":{"resultType":"matrix","result":[` +
		`{"metric":{"org":"acme"},"values":[[0,"0"],[60,"7"],[120,"NaN"],[180,"3.5"]]},` +
		`{"metric":{"org":"globex"},"values":[[0,"2"],[60,"2"]]},` +
		`{"metric":{"org":"initech"},"values":[[0,"NaN"]]},` +
		`{"metric":{"org":"umbrella"},"values":[[0,"+Inf"],[60,"1"]]}]}}`}
	stdout, _, err := query(t, g, "--range", "1h", "--step", "30s", "--time", "1970-01-02T00:00:00.5Z", "x")
	if err != nil {
		t.Fatal(err)
	}
	const want = `ORG       MIN  AVG   MAX   LAST  OVER TIME
acme      0    3.5   7     3.5   ▁█ ▅
globex    2    2     2     2     ▁▁
initech   NaN  NaN   NaN   NaN
umbrella  1    +Inf  +Inf  1      ▁
`
	if stdout != want {
		t.Errorf("got\n%swant\n%s", stdout, want)
	}
	if g.path != "/api/v1/query_range" || g.form["start"][0] != "82800.5" || g.form["end"][0] != "86400.5" || g.form["step"][0] != "30" {
		t.Errorf("asked %s %v", g.path, g.form)
	}
	if _, _, err = query(t, g, "--range", "1d", "x"); err != nil || g.form["step"][0] != "864" {
		t.Errorf("a hundredth of the range: %v %v", g.form, err)
	}
}

func TestQueryOtherResults(t *testing.T) {
	for body, want := range map[string]string{
		`{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}`:   "2\n",
		`{"status":"success","data":{"resultType":"string","result":[4,"two"]}}`: "two\n",
		`{"status":"success","data":{"resultType":"vector","result":[]}}`:        "no series\n",
	} {
		if stdout, _, err := query(t, &gatewayStub{body: body}, "x"); stdout != want || err != nil {
			t.Errorf("%s: %q %v", body, stdout, err)
		}
	}
	body := `{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["odd"]}`
	stdout, stderr, err := query(t, &gatewayStub{body: body}, "-o", "json", "x")
	if stdout != body+"\n" || stderr != "warning: odd\n" || err != nil {
		t.Errorf("json: %q %q %v", stdout, stderr, err)
	}
}

// Who asks an organization that there isn't is told which there are.
func TestQueryOfNobody(t *testing.T) {
	body := `{"status":"success","data":{"resultType":"vector","result":[]}}`
	for expression, want := range map[string]string{
		`up{org="nobody"}`:                    "org=\"nobody\" is none of the organizations there are: acme, globex\n",
		`sum(up{org=~"no.*"}) / up`:           "org=~\"no.*\" is none of the organizations there are: acme, globex\n",
		`up{org="acme"} or up{org=~"g.*|no"}`: "",
		`up{org!="acme"}`:                     "",
		`up{pod="nobody"}`:                    "",
	} {
		_, stderr, err := query(t, &gatewayStub{body: body, completeness: twoParts}, expression)
		if _, said, _ := strings.Cut(stderr, "denied    policy refuses\\x1b[2J\n"); err != nil || said != want {
			t.Errorf("%s: %q %v, want %q", expression, said, err, want)
		}
	}
}

func TestQueryErrors(t *testing.T) {
	denied := &gatewayStub{status: 422, completeness: twoParts, body: `{"status":"error","errorType":"execution","error":"policy refuses"}`}
	stdout, stderr, err := query(t, denied, "x")
	if err == nil || err.Error() != "policy refuses" || stdout != "" || !strings.Contains(stderr, "globex  denied") {
		t.Errorf("%q %q %v", stdout, stderr, err)
	}
	if stdout, _, err = query(t, denied, "-o", "json", "x"); err == nil || stdout != denied.body+"\n" {
		t.Errorf("json: %q %v", stdout, err)
	}
	alone := &gatewayStub{status: 422, completeness: twoParts, body: `{"status":"error","errorType":"execution","error":"globex: policy refuses\u001b[2J"}`}
	if _, stderr, err = query(t, alone, "x"); err == nil || err.Error() != `globex: policy refuses\x1b[2J` || !strings.HasSuffix(stderr, "globex  denied\n") {
		t.Errorf("it is said once: %q %v", stderr, err)
	}
	fine := &gatewayStub{body: `{"status":"success","data":{"resultType":"vector","result":[]}}`}
	for _, c := range []struct {
		stub *gatewayStub
		args []string
		want string
	}{
		{&gatewayStub{status: 502, body: "<html>"}, []string{"x"}, "status 502 and something that isn't a Prometheus answer"},
		{&gatewayStub{body: `{"status":"success","data":{"resultType":"tensor","result":[]}}`}, []string{"x"}, "try -o json"},
		{&gatewayStub{body: fine.body, completeness: "?"}, []string{"x"}, "can't be read"},
		{fine, []string{"--time", "yesterday", "x"}, "neither RFC 3339"},
		{fine, []string{"--step", "30s", "x"}, "give --range as well"},
		{fine, []string{"--step", "0s", "x"}, "give --range as well"},
		{fine, []string{"--range", "0s", "x"}, "--range 0s is no time at all"},
		{fine, []string{"--range", "1h", "--step", "0s", "x"}, "--step 0s would never come to an end"},
		{fine, []string{"--purpose", "Because I", "x"}, "--purpose"},
		{fine, []string{"--case", "two words", "x"}, "--case"},
		{fine, []string{"--gateway", "localhost:9480", "x"}, "isn't an address such as"},
		{fine, []string{"-o", "xml", "x"}, "must be one of"},
	} {
		if _, _, err := query(t, c.stub, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.args, err, c.want)
		}
	}
}

func TestQueryNobodyThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	c := queryCommand{asker: asker{Gateway: address}, Expression: "up", Output: "table"}
	err = c.ask(t.Context(), &http.Client{}, time.Unix(0, 0), io.Discard, io.Discard)
	if err == nil || err.Error() != "nothing answers at "+address+"; is `parley serve` running there?" {
		t.Errorf("refused: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err = c.ask(ctx, &http.Client{}, time.Unix(0, 0), io.Discard, io.Discard); err == nil || err.Error() != "interrupted before the answer came" {
		t.Errorf("interrupted: %v", err)
	}
}

// People read lines of their terminal's length, in colour; programs one for each
// organization.
func TestPartsForPeople(t *testing.T) {
	parts := federation.Completeness{
		{Org: "acme", Status: federation.Complete, Cost: federation.Cost{Series: 1, Samples: 1}, Notices: []string{
			"policy says: keep le, region, service, status; pseudonym pod; drop all other labels", "policy says: nothing of up is released",
		}},
		{Org: "globex", Status: federation.Timeout, Reason: "no answer"},
		{Org: "initech", Status: federation.NotAsked},
	}
	for how, want := range map[style]string{
		{}: "acme     complete   1 series, 1 sample, 0s; redacted: keep le, region, service, status; pseudonym pod; drop all other labels; nothing of up is released\n" +
			"globex   timeout    no answer\n" +
			"initech  not-asked\n",
		{folded: true, coloured: true}: "acme     \x1b[32mcomplete\x1b[0m   1 series, 1 sample, 0s; redacted: keep le, region, service,\n" +
			"                    status; pseudonym pod; drop all other labels; nothing of up\n" +
			"                    is released\n" +
			"globex   \x1b[31mtimeout\x1b[0m    no answer\n" +
			"initech  \x1b[33mnot-asked\x1b[0m\n",
	} {
		var out bytes.Buffer
		if err := printParts(&out, parts, how); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("%+v:\n%s\nwant\n%s", how, out.String(), want)
		}
	}
	if styleOf(&bytes.Buffer{}) != (style{}) {
		t.Error("a buffer is no terminal")
	}
}

// What an organization gave is said in what was asked for: of no spans nobody says
// that they are no series.
func TestWhatWasGiven(t *testing.T) {
	for cost, want := range map[federation.Cost]string{
		{}:                        "nothing, 0s",
		{Series: 2, Samples: 7}:   "2 series, 7 samples, 0s",
		{Series: 1, Lines: 2}:     "2 lines, 0s",
		{Series: 1, Spans: 1}:     "1 span, 0s",
		{Series: 1, Latency: 1e6}: "1ms", // a trace that is kept
	} {
		if got := describePart(federation.Part{Status: federation.Complete, Cost: cost}); got != want {
			t.Errorf("%+v is %q, not %q", cost, got, want)
		}
	}
}

func TestShort(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 3.5: "3.5", 0.010364612: "0.01036", 9.774940842: "9.775", 103137: "103137", -1234.56: "-1235",
		1e18: "1e+18", 2e-9: "2e-09", math.Inf(-1): "-Inf",
	} {
		if got := short(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
}

// A range's shape takes what a terminal leaves beside the numbers.
func TestQueryRangeFitsATerminal(t *testing.T) {
	var values []string
	for i := range 100 {
		values = append(values, fmt.Sprintf("[%d,\"%g\"]", i, 100000+float64(i%7)))
	}
	g := &gatewayStub{body: `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"org":"initech","region":"eu-central"},"values":[` +
		strings.Join(values, ",") + `]}]}}`}
	stdout, _, err := query(t, g, "--range", "1h", "x")
	if err != nil {
		t.Fatal(err)
	}
	if line := strings.Split(stdout, "\n")[1]; utf8.RuneCountInString(line) != 80 {
		t.Errorf("%d columns, want 80:\n%s", utf8.RuneCountInString(line), stdout)
	}
}
