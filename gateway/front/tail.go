package front

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/coder/websocket"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Tailer takes a tail through the gateway's pipeline, part by part. A
// *gateway.Gateway is one.
type Tailer interface {
	Tail(ctx context.Context, q gateway.Question, door gateway.TailDoor) error
}

const (
	// maxTails run at once at this door.
	maxTails = 100
	// maxTailDelay is Loki's.
	maxTailDelay = 5
	// A client that is gone without a word is noticed by its silence on pings, and
	// one that doesn't read is left.
	pingEvery, pongWithin, readWithin = 20 * time.Second, 10 * time.Second, 30 * time.Second
	// finishWithin is how long a frame may take that is being sent as a tail ends.
	finishWithin = time.Second
	// whoEvery is how often who asks is asked again who that is.
	whoEvery = 10 * time.Second
)

// CompletenessLabel is on lines that a tail adds to those of organizations: they
// say what became of the one in the label org. The value is its status.
const CompletenessLabel = "parley_completeness"

// DroppedLabel is on what stands for entries that were left out. The value is how
// many they are.
const DroppedLabel = "parley_dropped"

// TailFrame is one message of a tail: Loki's, and with Completeness what became of
// the organizations, when that is another than it was. The streams of a frame with
// Completeness say the same in lines, and hold nothing else.
type TailFrame struct {
	Streams       []*lokiStream           `json:"streams"`
	EncodingFlags []string                `json:"encodingFlags,omitempty"`
	Dropped       []droppedEntries        `json:"dropped_entries,omitempty"`
	Completeness  federation.Completeness `json:"completeness,omitempty"`
}

// droppedEntries stands for entries of an organization that were left out. Loki
// names each of them; we know how many there are.
type droppedEntries struct {
	Timestamp string            `json:"timestamp"`
	Labels    map[string]string `json:"labels"`
}

// EndTails ends all tails, waits until they are recorded, and refuses others: the
// door is being closed. Closing its server alone would leave them running.
func (f *Front) EndTails(ctx context.Context) error {
	f.endTails(errGoing)
	for range cap(f.tails) {
		select {
		case f.tails <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("tails did not end: %w", ctx.Err())
		}
	}
	return nil
}

var errGoing = federation.Errorf(federation.Unavailable, "the gateway is being shut down; ask again")

func serveLokiTail(f *Front, w http.ResponseWriter, r *http.Request) {
	q, err := lokiTailQuestion(r, f.config.Now())
	if err != nil {
		writeError(w, badRequest(err))
		return
	}
	s := sessionOf(r.Context())
	refuse := func(err error) { _ = s.fail(err); writeError(w, render(s.failed())) }
	if f.config.Tails == nil {
		refuse(federation.Errorf(federation.BadQuestion, "this gateway has no tails"))
		return
	}
	select {
	case f.tails <- struct{}{}:
		defer func() { <-f.tails }()
	default:
		refuse(federation.Errorf(federation.OverLimit, "%d tails run already", maxTails))
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(f.ending, func() { cancel(errGoing) })()
	question := s.question
	question.Asked = q
	t := &lokiTail{front: f, w: w, r: r, session: s, cancel: cancel, categorized: categorizes(r), known: f.config.Now(), status: map[tenants.OrgID]federation.Status{}}
	defer t.leave()
	err = f.config.Tails.Tail(ctx, question, gateway.TailDoor{StillKnown: t.stillKnown, Encode: t.encode, Send: t.send})
	if t.conn == nil {
		if err != nil && !t.refused {
			refuse(err)
		}
		return
	}
	t.close(err)
}

// lokiTailQuestion reads the parameters of a tail as Loki does.
func lokiTailQuestion(r *http.Request, now time.Time) (logs.Question, error) {
	q := logs.Question{Kind: policy.Tail, Expression: r.FormValue("query"), End: now, Limit: defaultLokiLimit, Backward: true}
	var err error
	if q.Start, err = lokiTime(r.FormValue("start"), now.Add(-defaultLokiSpan)); err != nil {
		return q, fmt.Errorf("invalid parameter %q: %w", "start", err)
	}
	if q.Start.After(now) {
		q.Start = now
	}
	if text := r.FormValue("limit"); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil || q.Limit < 0 {
			return q, fmt.Errorf("invalid parameter %q: want a number from 0 on", "limit")
		}
	}
	if text := r.FormValue("delay_for"); text != "" {
		// Lines wait for earlier ones of others whatever is asked.
		if delay, err := strconv.Atoi(text); err != nil || delay < 0 || delay > maxTailDelay {
			return q, fmt.Errorf("invalid parameter %q: want a number of seconds up to %d", "delay_for", maxTailDelay)
		}
	}
	return q, nil
}

