package logs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// A real Loki is started by TestLokiSource of e2e, which runs TestSources again.
var lokiURL = flag.String("loki", "", "the `URL` of a Loki that TestSources asks as well; it keeps what is written to it")

// writable is a Source and a way to write to it.
type writable struct {
	Source
	write func(*testing.T, []rawEntry)
}

// TestSources holds every Source to the contract of the interface, by comparing
// with what was written.
func TestSources(t *testing.T) {
	t.Run("store", func(t *testing.T) {
		conform(t, 300, func(*testing.T) writable {
			store := NewStore(StoreConfig{})
			return writable{store, func(t *testing.T, entries []rawEntry) {
				t.Helper()
				for _, e := range entries {
					if err := store.Append(time.Unix(0, e.at), e.line, e.stream, e.metadata); err != nil {
						t.Fatal(err)
					}
				}
			}}
		})
	})
	if *lokiURL == "" {
		return
	}
	t.Run("loki", func(t *testing.T) {
		conform(t, 40, func(t *testing.T) writable { return realLoki(t, *lokiURL) })
	})
}

func conform(t *testing.T, selections int, open func(*testing.T) writable) {
	t.Run("selects", func(t *testing.T) { conformSelect(t, selections, open(t)) })
	t.Run("selects streams that have no label in common", func(t *testing.T) { conformNothingInCommon(t, open(t)) })
	t.Run("selects long spans", func(t *testing.T) { conformLongSpan(t, open(t)) })
	t.Run("selects what is hard to write", func(t *testing.T) { conformHardTexts(t, open(t)) })
	t.Run("stops with take", func(t *testing.T) { conformStops(t, open(t)) })
	t.Run("tails", func(t *testing.T) { conformTail(t, open(t)) })
	t.Run("is empty", func(t *testing.T) {
		source := open(t)
		if got := selected(t, source, all(testStart, testStart.Add(time.Hour))); len(got) > 0 {
			t.Errorf("an empty source has %v", got)
		}
		if got, err := source.selectStreams(t.Context(), all(testStart, testStart.Add(time.Hour))); err != nil || len(got) > 0 {
			t.Errorf("an empty source has the streams %v: %v", got, err)
		}
	})
}

var testStart = time.Date(2025, 1, 2, 3, 0, 0, 0, time.UTC)

func all(start, end time.Time) selection {
	return selection{start: start.UnixNano(), end: end.UnixNano()}
}

func conformSelect(t *testing.T, selections int, source writable) {
	r := rand.New(rand.NewPCG(4, 1))
	entries := randomEntries(r)
	source.write(t, entries)
	found := 0
	for i := range selections {
		s := randomSelection(r, entries)
		want := expected(s, entries)
		if diff := differs(want, selected(t, source, s)); diff != "" {
			t.Errorf("selection %d, %s: %s", i, describe(s), diff)
		}
		if len(want) > 0 {
			found++
		}
		// Streams may have their entries a little outside.
		streams, err := source.selectStreams(t.Context(), s)
		if err != nil {
			t.Errorf("streams of selection %d, %s: %v", i, describe(s), err)
		}
		if !slices.IsSortedFunc(streams, labels.Compare) {
			t.Errorf("streams of selection %d aren't in order: %v", i, streams)
		}
		for j, stream := range streams {
			streams[j] = without(stream, "service_name")
			if !s.matches(streams[j]) {
				t.Errorf("streams of selection %d, %s: %s doesn't match", i, describe(s), stream)
			}
		}
		s.contains = nil
		for _, e := range expected(s, entries) {
			if !slices.ContainsFunc(streams, func(ls labels.Labels) bool { return labels.Equal(ls, e.stream) }) {
				t.Errorf("streams of selection %d, %s: %s is missing", i, describe(s), e.stream)
			}
		}
	}
	if found < selections/3 {
		t.Errorf("only %d selections had entries: the test is blind", found)
	}
}

