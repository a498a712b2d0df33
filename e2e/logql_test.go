package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/e2e/servers"
	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/federation/logs/logql/logqltest"
	"github.com/parley-gateway/parley/gateway/front"
)

var logqlQueries = flag.Int("e2e.logql", 1000, "how many random queries TestLogQL compares")

// logqlDiffered holds queries that once differed, one a line.
const logqlDiffered = "testdata/logql.txt"

// TestLogQL asks a real Loki and our LogQL random queries over the same
// entries. Both directions of a log query are the same entries, which is the
// logs package's to test; here it is what becomes of each.
func TestLogQL(t *testing.T) {
	seed := seedOf(t)
	r := rand.New(rand.NewPCG(uint64(seed), 5))
	o := newLogQLOracle(t, r)
	for _, query := range o.differed(t) {
		if diff := o.difference(t, query); diff != "" {
			t.Errorf("%s\n%s", query, diff)
		}
	}
	g := logqltest.New(r)
	empty, failed := 0, 0
	for range *logqlQueries {
		query := g.Log()
		switch r.IntN(4) {
		case 0:
			query = g.Range()
		case 1:
			query = g.SumOfRange()
		}
		if diff := o.difference(t, query); diff != "" {
			t.Errorf("add it to %s:\n%s\n%s", logqlDiffered, strings.ReplaceAll(query, "\n", " "), diff)
		}
		if o.last == "" {
			empty++
		}
		if o.lastFailed {
			failed++
		}
	}
	t.Logf("%d queries: %d found nothing, %d failed with the pipeline, %d were unclear", *logqlQueries, empty, failed, o.unclear)
	if empty > *logqlQueries/2 || failed > *logqlQueries/3 || o.unclear > *logqlQueries/20 {
		t.Errorf("that shows too little")
	}
}

// logqlOracle is a Loki and the entries in it.
type logqlOracle struct {
	loki       servers.Loki
	client     *http.Client
	entries    []logqltest.Entry
	tenant     string
	start, end time.Time
	step       time.Duration

	last       string // what Loki answered last
	lastFailed bool
	unclear    int // how many answers can't be compared
}

func newLogQLOracle(t *testing.T, r *rand.Rand) *logqlOracle {
	t.Helper()
	o := &logqlOracle{
		loki:   startLogQLLoki(t),
		client: &http.Client{Transport: &http.Transport{}},
		tenant: fmt.Sprintf("acme-%d", r.Uint32()),
		start:  time.Unix(1767323000, 0).Truncate(time.Minute),
		step:   20 * time.Second,
	}
	t.Cleanup(o.client.CloseIdleConnections)
	o.entries = logqltest.Entries(r, 600, o.start, time.Second)
	o.end = o.start.Add(12 * time.Minute)
	streams := map[string]*servers.LokiStream{}
	for _, e := range o.entries {
		s := streams[e.Stream.String()]
		if s == nil {
			s = &servers.LokiStream{Labels: e.Stream.Map()}
			streams[e.Stream.String()] = s
		}
		s.Entries = append(s.Entries, servers.LokiEntry{Time: time.Unix(0, e.At), Line: e.Line, Metadata: e.Metadata.Map()})
	}
	for _, s := range streams {
		o.loki.Push(t, o.tenant, *s)
	}
	return o
}

// startLogQLLoki starts a Loki that adds no labels of its own, and evaluates a
// question in one.
func startLogQLLoki(t *testing.T) servers.Loki {
	t.Helper()
	return startPlainLoki(t, "-querier.parallelise-shardable-queries=false")
}

// startPlainLoki starts a Loki that adds no labels of its own.
func startPlainLoki(t *testing.T, flags ...string) servers.Loki {
	t.Helper()
	text, err := os.ReadFile("servers/loki/loki.yml")
	if err != nil {
		t.Fatal(err)
	}
	return servers.StartLoki(t, servers.LokiConfig{
		Config: strings.Replace(string(text), "limits_config:\n", "limits_config:\n  discover_service_name: []\n  discover_log_levels: false\n  max_query_series: 100000\n", 1),
		Flags:  append([]string{"-querier.query-ingesters-within=87600h", "-ingester.query-store-max-look-back-period=87600h"}, flags...),
	})
}

