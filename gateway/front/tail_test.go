package front_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// tailer gives what a test says, as a gateway does.
type tailer func(ctx context.Context, q gateway.Question, give func(federation.Completeness, ...logs.Entry) error) error

func (t tailer) Tail(ctx context.Context, q gateway.Question, door gateway.TailDoor) error {
	return t(ctx, q, func(c federation.Completeness, entries ...logs.Entry) error {
		if err := door.StillKnown(ctx); err != nil {
			return err
		}
		if _, err := door.Encode(logs.Received(logs.Answer{Entries: entries}), c); err != nil {
			return err
		}
		return door.Send(ctx)
	})
}

// soon ends what a test waits for in vain.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// tailsAt is a door with tails, at a moment.
func tailsAt(t *testing.T, at time.Time, tails tailer, change ...func(*front.Config)) (url string, d *door) {
	t.Helper()
	d = open(t, &pipeline{store: store()}, append([]func(*front.Config){func(c *front.Config) {
		c.Tails, c.Now = tails, func() time.Time { return at }
	}}, change...)...)
	server := httptest.NewUnstartedServer(nil)
	server.Config = front.NewServer("", d.handler)
	server.Start()
	t.Cleanup(server.Close)
	return server.URL, d
}

func dialTail(t *testing.T, url, query string, header http.Header) (conn *websocket.Conn, status int, answered http.Header, err error) {
	t.Helper()
	conn, response, err := websocket.Dial(soon(t), "ws"+strings.TrimPrefix(url, "http")+"/loki/api/v1/tail?"+query,
		&websocket.DialOptions{HTTPHeader: header, HTTPClient: &http.Client{Transport: transport(t)}})
	if conn != nil {
		t.Cleanup(func() { _ = conn.CloseNow() })
	}
	if response != nil {
		if response.Body != nil {
			_ = response.Body.Close() // Dial has read it
		}
		status, answered = response.StatusCode, response.Header
	}
	return conn, status, answered, err
}

func tailLine(at time.Time, line string, stream ...string) logs.Entry {
	e := logs.Entry{At: at.UnixNano()}
	e.Line, e.Stream, e.Metadata, e.Parsed = line, labels.FromStrings(stream...), labels.FromStrings("trace_id", "t1"), labels.FromStrings("level", "info")
	return e
}

