package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/e2e/servers"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/logs/logql/logqltest"
	"github.com/parley-gateway/parley/policy"
)

// newLogsOrg makes the folder of an organization that has logs and nothing to
// scrape, and starts its Loki.
func newLogsOrg(t testing.TB, name string) (*org, servers.Loki) {
	t.Helper()
	o := bareOrg(t, name)
	// What is cached of one question, Loki spreads over the time of another.
	loki := servers.StartLoki(t, servers.LokiConfig{Flags: []string{"-querier.cache-index-stats-results=false", "-querier.cache-volume-results=false"}})
	o.write(t, "gateway.yml", o.expand(t, "logs.yml", map[string]any{
		"Org": o.name, "Identity": o.identity, "Front": o.front, "Peer": o.peer, "Bundle": o.bundle, "Loki": loki.URL,
	}))
	return o, loki
}

// How many lines these tests have.
const lokiMinutes, linesAMinute = 30, 40

// shopLines are streams whose fields have one type each, within one minute each:
// a Loki estimates of the chunk that it has of a stream, which then is all of it
// or nothing.
func shopLines(org string, start time.Time) []servers.LokiStream {
	var out []servers.LokiStream
	for minute := range lokiMinutes {
		service := []string{"checkout", "search", "mail"}[minute%3]
		level := []string{"info", "warn", "error"}[minute/3%3]
		s := servers.LokiStream{Labels: map[string]string{
			"service_name": service, "level": level, "pod": fmt.Sprintf("%s-%d", service, minute), "shard": strconv.Itoa(minute), "canary": strconv.Itoa(minute % 2),
		}}
		for second := range linesAMinute {
			at := start.Add(time.Duration(minute)*time.Minute + time.Duration(second)*time.Second + time.Millisecond)
			n := minute*linesAMinute + second
			line := fmt.Sprintf(`{"status":%d,"took":"%dms","user":{"id":"%s-%d","vip":%t},"message":"order of %s failed","level":"%s","ratio":%d.5,"size":"%dkB"}`,
				[]int{200, 404, 500}[n%3], n%17+1, org, n%23, n%2 == 0, service, level, n%7, n%5+1)
			if service == "mail" {
				line = fmt.Sprintf(`status=%d took=%dms to=user%d@%s.example msg="mail is sent"`, []int{200, 550}[n%2], n%17+1, n%23, org)
			}
			s.Entries = append(s.Entries, servers.LokiEntry{Time: at, Line: line, Metadata: map[string]string{"trace_id": fmt.Sprintf("%s-%04d", org, n)}})
		}
		out = append(out, s)
	}
	return out
}

// lokiAnswer is what any endpoint of Loki's API answers.
type lokiAnswer struct {
	Streams, Chunks, Bytes, Entries int
	Data                            json.RawMessage
	DetectedLabels                  []struct {
		Label       string
		Cardinality int
	}
	Fields []lokiField
	Values []string
	Limit  int
}

type lokiField struct {
	Label       string
	Type        string
	Cardinality int
	Parsers     []string
	JSONPath    []string
}

