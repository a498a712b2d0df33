package audit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/audit/journal"
)

// Config of an audit log.
type Config struct {
	// Dir holds the files and belongs to this gateway alone. It is made, for
	// its owner only, if it isn't there.
	Dir string
	// MaxFileSize is the size in bytes at which a new file is begun. Zero is
	// 64 MiB. Files are never overwritten or removed.
	MaxFileSize int64
	// Logger is told when the log can't be written and when it can again, and
	// of what a crash left; never what a record says. Nil discards.
	Logger *slog.Logger
	// Window is for how long repetitions of a refusal are counted before they
	// are recorded. Zero is 10 s.
	Window time.Duration
}

// Log is an audit log, safe for concurrent use.
type Log struct {
	journal  *journal.Journal
	refusals *refusals
}

var _ gateway.Auditor = (*Log)(nil)

// Open opens the log in c.Dir. It fails when another process has it open.
func Open(c Config) (*Log, error) {
	if c.Dir == "" {
		return nil, fmt.Errorf("audit: no directory is configured for the audit log; without one nothing may be answered")
	}
	return open(journal.Dir(c.Dir), c)
}

func open(disk journal.Disk, c Config) (*Log, error) {
	j, err := journal.Open(disk, journal.Options{MaxFileSize: c.MaxFileSize, Logger: c.Logger})
	if err != nil {
		return nil, fmt.Errorf("audit: open the log in %s: %w", c.Dir, err)
	}
	l := &Log{journal: j}
	l.refusals = countRefusals(cmp.Or(c.Window, defaultWindow), func(r Record) error {
		return l.write(context.Background(), r) // until it is known whether it is there
	})
	return l, nil
}

// Record returns nil once the exchange is durable, having shared the fsync with
// other exchanges. After an error nothing of the answer may leave; the exchange
// may or may not be in the log. An ended ctx doesn't keep the exchange from being
// written, but the error is then that of ctx if it isn't durable yet.
//
// Questions that were turned away are an exception. Within a Window the first
// of those of one asker for one reason is recorded like any other; the others
// are counted, for which Record returns nil at once, and their number is
// recorded when the window or the log ends. A crash loses the numbers of its
// last window.
func (l *Log) Record(ctx context.Context, x gateway.Exchange) error {
	if !l.refusals.first(x) {
		return nil
	}
	if err := l.write(ctx, Of(x)); err != nil {
		l.refusals.forget(x)
		return fmt.Errorf("audit: exchange %s is not recorded: %w", x.ID, err)
	}
	return nil
}

// write makes a record durable.
func (l *Log) write(ctx context.Context, r Record) error {
	line, err := encode(r)
	if err != nil {
		return err
	}
	return l.journal.Append(ctx, line)
}

// Check returns nil when exchanges can be recorded. After a failure it tries to
// repair the log. It is meant for readiness.
func (l *Log) Check(ctx context.Context) error {
	if err := l.journal.Check(ctx); err != nil {
		return fmt.Errorf("audit: exchanges can't be recorded: %w", err)
	}
	return nil
}

// Close makes everything that was handed to Record durable, what was counted
// included, and releases the directory.
func (l *Log) Close() error {
	l.refusals.close()
	if err := l.journal.Close(); err != nil {
		return fmt.Errorf("audit: close: %w", err)
	}
	return nil
}

// encode is the line of a record, without the newline.
func encode(r Record) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // queries are full of < and >; people grep for them
	if err := enc.Encode(r); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'}), nil
}