func conformNothingInCommon(t *testing.T, source writable) {
	var entries []rawEntry
	for i := range 40 {
		at := testStart.Add(time.Duration(i/2) * time.Minute).UnixNano()
		entries = append(entries, rawEntry{
			at: at, line: fmt.Sprint("line ", i),
			stream: labels.FromStrings([]string{"app", "json", "job", "unit"}[i%4], "x"),
		})
	}
	// A label of which no matcher can be written is not all that a stream has.
	for i := range entries {
		if entries[i].stream.Has("json") {
			entries[i].stream = labels.FromStrings("json", "x", "other", fmt.Sprint(i%3))
		}
	}
	source.write(t, entries)
	for _, backward := range []bool{false, true} {
		for _, matchers := range [][]*labels.Matcher{
			nil,
			{labels.MustNewMatcher(labels.MatchEqual, "job", "")},
			{labels.MustNewMatcher(labels.MatchEqual, "json", "x")},
			{labels.MustNewMatcher(labels.MatchNotEqual, "app", "x"), labels.MustNewMatcher(labels.MatchEqual, "a.b", "")},
			{labels.MustNewMatcher(labels.MatchEqual, "a.b", "x")},
		} {
			s := all(testStart.Add(3*time.Minute), testStart.Add(15*time.Minute))
			s.backward, s.matchers = backward, matchers
			if diff := differs(expected(s, entries), selected(t, source, s)); diff != "" {
				t.Errorf("%s: %s", describe(s), diff)
			}
		}
	}
}

func conformLongSpan(t *testing.T, source writable) {
	var entries []rawEntry
	for i := range 30 { // each day an entry at the same nanosecond of a stream of its own
		for j := range 3 {
			entries = append(entries, rawEntry{
				at: testStart.Add(time.Duration(i) * 24 * time.Hour).UnixNano(), line: "x", stream: labels.FromStrings("app", "a", "n", strconv.Itoa(j)),
			})
		}
	}
	source.write(t, entries)
	for _, backward := range []bool{false, true} {
		s := all(testStart.Add(-time.Hour), testStart.Add(40*24*time.Hour))
		s.backward = backward
		if diff := differs(expected(s, entries), selected(t, source, s)); diff != "" {
			t.Errorf("%s: %s", describe(s), diff)
		}
	}
}

func conformHardTexts(t *testing.T, source writable) {
	texts := []string{
		`"quoted"`, "`back`", `back\slash`, "two\nlines", "tab\t", "\x00\x01\x7f", "é 漢 🙂", `{"json": "x"}`, "} | json", "a=b", "\u2028", "%s", "", " ",
	}
	var entries []rawEntry
	for i, text := range texts {
		entries = append(entries, rawEntry{
			at: testStart.Add(time.Duration(i)).UnixNano(), line: text + "!",
			stream: labels.FromStrings("app", text+"?"), metadata: labels.FromStrings("trace_id", text+"#", "app", "another"),
		})
	}
	source.write(t, entries)
	for _, text := range texts {
		s := all(testStart, testStart.Add(time.Hour))
		s.matchers = []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "app", text+"?")}
		s.contains = []string{text}
		if diff := differs(expected(s, entries), selected(t, source, s)); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func conformStops(t *testing.T, source writable) {
	entries := randomEntries(rand.New(rand.NewPCG(4, 2)))
	source.write(t, entries)
	enough := errors.New("enough")
	for _, n := range []int{1, 2, 7, 8, 50} {
		for _, backward := range []bool{false, true} {
			s := all(testStart, testStart.Add(6*time.Hour))
			s.backward = backward
			taken := 0
			err := source.selectRaw(t.Context(), s, func(rawEntry) error {
				if taken++; taken == n {
					return enough
				}
				return nil
			})
			if !errors.Is(err, enough) || taken != n {
				t.Errorf("took %d of %d, and the error is %v", taken, n, err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := source.selectRaw(ctx, all(testStart, testStart.Add(time.Hour)), func(rawEntry) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled, and the error is %v", err)
	}
}

func conformTail(t *testing.T, source writable) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream := labels.FromStrings("app", "shop", "pod", "a")
	line := func(n int, text string) rawEntry {
		return rawEntry{
			at: time.Now().UnixNano(), line: fmt.Sprint(text, " ", n), stream: stream, metadata: labels.FromStrings("trace_id", strconv.Itoa(n)),
		}
	}
	came, begun, ended := make(chan rawEntry, 1000), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- source.tailRaw(ctx, selection{
			matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "app", "shop")}, contains: []string{"wanted"},
		}, func() { close(begun) }, func() { t.Error("entries were left out") }, func(e rawEntry) error {
			if strings.Contains(e.line, "wanted") { // others may come
				came <- e
			}
			return nil
		})
	}()
	select {
	case <-begun:
	case err := <-ended:
		t.Fatalf("the tail ended: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("the tail did not begin")
	}
	var want []rawEntry
	for n := range 20 {
		e := line(n, "wanted")
		other := line(n, "wanted")
		other.stream = labels.FromStrings("app", "bank")
		source.write(t, []rawEntry{e, line(n, "not that"), other})
		want = append(want, e)
	}
	var got []rawEntry
	for len(got) < len(want) {
		select {
		case e := <-came:
			got = append(got, plain(t, e))
		case err := <-ended:
			t.Fatalf("the tail ended: %v", err)
		case <-time.After(30 * time.Second):
			t.Fatalf("only %d of %d came", len(got), len(want))
		}
	}
	if diff := differs(want, got); diff != "" {
		t.Error(diff)
	}
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the tail ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the tail did not end")
	}
}

