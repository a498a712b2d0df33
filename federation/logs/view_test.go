package logs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// asked answers acme's question about a store, as a dataset of all its streams
// releases it.
func asked(t *testing.T, store *Store, d policy.Dataset, limits tenants.Limits, q Question) (*Released, error) {
	t.Helper()
	local, err := NewLocal(LocalConfig{Org: "globex", Source: store, Secret: []byte(strings.Repeat("s", minSecret))})
	if err != nil {
		t.Fatal(err)
	}
	d.Release, d.Streams = policy.Row, []policy.Selector{{}}
	released, _, err := local.Answer(t.Context(), q, policy.Decision{
		Allow: true, Obligations: policy.Obligations{Datasets: []policy.Dataset{d}, Limits: limits},
	}, federation.Asking{Org: "acme", ExchangeID: federation.NewExchangeID(time.Now())})
	return released, err
}

// A stream that has a label which its entries' metadata has too renames the
// latter. Neither the value nor the other name may show what policy drops.
func TestRenamedMetadataIsWhatPolicyCallsIt(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	answer := func(stream labels.Labels) Entry {
		store := NewStore(StoreConfig{})
		if err := store.Append(at, "hello", stream, labels.FromStrings("user", "ann", "shard", "7")); err != nil {
			t.Fatal(err)
		}
		released, err := asked(t, store, policy.Dataset{
			Labels: map[string]policy.LabelRule{"user": {}}, Others: policy.LabelRule{Mode: policy.Keep}, Line: policy.Line{Mode: policy.LineKeep},
		}, tenants.Limits{}, Question{
			Kind: policy.Range, Expression: `{org="globex"}`, Start: at, End: at.Add(time.Second), Limit: 10,
		})
		if err != nil || len(released.Entries()) != 1 {
			t.Fatalf("got %v, %v", released, err)
		}
		return released.Entries()[0]
	}
	with := answer(labels.FromStrings("service", "a", "user", "hidden"))
	without := answer(labels.FromStrings("service", "a"))
	if !labels.Equal(with.Metadata, without.Metadata) || !labels.Equal(with.Stream, without.Stream) {
		t.Errorf("a dropped label of the stream shows: %v %v, without it %v %v", with.Stream, with.Metadata, without.Stream, without.Metadata)
	}
	if want := labels.FromStrings("shard", "7"); !labels.Equal(with.Metadata, want) {
		t.Errorf("metadata %v, want %v", with.Metadata, want)
	}
}