// TestLokiDoor asks a Loki, and a gateway that hides nothing of it, the same.
// What is different is what the README says: counts instead of estimates, and
// the label org.
func TestLokiDoor(t *testing.T) {
	o, loki := newLogsOrg(t, "acme")
	start := time.Now().Add(-time.Hour).Truncate(30 * time.Minute)
	loki.Push(t, "acme", shopLines("acme", start)...)
	o.starts(t)

	span := url.Values{"start": {strconv.FormatInt(start.UnixNano(), 10)}, "end": {strconv.FormatInt(start.Add(lokiMinutes*time.Minute).UnixNano(), 10)}}
	both := func(endpoint string, parameters ...string) (theirs, ours lokiAnswer) {
		t.Helper()
		v := maps.Clone(span)
		for pair := range slices.Chunk(parameters, 2) {
			v.Set(pair[0], pair[1])
		}
		r := asks(t, o.url(), "/loki/api/v1/"+endpoint, v)
		if r.status != http.StatusOK {
			t.Fatalf("%s %v: %d %s", endpoint, v, r.status, r.body)
		}
		for text, into := range map[string]*lokiAnswer{r.body: &ours, string(loki.Query(t, "acme", endpoint, v)): &theirs} {
			if err := json.Unmarshal([]byte(text), into); err != nil {
				t.Fatalf("%s: %s: %v", endpoint, text, err)
			}
		}
		return theirs, ours
	}

	selectors := []string{`{service_name="checkout"}`, `{service_name=~".+"}`, `{level!="info", service_name=~"s.+"}`, `{service_name="none"}`}
	for _, selector := range selectors {
		for _, parameters := range [][]string{
			nil,
			{"targetLabels", "service_name"},
			{"targetLabels", "service_name,level"},
			{"aggregateBy", "labels"},
			{"aggregateBy", "labels", "targetLabels", "level"},
			{"limit", "1", "targetLabels", "pod"},
			{"targetLabels", "nothing"},
		} {
			parameters = append(parameters, "query", selector)
			theirs, ours := both("index/volume", parameters...)
			sameVolumes(t, fmt.Sprint("volume ", parameters), theirs, ours)
			for _, step := range []string{"1m", "600", "1800000ms", "1h"} {
				theirs, ours := both("index/volume_range", append(parameters, "step", step)...)
				sameVolumes(t, fmt.Sprint("volume_range ", step, parameters), theirs, ours)
			}
		}
		theirs, ours := both("detected_labels", "query", selector)
		if diff := cmp.Diff(byLabel(theirs), byLabel(ours)); diff != "" {
			t.Errorf("labels of %s (-Loki +ours):\n%s", selector, diff)
		}
		for _, pipeline := range []string{"", ` | json`, ` | logfmt`, ` |= "failed" | json status, id="user.id"`, ` | json | user_vip="true"`, ` | level="info"`} {
			theirs, ours := both("detected_fields", "query", selector+pipeline, "line_limit", "1200")
			if diff := cmp.Diff(byField(theirs), byField(ours)); diff != "" {
				t.Errorf("fields of %s%s (-Loki +ours):\n%s", selector, pipeline, diff)
			}
			for _, field := range []string{"status", "user_id", "size", "trace_id", "level_extracted", "nothing"} {
				theirs, ours := both("detected_field/"+field+"/values", "query", selector+pipeline, "line_limit", "1200", "limit", "2000")
				slices.Sort(theirs.Values)
				if diff := cmp.Diff(theirs.Values, ours.Values); diff != "" && len(theirs.Values)+len(ours.Values) > 0 {
					t.Errorf("values of %s in %s%s (-Loki +ours):\n%s", field, selector, pipeline, diff)
				}
			}
		}
	}

	// This Loki's statistics are of what it has stored, in whole kibibytes.
	post(t, loki.URL+"/flush")
	eventually(t, func() string {
		var all lokiAnswer
		text := loki.Query(t, "acme", "index/stats", url.Values{"query": {`{service_name=~".+"}`}, "start": span["start"], "end": span["end"]})
		if err := json.Unmarshal(text, &all); err != nil || all.Entries < lokiMinutes*linesAMinute {
			return fmt.Sprintf("all lines in Loki's statistics: %s", text)
		}
		return ""
	})
	for _, selector := range selectors {
		theirs, ours := both("index/stats", "query", selector)
		if ours.Streams != theirs.Streams || ours.Entries != theirs.Entries || ours.Chunks != 0 || !about(ours.Bytes, theirs.Bytes) {
			t.Errorf("statistics of %s: Loki %+v, we %+v", selector, theirs, ours)
		}
	}
}

func post(t *testing.T, url string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil || response.StatusCode >= http.StatusMultipleChoices {
		t.Fatalf("%s: %s, %v", url, response.Status, err)
	}
}

// about compares an estimate with what it is of: a Loki counts structured
// metadata and what it needs itself.
func about(ours, theirs int) bool { return ours <= theirs && float64(ours) >= 0.6*float64(theirs) }

// byLabel is cardinality by label, without ours alone. Loki estimates it.
func byLabel(a lokiAnswer) map[string]int {
	out := map[string]int{}
	for _, l := range a.DetectedLabels {
		if l.Label != "org" {
			out[l.Label] = l.Cardinality
		}
	}
	return out
}

// byField is what is said of each field. Loki estimates cardinality well, while
// it is low.
func byField(a lokiAnswer) map[string]string {
	out := map[string]string{}
	for _, f := range a.Fields {
		slices.Sort(f.Parsers)
		cardinality := strconv.Itoa(f.Cardinality)
		if f.Cardinality > 100 {
			cardinality = fmt.Sprint("about ", math.Round(math.Log2(float64(f.Cardinality))))
		}
		out[f.Label] = fmt.Sprint(f.Type, " ", cardinality, " ", f.Parsers, " ", f.JSONPath)
	}
	return out
}

