package logs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs/line"
	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/federation/logs/logql/logqltest"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// openly releases all there is.
var openly = policy.Dataset{Others: policy.LabelRule{Mode: policy.Keep}, Line: policy.Line{Mode: policy.LineKeep}}

func selectorOf(t testing.TB, text string) []policy.Selector {
	t.Helper()
	s, err := ParseSelector(text)
	if err != nil {
		t.Fatal(err)
	}
	return []policy.Selector{s}
}

// rows are numbers as text, one for each point.
func rows(t testing.TB, r *Released) []string {
	t.Helper()
	matrix, err := r.Numbers().Matrix()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range matrix {
		for _, p := range s.Floats {
			out = append(out, fmt.Sprintf("%s %d %g", s.Metric, p.T, p.F))
		}
	}
	return out
}

func written(t testing.TB, entries []logqltest.Entry) *Store {
	t.Helper()
	store := NewStore(StoreConfig{})
	for _, e := range entries {
		if err := store.Append(time.Unix(0, e.At), e.Line, e.Stream, e.Metadata); err != nil {
			t.Fatal(err)
		}
	}
	return store
}

// Statistics and volumes are what LogQL counts, of the same entries.
func TestSummariesAreWhatLogQLCounts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	start := time.Unix(1_767_323_000, 0).Truncate(time.Minute)
	end := start.Add(10 * time.Minute)
	store := written(t, logqltest.Entries(r, 600, start, time.Second))
	// A range aggregation is of what comes after its begin, up to its end.
	after := func(at time.Time) time.Time { return at.Add(time.Nanosecond) }
	number := func(expr string, at time.Time) []string {
		released, err := asked(t, store, openly, tenants.Limits{}, Question{Kind: policy.Instant, Expression: expr, Start: at, End: at})
		if err != nil {
			t.Fatal(err)
		}
		return rows(t, released)
	}
	const all = `{org="globex"}`
	stats, err := asked(t, store, openly, tenants.Limits{}, Question{Kind: policy.Stats, Selectors: selectorOf(t, all), Start: after(start), End: after(end)})
	if err != nil {
		t.Fatal(err)
	}
	at := end.UnixMilli()
	got := []string{
		fmt.Sprintf("{} %d %d", at, stats.Stats().Entries), fmt.Sprintf("{} %d %d", at, stats.Stats().Bytes),
	}
	want := append(number(`sum(count_over_time(`+all+`[10m]))`, end), number(`sum(bytes_over_time(`+all+`[10m]))`, end)...)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stats (-LogQL +ours):\n%s", diff)
	}

	volume := func(q Question) []string {
		q.Kind, q.Selectors = policy.Volume, selectorOf(t, all)
		released, err := asked(t, store, openly, tenants.Limits{}, q)
		if err != nil {
			t.Fatal(err)
		}
		return rows(t, released)
	}
	for _, by := range []string{"org", "level", "service"} {
		whole := volume(Question{Start: start, End: end, By: []string{by}})
		grouped := number(`sum by (org, `+by+`) (bytes_over_time({org="globex", `+by+`!=""}[10m] offset -10m))`, start)
		if diff := cmp.Diff(grouped, whole); diff != "" {
			t.Errorf("volume by %s (-LogQL +ours):\n%s", by, diff)
		}
	}
	intervals := volume(Question{Start: start, End: end, Step: time.Minute, By: []string{"org"}})
	if len(intervals) != 10 {
		t.Fatalf("got %v", intervals)
	}
	for i := range 10 {
		begin := start.Add(time.Duration(i) * time.Minute)
		window := number(`sum by (org) (bytes_over_time({org="globex"}[1m] offset -1m))`, begin)
		if diff := cmp.Diff(window, intervals[i:i+1]); diff != "" {
			t.Errorf("interval %d (-LogQL +ours):\n%s", i, diff)
		}
	}
}

