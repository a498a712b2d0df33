package traces

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/tenants"
	"github.com/parley-gateway/parley/tenants/atomicfile"
)

// KeepingConfig says how traces are kept that somebody asked to keep.
type KeepingConfig struct {
	// Dir is a folder for them; made when it isn't there. Empty keeps them in memory.
	Dir string
	// For is how long one is kept, from when it was last asked for; default a week.
	For time.Duration
	// MaxBytes is how much they take together, as OTLP; default 256 MiB. Those of one
	// organization take no more than a quarter of it, so that none fills it for all.
	MaxBytes int
	// ReadOnly leaves the folder as it is, which another gateway may keep traces in:
	// none can be kept.
	ReadOnly bool
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Logger is told of files that can't be removed; nil: nobody is.
	Logger *slog.Logger
}

const (
	defaultKeepFor      = 7 * 24 * time.Hour
	defaultMaxKeptBytes = 256 << 20
)

// Keeping is a Source that has what another one has, and what was kept of it: a
// trace that somebody asked to keep stays for as long as was agreed, when the
// store has let it go already. It is safe for concurrent use.
type Keeping struct {
	Source
	config KeepingConfig

	mu    sync.Mutex
	kept  map[pcommon.TraceID]*keptTrace // guarded by mu
	bytes int                            // guarded by mu; of kept
}

// keptTrace doesn't change, but for By.
type keptTrace struct {
	// By is until when it is kept for each organization that asked for it.
	By map[tenants.OrgID]time.Time `json:"by"`
	// OTLP are its raw spans, as TracesData.
	OTLP []byte `json:"otlp"`
	// first and last are when the first and the last of them begin.
	first, last int64
}

// NewKeeping returns a Keeping, with what its folder holds. What can't be read
// there is an error.
func NewKeeping(source Source, c KeepingConfig) (*Keeping, error) {
	c.For = cmp.Or(c.For, defaultKeepFor)
	c.MaxBytes = cmp.Or(c.MaxBytes, defaultMaxKeptBytes)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	k := &Keeping{Source: source, config: c, kept: map[pcommon.TraceID]*keptTrace{}}
	if c.Dir == "" {
		return k, nil
	}
	if !c.ReadOnly {
		if err := os.MkdirAll(c.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("the folder of kept traces: %w", err)
		}
	}
	files, err := filepath.Glob(filepath.Join(c.Dir, "*"+keptSuffix))
	if err != nil {
		return nil, fmt.Errorf("the folder of kept traces: %w", err)
	}
	for _, file := range files {
		err := k.load(file)
		if c.ReadOnly && errors.Is(err, fs.ErrNotExist) {
			continue // its time has just been over
		}
		if err != nil {
			return nil, fmt.Errorf("a kept trace, %s: %w; remove the file to go on without it", file, err)
		}
	}
	return k, nil
}

const keptSuffix = ".trace.json"

// load reads a file that save wrote.
func (k *Keeping) load(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	kept := &keptTrace{}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(kept); err != nil {
		return err
	}
	spans, err := kept.spans()
	if err != nil {
		return err
	}
	if spans.SpanCount() == 0 {
		return errors.New("it has no spans")
	}
	kept.note(spans)
	k.kept[idOf(spans)] = kept
	k.bytes += len(kept.OTLP)
	return nil
}

// note notes when the spans begin.
func (k *keptTrace) note(spans ptrace.Traces) {
	k.first, k.last = math.MaxInt64, math.MinInt64
	for p := range traceql.Spans(spans) {
		start := int64(p.Span.StartTimestamp())
		k.first, k.last = min(k.first, start), max(k.last, start)
	}
}

func (k *keptTrace) spans() (ptrace.Traces, error) { return unmarshal([][]byte{k.OTLP}) }

// path is where a trace is kept.
func (k *Keeping) path(id pcommon.TraceID) string {
	return filepath.Join(k.config.Dir, id.String()+keptSuffix)
}