// sameVolumes compares volumes, whose bytes are about the same.
func sameVolumes(t *testing.T, what string, theirs, ours lokiAnswer) {
	t.Helper()
	a, typ := volumesOf(t, theirs)
	b, ourType := volumesOf(t, ours)
	if typ != ourType {
		t.Errorf("%s: Loki answers a %s, we a %s", what, typ, ourType)
	}
	for key := range maps.Keys(a) {
		if _, there := b[key]; !there {
			t.Errorf("%s: we lack %s", what, key)
		}
	}
	for key, bytes := range b {
		if other, there := a[key]; !there || !about(bytes, other) {
			t.Errorf("%s: %s has %d bytes here and %d at Loki (there: %t)", what, key, bytes, other, there)
		}
	}
}

// volumesOf are the points of an answer by labels and time, and its type.
func volumesOf(t *testing.T, a lokiAnswer) (map[string]int, string) {
	t.Helper()
	var data struct {
		ResultType string
		Result     []struct {
			Metric map[string]string
			Value  []any
			Values [][]any
		}
	}
	if err := json.Unmarshal(a.Data, &data); err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, s := range data.Result {
		if _, ours := s.Metric["org"]; ours {
			continue
		}
		if s.Value != nil {
			s.Values = append(s.Values, s.Value)
		}
		for _, p := range s.Values {
			n, err := strconv.Atoi(p[1].(string))
			if err != nil {
				t.Fatal(err)
			}
			out[fmt.Sprint(s.Metric, " ", p[0])] = n
		}
	}
	return out, data.ResultType
}

// TestVolumePushDown asks one Loki for volumes twice: once it may sum up itself
// what is the same over its raw entries, once all of them are read.
func TestVolumePushDown(t *testing.T) {
	seed := seedOf(t)
	r := rand.New(rand.NewPCG(uint64(seed), 8))
	loki := startLogQLLoki(t)
	start := time.Unix(1767323000, 0).Truncate(time.Minute)
	tenant := "volumes-" + strconv.FormatUint(uint64(r.Uint32()), 10)
	streams := map[string]*servers.LokiStream{}
	for i, e := range logqltest.Entries(r, 700, start, time.Second) {
		s := streams[e.Stream.String()]
		if s == nil {
			s = &servers.LokiStream{Labels: e.Stream.Map()}
			streams[e.Stream.String()] = s
		}
		if i%10 == 0 { // where windows begin and end
			e.At = start.Add(time.Duration(i/10) * 10 * time.Second).UnixNano()
		}
		s.Entries = append(s.Entries, servers.LokiEntry{Time: time.Unix(0, e.At), Line: fmt.Sprint(i, " ", e.Line), Metadata: e.Metadata.Map()})
	}
	for _, s := range streams {
		loki.Push(t, tenant, *s)
	}
	calls := &lokiCalls{tenant: tenant, next: &http.Transport{}}
	t.Cleanup(calls.next.CloseIdleConnections)
	pushing, viewing := logsOf(t, loki, calls, false), logsOf(t, loki, &lokiCalls{tenant: tenant, next: calls.next}, true)
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	pushed, answered := 0, 0
	all := logsPolicies(start)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for range 60 {
			selector, err := logs.ParseSelector(pick(`{app="shop"}`, `{app=~".+"}`, `{env="prod"}`, `{org="globex"}`, `{app=~"shop|pay", format!="json"}`, `{user_id="u-1"}`))
			if err != nil {
				t.Fatal(err)
			}
			q := logs.Question{
				Kind: policy.Volume, Selectors: []policy.Selector{selector},
				Start: start.Add(time.Duration(r.IntN(120)) * time.Second), End: start.Add(time.Duration(180+r.IntN(500)) * time.Second),
				Step: []time.Duration{0, time.Minute, 70 * time.Second, time.Hour}[r.IntN(4)],
			}
			if r.IntN(3) > 0 {
				q.By = strings.Split(pick("app", "org", "env,app", "level", "pod,app", "none"), ",")
			}
			before := calls.evaluated.Load()
			got, gotErr := pointsOf(t, pushing, q, all[name])
			wasPushed := calls.evaluated.Load() > before
			want, wantErr := pointsOf(t, viewing, q, all[name])
			if diff := differenceOf(got, gotErr, want, wantErr); diff != "" {
				t.Errorf("%s: %+v\npushed down %t\n%s", name, q, wasPushed, diff)
			}
			if len(want) > 0 {
				answered++
				if wasPushed {
					pushed++
				}
			}
		}
	}
	t.Logf("%d answers with something, %d from the server", answered, pushed)
	if pushed < 50 || answered < 200 {
		t.Error("the test is blind")
	}
}
