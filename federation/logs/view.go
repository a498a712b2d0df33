package logs

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs/line"
	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/policy"
)

// view is what one decision lets one question see of a source: the store as if
// what is hidden had never been written. It is not safe for concurrent use.
type view struct {
	source     Source
	datasets   []policy.Dataset
	labels     *redact.Labels
	pseudonyms *redact.Pseudonyms
	// oldest is the first moment that may be seen, newest the last, Unix
	// nanoseconds.
	oldest, newest int64
	// resolution is the time between two moments of the view, in nanoseconds: of
	// each interval of that length all entries are at its end, once it is over.
	// Zero leaves them where they are.
	resolution int64

	streams map[uint64][]*visibleStream // by hash of the raw labels
	fired   line.Fired
}

// visibleStream is a stream as the view has it.
type visibleStream struct {
	raw     labels.Labels
	visible labels.Labels
	member  []*policy.Dataset // none: the view doesn't hold it
	line    *line.Redactor
}

// visibleEntry is an entry of the view.
type visibleEntry struct {
	at               int64
	line             string
	stream, metadata labels.Labels
}

// stream returns a raw stream as the view has it.
func (v *view) stream(raw labels.Labels) (*visibleStream, error) {
	hash := raw.Hash()
	for _, s := range v.streams[hash] {
		if labels.Equal(s.raw, raw) {
			return s, nil
		}
	}
	s := &visibleStream{raw: raw}
	withOrg := v.labels.WithOrg(raw)
	if member := v.labels.Membership(withOrg); len(member) > 0 {
		s.member = slices.Clone(member)
		s.visible = v.labels.Seen(s.member, withOrg)
		var err error
		if s.line, err = line.New(policy.StrictestLine(s.member), v.pseudonyms.Of); err != nil {
			return nil, err
		}
	}
	if v.streams == nil {
		v.streams = map[uint64][]*visibleStream{}
	}
	v.streams[hash] = append(v.streams[hash], s)
	return s, nil
}

// metadataOf returns what may be seen of an entry's structured metadata. What
// is called like the label that says whose data it is takes another name, as
// labels of streams do.
func (v *view) metadataOf(s *visibleStream, raw labels.Labels) labels.Labels {
	if raw.IsEmpty() {
		return raw
	}
	b := labels.NewBuilder(v.labels.WithOrg(raw)).Del(federation.OrgLabel)
	// Metadata that is called like a label of its stream has another name in the
	// store. It is what policy calls it all the same, and the other name would
	// show that the stream has the label.
	raw.Range(func(l labels.Label) {
		for name, renamed := strings.CutSuffix(l.Name, renamedSuffix); renamed; name, renamed = strings.CutSuffix(name, renamedSuffix) {
			if redact.Strictest(s.member, name).Mode != policy.Keep {
				b.Del(l.Name)
			}
		}
	})
	return v.labels.Seen(s.member, b.Labels())
}

// renamedSuffix is what stores add to the name of metadata that a label of the
// stream has too.
const renamedSuffix = "_extracted"

// entries calls take with each entry of the view that the selection matches,
// in the order of the view: time, stream labels, structured metadata, line.
// The selection's matchers and texts are those of the asker.
func (v *view) entries(ctx context.Context, sel selection, take func(visibleEntry) error) error {
	from, to := sel.start, sel.end
	sel, possible := v.narrow(sel)
	if !possible {
		return nil
	}
	asked := sel.matchers
	sel.matchers, possible = v.labels.Narrow(asked)
	if !possible {
		return nil
	}
	v.filterBefore(&sel)
	sel.holds = func(raw labels.Labels) bool {
		s, err := v.stream(raw)
		return err != nil || len(s.member) > 0 && redact.Matches(asked, s.visible)
	}
	pending := ordered{backward: sel.backward, take: func(e visibleEntry) error {
		// Sources look whether it is over when they read on. A question's pipeline
		// may take long for each entry.
		if err := ctx.Err(); err != nil {
			return err
		}
		return take(e)
	}}
	err := v.source.selectRaw(ctx, sel, func(raw rawEntry) error {
		at, ok := v.moment(raw.at)
		if !ok || at < from || at >= to {
			return nil
		}
		e, ok, err := v.see(raw, at, asked)
		if err != nil || !ok {
			return err
		}
		return pending.add(e)
	})
	if err != nil {
		return err
	}
	return pending.flush()
}

// see is what the view has of an entry, at a moment; ok is false for one that it
// doesn't hold or that the asker's matchers don't match.
func (v *view) see(raw rawEntry, at int64, asked []*labels.Matcher) (e visibleEntry, ok bool, err error) {
	s, err := v.stream(raw.stream)
	if err != nil || len(s.member) == 0 || !redact.Matches(asked, s.visible) {
		return visibleEntry{}, false, err
	}
	return visibleEntry{at: at, line: v.redacted(s, raw.line), stream: s.visible, metadata: v.metadataOf(s, raw.metadata)}, true, nil
}

// moment is when an entry is, for the view; ok is false while that isn't told.
func (v *view) moment(at int64) (moment int64, ok bool) {
	if v.resolution == 0 {
		return at, true
	}
	moment = at + (v.resolution-at%v.resolution)%v.resolution
	return moment, moment <= v.newest && (v.oldest == math.MinInt64 || moment-v.resolution >= v.oldest)
}

