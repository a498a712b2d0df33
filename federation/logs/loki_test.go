package logs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs/logql"
)

// secret is what a backend says and nobody must hear.
const secret = "user-0"

// scripted is a Loki that answers as a test tells it.
func scripted(t *testing.T, c LokiConfig, answer http.HandlerFunc) *Loki {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	var err error
	if c.URL, err = url.Parse(server.URL + "/below"); err != nil {
		t.Fatal(err)
	}
	c.Client = server.Client()
	loki, err := NewLoki(c)
	if err != nil {
		t.Fatal(err)
	}
	return loki
}

func shop() []*labels.Matcher {
	return []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "app", "shop")}
}

// said is an error as its asker and its owner's log have it.
func said(err error) string {
	e := federation.AsError(err)
	if e == nil {
		return ""
	}
	return string(e.Kind) + ": " + e.Message
}

func streams(values string) string {
	return `{"status":"success","data":{"resultType":"streams","encodingFlags":["categorize-labels"],"result":[{"stream":{"app":"shop"},"values":[` + values + `]}],"stats":{}}}`
}

func TestLokiAnswersOtherwise(t *testing.T) {
	const (
		cantRead = "unavailable: the logs store can't be read now"
		entry    = `["1735786800000000000","a"]`
	)
	for _, c := range []struct {
		name   string
		status int
		body   string
		told   string // what the asker is told; empty: it is answered
		logged string // what our own log has
	}{
		{name: "an entry", status: 200, body: streams(entry)},
		{name: "nothing", status: 200, body: `{"status":"success","data":{"resultType":"streams","result":[]}}`},
		{name: "null", status: 200, body: `{"status":"success","data":{"resultType":"streams","result":null}}`},
		{name: "a bad request", status: 400, body: "parse error: " + secret, told: cantRead, logged: "status 400"},
		{name: "no credentials", status: 401, body: "no org id of " + secret, told: cantRead, logged: "status 401"},
		{name: "too many requests", status: 429, body: secret, told: cantRead, logged: "status 429"},
		{name: "a failure", status: 500, body: secret, told: cantRead, logged: "status 500"},
		{name: "its own timeout", status: 504, body: secret, told: "deadline-exceeded: the logs store ran out of time", logged: "status 504"},
		{name: "a page", status: 200, body: "<html>" + secret, told: cantRead, logged: "isn't the JSON that it should be"},
		{name: "half of an answer", status: 200, body: streams(entry)[:120], told: cantRead, logged: "ends too early"},
		{name: "nothing at all", status: 200, told: cantRead, logged: "isn't the JSON that it should be"},
		{name: "no success", status: 200, body: strings.Replace(streams(entry), "success", "partial", 1), told: cantRead, logged: "isn't a success"},
		{name: "a warning", status: 200, body: strings.Replace(streams(entry), `{`, `{"warnings":["`+secret+`"],`, 1), told: cantRead, logged: "with warnings"},
		{name: "a matrix", status: 200, body: `{"status":"success","data":{"resultType":"matrix","result":[]}}`, told: cantRead, logged: "isn't streams"},
		{name: "labels not by category", status: 200, body: strings.Replace(streams(entry), `"categorize-labels"`, ``, 1), told: cantRead, logged: "version 3.0"},
		{
			name: "an unknown category", status: 200, body: streams(`["1735786800000000000","a",{"parsed":{"user":"` + secret + `"}}]`),
			told: cantRead, logged: "category that wasn't asked for",
		},
		{name: "more of an entry", status: 200, body: streams(`["1735786800000000000","a",{},"` + secret + `"]`), told: cantRead, logged: "more parts than are known"},
		{name: "less of an entry", status: 200, body: streams(`["1735786800000000000"]`), told: cantRead, logged: "an entry that isn't one"},
		{name: "no time", status: 200, body: streams(`["` + secret + `","a"]`), told: cantRead, logged: "an entry that isn't one"},
		{name: "another type", status: 200, body: streams(`"` + secret + `"`), told: cantRead, logged: "something else where [ belongs"},
		{name: "yet another type", status: 200, body: streams(`[{"` + secret + `":1},"a"]`), told: cantRead, logged: "isn't the JSON that it should be"},
		{
			name: "something beside values", status: 200, body: strings.Replace(streams(entry), `"values"`, `"`+secret+`"`, 1),
			told: cantRead, logged: "something unknown beside a stream's values",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			loki := scripted(t, LokiConfig{}, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			s := all(testStart, testStart.Add(time.Hour))
			s.matchers = shop()
			err := loki.selectRaw(t.Context(), s, func(rawEntry) error { return nil })
			if got := said(err); got != c.told {
				t.Errorf("the asker is told %q, want %q", got, c.told)
			}
			if err == nil {
				return
			}
			if !strings.Contains(err.Error(), c.logged) || strings.Contains(err.Error(), secret) {
				t.Errorf("the log has %q, want something with %q and nothing of what the backend says", err, c.logged)
			}
		})
	}
}

