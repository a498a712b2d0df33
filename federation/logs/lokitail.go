package logs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/coder/websocket"
)

const (
	// tailSince is how far before now a tail begins, for a server whose clock is
	// behind ours refuses one that begins later than now.
	tailSince = 5 * time.Second
	// tailBegins is how long after the handshake a tail has begun. Loki answers that
	// before its ingesters know of the tail: what comes between is in no tail.
	tailBegins = time.Second
	// A server that is gone without a word is noticed by its silence on pings.
	pingEvery, pongWithin = 20 * time.Second, 10 * time.Second
)

// tailRaw reads /loki/api/v1/tail, over WebSocket. Loki ends a tail after
// tail_max_duration, by default an hour.
//
// It says which streams it left out entries of, but when these are many forgets
// some, so that any may be among them.
func (l *Loki) tailRaw(ctx context.Context, s selection, begun, leftOut func(), take func(rawEntry) error) error {
	known := pushable(s.matchers)
	if !demanding(known) {
		return errNoTail
	}
	target := l.endpoint("tail")
	target.RawQuery = url.Values{
		"query": {queryText(selectorText(known), s)}, "start": {timestamp(l.config.Now().Add(-tailSince))}, "limit": {"1"},
	}.Encode()
	conn, response, err := websocket.Dial(ctx, target.String(), &websocket.DialOptions{ //nolint:bodyclose // Dial has read it, or it is the connection
		HTTPClient: l.config.Client, HTTPHeader: http.Header{encodingHeader: {categorizeLabels}},
	})
	if err != nil {
		return l.unavailable("tail", dialError(ctx, response, err))
	}
	defer conn.CloseNow() //nolint:errcheck // whatever was to be read has been
	conn.SetReadLimit(l.maxAnswer)
	begins := time.AfterFunc(tailBegins, begun)
	defer begins.Stop()
	ctx, cancel := context.WithCancelCause(ctx)
	pinged := make(chan struct{})
	go func() { defer close(pinged); ping(ctx, conn, cancel) }()
	defer func() { cancel(nil); <-pinged }()
	for {
		_, frame, err := conn.Read(ctx)
		if err != nil {
			return l.unavailable("tail", readError(ctx, err))
		}
		entries, dropped, err := readFrame(frame)
		if err != nil {
			return l.unavailable("tail", err)
		}
		if dropped {
			leftOut()
		}
		for _, e := range entries {
			if !s.matches(e.stream) {
				continue
			}
			if err := take(e); err != nil {
				return err
			}
		}
	}
}

// readFrame reads the entries of a message, in order of time, and whether it says
// that others were left out.
func readFrame(frame []byte) (entries []rawEntry, dropped bool, err error) {
	d := json.NewDecoder(bytes.NewReader(frame))
	var read streamReader
	err = fields(d, func(name string) error {
		switch name {
		case "streams":
			return read.streams(d)
		case "encodingFlags":
			return read.flags(d)
		case "dropped_entries":
			var of []json.RawMessage
			err := d.Decode(&of)
			dropped = dropped || len(of) > 0
			return err
		}
		return d.Decode(&json.RawMessage{})
	})
	if err != nil {
		return nil, false, unreadable(err)
	}
	slices.SortStableFunc(read.entries, func(a, b rawEntry) int { return cmp.Compare(a.at, b.at) })
	return read.entries, dropped, read.check()
}

// ping ends the connection when a ping isn't answered.
func ping(ctx context.Context, conn *websocket.Conn, cancel context.CancelCauseFunc) {
	every := time.NewTicker(pingEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		within, done := context.WithTimeout(ctx, pongWithin)
		err := conn.Ping(within)
		done()
		if err != nil && ctx.Err() == nil {
			cancel(errSilent)
			return
		}
	}
}

var errSilent = fmt.Errorf("a ping wasn't answered within %s", pongWithin)

// dialError is why there is no connection. Texts of the library may have what
// the server says.
func dialError(ctx context.Context, response *http.Response, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case response != nil:
		return statusError(response.StatusCode)
	}
	return err
}

// readError is why nothing more can be read.
func readError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if code := websocket.CloseStatus(err); code != -1 {
		return fmt.Errorf("the tail was closed with status %d", code)
	}
	return errors.New("the connection of the tail ended")
}