// Few lines may make many points, as each is in many windows.
func TestNumbersAreOfABoundedNumberOfLinesAndPoints(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	store := NewStore(StoreConfig{})
	for i := range 5 {
		if err := store.Append(at.Add(time.Duration(i)*time.Millisecond), "hello", labels.FromStrings("service", "a"), labels.EmptyLabels()); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		most, steps int
		kind        federation.Kind
	}{{most: 5}, {most: 4, kind: federation.OverLimit}, {most: 5, steps: 4}, {most: 5, steps: 5, kind: federation.OverLimit}} {
		local, err := NewLocal(LocalConfig{Org: "globex", Source: store, Secret: []byte(strings.Repeat("s", minSecret))})
		if err != nil {
			t.Fatal(err)
		}
		v, err := local.view(policy.Obligations{Datasets: []policy.Dataset{{
			Release: policy.Row, Streams: []policy.Selector{{}}, Others: policy.LabelRule{Mode: policy.Keep}, Line: policy.Line{Mode: policy.LineKeep},
		}}}, federation.Asking{Org: "acme", ExchangeID: federation.NewExchangeID(at)})
		if err != nil {
			t.Fatal(err)
		}
		q := Question{Kind: policy.Instant, Expression: `count_over_time({service="a"}[1h])`, Start: at.Add(time.Second), End: at.Add(time.Second)}
		if c.steps > 0 {
			q.Kind, q.Step, q.End = policy.Range, time.Second, q.Start.Add(time.Duration(c.steps)*time.Second)
		}
		expr, err := q.parse()
		if err != nil {
			t.Fatal(err)
		}
		_, err = v.leaf(t.Context(), expr, q, newAllowance(c.most))
		if got := federation.AsError(err); (got == nil) != (c.kind == "") || got != nil && got.Kind != c.kind {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Templates make long labels of short lines. They count in what a gateway holds.
func TestLabelsThatTemplatesMakeAreBounded(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	store := NewStore(StoreConfig{})
	const lines = 100
	for i := range lines {
		if err := store.Append(at.Add(time.Duration(i)), fmt.Sprint("id=", i), labels.FromStrings("service", "a"), labels.EmptyLabels()); err != nil {
			t.Fatal(err)
		}
	}
	keep := policy.Dataset{Others: policy.LabelRule{Mode: policy.Keep}, Line: policy.Line{Mode: policy.LineKeep}}
	end := at.Add(time.Second)
	for _, c := range []struct {
		q  Question
		ok bool
	}{
		{Question{Kind: policy.Range, Expression: "{service=\"a\"} | label_format x=`{{ repeat 1000000 \"x\" }}`", Start: at, End: end, Limit: 50}, true},
		{Question{Kind: policy.Range, Expression: "{service=\"a\"} | label_format x=`{{ repeat 1000000 \"x\" }}`", Start: at, End: end, Limit: lines}, false},
		{Question{Kind: policy.DetectedFields, Expression: "{service=\"a\"} | label_format x=`{{ repeat 1000000 \"x\" }}`", Start: at, End: end, Limit: 50}, true},
		{Question{Kind: policy.DetectedFields, Expression: "{service=\"a\"} | label_format x=`{{ repeat 1000000 \"x\" }}`", Start: at, End: end, Limit: lines}, false},
		{Question{Kind: policy.DetectedFields, Label: "x", Expression: "{service=\"a\"} | label_format x=`{{ repeat 1000000 \"x\" }}`", Start: at, End: end, Limit: lines}, false},
		{Question{Kind: policy.Instant, Expression: "sum by (x) (count_over_time({service=\"a\"} | label_format x=`{{ repeat 1000000 \"x\" }}` [1h]))", Start: end, End: end}, true},
		{Question{Kind: policy.Instant, Expression: "sum by (x) (count_over_time({service=\"a\"} | logfmt | label_format x=`{{ .id }}{{ repeat 1000000 \"x\" }}` [1h]))", Start: end, End: end}, false},
		{Question{Kind: policy.Instant, Expression: "count(count_over_time({service=\"a\"} | logfmt | label_format x=`{{ .id }}{{ repeat 1000000 \"x\" }}` [1h]))", Start: end, End: end}, false},
	} {
		_, err := asked(t, store, keep, tenants.Limits{}, c.q)
		if (err == nil) != c.ok || err != nil && federation.AsError(err).Kind != federation.OverLimit {
			t.Errorf("%s %s, of %d lines: %v", c.q.Kind, c.q.Expression, c.q.Limit, err)
		}
	}
}

// Objects in lines make long names of short ones.
func TestNamesOfDetectedFieldsAreBounded(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	store := NewStore(StoreConfig{})
	const lines, keys = 40, 20
	for i := range lines {
		var inner []string
		for k := range keys {
			inner = append(inner, fmt.Sprintf(`"k%d_%d":1`, i, k))
		}
		line := fmt.Sprintf(`{"%s":{%s}}`, strings.Repeat("x", 100_000), strings.Join(inner, ","))
		if err := store.Append(at.Add(time.Duration(i)), line, labels.FromStrings("service", "a"), labels.EmptyLabels()); err != nil {
			t.Fatal(err)
		}
	}
	keep := policy.Dataset{Others: policy.LabelRule{Mode: policy.Keep}, Line: policy.Line{Mode: policy.LineKeep}}
	for limit, ok := range map[int]bool{lines / 2: true, lines: false} {
		released, err := asked(t, store, keep, tenants.Limits{}, Question{
			Kind: policy.DetectedFields, Expression: `{service="a"}`, Start: at, End: at.Add(time.Second), Limit: limit,
		})
		if (err == nil) != ok || err != nil && federation.AsError(err).Kind != federation.OverLimit || ok && len(released.Fields()) != limit*keys {
			t.Errorf("fields of %d lines: %v", limit, err)
		}
	}
}

// Parts of a tail are of a bounded size, labels included.
func TestPartsOfTailsCountLabels(t *testing.T) {
	entries := make([]tailEntry, 100)
	for i := range entries {
		entries[i].entry.Parsed = labels.FromStrings("x", strings.Repeat("x", maxPartBytes/4))
	}
	if n := fill(entries); n != 4 {
		t.Errorf("a part has %d entries of a quarter of its size", n)
	}
}

// What a question may aggregate is bounded over all that it aggregates.
func TestRangeAggregationsCountTogether(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	store := NewStore(StoreConfig{})
	for i := range leastEntries/2 + 1 {
		if err := store.Append(at.Add(time.Duration(i)), "", labels.FromStrings("service", "a"), labels.EmptyLabels()); err != nil {
			t.Fatal(err)
		}
	}
	keep := policy.Dataset{Others: policy.LabelRule{Mode: policy.Keep}, Line: policy.Line{Mode: policy.LineKeep}}
	q := Question{Kind: policy.Instant, Start: at.Add(time.Second), End: at.Add(time.Second)}
	for expression, ok := range map[string]bool{
		`count_over_time({service="a"}[1h])`:                                      true,
		`count_over_time({service="a"}[1h]) + bytes_over_time({service="a"}[1h])`: false,
	} {
		q.Expression = expression
		_, err := asked(t, store, keep, tenants.Limits{Samples: 10}, q)
		if (err == nil) != ok || err != nil && federation.AsError(err).Kind != federation.OverLimit {
			t.Errorf("%s: %v", expression, err)
		}
	}
}

func TestLinesAreOfABoundedNumberOfStreams(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	store := NewStore(StoreConfig{})
	for i := range 6 {
		if err := store.Append(at, "hello", labels.FromStrings("service", fmt.Sprint(i%3)), labels.FromStrings("n", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Second)
	}
	keep := policy.Dataset{Others: policy.LabelRule{Mode: policy.Keep}, Line: policy.Line{Mode: policy.LineKeep}}
	q := Question{Kind: policy.Range, Expression: `{service=~".+"}`, Start: time.Unix(0, 0), End: at, Limit: 10}
	if released, err := asked(t, store, keep, tenants.Limits{Series: 3}, q); err != nil || len(released.Entries()) != 6 {
		t.Errorf("three streams of three: %v, %v", released, err)
	}
	if _, err := asked(t, store, keep, tenants.Limits{Series: 2}, q); err == nil || federation.AsError(err).Kind != federation.OverLimit {
		t.Errorf("three streams of two: %v", err)
	}
}

// What policy says of exported_org holds for a store's own org label under
// whatever name it comes.
func TestTheStoresOwnOrgHasOneRule(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	for name, world := range map[string]struct{ stream, metadata labels.Labels }{
		"in a stream":                labelsPair(labels.FromStrings("service", "a", "org", "secret"), labels.EmptyLabels()),
		"in metadata":                labelsPair(labels.FromStrings("service", "a"), labels.FromStrings("org", "secret")),
		"in both":                    labelsPair(labels.FromStrings("service", "a", "org", "hidden"), labels.FromStrings("org", "secret")),
		"beside another in a stream": labelsPair(labels.FromStrings("service", "a", "org", "secret", "exported_org", "x"), labels.EmptyLabels()),
		"beside another in metadata": labelsPair(labels.FromStrings("service", "a"), labels.FromStrings("org", "secret", "exported_org", "x")),
	} {
		store := NewStore(StoreConfig{})
		if err := store.Append(at, "hello", world.stream, world.metadata); err != nil {
			t.Fatal(err)
		}
		for _, rule := range []policy.LabelRule{{}, {Mode: policy.Keep}} {
			released, err := asked(t, store, policy.Dataset{
				Labels: map[string]policy.LabelRule{"exported_org": rule}, Others: policy.LabelRule{Mode: policy.Keep}, Line: policy.Line{Mode: policy.LineKeep},
			}, tenants.Limits{}, Question{Kind: policy.Range, Expression: `{org="globex"}`, Start: at, End: at.Add(time.Second), Limit: 10})
			if err != nil || len(released.Entries()) != 1 {
				t.Fatalf("%s: got %v, %v", name, released, err)
			}
			e := released.Entries()[0]
			got := e.Stream.String() + e.Metadata.String()
			if shown := strings.Contains(got, "secret"); shown != (rule.Mode == policy.Keep) {
				t.Errorf("%s, %s: %s", name, rule.Mode, got)
			}
			if rule.Mode != policy.Keep && got != `{org="globex", service="a"}{}` {
				t.Errorf("%s: more than what is dropped shows: %s", name, got)
			}
		}
	}
}

func labelsPair(stream, metadata labels.Labels) struct{ stream, metadata labels.Labels } {
	return struct{ stream, metadata labels.Labels }{stream, metadata}
}

// Bounds that nanoseconds can't say hide what they say: all that is before the year
// 9999, and nothing that is.
func TestBoundsOfOtherCenturies(t *testing.T) {
	at, far := time.Unix(1_000_000, 0), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	store := NewStore(StoreConfig{})
	if err := store.Append(at, "hello", labels.FromStrings("service", "a"), labels.EmptyLabels()); err != nil {
		t.Fatal(err)
	}
	local, err := NewLocal(LocalConfig{Org: "globex", Source: store, Secret: []byte(strings.Repeat("s", minSecret))})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		before, after time.Time
		lines         int
	}{"none": {lines: 1}, "not before 9999": {before: far}, "not before 2300": {before: time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)}, "not after 9999": {after: far, lines: 1}} {
		released, _, err := local.Answer(t.Context(), Question{Kind: policy.Range, Expression: `{service="a"}`, Start: at, End: at.Add(time.Second), Limit: 10}, policy.Decision{
			Allow: true, Obligations: policy.Obligations{NotBefore: c.before, NotAfter: c.after, Datasets: []policy.Dataset{{
				Release: policy.Row, Streams: []policy.Selector{{}}, Others: policy.LabelRule{Mode: policy.Keep}, Line: policy.Line{Mode: policy.LineKeep},
			}}},
		}, federation.Asking{Org: "acme", ExchangeID: federation.NewExchangeID(time.Now())})
		if err != nil || len(released.Entries()) != c.lines {
			t.Errorf("%s: %v, %v; want %d lines", name, released, err, c.lines)
		}
	}
}