func TestLokiIsAway(t *testing.T) {
	s := all(testStart, testStart.Add(time.Hour))
	s.matchers = shop()
	take := func(rawEntry) error { return nil }

	release := make(chan struct{})
	slow := scripted(t, LokiConfig{}, func(http.ResponseWriter, *http.Request) { <-release })
	t.Cleanup(func() { close(release) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got := said(slow.selectRaw(ctx, s, take)); got != "deadline-exceeded: the question ran out of time" {
		t.Errorf("slow: %s", got)
	}

	gone := httptest.NewServer(http.NotFoundHandler())
	target, err := url.Parse(gone.URL)
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	loki, err := NewLoki(LokiConfig{URL: target})
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"select": loki.selectRaw(t.Context(), s, take), "tail": loki.tailRaw(t.Context(), s, func() {}, func() {}, take)} {
		if got := said(err); got != "unavailable: the logs store can't be read now" || strings.Contains(err.Error(), "shop") {
			t.Errorf("%s from nobody: %v", what, err)
		}
	}
}

// pageServer answers query_range from entries, as Loki does, and keeps what it
// was asked for.
type pageServer struct {
	entries []rawEntry
	pad     string // a part of each line
	asked   []url.Values
	methods []string
}

func (p *pageServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/below/loki/api/v1/query_range" || r.Header.Get(encodingHeader) != categorizeLabels || r.ParseForm() != nil {
		http.NotFound(w, r)
		return
	}
	p.asked, p.methods = append(p.asked, r.Form), append(p.methods, r.Method)
	start, startErr := time.Parse(time.RFC3339Nano, r.Form.Get("start"))
	end, endErr := time.Parse(time.RFC3339Nano, r.Form.Get("end"))
	var limit int
	if _, err := fmt.Sscan(r.Form.Get("limit"), &limit); errors.Join(err, startErr, endErr) != nil {
		http.Error(w, "what?", http.StatusBadRequest)
		return
	}
	s := all(start, end)
	s.backward = r.Form.Get("direction") == "backward"
	values := [][]string{}
	for _, e := range expected(s, p.entries) {
		if len(values) < limit {
			values = append(values, []string{fmt.Sprint(e.at), e.line + p.pad})
		}
	}
	text, err := json.Marshal(values)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, streams(string(text[1:len(text)-1])))
}

func entriesAt(after ...time.Duration) []rawEntry {
	var out []rawEntry
	for i, d := range after {
		out = append(out, rawEntry{at: testStart.Add(d).UnixNano(), line: fmt.Sprint(i), stream: labels.FromStrings("app", "shop")})
	}
	return out
}