// lokiTail is one tail over a WebSocket. The handshake is answered with the first
// part, so that what is refused is refused as any other request.
type lokiTail struct {
	front       *Front
	w           http.ResponseWriter
	r           *http.Request
	session     *session
	cancel      context.CancelCauseFunc
	categorized bool

	conn    *websocket.Conn
	refused bool      // there is no WebSocket, and the client was told
	known   time.Time // when it was last known who asks
	frames  [][]byte  // of the part that is to be sent
	status  map[tenants.OrgID]federation.Status
	first   federation.Completeness
}

// stillKnown refuses a tail of somebody who isn't known any more, such as one
// whose token has ended.
func (t *lokiTail) stillKnown(context.Context) error {
	now := t.front.config.Now()
	if now.Sub(t.known) < whoEvery {
		return nil
	}
	user, err := t.front.config.Authenticator.User(t.r)
	if err != nil || user != t.session.question.Principal.User {
		return &federation.Error{Kind: federation.Refused, Message: "it isn't known any more for whom the tail is; ask again", Err: err}
	}
	t.known = now
	return nil
}

// encode makes the frames of a part.
func (t *lokiTail) encode(released federation.Released, c federation.Completeness) (int, error) {
	entries, ok := released.(*logs.Released)
	if !ok {
		return 0, fmt.Errorf("a part of type %T in a tail of logs", released)
	}
	t.frames = nil
	now := strconv.FormatInt(t.front.config.Now().UnixNano(), 10)
	rest := entries.Entries()
	for n := frameful(rest); n < len(rest); n = frameful(rest) {
		if err := t.add(t.frame(lokiStreams(rest[:n], t.categorized))); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	data := t.frame(lokiStreams(rest, t.categorized))
	for _, p := range c {
		if p.Dropped > 0 {
			data.Dropped = append(data.Dropped, droppedEntries{now, map[string]string{
				federation.OrgLabel: string(p.Org), DroppedLabel: strconv.Itoa(p.Dropped),
			}})
		}
	}
	if len(data.Streams) > 0 || len(data.Dropped) > 0 {
		if err := t.add(data); err != nil {
			return 0, err
		}
	}
	said := t.frame(nil)
	for _, p := range c {
		before, known := t.status[p.Org]
		t.status[p.Org] = p.Status
		if before == p.Status || !known && (p.Status == federation.Complete || p.Status == federation.NotAsked) {
			continue
		}
		value := lokiValue{now, becameOf(p)}
		if t.categorized {
			value = append(value, lokiCategories{})
		}
		said.Streams = append(said.Streams, &lokiStream{
			Stream: map[string]string{federation.OrgLabel: string(p.Org), CompletenessLabel: string(p.Status)}, Values: []lokiValue{value},
		})
	}
	if len(said.Streams) > 0 || t.conn == nil {
		said.Completeness = c
		if err := t.add(said); err != nil {
			return 0, err
		}
	}
	t.first = c
	return released.Bytes(), nil
}

// frameful is how many of the entries go into one frame: about a megabyte.
func frameful(entries []logs.Entry) int {
	const most = 1 << 20
	size := 0
	for i, e := range entries {
		size += len(e.Line) + int(e.Stream.ByteSize()+e.Metadata.ByteSize()+e.Parsed.ByteSize()) + lineOverhead
		if size > most && i > 0 {
			return i
		}
	}
	return len(entries)
}

// lineOverhead is about what a line takes in a frame beside its text.
const lineOverhead = 64

// becameOf says in a line what became of an organization.
func becameOf(p federation.Part) string {
	if p.Status == federation.Complete {
		return string(p.Org) + " is back: what it wrote meanwhile, as far as it is there, comes now"
	}
	words := string(p.Org) + " is " + string(p.Status)
	if p.Reason != "" {
		words += " (" + p.Reason + ")"
	}
	return words + ": its lines are missing until it is back"
}

func (t *lokiTail) frame(streams []*lokiStream) TailFrame {
	f := TailFrame{Streams: streams}
	if f.Streams == nil {
		f.Streams = []*lokiStream{}
	}
	if t.categorized {
		f.EncodingFlags = []string{CategorizeLabels}
	}
	return f
}

func (t *lokiTail) add(f TailFrame) error {
	text, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("a frame of a tail can't be written: %w", err)
	}
	t.frames = append(t.frames, text)
	return nil
}