// What Grafana's live mode and logcli --tail send, and the frames that they get.
func TestTailOfRealClients(t *testing.T) {
	at := time.Unix(1_700_000_000, 500).UTC()
	complete := federation.Completeness{{Org: "acme", Status: federation.Complete}, {Org: "globex", Status: federation.Complete}, {Org: "initech", Status: federation.NotAsked}}
	gone := federation.Completeness{{Org: "acme", Status: federation.Complete, Dropped: 3}, {Org: "globex", Status: federation.Unreachable, Reason: "can't be reached"}, {Org: "initech", Status: federation.NotAsked}}
	const lines = `{"streams":[{"stream":{"level":"info","org":"acme","service":"checkout","trace_id":"t1"},"values":[["1700000000000000000","a"],["1700000001000000000","c"]]},` +
		`{"stream":{"level":"info","org":"globex","trace_id":"t1"},"values":[["1700000000000000001","b"]]}]`
	for _, c := range []struct {
		client, query string
		header        http.Header
		start         time.Time
		limit         int
		frames        []string
	}{
		{
			client: "Grafana 13.1 live mode", query: "query=%7Bservice%3D%22checkout%22%7D",
			start: at.Add(-time.Hour), limit: 100,
			frames: []string{
				`{"streams":[],"completeness":[{"org":"acme","status":"complete"},{"org":"globex","status":"complete"},{"org":"initech","status":"not-asked"}]}`,
				lines + `,"dropped_entries":[{"timestamp":"1700000000000000500","labels":{"org":"acme","parley_dropped":"3"}}]}`,
				`{"streams":[{"stream":{"org":"globex","parley_completeness":"unreachable"},"values":[["1700000000000000500","globex is unreachable (can't be reached): its lines are missing until it is back"]]}],` +
					`"completeness":[{"org":"acme","status":"complete","dropped":3},{"org":"globex","status":"unreachable","reason":"can't be reached"},{"org":"initech","status":"not-asked"}]}`,
				`{"streams":[{"stream":{"org":"globex","parley_completeness":"complete"},"values":[["1700000000000000500","globex is back: what it wrote meanwhile, as far as it is there, comes now"]]}],` +
					`"completeness":[{"org":"acme","status":"complete"},{"org":"globex","status":"complete"},{"org":"initech","status":"not-asked"}]}`,
			},
		},
		{
			client: "logcli 3.7 query --tail --limit 30 --since 10m --delay-for 5",
			query:  "delay_for=5&limit=30&query=%7Bservice%3D%22checkout%22%7D&start=1699999400000000500",
			header: http.Header{"User-Agent": {"loki-logcli/v3.7.8"}, "X-Scope-Orgid": {"x"}},
			start:  at.Add(-10 * time.Minute), limit: 30,
			frames: []string{
				`{"streams":[],"completeness":[{"org":"acme","status":"complete"},{"org":"globex","status":"complete"},{"org":"initech","status":"not-asked"}]}`,
				lines + `,"dropped_entries":[{"timestamp":"1700000000000000500","labels":{"org":"acme","parley_dropped":"3"}}]}`,
			},
		},
		{
			client: "one that wants categories", query: "query=%7Bservice%3D%22checkout%22%7D",
			header: http.Header{front.EncodingFlagsHeader: {front.CategorizeLabels}}, start: at.Add(-time.Hour), limit: 100,
			frames: []string{
				`{"streams":[],"encodingFlags":["categorize-labels"],"completeness":[{"org":"acme","status":"complete"},{"org":"globex","status":"complete"},{"org":"initech","status":"not-asked"}]}`,
				`{"streams":[{"stream":{"org":"acme","service":"checkout"},"values":[["1700000000000000000","a",{"structuredMetadata":{"trace_id":"t1"},"parsed":{"level":"info"}}],["1700000001000000000","c",{"structuredMetadata":{"trace_id":"t1"},"parsed":{"level":"info"}}]]},` +
					`{"stream":{"org":"globex"},"values":[["1700000000000000001","b",{"structuredMetadata":{"trace_id":"t1"},"parsed":{"level":"info"}}]]}],"encodingFlags":["categorize-labels"],` +
					`"dropped_entries":[{"timestamp":"1700000000000000500","labels":{"org":"acme","parley_dropped":"3"}}]}`,
				`{"streams":[{"stream":{"org":"globex","parley_completeness":"unreachable"},"values":[["1700000000000000500","globex is unreachable (can't be reached): its lines are missing until it is back",{}]]}],"encodingFlags":["categorize-labels"],` +
					`"completeness":[{"org":"acme","status":"complete","dropped":3},{"org":"globex","status":"unreachable","reason":"can't be reached"},{"org":"initech","status":"not-asked"}]}`,
			},
		},
	} {
		t.Run(c.client, func(t *testing.T) {
			asked := make(chan gateway.Question, 1)
			url, _ := tailsAt(t, at, func(ctx context.Context, q gateway.Question, give func(federation.Completeness, ...logs.Entry) error) error {
				asked <- q
				first := at.Truncate(time.Second)
				return errors.Join(
					give(complete),
					give(gone, tailLine(first, "a", "org", "acme", "service", "checkout"), tailLine(first.Add(1), "b", "org", "globex"), tailLine(first.Add(time.Second), "c", "org", "acme", "service", "checkout")),
					give(federation.Completeness{{Org: "globex", Status: federation.Unreachable}}), // nothing new
					give(complete),
				)
			})
			conn, _, answered, err := dialTail(t, url, c.query, c.header)
			if err != nil {
				t.Fatal(err)
			}
			q := <-asked
			want := logs.Question{Kind: policy.Tail, Expression: `{service="checkout"}`, Start: c.start, End: at, Limit: c.limit, Backward: true}
			if got := q.Asked.(logs.Question); got.Kind != want.Kind || got.Expression != want.Expression || !got.Start.Equal(want.Start) || !got.End.Equal(want.End) || got.Limit != want.Limit || !got.Backward {
				t.Errorf("asked %+v, want %+v", got, want)
			}
			if q.Door != gateway.FrontDoor || q.Principal.User.Subject != "ada" || q.Principal.Purpose != "capacity" {
				t.Errorf("asked %+v", q)
			}
			if id := answered.Get(front.ExchangeHeader); id != string(q.ExchangeID) {
				t.Errorf("the exchange is said to be %q", id)
			}
			if parts := answered.Get(front.CompletenessHeader); !strings.Contains(parts, `"globex"`) {
				t.Errorf("the completeness is %q", parts)
			}
			within := soon(t)
			for i, want := range c.frames {
				_, frame, err := conn.Read(within)
				if err != nil || string(frame) != want {
					t.Errorf("frame %d: %v\n got %s\nwant %s", i, err, frame, want)
				}
			}
		})
	}
}