// randomEntries are entries of some hours, many at the same time, none twice.
func randomEntries(r *rand.Rand) []rawEntry {
	var out []rawEntry
	at := testStart
	for i := range 200 {
		if r.IntN(3) == 0 {
			at = at.Add(time.Duration(r.IntN(3)) * time.Nanosecond)
		}
		if r.IntN(4) == 0 {
			at = at.Add(time.Duration(r.IntN(int(2 * time.Minute))))
		}
		if n := len(out); n >= 5 && out[n-5].at == at.UnixNano() {
			at = at.Add(1) // not more than a page of seven can tell
		}
		stream := labels.NewBuilder(labels.FromStrings("app", []string{"shop", "bank"}[r.IntN(2)], "pod", fmt.Sprint("pod-", r.IntN(4))))
		if r.IntN(3) == 0 {
			stream.Set("zone", "eu")
		}
		metadata := labels.NewBuilder(labels.EmptyLabels())
		if r.IntN(2) == 0 {
			metadata.Set("trace_id", fmt.Sprintf("%08x", r.Uint32()))
		}
		if r.IntN(4) == 0 {
			metadata.Set("app", "also one of a stream's")
		}
		out = append(out, rawEntry{
			at: at.UnixNano(), line: fmt.Sprintf("level=%s n=%d", []string{"info", "error"}[r.IntN(2)], i), stream: stream.Labels(), metadata: metadata.Labels(),
		})
	}
	return out
}

func randomSelection(r *rand.Rand, entries []rawEntry) selection {
	// At the times of entries, where one more or less shows.
	start, end := entries[r.IntN(len(entries))].at+int64(r.IntN(2)), entries[r.IntN(len(entries))].at+int64(r.IntN(2))
	s := selection{start: min(start, end), end: max(start, end), backward: r.IntN(2) == 0}
	for _, m := range []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchEqual, "app", "shop"),
		labels.MustNewMatcher(labels.MatchRegexp, "pod", "pod-[12]"),
		labels.MustNewMatcher(labels.MatchNotRegexp, "pod", "pod-1|"),
		labels.MustNewMatcher(labels.MatchNotEqual, "zone", "eu"),
		labels.MustNewMatcher(labels.MatchEqual, "zone", ""),
		labels.MustNewMatcher(labels.MatchNotEqual, "trace_id", ""), // of metadata: no stream has it
	} {
		if r.IntN(5) == 0 {
			s.matchers = append(s.matchers, m)
		}
	}
	for _, text := range []string{"level=error", "=1", "nothing has this"} {
		if r.IntN(6) == 0 {
			s.contains = append(s.contains, text)
		}
	}
	return s
}