// errKeptEnough is why one more trace isn't kept.
var errKeptEnough = errors.New("as much is kept already as there is room for")

// keep keeps a raw trace for an organization, which may have most of them. One
// that is kept already is kept for longer.
func (k *Keeping) keep(ctx context.Context, raw ptrace.Traces, by tenants.OrgID, most int) error {
	if k.config.ReadOnly {
		return errors.New("no traces are kept in a folder that is only read")
	}
	var marshaler ptrace.ProtoMarshaler
	otlp, err := marshaler.MarshalTraces(raw)
	if err != nil {
		return err
	}
	id, now := idOf(raw), k.config.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.forget(ctx, now)
	old := k.kept[id]
	kept := &keptTrace{By: map[tenants.OrgID]time.Time{}, OTLP: otlp}
	kept.note(raw)
	if old != nil {
		maps.Copy(kept.By, old.By)
		if len(old.OTLP) > len(otlp) { // the store has let some of it go
			kept.OTLP, kept.first, kept.last = old.OTLP, old.first, old.last
		}
	}
	if _, again := kept.By[by]; !again {
		switch count, bytes := k.keptFor(by); {
		case count >= most:
			return fmt.Errorf("%w: %d traces for one organization", errKeptEnough, most)
		case bytes+len(kept.OTLP) > k.config.MaxBytes/sharesOfBytes:
			return fmt.Errorf("%w: %d bytes for one organization", errKeptEnough, k.config.MaxBytes/sharesOfBytes)
		}
	}
	kept.By[by] = now.Add(k.config.For)
	size := k.bytes + len(kept.OTLP)
	if old != nil {
		size -= len(old.OTLP)
	}
	if size > k.config.MaxBytes {
		return fmt.Errorf("%w: %d bytes", errKeptEnough, k.config.MaxBytes)
	}
	if err := k.save(id, kept); err != nil {
		return err
	}
	k.kept[id], k.bytes = kept, size
	return nil
}

// sharesOfBytes is of how many parts of MaxBytes an organization may have one.
const sharesOfBytes = 4

// keptFor is how many traces are kept for an organization, and their bytes. It needs
// mu.
func (k *Keeping) keptFor(by tenants.OrgID) (count, bytes int) {
	for _, kept := range k.kept {
		if _, ok := kept.By[by]; ok {
			count++
			bytes += len(kept.OTLP)
		}
	}
	return count, bytes
}

