package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/tenants"
)

const (
	// maxTailFrame is the largest message of a tail that is read.
	maxTailFrame = 64 << 20
	// A tail that ends by itself is asked for again after tailRetryFirst, then
	// later and later, and given up after tailRetries times in a row.
	tailRetryFirst = time.Second
	tailRetries    = 6
	// tailCatchUp is how many lines are asked for of the time between.
	tailCatchUp = 5000
)

// tailFrame is a message of a tail.
type tailFrame struct {
	Streams json.RawMessage `json:"streams"`
	Dropped []struct {
		Labels map[string]string `json:"labels"`
	} `json:"dropped_entries"`
	Completeness federation.Completeness `json:"completeness"`
}

// tail prints lines as they are written, until ctx ends.
func (c *logsCommand) tail(ctx context.Context, expr logql.Expr, now time.Time, stdout, stderr io.Writer) error {
	if _, lines := expr.(*logql.LogSelector); !lines {
		return usage("--tail is for lines, and this asks for numbers")
	}
	switch {
	case c.Time != "" || c.Step != nil || c.Forward:
		return usage("--tail goes on from now: leave out --time, --step and --forward")
	case c.Limit < 0 || c.Since < 0:
		return usage("--limit and --since can't be below 0")
	}
	t := &tailPrinter{
		command: c, lines: linePrinter{w: stdout, how: styleOf(stdout)}, stdout: stdout, stderr: stderr, how: styleOf(stderr),
		start: now.Add(-time.Duration(c.Since)), limit: c.Limit, status: map[tenants.OrgID]federation.Status{},
	}
	wait := tailRetryFirst
	for tries := 0; ; tries++ {
		before := t.frames
		err := t.follow(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // interrupted, which is how a tail ends
		case t.frames > before:
			tries, wait = 0, tailRetryFirst
		}
		var final *finalError
		if t.frames == 0 || tries == tailRetries || errors.As(err, &final) {
			return err
		}
		if err := t.say("the tail ended: %s; it goes on in %s", err, wait); err != nil {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		wait *= 2
	}
}

// finalError is one that another try won't change.
type finalError struct{ error }

// tailPrinter prints a tail: lines to stdout, and what became of organizations
// to stderr.
type tailPrinter struct {
	command        *logsCommand
	lines          linePrinter
	stdout, stderr io.Writer
	how            style

	start  time.Time
	limit  int
	frames int
	status map[tenants.OrgID]federation.Status // what was said last
}

// follow reads one tail until it ends.
func (t *tailPrinter) follow(ctx context.Context) error {
	conn, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.CloseNow() //nolint:errcheck // whatever was to be read has been
	conn.SetReadLimit(maxTailFrame)
	for {
		_, text, err := conn.Read(ctx)
		if err != nil {
			return ended(err)
		}
		t.frames++
		if err := t.take(text); err != nil {
			return &finalError{err}
		}
	}
}

// dial asks for the tail.
func (t *tailPrinter) dial(ctx context.Context) (*websocket.Conn, error) {
	c := t.command
	form := url.Values{
		"query": {c.Expression}, "limit": {strconv.Itoa(t.limit)}, "start": {strconv.FormatInt(t.start.UnixNano(), 10)},
	}
	req, err := c.post(ctx, "loki/api/v1/tail", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Del("Content-Type")
	req.Header.Set(front.EncodingFlagsHeader, front.CategorizeLabels)
	req.URL.RawQuery = form.Encode()
	conn, response, err := websocket.Dial(ctx, req.URL.String(), &websocket.DialOptions{ //nolint:bodyclose // Dial has read it, or it is the connection
		HTTPHeader: req.Header, HTTPClient: &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment}},
	})
	if err == nil {
		return conn, nil
	}
	if response == nil {
		return nil, c.unreachable(err)
	}
	body, _ := io.ReadAll(response.Body) // what Dial has read of it
	var answer queryAnswer
	if json.Unmarshal(body, &answer) != nil || answer.Error == "" {
		return nil, fmt.Errorf("%s answered with status %d and something that isn't a tail of Loki's API; is it a parley gateway?", c.Gateway, response.StatusCode)
	}
	err = errors.New(printable(answer.Error))
	if response.StatusCode < http.StatusInternalServerError {
		return nil, &finalError{err}
	}
	return nil, err
}

// ended is why a tail ended, as its gateway says.
func ended(err error) error {
	var closed websocket.CloseError
	if !errors.As(err, &closed) {
		return errors.New("the connection to the gateway broke")
	}
	reason := errors.New(printable(strings.TrimSuffix(closed.Reason, "; ask again"))) // which is done
	if closed.Reason == "" {
		// Not our gateway's, which says why.
		reason = fmt.Errorf("the connection was closed with status %d", closed.Code)
	}
	if closed.Code == websocket.StatusPolicyViolation {
		return &finalError{reason}
	}
	return reason
}

func (t *tailPrinter) take(text []byte) error {
	var f tailFrame
	if err := json.Unmarshal(text, &f); err != nil {
		return fmt.Errorf("a message of the tail can't be read: %w", err)
	}
	if t.command.Output == "json" {
		if _, err := fmt.Fprintln(t.stdout, string(text)); err != nil {
			return fmt.Errorf("writing the tail: %w", err)
		}
	}
	for _, d := range f.Dropped {
		if err := t.say("%s left out %s lines: more came than could be passed on", d.Labels[federation.OrgLabel], d.Labels[front.DroppedLabel]); err != nil {
			return err
		}
	}
	if f.Completeness != nil { // its streams say the same in lines
		return t.became(f.Completeness)
	}
	lines, err := readLines(f.Streams)
	if err != nil {
		return err
	}
	for _, l := range lines {
		if at := time.Unix(0, l.at+1); at.After(t.start) && !at.After(time.Now()) {
			t.start, t.limit = at, tailCatchUp
		}
	}
	if t.command.Output == "json" {
		return nil
	}
	return t.lines.write(lines)
}

// became says what became of organizations, where that is news.
func (t *tailPrinter) became(parts federation.Completeness) error {
	for _, p := range parts {
		before, known := t.status[p.Org]
		t.status[p.Org] = p.Status
		if before == p.Status {
			continue
		}
		var says []string
		if known && p.Status == federation.Complete {
			says = append(says, "is back")
		}
		if p.Reason != "" {
			says = append(says, p.Reason)
		}
		if !known && len(p.Notices) > 0 {
			says = append(says, "redacted: "+strings.ReplaceAll(strings.Join(p.Notices, "; "), "policy says: ", ""))
		}
		status := string(p.Status)
		if t.how.coloured {
			status = paint(p.Status)
		}
		if err := t.say("%s %s", p.Org, strings.TrimSuffix(status+" "+printable(strings.Join(says, "; ")), " ")); err != nil {
			return err
		}
	}
	return nil
}

// say writes a line to standard error.
func (t *tailPrinter) say(format string, args ...any) error {
	if _, err := fmt.Fprintf(t.stderr, format+"\n", args...); err != nil {
		return fmt.Errorf("writing what became of organizations: %w", err)
	}
	return nil
}