func TestLokiMoreAtOnceThanAPageHolds(t *testing.T) {
	s := all(testStart, testStart.Add(time.Minute))
	s.matchers = shop()
	for _, backward := range []bool{false, true} {
		s.backward = backward
		server := &pageServer{entries: entriesAt(1, 2, 2, 2, 3)}
		take := func(rawEntry) error { return nil }
		if err := scripted(t, LokiConfig{PageEntries: 4}, server.ServeHTTP).selectRaw(t.Context(), s, take); err != nil {
			t.Errorf("three at one nanosecond, pages of four: %v", err)
		}
	}
}

// crowdedServer answers series and query_range from entries of many streams.
type crowdedServer []rawEntry

func (c crowdedServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var result []any
	switch r.URL.Path {
	case "/below/loki/api/v1/series":
		for _, e := range c {
			result = append(result, e.stream.Map())
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": result})
		return
	case "/below/loki/api/v1/query_range":
	default:
		http.NotFound(w, r)
		return
	}
	expr, err := logql.Parse(r.FormValue("query"))
	start, startErr := time.Parse(time.RFC3339Nano, r.FormValue("start"))
	end, endErr := time.Parse(time.RFC3339Nano, r.FormValue("end"))
	var limit int
	_, limitErr := fmt.Sscan(r.FormValue("limit"), &limit)
	selector, ok := expr.(*logql.LogSelector)
	if errors.Join(err, startErr, endErr, limitErr) != nil || !ok {
		http.Error(w, "what?", http.StatusBadRequest)
		return
	}
	s := all(start, end)
	s.backward, s.matchers = r.FormValue("direction") == "backward", selector.Matchers
	for i, e := range expected(s, c) {
		if i < limit {
			result = append(result, map[string]any{"stream": e.stream.Map(), "values": [][]any{{fmt.Sprint(e.at), e.line}}})
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{
		"resultType": "streams", "encodingFlags": []string{categorizeLabels}, "result": result,
	}})
}

// However many entries of one nanosecond are of no use to who asks, the others
// come; those of streams with the same labels and more don't count for them.
func TestLokiCrowdedMoments(t *testing.T) {
	visible := labels.FromStrings("app", "shop", "pod", "a")
	var entries crowdedServer
	add := func(after time.Duration, line string, stream labels.Labels) {
		entries = append(entries, rawEntry{at: testStart.Add(after).UnixNano(), line: line, stream: stream})
	}
	add(1, "before", visible)
	add(2, "one", visible)
	add(2, "two", labels.FromStrings("app", "shop", "pod", "b"))
	add(3, "after", visible)
	s := all(testStart, testStart.Add(time.Minute))
	s.matchers = shop()
	s.holds = func(stream labels.Labels) bool { return stream.Get("env") != "secret" }
	for _, hidden := range []int{0, 1, 9} {
		with := slices.Clone(entries)
		for i := range hidden {
			with = append(with, rawEntry{at: testStart.Add(2).UnixNano(), line: fmt.Sprint("hidden", i), stream: labels.FromStrings("app", "shop", "env", "secret", "pod", "a")})
		}
		for _, backward := range []bool{false, true} {
			s.backward = backward
			var got []string
			err := scripted(t, LokiConfig{PageEntries: 3}, with.ServeHTTP).selectRaw(t.Context(), s, func(e rawEntry) error {
				if s.holds(e.stream) {
					got = append(got, e.line)
				}
				return nil
			})
			slices.Sort(got)
			if want := []string{"after", "before", "one", "two"}; err != nil || !slices.Equal(got, want) {
				t.Errorf("%d hidden, backward %t: %v, %v", hidden, backward, got, err)
			}
		}
	}
	for i := range 3 {
		add(2, fmt.Sprint("more", i), visible)
	}
	err := scripted(t, LokiConfig{PageEntries: 3}, entries.ServeHTTP).selectRaw(t.Context(), s, func(rawEntry) error { return nil })
	if got := said(err); got != "unavailable: the logs store can't be read now" || !strings.Contains(err.Error(), "one nanosecond than the 3 that are asked for at once") {
		t.Errorf("four of a stream that is of use, pages of three: %v", err)
	}
}

func TestLokiLongLinesComeFewerAtOnce(t *testing.T) {
	server := &pageServer{pad: strings.Repeat("x", 1000)}
	for i := range 15 {
		server.entries = append(server.entries, entriesAt(time.Duration(i))...)
	}
	s := all(testStart, testStart.Add(time.Minute))
	s.matchers = shop()
	loki, taken := scripted(t, LokiConfig{PageEntries: 32}, server.ServeHTTP), 0
	loki.maxAnswer = 5000
	if err := loki.selectRaw(t.Context(), s, func(rawEntry) error { taken++; return nil }); err != nil || taken != 15 {
		t.Errorf("took %d of 15: %v", taken, err)
	}
	loki.maxAnswer = 500
	if err := loki.selectRaw(t.Context(), s, func(rawEntry) error { return nil }); !errors.Is(err, errTooLong) {
		t.Errorf("a line that is too long: %v", err)
	}
}

// TestLokiIsAskedForWhatIsWanted takes as many of many entries as are wanted, and
// one more, for which the view waits; and then all of them.
func TestLokiIsAskedForWhatIsWanted(t *testing.T) {
	server := &pageServer{}
	for i := range 1000 {
		server.entries = append(server.entries, entriesAt(time.Duration(i)*time.Second)...)
	}
	loki := scripted(t, LokiConfig{PageEntries: 400}, server.ServeHTTP)
	for _, test := range []struct {
		wanted, taken int
		limits        []string
	}{
		{2, 3, []string{"100"}}, {150, 151, []string{"152"}}, {2, 1000, []string{"100", "400", "400"}}, {1000, 1000, []string{"400", "400", "400"}},
	} {
		for _, backward := range []bool{false, true} {
			s := all(testStart, testStart.Add(1000*time.Second))
			s.matchers, s.backward, s.wanted = shop(), backward, test.wanted
			server.asked = nil
			taken := 0
			err := loki.selectRaw(t.Context(), s, func(rawEntry) error {
				if taken++; taken == test.taken {
					return errEnough
				}
				return nil
			})
			if !errors.Is(err, errEnough) {
				t.Errorf("took %d of %d: %v", taken, test.taken, err)
			}
			var limits []string
			for _, asked := range server.asked {
				limits = append(limits, asked.Get("limit"))
			}
			if fewer := limits[:min(len(limits), len(test.limits))]; !slices.Equal(fewer, test.limits) || test.taken < 1000 && len(limits) > 1 {
				t.Errorf("%d wanted, %d taken: it is asked for %v, want %v", test.wanted, test.taken, limits, test.limits)
			}
		}
	}
}

// TestLokiIsReadAhead takes the first entry of a page only when the next page is
// being asked for, and then no more.
func TestLokiIsReadAhead(t *testing.T) {
	server := &pageServer{}
	for i := range 100 {
		server.entries = append(server.entries, entriesAt(time.Duration(i)*time.Minute)...)
	}
	asked := make(chan struct{}, 100)
	loki := scripted(t, LokiConfig{PageEntries: 11}, func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		server.ServeHTTP(w, r)
	})
	s := all(testStart, testStart.Add(100*time.Minute))
	s.matchers = shop()
	err := loki.selectRaw(t.Context(), s, func(rawEntry) error {
		for range 2 {
			select {
			case <-asked:
			case <-time.After(10 * time.Second):
				t.Error("the second page isn't asked for")
			}
		}
		return errEnough
	})
	if !errors.Is(err, errEnough) || len(asked) > 0 {
		t.Errorf("%v; %d more pages were asked for", err, len(asked))
	}
}

