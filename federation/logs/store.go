package logs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// StoreConfig says how much is kept.
type StoreConfig struct {
	// MaxEntries is how many entries are kept; default a million.
	MaxEntries int
	// MaxBytes is how many bytes their lines and labels have; default 256 MiB.
	MaxBytes int
}

const (
	defaultMaxEntries = 1_000_000
	defaultMaxBytes   = 256 << 20
	// entryBytes is counted for each entry, beside its line and metadata.
	entryBytes = 96
	// selectBatch is how many entries are looked at while nobody can append.
	selectBatch = 4096
	// tailBuffer is how many entries a tail may be behind.
	tailBuffer = 4096
)

// Store is a Source in memory, which OpenStore keeps on disk as well. When it is
// full, the entries of the oldest time go. As with Loki, an entry whose stream has
// the same line at the same time is already there.
type Store struct {
	config StoreConfig

	mu      sync.RWMutex
	entries []storedEntry            // guarded by mu; in order of time, then of arrival
	arrived uint64                   // guarded by mu; how many ever arrived
	bytes   int                      // guarded by mu; of entries
	streams map[string]*storedStream // guarded by mu; by labels, those that have entries
	tails   map[*storeTail]struct{}  // guarded by mu
	file    *storeFile               // guarded by mu; nil: in memory alone
}

// storedStream is the labels of a stream, once for all of its entries.
type storedStream struct {
	key     string
	labels  labels.Labels
	entries int // guarded by Store.mu
}

type storedEntry struct {
	at       int64
	arrival  uint64
	line     string
	metadata labels.Labels
	stream   *storedStream
}

func (e storedEntry) raw() rawEntry {
	return rawEntry{at: e.at, line: e.line, stream: e.stream.labels, metadata: e.metadata}
}

func (e storedEntry) bytes() int { return entryBytes + len(e.line) + int(e.metadata.ByteSize()) }

// NewStore returns an empty store.
func NewStore(c StoreConfig) *Store {
	if c.MaxEntries == 0 {
		c.MaxEntries = defaultMaxEntries
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultMaxBytes
	}
	return &Store{config: c, streams: map[string]*storedStream{}, tails: map[*storeTail]struct{}{}}
}

