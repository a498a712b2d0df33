package front_test

import (
	"bufio"
	"context"
	"flag"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// updateGolden writes the answers that requests get to testdata.
var updateGolden = flag.Bool("update", false, "write the answers in testdata/loki.txt anew")

// lines answers questions about logs as a gateway does: from the stores of acme
// and globex, which show all they have, while initech is away.
type lines struct {
	federated *logs.Federated
	members   []logs.Member
}

// begun is when the first line was written, and when all of these tests are.
var begun = time.Unix(1_700_000_000, 0).UTC()

func newLines(t testing.TB) *lines {
	t.Helper()
	out := &lines{federated: logs.NewFederated(0, time.Now)}
	for _, org := range []tenants.OrgID{"acme", "globex"} {
		store := logs.NewStore(logs.StoreConfig{})
		write := func(second int, line string, stream, metadata labels.Labels) {
			if err := store.Append(begun.Add(time.Duration(second)*time.Second), line, stream, metadata); err != nil {
				t.Fatal(err)
			}
		}
		web := labels.FromStrings("service_name", "web", "level", "info")
		write(1, `{"method":"GET","status":200,"took":"15ms"}`, web, labels.FromStrings("trace_id", "t1"))
		write(2, `method=POST status=500 took=2s`, labels.FromStrings("service_name", "web", "level", "error"), labels.EmptyLabels())
		write(3, "started on "+string(org), labels.FromStrings("service_name", "db"), labels.EmptyLabels())
		local, err := logs.NewLocal(logs.LocalConfig{Org: org, Source: store, Secret: make([]byte, 32)})
		if err != nil {
			t.Fatal(err)
		}
		open := policy.Decision{Allow: true, Obligations: policy.Obligations{Datasets: []policy.Dataset{{
			Release: policy.Row, Streams: []policy.Selector{{}}, Others: policy.LabelRule{Mode: policy.Keep}, Line: policy.Line{Mode: policy.LineKeep},
		}}}}
		out.members = append(out.members, logs.Member{Org: org, Own: org == "acme", Ask: func(ctx context.Context, q logs.Question) (*logs.Released, federation.Part, error) {
			return local.Answer(ctx, q, open, federation.Asking{Org: "acme", ExchangeID: federation.NewExchangeID(begun)})
		}})
	}
	out.members = append(out.members, logs.Member{Org: "initech", Ask: func(context.Context, logs.Question) (*logs.Released, federation.Part, error) {
		return nil, federation.Part{}, federation.Errorf(federation.Unavailable, "can't be reached")
	}})
	return out
}

func (l *lines) Ask(ctx context.Context, q gateway.Question) (front.Result, error) {
	asked, ok := q.Asked.(logs.Question)
	if !ok {
		return front.Result{}, federation.Errorf(federation.BadQuestion, "only questions about logs are answered here")
	}
	released, completeness, err := l.federated.Answer(ctx, asked, l.members)
	if err != nil {
		return front.Result{Completeness: completeness}, federation.AsError(err)
	}
	return front.Result{Released: released, Completeness: completeness}, nil
}

// lokiDoor is a front door at which it is an hour after the first line.
func lokiDoor(t testing.TB) *door {
	t.Helper()
	l := newLines(t)
	d := open(t, &pipeline{}, func(c *front.Config) {
		c.Answerer = l
		c.Now = func() time.Time { return begun.Add(time.Hour) }
	})
	return d
}

// The requests that Grafana's Loki data source, its Logs Drilldown and logcli
// send, each with the answer that they get. testdata/loki.txt has them: a name,
// the headers that matter, the request, the status, and the answer's lines.
func TestRequestsOfLokiClients(t *testing.T) {
	d := lokiDoor(t)
	golden := readGolden(t, "testdata/loki.txt")
	for i, g := range golden {
		path, query, _ := strings.Cut(g.request, "?")
		get := httptest.NewRequest(http.MethodGet, path+"?"+encoded(t, query), nil)
		post := httptest.NewRequest(http.MethodPost, path, strings.NewReader(encoded(t, query)))
		post.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for name, value := range g.headers {
			get.Header.Set(name, value)
			post.Header.Set(name, value)
		}
		got := d.do(get)
		golden[i].answer = answerLines(got)
		if diff := cmp.Diff(g.answer, golden[i].answer); diff != "" {
			t.Errorf("%s\n%s (-want +got):\n%s", g.name, g.request, diff)
		}
		if posted := d.do(post); posted.raw != got.raw && posted.status != http.StatusMethodNotAllowed {
			t.Errorf("%s: as POST %s\nas GET %s", g.name, posted.raw, got.raw)
		}
	}
	if *updateGolden {
		writeGolden(t, "testdata/loki.txt", golden)
	}
}

// exchangeOfClient is a request and its answer.
type exchangeOfClient struct {
	name, request string
	headers       map[string]string
	answer        []string
}

// answerLines are the status and the answer of a request, but for the warning
// that is in all of them.
func answerLines(r reply) []string {
	const away = `"warnings":["This answer is incomplete: initech is unreachable (can't be reached)."]`
	return []string{http.StatusText(r.status), strings.Replace(strings.TrimSpace(r.raw), away, "WARNING", 1)}
}

func encoded(t *testing.T, query string) string {
	t.Helper()
	v := url.Values{}
	for part := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		if name != "" {
			v.Add(name, value)
		}
	}
	return v.Encode()
}

func readGolden(t *testing.T, path string) []exchangeOfClient {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []exchangeOfClient
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "# "):
			out = append(out, exchangeOfClient{name: line[2:], headers: map[string]string{}})
		case line == "":
		case strings.HasPrefix(line, "/"):
			out[len(out)-1].request = line
		case len(out[len(out)-1].request) == 0:
			name, value, _ := strings.Cut(line, ": ")
			out[len(out)-1].headers[name] = value
		default:
			out[len(out)-1].answer = append(out[len(out)-1].answer, line)
		}
	}
	if len(out) < 20 {
		t.Fatalf("only %d requests in %s", len(out), path)
	}
	return out
}

func writeGolden(t *testing.T, path string, golden []exchangeOfClient) {
	t.Helper()
	var b strings.Builder
	for _, g := range golden {
		b.WriteString("# " + g.name + "\n")
		var headers []string
		for name, value := range g.headers {
			headers = append(headers, name+": "+value)
		}
		slices.Sort(headers)
		b.WriteString(strings.Join(append(headers, append([]string{g.request}, g.answer...)...), "\n") + "\n\n")
	}
	if err := os.WriteFile(path, []byte(strings.TrimSuffix(b.String(), "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
}