// TestLokiIsAskedForTheTimeOfAPage reads entries that are close together.
func TestLokiIsAskedForTheTimeOfAPage(t *testing.T) {
	server := &pageServer{}
	for i := range 100 {
		server.entries = append(server.entries, entriesAt(time.Duration(i)*time.Minute)...)
	}
	loki := scripted(t, LokiConfig{PageEntries: 11}, server.ServeHTTP)
	for _, backward := range []bool{false, true} {
		s := all(testStart, testStart.Add(100*time.Minute))
		s.matchers, s.backward = shop(), backward
		server.asked = nil
		taken := 0
		if err := loki.selectRaw(t.Context(), s, func(rawEntry) error { taken++; return nil }); err != nil || taken != 100 {
			t.Fatalf("took %d of 100: %v", taken, err)
		}
		for i, asked := range server.asked[1:] {
			start, startErr := time.Parse(time.RFC3339Nano, asked.Get("start"))
			end, endErr := time.Parse(time.RFC3339Nano, asked.Get("end"))
			if err := errors.Join(startErr, endErr); err != nil || end.Sub(start) > 20*time.Minute {
				t.Errorf("page %d is of %v: %v", i+2, end.Sub(start), err)
			}
		}
		if len(server.asked) > 15 {
			t.Errorf("asked for %d pages", len(server.asked))
		}
	}
}

