package traces

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces/traceql"
)

// fakeTempo answers as Tempo's documentation says that it does. A real one isn't
// to be had here.
type fakeTempo struct {
	t     *testing.T
	spans []traceql.Span
}

// documentedTempo is a Source on one, and a way to write to it.
func documentedTempo(t *testing.T, limit, area int) writable {
	t.Helper()
	fake := &fakeTempo{t: t}
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	tempo, err := NewTempo(TempoConfig{URL: mustURL(t, server.URL), Client: quietClient, SearchLimit: limit})
	if err != nil {
		t.Fatal(err)
	}
	return writable{tempo, func(_ *testing.T, spans ptrace.Traces) {
		fake.spans = slices.AppendSeq(fake.spans, traceql.Spans(spans))
	}, area}
}

func (f *fakeTempo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if hex, is := strings.CutPrefix(r.URL.Path, "/api/v2/traces/"); is && r.Header.Get("Accept") == "application/protobuf" {
		f.trace(w, hex)
		return
	}
	if r.URL.Path != "/api/search" {
		http.NotFound(w, r)
		return
	}
	f.search(w, r)
}

func (f *fakeTempo) trace(w http.ResponseWriter, hex string) {
	g := newGroup(pcommon.TraceID{})
	for _, p := range f.spans {
		if p.Span.TraceID().String() == hex {
			g.add(p)
		}
	}
	if len(g.marks) == 0 {
		http.Error(w, "trace not found", http.StatusNotFound)
		return
	}
	if err := g.marshal(); err != nil {
		f.t.Error(err)
	}
	answer := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), g.chunk)
	answer = protowire.AppendBytes(protowire.AppendTag(answer, 2, protowire.BytesType), nil) // metrics
	answer = protowire.AppendVarint(protowire.AppendTag(answer, 3, protowire.VarintType), 0) // complete
	_, _ = w.Write(answer)
}

var tempoCondition = regexp.MustCompile(`(resource\.service\.name|name) = ("(?:[^"\\]|\\.)*")`)

// search finds traces that there were about the time, in whatever order, with
// ids that have lost their zeros.
func (f *fakeTempo) search(w http.ResponseWriter, r *http.Request) {
	number := func(name string) int64 {
		n, err := strconv.ParseInt(r.FormValue(name), 10, 64)
		if err != nil {
			f.t.Errorf("%s is %q", name, r.FormValue(name))
		}
		return n
	}
	start, end, limit := number("start")*1e9, number("end")*1e9, int(number("limit"))
	// A selection of any time; those of its services and operation have to be one span's.
	s := selection{start: math.MinInt64, end: math.MaxInt64}
	for _, condition := range tempoCondition.FindAllStringSubmatch(r.FormValue("q"), -1) {
		text, err := strconv.Unquote(condition[2])
		if err != nil {
			f.t.Error(err)
		}
		if condition[1] == "name" {
			s.operation = text
		} else {
			s.services = append(s.services, text)
		}
	}
	if q := r.FormValue("q"); q != spansetOf(s) {
		f.t.Errorf("it isn't known what %s is", q)
	}
	type extent struct {
		first, last int64
		hit         bool
	}
	traces := map[pcommon.TraceID]extent{}
	for _, p := range f.spans {
		e, is := traces[p.Span.TraceID()]
		if !is {
			e = extent{first: math.MaxInt64}
		}
		e.first, e.last = min(e.first, int64(p.Span.StartTimestamp())), max(e.last, int64(p.Span.EndTimestamp()))
		e.hit = e.hit || s.has(p)
		traces[p.Span.TraceID()] = e
	}
	maps.DeleteFunc(traces, func(_ pcommon.TraceID, e extent) bool { return !e.hit || e.first > end || e.last < start })
	var found []map[string]any
	for id := range traces { // in no order
		if len(found) < limit {
			found = append(found, map[string]any{"traceID": strings.TrimLeft(id.String(), "0"), "rootServiceName": "shop", "durationMs": 3})
		}
	}
	err := json.NewEncoder(w).Encode(map[string]any{"traces": found, "metrics": map[string]any{"inspectedBytes": "17", "completedJobs": 2, "totalJobs": 2}})
	if err != nil {
		f.t.Error(err)
	}
}

