package gatewaytest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/tenants"
)

// Tail is a tail that a user of an organization reads.
type Tail struct {
	org *Org
	// Reply is the answer to the handshake; its body is there when there is no tail.
	Reply Reply

	conn  *websocket.Conn
	stall chan struct{} // full while no message is to be read
	ended chan struct{} // closed when nothing more comes

	mu      sync.Mutex
	err     error                               // guarded by mu
	lines   []TailedLine                        // guarded by mu
	notices []string                            // guarded by mu
	dropped int                                 // guarded by mu
	parts   map[tenants.OrgID]federation.Status // guarded by mu
}

// TailedLine is a line that came.
type TailedLine struct {
	At     time.Time
	Text   string
	Labels labels.Labels
}

// Tails asks for a tail at the organization's front door, with the last lines of
// the hour before now; it is read until the test ends.
func (o *Org) Tails(expr string, limit int, header ...string) *Tail {
	o.world.t.Helper()
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	address := "ws" + strings.TrimPrefix(o.URL(), "http") + "/loki/api/v1/tail?" + url.Values{
		"query": {expr}, "limit": {strconv.Itoa(limit)},
	}.Encode()
	ctx, cancel := context.WithCancel(context.Background())
	t := &Tail{org: o, stall: make(chan struct{}, 1), ended: make(chan struct{}), parts: map[tenants.OrgID]federation.Status{}}
	conn, response, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPHeader: h, HTTPClient: o.world.client}) //nolint:bodyclose // Dial has read it
	if response != nil {
		t.Reply = Reply{Code: response.StatusCode, Header: response.Header}
		if err != nil {
			t.Reply.Body, _ = io.ReadAll(response.Body) // of what Dial has read
		}
	}
	if err != nil {
		cancel()
		t.err = err
		close(t.ended)
		return t
	}
	conn.SetReadLimit(16 << 20)
	t.conn = conn
	go t.read(ctx)
	o.world.t.Cleanup(func() { cancel(); <-t.ended })
	return t
}

func (t *Tail) read(ctx context.Context) {
	defer close(t.ended)
	for {
		_, frame, err := t.conn.Read(ctx)
		select {
		case t.stall <- struct{}{}: // it may go on
			<-t.stall
		case <-ctx.Done():
		}
		t.mu.Lock()
		if err == nil {
			err = t.take(frame)
		}
		t.err = err
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// take needs mu.
func (t *Tail) take(frame []byte) error {
	var f struct {
		Streams []struct {
			Stream map[string]string   `json:"stream"`
			Values [][]json.RawMessage `json:"values"`
		} `json:"streams"`
		Dropped []struct {
			Labels map[string]string `json:"labels"`
		} `json:"dropped_entries"`
		Completeness federation.Completeness `json:"completeness"`
	}
	if err := json.Unmarshal(frame, &f); err != nil {
		return err
	}
	for _, p := range f.Completeness {
		t.parts[p.Org] = p.Status
	}
	for _, d := range f.Dropped {
		n, err := strconv.Atoi(d.Labels[front.DroppedLabel])
		if err != nil {
			return err
		}
		t.dropped += n
	}
	for _, s := range f.Streams {
		for _, v := range s.Values {
			var at, text string
			if err := json.Unmarshal(v[0], &at); err != nil {
				return err
			}
			if err := json.Unmarshal(v[1], &text); err != nil {
				return err
			}
			ns, err := strconv.ParseInt(at, 10, 64)
			if err != nil {
				return err
			}
			if s.Stream[front.CompletenessLabel] != "" {
				t.notices = append(t.notices, text)
				continue
			}
			t.lines = append(t.lines, TailedLine{time.Unix(0, ns), text, labels.FromMap(s.Stream)})
		}
	}
	return nil
}

// Lines are those that came so far, in the order in which they did.
func (t *Tail) Lines() []TailedLine {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.lines)
}

// Texts are the lines that came so far, each with its organization.
func (t *Tail) Texts() []string {
	var out []string
	for _, l := range t.Lines() {
		out = append(out, l.Labels.Get(federation.OrgLabel)+" "+l.Text)
	}
	return out
}

// Has says whether a line came, of an organization.
func (t *Tail) Has(org tenants.OrgID, text string) bool {
	return slices.Contains(t.Texts(), string(org)+" "+text)
}

// Notices are the lines that the gateway added.
func (t *Tail) Notices() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.notices)
}

// Status is what was said last of an organization.
func (t *Tail) Status(org tenants.OrgID) federation.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.parts[org]
}

// Dropped is how many lines were said to be left out.
func (t *Tail) Dropped() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dropped
}

// Stalls makes the reader read no more than the message it waits for.
func (t *Tail) Stalls() { t.stall <- struct{}{} }

// Resumes ends what Stalls began.
func (t *Tail) Resumes() { <-t.stall }

// Close ends the tail as a client that leaves does.
func (t *Tail) Close() {
	if t.conn != nil {
		_ = t.conn.Close(websocket.StatusNormalClosure, "") // or it has ended by itself
		<-t.ended
	}
}

// Ended waits for the end and returns why it came.
func (t *Tail) Ended() error {
	t.org.world.t.Helper()
	t.org.Eventually("the tail ends", func() bool {
		select {
		case <-t.ended:
			return true
		default:
			return false
		}
	})
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// Says writes a line to the organization's logs now.
func (o *Org) Says(text string, stream ...string) {
	o.world.t.Helper()
	if err := o.Writes().Append(time.Now(), text, labels.FromStrings(stream...), labels.EmptyLabels()); err != nil {
		o.world.t.Fatal(err)
	}
}