// A pattern finds the lines that it was made of, and those of a question's
// answer are as many as there are lines.
func TestPatternsMatchTheirLines(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	start := time.Unix(1_767_323_000, 0)
	entries := logqltest.Entries(r, 600, start, time.Second)
	distinct := map[string]bool{}
	for _, e := range entries {
		pattern := string(line.AppendPattern(nil, e.Line))
		if pattern == "" || pattern == "<_>" {
			continue
		}
		distinct[pattern] = true
		expr, err := logql.Parse(`{a="b"} |> ` + fmt.Sprintf("%q", pattern))
		if err != nil {
			t.Fatalf("%q of %q: %v", pattern, e.Line, err)
		}
		selector, ok := expr.(*logql.LogSelector)
		if !ok {
			t.Fatal(expr)
		}
		pipeline, err := logql.NewPipeline(selector)
		if err != nil {
			t.Fatal(err)
		}
		if _, found := pipeline.Process(e.At, e.Line, e.Stream, e.Metadata); !found {
			t.Errorf("%q doesn't find %q", pattern, e.Line)
		}
	}
	if len(distinct) < 5 || len(distinct) > len(entries)*9/10 {
		t.Errorf("%d patterns of %d lines", len(distinct), len(entries))
	}
	released, err := asked(t, written(t, entries), openly, tenants.Limits{}, Question{
		Kind: policy.Patterns, Selectors: selectorOf(t, `{org=~".+"}`), Start: start, End: start.Add(time.Hour), Step: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	matrix, err := released.Numbers().Matrix()
	if err != nil {
		t.Fatal(err)
	}
	lines := 0.0
	for _, s := range matrix {
		for _, p := range s.Floats {
			lines += p.F
		}
	}
	if len(matrix) < len(distinct) || int(lines) < len(entries)*9/10 || int(lines) > len(entries) {
		t.Errorf("%d patterns of %g lines, %d and %d were written", len(matrix), lines, len(distinct), len(entries))
	}
}

func TestDetectedFieldsAndLabels(t *testing.T) {
	store := NewStore(StoreConfig{})
	at := time.Unix(1_000_000, 0)
	for i, text := range []string{
		`{"level":"info","duration":"15ms","size":"12kB","status":200,"ok":true,"http":{"path":"/a"},"ratio":1}`,
		`{"level":"info","duration":"7ms","size":"1kB","status":404,"ok":false,"http":{"path":"/b"},"ratio":0.5,"tags":["x"]}`,
		`level=error status=500 msg="no luck"`,
		`neither of them`,
	} {
		stream := labels.FromStrings("service", "shop", "level", "info", "shard", fmt.Sprint(i), "flag", fmt.Sprint(i%2))
		if err := store.Append(at.Add(time.Duration(i)*time.Second), text, stream, labels.FromStrings("trace_id", fmt.Sprintf("t%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	describe := func(r *Released) map[string]string {
		out := map[string]string{}
		for _, f := range r.Fields() {
			out[f.Name] = fmt.Sprint(f.Type, " ", len(f.Values), " ", f.Parsers, " ", f.Path)
		}
		return out
	}
	q := Question{Kind: policy.DetectedFields, Expression: `{service="shop"}`, Start: at, End: at.Add(time.Hour), Limit: 100}
	got, err := asked(t, store, openly, tenants.Limits{}, q)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"trace_id": "string 4 [] []", "level_extracted": "string 2 [json logfmt] [level]", "duration": "duration 2 [json] [duration]",
		"size": "bytes 2 [json] [size]", "status": "int 3 [json logfmt] [status]", "ok": "boolean 2 [json] [ok]",
		"http_path": "string 2 [json] [http path]", "ratio": "float 2 [json] [ratio]", "msg": "string 1 [logfmt] []",
	}
	if diff := cmp.Diff(want, describe(got)); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	for name, want := range map[string][]string{"status": {"200", "404", "500"}, "size": {"1.0kB", "12kB"}, "trace_id": {"t0", "t1", "t2", "t3"}, "nothing": nil} {
		q.Label = name
		values, err := asked(t, store, openly, tenants.Limits{}, q)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, values.Names()); diff != "" {
			t.Errorf("values of %s (-want +got):\n%s", name, diff)
		}
	}
	listed, err := asked(t, store, openly, tenants.Limits{}, Question{Kind: policy.DetectedLabels, Start: at, End: at.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	want = map[string]string{"org": "string 1 [] []", "service": "string 1 [] []", "level": "string 1 [] []", "shard": "id 4 [] []", "flag": "boolean 2 [] []"}
	if diff := cmp.Diff(want, describe(listed)); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

// What several organizations have is one answer: what has the same name is
// counted once, sums are of all, and the label org is there if it was asked for.
func TestSummariesOfSeveralOrganizations(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	member := func(org tenants.OrgID, lines ...string) Member {
		store := NewStore(StoreConfig{})
		for i, text := range lines {
			if err := store.Append(at.Add(time.Duration(i)*time.Second), text, labels.FromStrings("service", "shop"), labels.EmptyLabels()); err != nil {
				t.Fatal(err)
			}
		}
		local, err := NewLocal(LocalConfig{Org: org, Source: store, Secret: make([]byte, minSecret)})
		if err != nil {
			t.Fatal(err)
		}
		d := openly
		d.Release, d.Streams = policy.Row, []policy.Selector{{}}
		return Member{Org: org, Ask: func(ctx context.Context, q Question) (*Released, federation.Part, error) {
			return local.Answer(ctx, q, policy.Decision{Allow: true, Obligations: policy.Obligations{Datasets: []policy.Dataset{d}}},
				federation.Asking{Org: "initech", ExchangeID: federation.NewExchangeID(at)})
		}}
	}
	members := []Member{member("acme", `status=200`, `status=500`), member("globex", `status=200 path=a`)}
	ask := func(q Question) *Released {
		q.Start, q.End = at.Add(-time.Millisecond), at.Add(time.Minute)
		released, completeness, err := NewFederated(0, time.Now).Answer(t.Context(), q, members)
		if err != nil || len(completeness) != 2 || !completeness.Whole() {
			t.Fatalf("%s: %v %v", q.Kind, completeness, err)
		}
		return released
	}
	shop := selectorOf(t, `{service="shop"}`)
	if got, want := ask(Question{Kind: policy.Stats, Selectors: shop}).Stats(), (Stats{Streams: 2, Entries: 3, Bytes: 37}); got != want {
		t.Errorf("stats: %+v, want %+v", got, want)
	}
	for _, c := range []struct {
		q    Question
		want []string
	}{
		{Question{Kind: policy.Volume, Selectors: shop}, []string{`{service="shop"} 999999999 37`}},
		{Question{Kind: policy.Volume, Selectors: shop, By: []string{"org"}}, []string{`{org="acme"} 999999999 20`, `{org="globex"} 999999999 17`}},
		{Question{Kind: policy.Volume, Selectors: shop, By: []string{"pod"}}, nil},
		{Question{Kind: policy.Volume, Selectors: shop, ByName: true}, []string{`{label="org"} 999999999 37`, `{label="service"} 999999999 37`}},
		{Question{Kind: policy.Patterns, Selectors: shop, Step: time.Second}, []string{
			`{pattern="status=<_>"} 999999000 1`, `{pattern="status=<_>"} 1000000000 1`, `{pattern="status=<_> path=<_>"} 999999000 1`,
		}},
	} {
		if diff := cmp.Diff(c.want, rows(t, ask(c.q))); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c.q, diff)
		}
	}
	fields := ask(Question{Kind: policy.DetectedFields, Expression: `{service="shop"}`, Limit: 10}).Fields()
	if len(fields) != 2 || fields[1].Name != "status" || len(fields[1].Values) != 2 {
		t.Errorf("fields: %+v", fields)
	}
}

// A question that asks for less than policy says isn't answered, whatever it is called.
func TestSummariesRespectFloors(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	for _, c := range []struct {
		q    Question
		o    policy.Obligations
		want federation.Kind
	}{
		{Question{Kind: policy.Stats}, policy.Obligations{Functions: []string{"count_over_time"}}, federation.NeedsAggregation},
		{Question{Kind: policy.Stats}, policy.Obligations{Functions: []string{"count_over_time", "bytes_over_time"}}, ""},
		{Question{Kind: policy.Volume}, policy.Obligations{Functions: []string{"rate"}}, federation.NeedsAggregation},
		{Question{Kind: policy.Patterns}, policy.Obligations{Functions: []string{"rate"}}, federation.NeedsAggregation},
		{Question{Kind: policy.DetectedFields}, policy.Obligations{Functions: []string{"rate"}}, federation.NeedsAggregation},
		{Question{Kind: policy.DetectedLabels}, policy.Obligations{Functions: []string{"rate"}}, ""},
		{Question{Kind: policy.Volume, Step: time.Second}, policy.Obligations{Resolution: time.Minute}, federation.NeedsAggregation},
		{Question{Kind: policy.Volume, Step: time.Minute}, policy.Obligations{Resolution: time.Minute}, ""},
		{Question{Kind: policy.Stats}, policy.Obligations{Resolution: 2 * time.Hour}, federation.NeedsAggregation},
	} {
		c.q.Start, c.q.End = at, at.Add(time.Hour)
		err := checkFloors(c.q, c.o)
		if got := federation.AsError(err); err == nil != (c.want == "") || err != nil && got.Kind != c.want {
			t.Errorf("%s under %+v: %v, want %q", c.q.Kind, c.o, err, c.want)
		}
	}
}

// What is held of patterns is bounded, whatever lines there are.
func TestPatternsAreBounded(t *testing.T) {
	store := NewStore(StoreConfig{})
	at := time.Unix(1_000_000, 0)
	long := strings.Repeat("request failed ", 20_000)
	for i := range 250 {
		text := strings.Repeat("order ", i) + long
		if err := store.Append(at.Add(time.Duration(i)*time.Millisecond), text, labels.FromStrings("service", "a"), labels.EmptyLabels()); err != nil {
			t.Fatal(err)
		}
	}
	q := Question{Kind: policy.Patterns, Selectors: selectorOf(t, `{service="a"}`), Start: at.Add(-time.Second), End: at.Add(100 * time.Millisecond), Step: time.Minute}
	if _, err := asked(t, store, openly, tenants.Limits{}, q); err != nil {
		t.Errorf("some of them: %v", err)
	}
	q.End = at.Add(time.Minute)
	if _, err := asked(t, store, openly, tenants.Limits{}, q); federation.AsError(err) == nil || federation.AsError(err).Kind != federation.OverLimit {
		t.Errorf("all of them: %v", err)
	}
}