// Append writes a line. A stream has at least one label, and the names of its
// labels are letters, digits and underscores, as Loki's are.
func (s *Store) Append(at time.Time, line string, stream, metadata labels.Labels) error {
	if stream.IsEmpty() {
		return errors.New("append to logs store: a stream has at least one label")
	}
	err := stream.Validate(func(l labels.Label) error {
		if !model.LegacyValidation.IsValidLabelName(l.Name) || l.Value == "" {
			return fmt.Errorf("append to logs store: a stream can't have the label %s=%q", l.Name, l.Value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	e := storedEntry{at: at.UnixNano(), line: line, metadata: apart(metadata, stream)}
	if e.bytes() > s.config.MaxBytes {
		return fmt.Errorf("append to logs store: a line of %d bytes is more than the %d that are kept", len(line), s.config.MaxBytes)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(e, stream)
}

// add needs mu.
func (s *Store) add(e storedEntry, stream labels.Labels) error {
	key := string(stream.Bytes(nil))
	e.stream = s.streams[key]
	if e.stream == nil {
		e.stream = &storedStream{key: key, labels: stream}
	}
	// Its place is after all of its time.
	place := s.search(e.at, s.arrived+1)
	for i := place - 1; i >= 0 && s.entries[i].at == e.at; i-- {
		if s.entries[i].stream == e.stream && s.entries[i].line == e.line {
			return nil
		}
	}
	if err := s.file.append(e); err != nil {
		return fmt.Errorf("append to logs store: %w", err)
	}
	s.arrived++
	e.arrival = s.arrived
	s.entries = slices.Insert(s.entries, place, e)
	s.bytes += e.bytes()
	e.stream.entries++
	s.streams[key] = e.stream
	for len(s.entries) > s.config.MaxEntries || s.bytes > s.config.MaxBytes {
		s.dropOldest()
	}
	for t := range s.tails {
		t.offer(e.raw())
	}
	if err := s.file.compact(s.entries); err != nil {
		return fmt.Errorf("append to logs store: %w", err)
	}
	return nil
}

// apart is structured metadata without names that the stream has; see rawEntry.
func apart(metadata, stream labels.Labels) labels.Labels {
	b := labels.NewBuilder(metadata)
	metadata.Range(func(l labels.Label) {
		if stream.Has(l.Name) {
			b.Del(l.Name).Set(l.Name+"_extracted", l.Value)
		}
	})
	return b.Labels()
}

// search is the place of the first entry that isn't before the given one. It
// needs mu.
func (s *Store) search(at int64, arrival uint64) int {
	place, _ := slices.BinarySearchFunc(s.entries, storedEntry{at: at, arrival: arrival}, func(a, b storedEntry) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.arrival, b.arrival))
	})
	return place
}

// dropOldest needs mu.
func (s *Store) dropOldest() {
	oldest := s.entries[0]
	s.entries[0] = storedEntry{} // its memory isn't held by what is left
	s.entries = s.entries[1:]
	s.bytes -= oldest.bytes()
	if oldest.stream.entries--; oldest.stream.entries == 0 {
		delete(s.streams, oldest.stream.key)
	}
}

// selectRaw takes in batches, so that whoever appends doesn't wait for take.
func (s *Store) selectRaw(ctx context.Context, sel selection, take func(rawEntry) error) error {
	found := map[*storedStream]bool{}
	at, arrival := sel.start, uint64(0)
	if sel.backward {
		at = sel.end
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		batch, last, more := s.batch(sel, at, arrival, found)
		for _, e := range batch {
			if err := take(e); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		at, arrival = last.at, last.arrival
		if !sel.backward {
			arrival++
		}
	}
}

// batch looks at some entries from a place on, or those before it when backward,
// and returns those of the selection and the last that it looked at.
func (s *Store) batch(sel selection, at int64, arrival uint64, matching map[*storedStream]bool) (batch []rawEntry, last storedEntry, more bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	first, end := s.search(at, arrival), s.search(sel.end, 0)
	if sel.backward {
		first, end = s.search(sel.start, 0), first
	}
	if first >= end {
		return nil, storedEntry{}, false
	}
	looked := s.entries[first:end]
	more = len(looked) > selectBatch
	switch {
	case more && sel.backward:
		looked = looked[len(looked)-selectBatch:]
	case more:
		looked = looked[:selectBatch]
	}
	for i := range looked {
		e := looked[i]
		if sel.backward {
			e = looked[len(looked)-1-i]
		}
		last = e
		is, known := matching[e.stream]
		if !known {
			is = sel.matches(e.stream.labels)
			matching[e.stream] = is
		}
		if is && sel.wants(e.line) {
			batch = append(batch, e.raw())
		}
	}
	return batch, last, more
}

func (s *Store) selectStreams(ctx context.Context, sel selection) ([]labels.Labels, error) {
	sel.contains = nil
	found := map[string]labels.Labels{}
	err := s.selectRaw(ctx, sel, func(e rawEntry) error {
		found[string(e.stream.Bytes(nil))] = e.stream
		return nil
	})
	return slices.SortedFunc(maps.Values(found), labels.Compare), err
}

// storeTail is one who is told of what is appended.
type storeTail struct {
	selection selection
	entries   chan rawEntry
	lost      chan struct{} // has something when an entry found no room
}

// offer doesn't wait.
func (t *storeTail) offer(e rawEntry) {
	if !t.selection.held(e.stream) || !t.selection.wants(e.line) {
		return
	}
	select {
	case t.entries <- e:
	default:
		select {
		case t.lost <- struct{}{}:
		default: // it is known
		}
	}
}

func (s *Store) tailRaw(ctx context.Context, sel selection, begun, leftOut func(), take func(rawEntry) error) error {
	t := &storeTail{selection: sel, entries: make(chan rawEntry, tailBuffer), lost: make(chan struct{}, 1)}
	s.mu.Lock()
	s.tails[t] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.tails, t)
		s.mu.Unlock()
	}()
	begun()
	for {
		select { // before what came later
		case <-t.lost:
			leftOut()
		default:
		}
		select {
		case e := <-t.entries:
			if err := take(e); err != nil {
				return err
			}
		case <-t.lost:
			leftOut()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