// Frames are of about a megabyte, labels included.
func TestTailFramesAreBounded(t *testing.T) {
	at := time.Unix(1_700_000_000, 0).UTC()
	const lines = 20
	url, _ := tailsAt(t, at, func(_ context.Context, _ gateway.Question, give func(federation.Completeness, ...logs.Entry) error) error {
		var entries []logs.Entry
		for i := range lines {
			e := tailLine(at.Add(time.Duration(i)), "a", "org", "acme")
			e.Metadata = labels.FromStrings("trace", strings.Repeat("x", 200_000))
			entries = append(entries, e)
		}
		return give(federation.Completeness{{Org: "acme", Status: federation.Complete}}, entries...)
	})
	conn, _, _, err := dialTail(t, url, "query=%7Ba%3D%22b%22%7D", http.Header{front.EncodingFlagsHeader: {front.CategorizeLabels}})
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(2 << 20)
	within := soon(t)
	for got := 0; got < lines; {
		_, frame, err := conn.Read(within)
		if err != nil {
			t.Fatalf("after %d lines: %v", got, err)
		}
		got += strings.Count(string(frame), `"trace":`)
	}
}

func TestTailParameters(t *testing.T) {
	_, d := tailsAt(t, time.Now(), func(context.Context, gateway.Question, func(federation.Completeness, ...logs.Entry) error) error {
		return federation.Errorf(federation.BadQuestion, "got as far as the gateway")
	})
	for query, want := range map[string]string{
		`query={a="b"}`:                 "got as far as the gateway",
		`query={a="b"}&limit=0&start=1`: "got as far as the gateway",
		`query={a="b"}&limit=-1`:        "limit",
		`query={a="b"}&limit=x`:         "limit",
		`query={a="b"}&start=yesterday`: "start",
		`query={a="b"}&delay_for=6`:     "delay_for",
		`query={a="b"}&delay_for=x`:     "delay_for",
		`query={a="b"}&step=1`:          "isn't known; /loki/api/v1/tail takes query, start, limit, delay_for",
		`query={a="b"}&query={a="c"}`:   "given 2 times",
	} {
		r := d.get("/loki/api/v1/tail?" + strings.NewReplacer("{", "%7B", "}", "%7D", `"`, "%22").Replace(query))
		if r.status != http.StatusBadRequest || !strings.Contains(r.body.Error, want) {
			t.Errorf("%s: %d %s", query, r.status, r.raw)
		}
	}
}