func (k *Keeping) save(id pcommon.TraceID, kept *keptTrace) error {
	if k.config.Dir == "" {
		return nil
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	return atomicfile.Write(k.path(id), text, 0o600)
}

// forget lets go what nobody asked to keep until now. What is left then without
// anybody is a trace whose file can't be removed: it isn't there any more, and the
// file is tried again. It needs mu.
func (k *Keeping) forget(ctx context.Context, now time.Time) {
	for id, kept := range k.kept {
		// Who sees a trace must not see another one's wish in it, so that each ends by
		// itself; the copy is there as long as one lasts.
		maps.DeleteFunc(kept.By, func(_ tenants.OrgID, until time.Time) bool { return !until.After(now) })
		if len(kept.By) > 0 {
			continue
		}
		if k.config.Dir != "" && !k.config.ReadOnly {
			if err := os.Remove(k.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				k.config.Logger.ErrorContext(ctx, "a kept trace whose time is over can't be removed", "error", err)
				continue
			}
		}
		k.bytes -= len(kept.OTLP)
		delete(k.kept, id)
	}
}

// there are the kept traces that choose picks.
func (k *Keeping) there(ctx context.Context, choose func(pcommon.TraceID, *keptTrace) bool) ([]ptrace.Traces, error) {
	k.mu.Lock()
	k.forget(ctx, k.config.Now())
	kept := maps.Clone(k.kept)
	maps.DeleteFunc(kept, func(_ pcommon.TraceID, trace *keptTrace) bool { return len(trace.By) == 0 })
	k.mu.Unlock()
	var out []ptrace.Traces
	for id, trace := range kept {
		if !choose(id, trace) {
			continue
		}
		spans, err := trace.spans()
		if err != nil {
			return nil, err
		}
		out = append(out, spans)
	}
	return out, nil
}

// tracesRaw are those of the store, and of those that it doesn't have any more the
// kept ones.
func (k *Keeping) tracesRaw(ctx context.Context, ids []pcommon.TraceID) iter.Seq2[ptrace.Traces, error] {
	return func(yield func(ptrace.Traces, error) bool) {
		came := map[pcommon.TraceID]bool{}
		for trace, err := range k.Source.tracesRaw(ctx, ids) {
			if err == nil {
				came[idOf(trace)] = true
			}
			if !yield(trace, err) || err != nil {
				return
			}
		}
		rest, err := k.there(ctx, func(id pcommon.TraceID, _ *keptTrace) bool { return !came[id] && slices.Contains(ids, id) })
		if err != nil {
			yield(ptrace.Traces{}, err)
			return
		}
		for _, trace := range rest {
			if !yield(trace, nil) {
				return
			}
		}
	}
}

// servicesRaw are those of the store and of the kept traces; of a store that doesn't
// know its own, errNotListed.
func (k *Keeping) servicesRaw(ctx context.Context) ([]string, error) {
	from, ok := k.Source.(lister)
	if !ok {
		return nil, errNotListed
	}
	services, err := from.servicesRaw(ctx)
	if err != nil {
		return nil, err
	}
	kept, err := k.there(ctx, func(pcommon.TraceID, *keptTrace) bool { return true })
	if err != nil {
		return nil, err
	}
	for _, trace := range kept {
		for p := range traceql.Spans(trace) {
			services = append(services, serviceOf(p.Resource.Resource()))
		}
	}
	slices.Sort(services)
	return slices.Compact(services), nil
}

func (k *Keeping) someRaw(ctx context.Context, s selection) ([]ptrace.Traces, error) {
	from, ok := k.Source.(lister)
	if !ok {
		return nil, errNotListed
	}
	some, err := from.someRaw(ctx, s)
	if err != nil || len(some) > 0 {
		return some, err
	}
	return k.there(ctx, s.overlaps)
}

// searchRaw is that of the store, with the kept traces among it.
func (k *Keeping) searchRaw(ctx context.Context, s selection, seen func(start int64) bool) iter.Seq2[ptrace.Traces, error] {
	return func(yield func(ptrace.Traces, error) bool) {
		kept, err := k.there(ctx, s.overlaps)
		if err != nil {
			yield(ptrace.Traces{}, err)
			return
		}
		matches := map[pcommon.TraceID]int64{} // when the last span of the selection begins
		for _, trace := range kept {
			if at, ok := s.latest(trace); ok {
				matches[idOf(trace)] = at
			}
		}
		ended := false
		give := func(trace ptrace.Traces, err error) bool {
			ended = ended || !yield(trace, err)
			return !ended
		}
		came := map[pcommon.TraceID]bool{} // of kept ones
		merged := func(start int64) bool {
			for _, trace := range kept {
				id := idOf(trace)
				if at, ok := matches[id]; !ok || came[id] || at < start {
					continue
				}
				came[id] = true
				if !give(trace, nil) {
					return false
				}
			}
			return seen(start)
		}
		for trace, err := range k.Source.searchRaw(ctx, s, merged) {
			if ended {
				return
			}
			if err == nil {
				id := idOf(trace)
				if came[id] {
					continue
				}
				if _, ok := matches[id]; ok {
					came[id] = true
				}
			}
			if !give(trace, err) || err != nil {
				return
			}
		}
	}
}

// overlaps says whether a kept trace may have a span that begins within.
func (s selection) overlaps(_ pcommon.TraceID, trace *keptTrace) bool {
	return trace.first < s.end && trace.last >= s.start
}
