package wire

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/policy"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
)

// maxLines is how many entries a log query may ask for.
const maxLines = 1_000_000

func encodeLogs(q logs.Question) *federationv1.LogsQuestion {
	m := &federationv1.LogsQuestion{
		Kind: string(q.Kind), Expression: q.Expression, StartNs: q.Start.UnixNano(), EndNs: q.End.UnixNano(),
		StepNs: int64(q.Step), Limit: int64(q.Limit), Backward: q.Backward, Label: q.Label,
		By: q.By, ByName: q.ByName,
	}
	for _, s := range q.Selectors {
		m.Selectors = append(m.Selectors, logs.FormatSelector(s))
	}
	return m
}

func decodeLogs(m *federationv1.LogsQuestion) (logs.Question, error) {
	q := logs.Question{Kind: policy.Kind(m.GetKind())}
	has, known := logsKinds[q.Kind]
	if !known {
		return logs.Question{}, bad("kind: none that this gateway knows")
	}
	q.Start, q.End = time.Unix(0, m.GetStartNs()).UTC(), time.Unix(0, m.GetEndNs()).UTC()
	q.Step = time.Duration(m.GetStepNs())
	q.Backward = m.GetBackward()
	switch {
	case m.GetEndNs() < m.GetStartNs():
		return q, bad("end_ns: is before start_ns")
	case m.GetStartNs() < 0 && m.GetEndNs()-m.GetStartNs() < 0:
		return q, bad("start_ns, end_ns: too far apart")
	case has.instant && m.GetStartNs() != m.GetEndNs():
		return q, bad("end_ns: an instant query has the same start and end")
	case m.GetStepNs() < 0 || m.GetStepNs() > 0 && !has.step:
		return q, bad("step_ns: this kind of question has none")
	case has.needStep && m.GetStepNs() == 0:
		return q, bad("step_ns: patterns have one")
	case q.Kind != policy.Volume && (len(m.GetBy()) > 0 || m.GetByName()):
		return q, bad("by, by_name: only a volume has them")
	case len(m.GetBy()) > maxSelectors || slices.ContainsFunc(m.GetBy(), func(name string) bool { return name == "" || len(name) > maxLabel }):
		return q, bad("by: want up to %d names of labels", maxSelectors)
	case has.single && len(m.GetSelectors()) > 1:
		return q, bad("selectors: %s has one", q.Kind)
	case m.GetLimit() < 0 || m.GetLimit() > maxLines:
		return q, bad("limit: want 0 to %d", maxLines)
	case len(m.GetExpression()) > maxExpression:
		return q, bad("expression: %d bytes, at most %d are accepted", len(m.GetExpression()), maxExpression)
	case has.expression == (m.GetExpression() == ""):
		return q, bad("expression: query, query_range, tail and detected_fields have one, the others have none")
	case q.Kind == policy.Tail && !q.Backward && m.GetLimit() != 0:
		return q, bad("limit: a tail that isn't backward is of all that there is from start_ns")
	case len(m.GetLabel()) > maxLabel:
		return q, bad("label: %d bytes, at most %d are accepted", len(m.GetLabel()), maxLabel)
	case has.needLabel && m.GetLabel() == "" || !has.label && m.GetLabel() != "":
		return q, bad("label: label_values has one, detected_fields may have one, the others have none")
	}
	q.Expression, q.Label, q.Limit = m.GetExpression(), m.GetLabel(), int(m.GetLimit())
	q.By, q.ByName = m.GetBy(), m.GetByName()
	var err error
	q.Selectors, err = decodeSelectors(m.GetSelectors(), logs.ParseSelector, has.selectors, has.needSelector)
	switch {
	case err != nil:
		return q, err
	case has.expression:
		return q, checkLogsQuery(q)
	case has.step:
		return q, checkIntervals(q)
	}
	return q, nil
}

// checkIntervals checks the step of sums by intervals.
func checkIntervals(q logs.Question) error {
	switch {
	case q.Step%time.Millisecond != 0:
		return bad("step_ns: intervals are of whole milliseconds")
	case q.Step > 0 && int64(q.End.Sub(q.Start)/q.Step) > maxIntervals:
		return bad("step_ns: the range has more than %d steps; widen the step or shorten the range", maxIntervals)
	}
	return nil
}