// A tail ends when it isn't known any more who reads it, when the door is closed,
// and when its time is over; the client is told which.
func TestTailEnds(t *testing.T) {
	goesOn := func(ctx context.Context, _ gateway.Question, give func(federation.Completeness, ...logs.Entry) error) error {
		for {
			if err := give(federation.Completeness{{Org: "acme", Status: federation.Complete}}, tailLine(time.Now(), "line", "org", "acme")); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(time.Millisecond):
			}
		}
	}
	read := func(t *testing.T, conn *websocket.Conn) error {
		t.Helper()
		within := soon(t)
		for {
			if _, _, err := conn.Read(within); err != nil {
				return err
			}
		}
	}
	t.Run("somebody isn't known any more", func(t *testing.T) {
		var now atomic.Int64
		now.Store(time.Now().UnixNano())
		who := &forgetful{}
		url, _ := tailsAt(t, time.Time{}, goesOn, func(c *front.Config) {
			c.Authenticator, c.Now = who, func() time.Time { return time.Unix(0, now.Load()) }
		})
		conn, _, _, err := dialTail(t, url, `query={a="b"}`, nil)
		if err != nil {
			t.Fatal(err)
		}
		who.forgot.Store(true)
		now.Add(time.Minute.Nanoseconds())
		if err := read(t, conn); websocket.CloseStatus(err) != websocket.StatusPolicyViolation || !strings.Contains(err.Error(), "isn't known any more") {
			t.Errorf("it ended with %v", err)
		}
	})
	t.Run("the door is closed", func(t *testing.T) {
		url, d := tailsAt(t, time.Now(), goesOn)
		conn, _, _, err := dialTail(t, url, `query={a="b"}`, nil)
		if err != nil {
			t.Fatal(err)
		}
		ended, within := make(chan error, 1), soon(t)
		go func() { ended <- d.handler.EndTails(within) }()
		if err := read(t, conn); websocket.CloseStatus(err) != websocket.StatusGoingAway || !strings.Contains(err.Error(), "shut down") {
			t.Errorf("it ended with %v", err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, status, _, err := dialTail(t, url, `query={a="b"}`, nil); err == nil || status != http.StatusBadRequest {
			t.Errorf("another one got %d, %v", status, err)
		}
	})
	t.Run("its time is over", func(t *testing.T) {
		url, _ := tailsAt(t, time.Now(), func(_ context.Context, _ gateway.Question, give func(federation.Completeness, ...logs.Entry) error) error {
			return give(nil)
		})
		conn, _, _, err := dialTail(t, url, `query={a="b"}`, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := read(t, conn); websocket.CloseStatus(err) != websocket.StatusGoingAway || !strings.Contains(err.Error(), "ask again") {
			t.Errorf("it ended with %v", err)
		}
	})
	t.Run("a defect", func(t *testing.T) {
		url, _ := tailsAt(t, time.Now(), func(_ context.Context, _ gateway.Question, give func(federation.Completeness, ...logs.Entry) error) error {
			_ = give(nil)
			panic("a defect")
		})
		conn, _, _, err := dialTail(t, url, `query={a="b"}`, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := read(t, conn); errors.Is(err, context.DeadlineExceeded) {
			t.Error("the connection stays")
		}
	})
	t.Run("the reader leaves", func(t *testing.T) {
		left, within := make(chan error, 1), soon(t)
		url, _ := tailsAt(t, time.Now(), func(ctx context.Context, _ gateway.Question, give func(federation.Completeness, ...logs.Entry) error) error {
			err := give(nil) // the reader may be gone before it is sent
			select {
			case <-ctx.Done():
				left <- ctx.Err()
			case <-within.Done():
				left <- errors.New("nobody noticed")
			}
			return err
		})
		conn, _, _, err := dialTail(t, url, `query={a="b"}`, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	})
}

// forgetful knows everybody until it has forgotten.
type forgetful struct{ forgot atomic.Bool }

func (f *forgetful) User(*http.Request) (tenants.User, error) {
	if f.forgot.Load() {
		return tenants.User{}, errors.New("the token has ended")
	}
	return tenants.User{Subject: "ada", Proof: tenants.ProvenByJWT}, nil
}

// A page of another site can't read a tail, whatever its browser would send along.
func TestTailOfAnotherSite(t *testing.T) {
	url, _ := tailsAt(t, time.Now(), func(_ context.Context, _ gateway.Question, give func(federation.Completeness, ...logs.Entry) error) error {
		return give(nil)
	})
	if _, status, _, err := dialTail(t, url, `query={a="b"}`, http.Header{"Origin": {"https://elsewhere.example"}}); err == nil || status != http.StatusForbidden {
		t.Errorf("it was let in: %v", err)
	}
	if _, _, _, err := dialTail(t, url, `query={a="b"}`, http.Header{"Origin": {url}}); err != nil {
		t.Errorf("a page of this door isn't let in: %v", err)
	}
}