func TestLokiIsAskedInSlices(t *testing.T) {
	server := &pageServer{}
	loki := scripted(t, LokiConfig{}, server.ServeHTTP)
	s := all(testStart, testStart.Add(100*time.Hour))
	s.matchers, s.contains = shop(), []string{`say "x"`, "\ufffd"}
	hours := func(parameter string) []float64 {
		var out []float64
		for _, asked := range server.asked {
			at, err := time.Parse(time.RFC3339Nano, asked.Get(parameter))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, at.Sub(testStart).Hours())
		}
		return out
	}
	take := func(rawEntry) error { return nil }
	if err := loki.selectRaw(t.Context(), s, take); err != nil {
		t.Fatal(err)
	}
	if got, want := hours("start"), []float64{0, 1, 3, 7, 15, 31, 55, 79}; !slices.Equal(got, want) {
		t.Errorf("forward, slices start at hours %v, want %v", got, want)
	}
	if got, want := server.asked[0].Get("query"), `{app="shop"} |= "say \"x\""`; got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
	server.asked, s.backward = nil, true
	if err := loki.selectRaw(t.Context(), s, take); err != nil {
		t.Fatal(err)
	}
	if got, want := hours("end"), []float64{100, 99, 97, 93, 85, 69, 45, 21}; !slices.Equal(got, want) {
		t.Errorf("backward, slices end at hours %v, want %v", got, want)
	}
	// A selector that is too long for a URL is posted.
	server.asked, s.matchers = nil, []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, "app", strings.Repeat("shop|", 2000)+"bank")}
	if err := loki.selectRaw(t.Context(), s, take); err != nil || server.methods[len(server.methods)-1] != http.MethodPost {
		t.Errorf("a long selector goes by %v: %v", server.methods, err)
	}
}