func (o *logqlOracle) differed(t *testing.T) []string {
	t.Helper()
	f, err := os.Open(logqlDiffered)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if line := lines.Text(); line != "" {
			all = append(all, line)
		}
	}
	return all
}

// difference compares the answers to a query; empty: they are the same.
func (o *logqlOracle) difference(t *testing.T, query string) string {
	t.Helper()
	want, wantErr := o.asked(t, query)
	got, gotErr := o.answered(t.Context(), query)
	o.last, o.lastFailed = strings.Join(want, "\n"), wantErr != nil
	if unclear(want) {
		o.unclear++
		return ""
	}
	return differenceOf(got, gotErr, want, wantErr)
}

// differenceOf compares our answer to Loki's; empty: they are the same.
func differenceOf(got []string, gotErr error, want []string, wantErr error) string {
	switch {
	case wantErr != nil && gotErr != nil:
		return ""
	case wantErr != nil:
		return fmt.Sprintf("Loki refuses: %v; we answer %d", wantErr, len(got))
	case gotErr != nil:
		return fmt.Sprintf("we refuse: %v; Loki answers %d", gotErr, len(want))
	}
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(want):
			return fmt.Sprintf("Loki lacks %s", got[i])
		case i >= len(got):
			return fmt.Sprintf("we lack %s", want[i])
		case !sameText(got[i], want[i]):
			return fmt.Sprintf(" we answer %s\nLoki answers %s", got[i], want[i])
		}
	}
	return ""
}

// sameText compares two texts of entries or points. The last digits of a value
// depend on the order of additions.
func sameText(got, want string) bool {
	if got == want {
		return true
	}
	gotPoint, gotValue, _ := strings.Cut(got, pointSeparator)
	wantPoint, wantValue, _ := strings.Cut(want, pointSeparator)
	g, err := strconv.ParseFloat(gotValue, 64)
	w, also := strconv.ParseFloat(wantValue, 64)
	return err == nil && also == nil && gotPoint == wantPoint && math.Abs(g-w) <= 1e-8*math.Abs(w)
}

// asked is what Loki answers, one text for an entry or a point.
func (o *logqlOracle) asked(t *testing.T, query string) ([]string, error) {
	t.Helper()
	return askLoki(t, o.client, o.loki.URL, o.tenant, url.Values{
		"query": {query}, "direction": {"forward"}, "limit": {"5000"}, "step": {o.step.String()},
		"start": {strconv.FormatInt(o.start.UnixNano(), 10)}, "end": {strconv.FormatInt(o.end.UnixNano(), 10)},
	})
}

