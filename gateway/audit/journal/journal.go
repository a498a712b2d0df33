// Package journal keeps lines so that they survive a crash: a line that was
// accepted is on the disk, whole and in order, or the caller was told that it
// isn't.
//
//	j, err := journal.Open(journal.Dir("/var/lib/parley/audit"), journal.Options{})
//	err = j.Append(ctx, []byte(`{"v":1}`)) // returns after fsync
//	err = j.Close()
//
//	for line, err := range journal.Lines(os.DirFS("/var/lib/parley/audit")) { ... }
//
// Lines are opaque here; what they say is the business of package audit. Many
// concurrent Appends share one fsync (group commit). When a write or an fsync
// fails, every line of that batch is refused, and so is every later one until
// the file has been opened again, cut back to its last durable byte, and has
// proved that it can be written.
//
// A journal is a directory of files audit-00000001.jsonl, audit-00000002.jsonl,
// ..., of which only the last one grows. One process has it open at a time.
package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
)

// Options of a journal. The zero value is fit for use.
type Options struct {
	// MaxFileSize is the size in bytes at which a new file is begun; a file
	// exceeds it by less than one batch. Zero is 64 MiB.
	MaxFileSize int64
	// Logger is told of repairs and failures, never of what lines say. Nil
	// discards.
	Logger *slog.Logger
}

const (
	defaultMaxFileSize = 64 << 20
	// MaxLine is the longest line accepted, in bytes, newline excluded.
	MaxLine = 16 << 20
	// maxBatch is when a batch takes no more lines, in bytes.
	maxBatch = 1 << 20
	// queueLen is how many lines may wait for the batch under way.
	queueLen = 1024
)

// ErrClosed is returned for a line that came after Close.
var ErrClosed = errors.New("the journal is closed")

// Journal appends lines. It is safe for concurrent use.
type Journal struct {
	log    *slog.Logger
	unlock io.Closer
	queue  chan *entry
	// closing is closed by Close; stopped by run, after the last entry has got
	// its answer.
	closing, stopped chan struct{}
	closeOnce        sync.Once
	closeErr         error
	// failure is the error of the last batch, nil when it is durable. Written
	// by run alone.
	failure atomic.Pointer[error]
	// tail is run's alone.
	tail *tail
}

// entry is a line on its way to the disk. An empty one only asks whether the
// journal can be written.
type entry struct {
	line []byte
	done chan error // buffered: run never waits for a caller
}

// Open locks the journal on disk, repairs what a crash left and starts
// accepting lines. What it cuts from the end of the last file is moved to a file
// beside it, and logged.
func Open(disk Disk, o Options) (*Journal, error) {
	if o.MaxFileSize <= 0 {
		o.MaxFileSize = defaultMaxFileSize
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	unlock, err := disk.Lock()
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	t, err := openTail(disk, o.MaxFileSize, o.Logger)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("journal: %w", err), unlock.Close())
	}
	j := &Journal{
		log:     o.Logger,
		unlock:  unlock,
		queue:   make(chan *entry, queueLen),
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
		tail:    t,
	}
	go j.run()
	return j, nil
}

// Append returns nil once the line is durable. After an error the line may or
// may not be in the journal. A line holds neither newline nor NUL, and nobody
// may modify it any more.
//
// When ctx ends first, Append returns its cause, and the line is written
// nonetheless; only a ctx that ends while a thousand other lines wait for a
// stalled disk gives the line up, which the error then says.
func (j *Journal) Append(ctx context.Context, line []byte) error {
	if len(line) == 0 || len(line) > MaxLine {
		return fmt.Errorf("journal: a line of %d bytes; 1 to %d are accepted", len(line), MaxLine)
	}
	if bytes.ContainsAny(line, "\n\x00") {
		return errors.New("journal: a line with a newline or a NUL byte in it")
	}
	return j.submit(ctx, line)
}

// Check returns nil when the journal takes lines. After a failure it tries, as
// the next Append would, to repair the journal. It is meant for readiness.
func (j *Journal) Check(ctx context.Context) error {
	select {
	case <-j.closing:
		return ErrClosed
	default:
	}
	if j.failure.Load() == nil {
		return nil
	}
	return j.submit(ctx, nil)
}

func (j *Journal) submit(ctx context.Context, line []byte) error {
	select {
	case <-j.closing:
		return ErrClosed
	default:
	}
	e := &entry{line: line, done: make(chan error, 1)}
	// First without a look at ctx: a caller that is gone still leaves its line.
	select {
	case j.queue <- e:
	default:
		select {
		case j.queue <- e:
		case <-j.closing:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("journal: the disk is behind by %d lines and this one was not queued: %w", queueLen, context.Cause(ctx))
		}
	}
	select {
	case err := <-e.done:
		return err
	case <-j.stopped:
		return e.answer(ErrClosed)
	case <-ctx.Done():
		return e.answer(fmt.Errorf("journal: the line was not durable yet: %w", context.Cause(ctx)))
	}
}

// answer is what run said of the entry, or otherwise when it has said nothing.
func (e *entry) answer(otherwise error) error {
	select {
	case err := <-e.done:
		return err
	default:
		return otherwise
	}
}

// Close writes what is queued, releases the lock and returns the first of
// their errors. Later calls return the same.
func (j *Journal) Close() error {
	j.closeOnce.Do(func() {
		close(j.closing)
		<-j.stopped
		j.closeErr = errors.Join(j.tail.close(), j.unlock.Close())
		if failure := j.failure.Load(); failure != nil {
			j.closeErr = errors.Join(*failure, j.closeErr)
		}
	})
	return j.closeErr
}

// run owns the tail: it turns what is queued into batches, one write and one
// fsync each.
func (j *Journal) run() {
	defer close(j.stopped)
	var batch []*entry
	var buf []byte
	for {
		var first *entry
		select {
		case first = <-j.queue:
		case <-j.closing:
			select {
			case first = <-j.queue:
			default:
				return
			}
		}
		batch, buf = append(batch[:0], first), appendLine(buf[:0], first.line)
	gather:
		for len(buf) < maxBatch {
			select {
			case e := <-j.queue:
				batch, buf = append(batch, e), appendLine(buf, e.line)
			default:
				break gather
			}
		}
		err := j.commit(buf)
		for _, e := range batch {
			e.done <- err
		}
		clear(batch)
		if cap(buf) > 2*maxBatch {
			buf = nil
		}
	}
}

func (j *Journal) commit(lines []byte) error {
	err := j.tail.append(lines)
	switch failed := j.failure.Load() != nil; {
	case err != nil:
		err = fmt.Errorf("journal: %w", err)
		if !failed {
			j.log.Error("the audit journal can't be written; questions are refused until it can", "error", err)
		}
		j.failure.Store(&err)
	case failed:
		j.failure.Store(nil)
		j.log.Info("the audit journal can be written again", "file", fileName(j.tail.seq))
	}
	return err
}

func appendLine(buf, line []byte) []byte {
	if len(line) == 0 {
		return buf
	}
	return append(append(buf, line...), '\n')
}