// send sends the frames, the first of them after the handshake.
func (t *lokiTail) send(ctx context.Context) error {
	if t.conn == nil {
		t.session.add(t.first)
		if err := t.accept(ctx); err != nil {
			t.refused = true
			return err
		}
	}
	for _, frame := range t.frames {
		if err := t.write(ctx, frame); err != nil {
			return fmt.Errorf("a frame of a tail: %w", err)
		}
	}
	t.frames = nil
	return nil
}

// write sends a frame. When the tail ends meanwhile, what is written of it is
// finished, so that the client can be told why.
func (t *lokiTail) write(ctx context.Context, frame []byte) error {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), readWithin)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		end := time.NewTimer(finishWithin)
		defer end.Stop()
		select {
		case <-end.C:
			cancel()
		case <-within.Done():
		}
	})()
	return t.conn.Write(within, websocket.MessageText, frame)
}

// accept answers the handshake. Pages of other sites are refused: a browser says
// whose page asks.
func (t *lokiTail) accept(ctx context.Context) error {
	conn, err := websocket.Accept(t.w, t.r, nil)
	if err != nil {
		return err
	}
	t.conn = conn
	closed := conn.CloseRead(context.WithoutCancel(ctx)) // who tails has nothing to say
	go func() {
		tick := time.NewTicker(pingEvery)
		defer tick.Stop()
		for {
			select {
			case <-closed.Done():
				t.cancel(context.Canceled)
				return
			case <-tick.C:
			}
			within, done := context.WithTimeout(closed, pongWithin)
			err := conn.Ping(within)
			done()
			if err != nil {
				t.cancel(context.Canceled)
				return
			}
		}
	}()
	return nil
}

// close ends the connection, and says why.
func (t *lokiTail) close(err error) {
	var e *federation.Error
	switch {
	case err == nil:
		_ = t.conn.Close(websocket.StatusGoingAway, "the tail took as long as one may; ask again")
	case errors.As(err, &e):
		_ = t.session.fail(e)
		code := websocket.StatusInternalError
		switch e.Kind {
		case federation.Refused, federation.BadQuestion, federation.NeedsAggregation, federation.OverLimit:
			code = websocket.StatusPolicyViolation
		case federation.Unavailable, federation.DeadlineExceeded:
			code = websocket.StatusGoingAway
		case federation.Internal:
		}
		_ = t.conn.Close(code, beginning(render(e).message))
	default:
		_ = t.conn.CloseNow() // it is the connection that failed
	}
}

// leave closes the connection if that wasn't done, as after a panic: pings would
// keep it open for as long as the client answers them.
func (t *lokiTail) leave() {
	if t.conn != nil {
		_ = t.conn.CloseNow() // or it is closed
	}
}

// beginning is as much of a text as the reason of a closed WebSocket holds.
func beginning(text string) string {
	const most = 123
	for len(text) > most {
		cut := []rune(text)
		text = string(cut[:len(cut)-1])
	}
	return text
}
