package logs

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation/logs/logql"
)

// Source is a store of raw logs: a real Loki or an embedded store. Its methods
// are for this package alone, so that raw data can't be had outside.
type Source interface {
	// selectRaw calls take with each raw entry of the selection, in order of
	// time, or the reverse when backward; those of one time come in any order.
	// Entries are given as they are read: what was taken before an error is part
	// of the answer, and not all of it. It stops at the first error of take, which
	// it returns. take may keep what it is given.
	selectRaw(ctx context.Context, s selection, take func(rawEntry) error) error
	// selectStreams returns the labels of the streams with entries in the
	// selection, each once, in order of their labels; contains and filters are not
	// looked at. A source may go by its chunks, or by days, and list streams that
	// have entries only near the span.
	selectStreams(ctx context.Context, s selection) ([]labels.Labels, error)
	// tailRaw calls take with each raw entry of the selection that is written
	// from now on, as it is written; those of the last seconds may come too.
	// start, end and backward are not looked at. It calls begun once, at any time
	// and from any goroutine: what is written after that comes. It calls leftOut
	// whenever it had to leave out entries, whichever they are, soon after and once
	// they can be read with selectRaw. It ends with ctx, whose error it returns, at
	// the first error of take, or with an error when the source can't go on. It is
	// errNoTail at once where there is no tail of such a selection.
	tailRaw(ctx context.Context, s selection, begun, leftOut func(), take func(rawEntry) error) error
}

// errNoTail is the error of a selection that can be read and not tailed.
var errNoTail = errors.New("the logs store has no tail of streams of all kinds")

// rawEntry is one line as the store holds it.
type rawEntry struct {
	at     int64 // Unix nanoseconds
	line   string
	stream labels.Labels // what tells the stream from others
	// metadata is the entry's own, structured metadata. A name that its stream
	// has as well comes with _extracted at its end, as Loki gives it.
	metadata labels.Labels
}

// selection is what a Source is asked for. A matcher is of stream labels: one
// that a stream doesn't have is empty.
type selection struct {
	start, end int64 // Unix nanoseconds; start is included, end isn't
	matchers   []*labels.Matcher
	// contains are texts that all have to be in a line; entries without them may
	// come as well.
	contains []string
	// filters are line filters that what is wanted passes; other entries may come
	// as well. Where there are some, contains has texts of them alone.
	filters []*logql.LineFilter
	// holds says whether whoever asks has use for a stream's entries; those of
	// others may come as well. Nil is all. It is called while nothing is taken;
	// that of a tail at any time, from any goroutine.
	holds func(stream labels.Labels) bool
	// wanted is about how many entries are wanted, for how many to ask for at
	// first; zero is all.
	wanted   int
	backward bool
}

// matches says whether a stream is of the selection.
func (s selection) matches(stream labels.Labels) bool {
	return !slices.ContainsFunc(s.matchers, func(m *labels.Matcher) bool { return !m.Matches(stream.Get(m.Name)) })
}

// held says whether there is use for a stream's entries.
func (s selection) held(stream labels.Labels) bool {
	return s.matches(stream) && (s.holds == nil || s.holds(stream))
}

// wants says whether a line has all of contains.
func (s selection) wants(line string) bool {
	return !slices.ContainsFunc(s.contains, func(text string) bool { return !strings.Contains(line, text) })
}