func TestLokiTailEnds(t *testing.T) {
	const frame = `{"streams":[{"stream":{"app":"shop"},"values":[["1735786800000000000","a",{"structuredMetadata":{"pod":"b"}}]]}],"encodingFlags":["categorize-labels"]`
	for _, c := range []struct {
		name         string
		script       func(context.Context, *websocket.Conn) error
		told, logged string
		taken        int
		leftOut      int
	}{
		{
			name: "entries were dropped",
			script: func(ctx context.Context, conn *websocket.Conn) error {
				if err := conn.Write(ctx, websocket.MessageText, []byte(frame+"}")); err != nil {
					return err
				}
				if err := conn.Write(ctx, websocket.MessageText, []byte(frame+`,"dropped_entries":[{"labels":{"app":"`+secret+`"},"timestamp":"1"}]}`)); err != nil {
					return err
				}
				return conn.CloseNow()
			},
			told: "unavailable: the logs store can't be read now", logged: "connection of the tail ended", taken: 2, leftOut: 1,
		},
		{
			name: "the server says why",
			script: func(_ context.Context, conn *websocket.Conn) error {
				return conn.Close(websocket.StatusInternalError, secret)
			},
			told: "unavailable: the logs store can't be read now", logged: "closed with status 1011",
		},
		{
			name:   "the server is gone",
			script: func(_ context.Context, conn *websocket.Conn) error { return conn.CloseNow() },
			told:   "unavailable: the logs store can't be read now", logged: "connection of the tail ended",
		},
		{
			name: "labels not by category",
			script: func(ctx context.Context, conn *websocket.Conn) error {
				return conn.Write(ctx, websocket.MessageText, []byte(`{"streams":[{"stream":{"app":"shop"},"values":[["1","a"]]}]}`))
			},
			told: "unavailable: the logs store can't be read now", logged: "version 3.0",
		},
		{
			name: "something else",
			script: func(ctx context.Context, conn *websocket.Conn) error {
				return conn.Write(ctx, websocket.MessageText, []byte(secret))
			},
			told: "unavailable: the logs store can't be read now", logged: "isn't the JSON that it should be",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			finished := make(chan struct{})
			loki := scripted(t, LokiConfig{}, func(w http.ResponseWriter, r *http.Request) {
				defer close(finished)
				if r.URL.Query().Get("query") != `{app="shop"}` || r.Header.Get(encodingHeader) != categorizeLabels {
					http.NotFound(w, r)
					return
				}
				conn, err := websocket.Accept(w, r, nil)
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.CloseNow() //nolint:errcheck // the test has what it wants
				if err := c.script(r.Context(), conn); err != nil && !errors.Is(err, io.EOF) {
					t.Log(err) // the other side may be gone first
				}
				_, _, _ = conn.Read(r.Context()) // until the other side has ended
			})
			taken, leftOut := 0, 0
			err := loki.tailRaw(t.Context(), selection{matchers: shop()}, func() {}, func() { leftOut++ }, func(e rawEntry) error {
				taken++
				if e.line != "a" || e.metadata.Get("pod") != "b" || e.stream.Get("app") != "shop" {
					t.Errorf("took %v", e)
				}
				return nil
			})
			select {
			case <-finished:
			case <-time.After(30 * time.Second):
				t.Fatalf("Loki's side goes on; ours ended with %v", err)
			}
			if got := said(err); got != c.told || taken != c.taken || leftOut != c.leftOut {
				t.Errorf("took %d, want %d; heard %d times of entries left out, want %d; told %q, want %q", taken, c.taken, leftOut, c.leftOut, got, c.told)
			}
			if !strings.Contains(err.Error(), c.logged) || strings.Contains(err.Error(), secret) {
				t.Errorf("the log has %q, want something with %q and nothing of what the backend says", err, c.logged)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		loki := scripted(t, LokiConfig{}, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, secret, http.StatusTooManyRequests) })
		err := loki.tailRaw(t.Context(), selection{matchers: shop()}, func() {}, func() {}, func(rawEntry) error { return nil })
		if !strings.Contains(fmt.Sprint(err), "status 429") || strings.Contains(err.Error(), secret) {
			t.Errorf("refused, and the error is %v", err)
		}
	})
	t.Run("take has enough", func(t *testing.T) {
		loki := scripted(t, LokiConfig{}, func(w http.ResponseWriter, r *http.Request) {
			if conn, err := websocket.Accept(w, r, nil); err == nil {
				_ = conn.Write(r.Context(), websocket.MessageText, []byte(frame+"}"))
				_, _, _ = conn.Read(r.Context())
				_ = conn.CloseNow()
			}
		})
		enough := errors.New("enough")
		if err := loki.tailRaw(t.Context(), selection{matchers: shop()}, func() {}, func() {}, func(rawEntry) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("no stream is named", func(t *testing.T) {
		loki := scripted(t, LokiConfig{}, http.NotFound)
		err := loki.tailRaw(t.Context(), selection{}, func() {}, func() {}, func(rawEntry) error { return nil })
		if !errors.Is(err, errNoTail) {
			t.Errorf("a tail of everything: %v", err)
		}
	})
}