// askLoki asks what serves Loki's API for a range, and returns one text for an
// entry or a point of its answer, sorted. The error is a refusal.
func askLoki(t *testing.T, client *http.Client, base, tenant string, parameters url.Values) ([]string, error) {
	t.Helper()
	query := parameters.Get("query")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/loki/api/v1/query_range?"+parameters.Encode(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if tenant != "" {
		request.Header.Set("X-Scope-OrgID", tenant)
	}
	request.Header.Set("X-Loki-Response-Encoding-Flags", "categorize-labels")
	response, err := client.Do(request)
	if err != nil {
		t.Fatalf("asking %s: %v", base, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("asking %s: %v", base, err)
	}
	if response.StatusCode != http.StatusOK {
		// That series don't match one to one is an error of its own to Loki.
		refused := response.StatusCode == http.StatusBadRequest || response.StatusCode == http.StatusUnprocessableEntity || strings.Contains(string(text), "matching")
		if !refused {
			t.Fatalf("%s\n%s answers with status %d: %s", query, base, response.StatusCode, text)
		}
		return nil, errors.New(string(text))
	}
	if completeness := response.Header.Get(front.CompletenessHeader); completeness != "" {
		var parts federation.Completeness
		if err := json.Unmarshal([]byte(completeness), &parts); err != nil {
			t.Fatal(err)
		}
		if !parts.Whole() {
			return nil, errors.New(parts.Missing())
		}
	}
	var answer struct {
		Data struct {
			ResultType string `json:"resultType"`
			Result     []struct {
				Stream map[string]string   `json:"stream"`
				Metric map[string]string   `json:"metric"`
				Values [][]json.RawMessage `json:"values"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatalf("%s\nreading the answer of %s: %v", query, base, err)
	}
	var all []string
	for _, s := range answer.Data.Result {
		for _, v := range s.Values {
			if answer.Data.ResultType == "matrix" {
				at, _ := strconv.ParseFloat(string(v[0]), 64)
				var value string
				_ = json.Unmarshal(v[1], &value)
				number, _ := strconv.ParseFloat(value, 64)
				all = append(all, pointText(labels.FromMap(s.Metric).WithoutEmpty(), int64(at*1000), number))
				continue
			}
			var (
				at, line string
				of       struct{ StructuredMetadata, Parsed map[string]string }
			)
			_ = json.Unmarshal(v[0], &at)
			_ = json.Unmarshal(v[1], &line)
			if len(v) > 2 {
				_ = json.Unmarshal(v[2], &of)
			}
			all = append(all, entryText(at, line, labels.FromMap(s.Stream), labels.FromMap(of.StructuredMetadata), labels.FromMap(of.Parsed)))
		}
	}
	slices.Sort(all)
	return all, nil
}

// unclear says whether two points are of the same series at the same time: one
// with an empty label and one without it, which to PromQL, and so to us, are
// one.
func unclear(points []string) bool {
	for i := range len(points) - 1 {
		a, _, _ := strings.Cut(points[i], pointSeparator)
		b, _, found := strings.Cut(points[i+1], pointSeparator)
		if found && a == b {
			return true
		}
	}
	return false
}

const pointSeparator = ": value "

// answered is what we answer.
func (o *logqlOracle) answered(ctx context.Context, query string) ([]string, error) {
	expr, err := logql.Parse(query)
	if err != nil {
		return nil, err
	}
	var all []string
	if selector, ok := expr.(*logql.LogSelector); ok {
		p, err := logql.NewPipeline(selector)
		if err != nil {
			return nil, err
		}
		for _, e := range o.entries {
			if !selected(selector, e.Stream) {
				continue
			}
			if got, ok := p.Process(e.At, e.Line, e.Stream, e.Metadata); ok {
				all = append(all, entryText(strconv.FormatInt(e.At, 10), got.Line, got.Stream, got.Metadata, got.Parsed))
			}
		}
		slices.Sort(all)
		return all, nil
	}
	evaluated, err := logql.NewRange(expr, o.start.UnixNano(), o.end.UnixNano(), o.step)
	if err != nil {
		return nil, err
	}
	for _, e := range o.entries {
		if selected(logql.Selectors(expr)[0], e.Stream) {
			evaluated.Add(ctx, e.At, e.Line, e.Stream, e.Metadata)
		}
	}
	m, err := evaluated.Matrix(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range m {
		for _, p := range s.Floats {
			all = append(all, pointText(s.Metric, p.T, p.F))
		}
	}
	slices.Sort(all)
	return all, nil
}

func selected(s *logql.LogSelector, stream labels.Labels) bool {
	return !slices.ContainsFunc(s.Matchers, func(m *labels.Matcher) bool { return !m.Matches(stream.Get(m.Name)) })
}

// entryText has all labels as one set: which category one is in when another
// entry of the stream has the same ones otherwise is left to a cache in Loki.
// Details of a problem are ours to word.
func entryText(at, line string, categories ...labels.Labels) string {
	all := map[string]string{}
	for _, c := range categories {
		c.Range(func(l labels.Label) { all[l.Name] = string([]rune(l.Value)) }) // what isn't UTF-8 isn't in JSON either
	}
	if _, ok := all[logql.ErrorDetailsLabel]; ok {
		all[logql.ErrorDetailsLabel] = "..."
	}
	return fmt.Sprintf("%s %q of %s", at, string([]rune(line)), labels.FromMap(all))
}

// pointText has 9 digits of the value: the last ones depend on the order of
// additions.
func pointText(metric labels.Labels, ms int64, value float64) string {
	if metric.Has(logql.ErrorDetailsLabel) {
		metric = labels.NewBuilder(metric).Set(logql.ErrorDetailsLabel, "...").Labels()
	}
	if math.Abs(value) < 1e-9 {
		value = 0
	}
	return fmt.Sprintf("%s at %d%s%.9g", metric, ms, pointSeparator, value)
}