func TestTempoFails(t *testing.T) {
	good := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), nil)
	for name, c := range map[string]struct {
		code   int
		body   string
		search bool
		want   string // empty: none
	}{
		"not there":              {404, "trace not found", false, ""},
		"there, and empty":       {200, string(good), false, ""},
		"no such path":           {404, "404 page not found\n", false, "status 404"},
		"failed":                 {500, "bob", false, "status 500"},
		"partial":                {200, "\x18\x01", false, "partial answer"},
		"no protobuf":            {200, "bob", false, "aren't the OTLP"},
		"nested too deep":        {200, string(protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), tooDeep())), false, "nested deeper"},
		"too long":               {200, strings.Repeat("\x18\x00", 100_000), false, "too long"},
		"a search that failed":   {400, "bob", true, "status 400"},
		"a search by no such":    {404, "bob", true, "status 404"},
		"a partial search":       {200, `{"traces": [], "status": "PARTIAL"}`, true, "partial answer"},
		"a partial one":          {200, `{"traces": [], "status": 1}`, true, "partial answer"},
		"jobs that aren't done":  {200, `{"traces": [], "metrics": {"completedJobs": 1, "totalJobs": 2}}`, true, "partial answer"},
		"a search without JSON":  {200, `<html>bob`, true, "isn't the JSON"},
		"an id that isn't one":   {200, `{"traces": [{"traceID": "bob"}]}`, true, "an id that isn't one"},
		"nothing found":          {200, `{"metrics": {"totalBlocks": 3}}`, true, ""},
		"nothing, and complete":  {200, `{"traces": [], "status": "COMPLETE"}`, true, ""},
		"more than it is let to": {200, `{"traces": [{"traceID": "1"}, {"traceID": "2"}]}`, true, "begin at once"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.code)
				_, _ = fmt.Fprint(w, c.body)
			}))
			defer server.Close()
			tempo, err := NewTempo(TempoConfig{URL: mustURL(t, server.URL), Client: quietClient, SearchLimit: 2})
			if err != nil {
				t.Fatal(err)
			}
			tempo.api.maxAnswer = 100_000
			var came int
			if c.search {
				came, err = errorOf(tempo, selection{start: 0, end: 10})
			} else {
				for _, err = range tempo.tracesRaw(t.Context(), []pcommon.TraceID{{15: 1}}) {
					came++
				}
			}
			switch e := federation.AsError(err); {
			case c.want == "" && (err != nil || came > 0):
				t.Errorf("%d came, and the error is %v", came, err)
			case c.want != "" && (err == nil || e.Kind != federation.Unavailable || !strings.Contains(err.Error(), c.want)):
				t.Errorf("the error is %v, want %s", err, c.want)
			case err != nil && strings.Contains(err.Error(), "bob"):
				t.Errorf("it says what the server says: %v", err)
			}
		})
	}
}

// tooDeep is OTLP of a resource with an attribute that is nested too deep.
func tooDeep() []byte {
	td := spanOf(1, 1, 0)
	nest(td.ResourceSpans().At(0).Resource().Attributes().PutEmpty("a"), MaxNesting+1)
	var m ptrace.ProtoMarshaler
	text, err := m.MarshalTraces(td)
	if err != nil {
		panic(err)
	}
	return text
}

func TestTempoIsAskedInTraceQL(t *testing.T) {
	for want, s := range map[string]selection{
		`{}`:                            {},
		`{resource.service.name = "a"}`: {services: []string{"a"}},
		`{name = "x \"y\" \\"}`:         {operation: `x "y" \`},
		`{(resource.service.name = "a" || resource.service.name = "b\n") && name = "x"}`: {services: []string{"a", "b\n"}, operation: "x"},
	} {
		if got := spansetOf(s); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if _, err := NewTempo(TempoConfig{}); err == nil {
		t.Error("a Tempo at no URL")
	}
}