// checkLogsQuery checks what depends on whether an expression yields numbers.
func checkLogsQuery(q logs.Question) error {
	if _, err := q.Request(); err != nil {
		return err
	}
	if q.Kind == policy.DetectedFields {
		if q.Limit == 0 || q.Backward {
			return bad("limit, backward: fields are found in the last lines, of which it says how many")
		}
		return nil
	}
	if q.Kind == policy.Tail || q.Entries() {
		if q.Step != 0 {
			return bad("step_ns: a log query has none")
		}
		return nil
	}
	whole := func(ns int64) bool { return ns%int64(time.Millisecond) == 0 }
	switch {
	case q.Backward || q.Limit != 0:
		return bad("limit, backward: only a log query has them")
	case !whole(q.Start.UnixNano()) || !whole(q.End.UnixNano()) || !whole(int64(q.Step)):
		return bad("start_ns, end_ns, step_ns: an expression that yields numbers is evaluated at whole milliseconds")
	case q.Step > 0 && int64(q.End.Sub(q.Start)/q.Step) > maxIntervals:
		return bad("step_ns: the range has more than %d steps; widen the step or shorten the range", maxIntervals)
	}
	return nil
}

// logsMessages are the messages of an answer about logs, but for its end.
func logsMessages(released *logs.Released) ([]*federationv1.AskResponse, error) {
	var messages []*federationv1.AskResponse
	if numbers := released.Numbers(); numbers != nil {
		series, err := seriesMessages(numbers.Series())
		if err != nil {
			return nil, err
		}
		messages = series
	}
	if stats := released.Stats(); stats != (logs.Stats{}) {
		messages = append(messages, &federationv1.AskResponse{Message: &federationv1.AskResponse_LogsStats{LogsStats: &federationv1.LogsStats{
			Streams: stats.Streams, Entries: stats.Entries, Bytes: stats.Bytes,
		}}})
	}
	messages = append(messages, nameMessages(released.Names())...)
	messages = append(messages, fieldMessages(released.Fields())...)
	return append(messages, entryMessages(released)...), nil
}

// entryBatch is an EntryBatch in the making.
type entryBatch struct {
	out     *federationv1.EntryBatch
	symbols map[string]uint32
	sets    map[labels.Labels]uint32
	size    int // about
}

func newEntryBatch() *entryBatch {
	return &entryBatch{out: &federationv1.EntryBatch{}, symbols: map[string]uint32{}, sets: map[labels.Labels]uint32{}}
}

func (b *entryBatch) ref(symbol string) uint32 {
	ref, ok := b.symbols[symbol]
	if !ok {
		ref = uint32(len(b.out.Symbols))
		b.symbols[symbol] = ref
		// What was taken from a line needn't be text.
		b.out.Symbols = append(b.out.Symbols, strings.ToValidUTF8(symbol, "\uFFFD"))
		b.size += len(symbol) + 3
	}
	b.size += 3
	return ref
}

func (b *entryBatch) set(ls labels.Labels) uint32 {
	ref, ok := b.sets[ls]
	if !ok {
		ref = uint32(len(b.out.LabelSets))
		b.sets[ls] = ref
		set := &federationv1.LabelSet{}
		ls.Range(func(l labels.Label) { set.LabelRefs = append(set.LabelRefs, b.ref(l.Name), b.ref(l.Value)) })
		b.out.LabelSets = append(b.out.LabelSets, set)
		b.size += chunkOverhead
	}
	return ref
}

func entryMessages(released *logs.Released) []*federationv1.AskResponse {
	var out []*federationv1.AskResponse
	batch := newEntryBatch()
	flush := func() {
		if len(batch.out.LabelSets) > 0 {
			out = append(out, &federationv1.AskResponse{Message: &federationv1.AskResponse_Entries{Entries: batch.out}})
		}
		batch = newEntryBatch()
	}
	for _, s := range released.Streams() {
		if batch.size >= batchSize {
			flush()
		}
		batch.set(s)
	}
	for _, e := range released.Entries() {
		if batch.size > 0 && batch.size+len(e.Line) > batchSize {
			flush()
		}
		batch.out.Entries = append(batch.out.Entries, &federationv1.Entry{
			TimestampNs: e.At, Line: []byte(e.Line),
			Stream: batch.set(e.Stream), Metadata: batch.set(e.Metadata), Parsed: batch.set(e.Parsed),
		})
		batch.size += len(e.Line) + chunkOverhead
	}
	flush()
	return out
}

