package replay

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/parley-gateway/parley/gateway/audit"
	"github.com/parley-gateway/parley/gateway/audit/journal"
)

// batch are records that were next to each other in the log. Reading JSON takes
// most of a replay's time, and so is done by several.
type batch struct {
	records []audit.Record
	unread  int // lines that are no records
}

// lines are the text of a batch's.
const batchLines = 512

// read sends all records of a log, and closes the channel when there are no more
// or ctx has ended; the group then has the error. Batches come in any order.
func read(ctx context.Context, group *errgroup.Group, log fs.FS) <-chan batch {
	lines, records := make(chan [][]byte, runtime.GOMAXPROCS(0)), make(chan batch, runtime.GOMAXPROCS(0))
	group.Go(func() error {
		defer close(lines)
		return readLines(ctx, log, lines)
	})
	var parsing sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		parsing.Add(1)
		group.Go(func() error {
			defer parsing.Done()
			for texts := range lines {
				select {
				case records <- parse(texts):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	}
	group.Go(func() error {
		parsing.Wait()
		close(records)
		return nil
	})
	return records
}

func readLines(ctx context.Context, log fs.FS, to chan<- [][]byte) error {
	var texts [][]byte
	send := func() error {
		select {
		case to <- texts:
			texts = nil
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for line, err := range journal.Lines(log) {
		switch {
		case errors.Is(err, journal.ErrLine):
			texts = append(texts, nil) // counted with those that are no records
		case err != nil:
			return err
		default:
			texts = append(texts, slices.Clone(line.Text))
		}
		if len(texts) == batchLines {
			if err := send(); err != nil {
				return err
			}
		}
	}
	return send()
}

func parse(texts [][]byte) batch {
	b := batch{records: make([]audit.Record, 0, len(texts))}
	for _, text := range texts {
		record, err := audit.Parse(text)
		if err != nil {
			b.unread++
			continue
		}
		if !record.Continues() { // a tail is one question, and asked when it opens
			b.records = append(b.records, record)
		}
	}
	return b
}