// expected is what there is of a selection of what was written, in order.
func expected(s selection, written []rawEntry) []rawEntry {
	var out []rawEntry
	for _, e := range written {
		if e.at >= s.start && e.at < s.end && s.matches(e.stream) && s.wants(e.line) {
			e.metadata = apart(e.metadata, e.stream)
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b rawEntry) int { return cmp.Compare(a.at, b.at) })
	if s.backward {
		slices.Reverse(out)
	}
	return out
}

// selected is what a source has of a selection, without what may come besides.
func selected(t *testing.T, source Source, s selection) []rawEntry {
	t.Helper()
	var out []rawEntry
	err := source.selectRaw(t.Context(), s, func(e rawEntry) error {
		if s.wants(e.line) {
			out = append(out, plain(t, e))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", describe(s), err)
	}
	return out
}

// plain is an entry without the labels that Loki adds.
func plain(t *testing.T, e rawEntry) rawEntry {
	t.Helper()
	if e.stream.Has("detected_level") || e.metadata.Has("service_name") {
		t.Errorf("what Loki adds is where it doesn't belong: %s %s", e.stream, e.metadata)
	}
	e.stream, e.metadata = without(e.stream, "service_name"), without(e.metadata, "detected_level")
	return e
}

func without(ls labels.Labels, name string) labels.Labels {
	return labels.NewBuilder(ls).Del(name).Labels()
}

// differs compares entries in order, those of one time in any.
func differs(want, got []rawEntry) string {
	if !slices.IsSortedFunc(got, func(a, b rawEntry) int {
		if len(want) > 0 && want[0].at > want[len(want)-1].at {
			a, b = b, a
		}
		return cmp.Compare(a.at, b.at)
	}) {
		return "the entries aren't in order of time"
	}
	lines := func(entries []rawEntry) []string {
		var out []string
		for _, e := range entries {
			out = append(out, fmt.Sprintf("%d %s %s %q", e.at-testStart.UnixNano(), e.stream, e.metadata, e.line))
		}
		slices.Sort(out)
		return out
	}
	w, g := lines(want), lines(got)
	if slices.Equal(w, g) {
		return ""
	}
	for i := range w {
		if i >= len(g) || w[i] != g[i] {
			return fmt.Sprintf("want %d entries, got %d; the first that differs is %s, got %v", len(w), len(g), w[i], g[min(i, len(g)):min(i+1, len(g))])
		}
	}
	return fmt.Sprintf("want %d entries, got also %s", len(w), g[len(w)])
}

func describe(s selection) string {
	return fmt.Sprintf("%v from %d to %d, contains %q, backward %t",
		s.matchers, s.start-testStart.UnixNano(), s.end-testStart.UnixNano(), s.contains, s.backward)
}

// realLoki is a tenant of its own of a real Loki, read seven entries at a time.
func realLoki(t *testing.T, base string) writable {
	t.Helper()
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	tenant := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r
		}
		return '-'
	}, strings.ToLower(t.Name()))
	client := &http.Client{Transport: tenantTransport{transport, tenant}}
	loki, err := NewLoki(LokiConfig{URL: target, Client: client, PageEntries: 7})
	if err != nil {
		t.Fatal(err)
	}
	return writable{loki, func(t *testing.T, entries []rawEntry) {
		t.Helper()
		type stream struct {
			Stream labels.Labels `json:"stream"`
			Values [][]any       `json:"values"`
		}
		var streams []stream
		for _, e := range entries {
			value := []any{strconv.FormatInt(e.at, 10), e.line, e.metadata}
			streams = append(streams, stream{e.stream, [][]any{value}})
		}
		body, err := json.Marshal(map[string]any{"streams": streams})
		if err != nil {
			t.Fatal(err)
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target.JoinPath("/loki/api/v1/push").String(), bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusNoContent {
			t.Fatalf("pushing to Loki: %s", response.Status)
		}
	}}
}

type tenantTransport struct {
	next   http.RoundTripper
	tenant string
}

func (t tenantTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Scope-OrgID", t.tenant)
	return t.next.RoundTrip(r)
}