// redacted is what the view holds of a line.
func (v *view) redacted(s *visibleStream, raw string) string {
	return s.line.Redact(raw, &v.fired)
}

// narrow bounds a selection by the view's time.
func (v *view) narrow(sel selection) (selection, bool) {
	if v.resolution > 0 {
		sel.start -= v.resolution // of the first interval, what isn't at its end
	}
	sel.start = max(sel.start, v.oldest)
	if v.newest < math.MaxInt64 {
		sel.end = min(sel.end, v.newest+1)
	}
	return sel, sel.start < sel.end && len(v.datasets) > 0
}

// filterBefore leaves of a selection what a source may look for in lines.
func (v *view) filterBefore(sel *selection) {
	if !v.prefilters(*sel) {
		sel.contains = nil
	}
	touched := slices.ContainsFunc(v.labels.Candidates(sel.matchers), func(c redact.Candidate) bool { return c.Dataset.Line.Mode != policy.LineKeep })
	if touched {
		sel.filters = nil
	}
}

// prefilters says whether a source may leave out lines without the texts that
// the asker looks for: nothing that a redacted line has and the raw one hasn't
// can have one of them. Lines that are kept have what they have; in a masked one
// a text may begin or end within what replaced another, quotes around it
// included, or be part of it. What
// is written anew, as JSON is, may have texts that the raw line spells otherwise.
func (v *view) prefilters(sel selection) bool {
	if len(sel.contains) == 0 {
		return false
	}
	for _, c := range v.labels.Candidates(sel.matchers) {
		for _, text := range sel.contains {
			if !prefilter(c.Dataset.Line, text) {
				return false
			}
		}
	}
	return true
}

// prefilter says so of what leaves of a dataset's lines, and one text.
func prefilter(l policy.Line, text string) bool {
	switch l.Mode {
	case policy.LineKeep:
		return true
	case policy.LineNone, policy.LineShape:
		return false
	case policy.LineByRules:
	}
	for _, rule := range l.Rules {
		if rule.JSON != nil || rule.Logfmt != nil {
			return false
		}
		for _, mask := range rule.Masks {
			if strings.ContainsAny(text, `<>"`) || strings.Contains(mask.Name, text) {
				return false
			}
		}
	}
	return true
}

// listStreams returns the labels of the streams of the view with entries in
// the selection.
func (v *view) listStreams(ctx context.Context, sel selection) ([]labels.Labels, error) {
	asked := sel.matchers
	var out []labels.Labels
	if v.bounded() {
		// A source may list streams that have entries a little outside the span.
		seen := map[uint64]bool{}
		err := v.entries(ctx, sel, func(e visibleEntry) error {
			if hash := e.stream.Hash(); !seen[hash] {
				seen[hash] = true
				out = append(out, e.stream)
			}
			return nil
		})
		slices.SortFunc(out, labels.Compare)
		return out, err
	}
	sel, possible := v.narrow(sel)
	if !possible {
		return nil, nil
	}
	if sel.matchers, possible = v.labels.Narrow(asked); !possible {
		return nil, nil
	}
	raw, err := v.source.selectStreams(ctx, sel)
	if err != nil {
		return nil, err
	}
	for _, ls := range raw {
		s, err := v.stream(ls)
		if err != nil {
			return nil, err
		}
		if len(s.member) > 0 && redact.Matches(asked, s.visible) {
			out = append(out, s.visible)
		}
	}
	slices.SortFunc(out, labels.Compare)
	return slices.CompactFunc(out, labels.Equal), nil
}

// bounded says whether policy hides entries by their time.
func (v *view) bounded() bool { return v.oldest != math.MinInt64 || v.newest != math.MaxInt64 }

// ordered hands on entries that come in order of time, those of one time in
// the order of the view.
type ordered struct {
	backward bool
	take     func(visibleEntry) error
	pending  []visibleEntry // all of one time
}

// maxAtOnce is how many entries of one nanosecond are put in order.
const maxAtOnce = 1_000_000

func (o *ordered) add(e visibleEntry) error {
	if len(o.pending) > 0 && o.pending[0].at != e.at {
		if err := o.flush(); err != nil {
			return err
		}
	}
	if len(o.pending) == maxAtOnce {
		return federation.Errorf(federation.OverLimit, "there are more than %d entries at one moment; select fewer streams", maxAtOnce)
	}
	o.pending = append(o.pending, e)
	return nil
}

func (o *ordered) flush() error {
	if len(o.pending) > 1 {
		slices.SortFunc(o.pending, func(a, b visibleEntry) int {
			order := compareEntries(a, b)
			if o.backward {
				return -order
			}
			return order
		})
	}
	for _, e := range o.pending {
		if err := o.take(e); err != nil {
			return err
		}
	}
	clear(o.pending)
	o.pending = o.pending[:0]
	return nil
}

// compareEntries is the order of entries of one time and organization.
func compareEntries(a, b visibleEntry) int {
	return cmp.Or(labels.Compare(a.stream, b.stream), labels.Compare(a.metadata, b.metadata), strings.Compare(a.line, b.line))
}