// addEntries takes a batch of entries, or of the labels of streams.
func (r *Receiver) addEntries(b *federationv1.EntryBatch) error {
	if hasUnknown(b) {
		return errUnknown
	}
	if !r.wantsEntries && !r.wantsStreams || r.wantsStreams && len(b.GetEntries()) > 0 {
		return errUnasked
	}
	sets := make([]labels.Labels, len(b.GetLabelSets()))
	for i, set := range b.GetLabelSets() {
		if hasUnknown(set) {
			return errUnknown
		}
		ls, err := r.referenced(b.GetSymbols(), set.GetLabelRefs(), r.wantsEntries)
		if err != nil {
			return err
		}
		if org := ls.Get(federation.OrgLabel); org != "" && org != string(r.org) {
			return errors.New("an entry that isn't its own: its label org names another organization")
		}
		sets[i] = ls
		if !r.wantsStreams {
			continue
		}
		if n := len(r.streams); n > 0 && labels.Compare(r.streams[n-1], ls) >= 0 {
			return errOrder
		}
		if ls.Get(federation.OrgLabel) == "" {
			return errors.New("a stream that isn't its own: it has no label org")
		}
		if err := r.count(0); err != nil {
			return err
		}
		r.streams = append(r.streams, ls)
	}
	if r.tail {
		r.latest = r.now().Add(maxAhead).UnixNano()
	}
	for _, e := range b.GetEntries() {
		if err := r.addEntry(e, sets); err != nil {
			return err
		}
	}
	return nil
}

func (r *Receiver) addEntry(e *federationv1.Entry, sets []labels.Labels) error {
	n := uint32(len(sets))
	switch {
	case hasUnknown(e):
		return errUnknown
	case e.GetStream() >= n || e.GetMetadata() >= n || e.GetParsed() >= n:
		return errors.New("a reference to labels that aren't there")
	case len(r.entriesOf)+r.ahead == r.mostEntries:
		return errors.New("more entries than were asked for")
	case e.GetTimestampNs() < r.earliest || e.GetTimestampNs() >= r.latest && !r.tail:
		return errors.New("an entry outside the time that was asked for")
	}
	if last := len(r.entriesOf) - 1; last >= 0 {
		if before := r.entriesOf[last].At; r.backward && e.GetTimestampNs() > before || !r.backward && e.GetTimestampNs() < before {
			return errOrder
		}
	}
	entry := logs.Entry{At: e.GetTimestampNs()}
	entry.Stream, entry.Metadata, entry.Parsed = sets[e.GetStream()], sets[e.GetMetadata()], sets[e.GetParsed()]
	// Here entries share their labels; where they are written each has its own.
	unfolded := entry.Stream.ByteSize() + entry.Metadata.ByteSize() + entry.Parsed.ByteSize()
	if err := r.charge(len(e.GetLine()) + int(unfolded) + entryOverhead); err != nil {
		return err
	}
	if !r.losesOrg && entry.Stream.Get(federation.OrgLabel) == "" {
		return errors.New("an entry that isn't its own: it has no label org")
	}
	if entry.At >= r.latest {
		r.ahead++
		return nil
	}
	entry.Line = string(e.GetLine())
	r.entriesOf = append(r.entriesOf, entry)
	return nil
}

// asksLogs prepares the receiver for an answer about logs.
func (r *Receiver) asksLogs(q logs.Question) error {
	r.signal = q.Signal()
	r.asked.Kind, r.asked.Label = q.Kind, q.Label
	r.losesOrg = q.LosesOrg()
	switch {
	case q.Kind == policy.Tail && !r.tail:
		return errors.New("a tail has no answer that ends")
	case q.Kind == policy.Tail:
		r.wantsEntries, r.mostEntries = true, maxPartEntries
		r.earliest = q.Start.UnixNano() // the latest is said when entries come
		r.asked.Kind = ""
	case q.Entries():
		r.wantsEntries, r.mostEntries, r.backward = true, q.Limit, q.Backward
		r.earliest, r.latest = q.Start.UnixNano(), q.End.UnixNano()
		r.asked.Kind = "" // no series
	case q.Kind == policy.Series:
		r.wantsStreams = true
		r.asked.Kind = ""
	case q.Kind == policy.Range, q.Kind == policy.Instant:
		r.chunks.grid = grid{start: q.Start.UnixMilli(), end: q.End.UnixMilli(), step: q.Step.Milliseconds()}
	case q.Kind == policy.Volume, q.Kind == policy.Patterns:
		r.chunks.grid = intervalGrid(q)
	case q.Kind == policy.DetectedFields && q.Label == "":
		r.mostValues = q.Limit
	case q.Kind == policy.DetectedLabels:
		r.mostValues = r.limits.Series
	case q.Kind == policy.LabelNames, q.Kind == policy.LabelValues, q.Kind == policy.Stats, q.Kind == policy.DetectedFields:
	default:
		return fmt.Errorf("a question of the kind %q can't be asked", q.Kind)
	}
	return nil
}

// intervalGrid are the times at which sums by intervals stand.
func intervalGrid(q logs.Question) grid {
	if q.Step == 0 {
		at := q.Start.UnixMilli()
		return grid{start: at, end: at}
	}
	return grid{
		start: logs.Aligned(q.Start.UnixNano(), q.Step) / int64(time.Millisecond), end: q.End.UnixMilli(), step: q.Step.Milliseconds(),
	}
}
