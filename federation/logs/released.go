package logs

import (
	"hash/maphash"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/federation/metrics"
)

// Released is data that went through a view: the only thing that doors, merge
// and fronts accept. Outside this package there are two ways to one: asking a
// Local, which holds a view, and reading what a partner's gateway sent.
type Released struct {
	entries []Entry
	numbers *metrics.Released // of a query that yields numbers; else nil
	streams []labels.Labels
	names   []string
	fields  []Field
	stats   Stats
	// redactions are how often each rule of lines did something, at our own store.
	redactions map[string]uint64
}

// Entry is one line of an answer, as the question's pipeline left it.
type Entry struct {
	At int64 // Unix nanoseconds
	logql.Entry
}

// Entries are those of a log query, in order of time, or the reverse if that
// was asked for. Of one time they are in order of organization, stream labels,
// structured metadata and line, as these were before the pipeline.
func (r *Released) Entries() []Entry { return r.entries }

// Numbers are the series of a query that yields numbers, of a volume and of
// patterns; nil for others.
func (r *Released) Numbers() *metrics.Released { return r.numbers }

// Streams are labels of streams, sorted, each once.
func (r *Released) Streams() []labels.Labels { return r.streams }

// Names are label names or label values, sorted, each once.
func (r *Released) Names() []string { return r.names }

// Fields are labels or fields that were found, sorted by name, each once.
func (r *Released) Fields() []Field { return r.fields }

// Stats is how much there is, for a question of that kind.
func (r *Released) Stats() Stats { return r.stats }

// Redactions are how often each rule of what leaves of lines did something for
// this answer, by its name in policy. It stays with the owner.
func (r *Released) Redactions() map[string]uint64 { return r.redactions }

// Disclosed is how many series, samples, lines and streams it holds; streams
// count as series.
func (r *Released) Disclosed() federation.Cost {
	var c federation.Cost
	if r.numbers != nil {
		c = r.numbers.Disclosed()
	}
	c.Series += len(r.streams)
	c.Lines = len(r.entries)
	return c
}

// Bytes is the size of what it holds: lines, labels, names, fields, and 16
// bytes for each sample.
func (r *Released) Bytes() int {
	total := 0
	for _, e := range r.entries {
		total += e.bytes()
	}
	for _, s := range r.streams {
		total += labelBytes(s)
	}
	for _, name := range r.names {
		total += len(name)
	}
	for _, f := range r.fields {
		total += f.bytes()
	}
	if r.numbers != nil {
		total += r.numbers.Bytes()
	}
	return total
}

// timeBytes is what an entry's time takes.
const timeBytes = 8

func (e Entry) bytes() int {
	return timeBytes + len(e.Line) + labelBytes(e.Stream) + labelBytes(e.Metadata) + labelBytes(e.Parsed)
}

func labelBytes(ls labels.Labels) (n int) {
	ls.Range(func(l labels.Label) { n += len(l.Name) + len(l.Value) })
	return n
}

// hash is the same for entries that are the same.
func (e Entry) hash(seed maphash.Seed) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	text := func(s string) {
		maphash.WriteComparable(&h, len(s))
		_, _ = h.WriteString(s) // never fails
	}
	maphash.WriteComparable(&h, e.At)
	text(e.Line)
	for _, ls := range []labels.Labels{e.Stream, e.Metadata, e.Parsed} {
		maphash.WriteComparable(&h, ls.Len())
		ls.Range(func(l labels.Label) { text(l.Name); text(l.Value) })
	}
	return h.Sum64()
}

// Answer is what a Released is made of.
type Answer struct {
	Entries []Entry
	Numbers *metrics.Released
	Streams []labels.Labels
	Names   []string
	Fields  []Field
	Stats   Stats
}

// Received returns what a partner's gateway sent as Released. Its entries are
// taken only when their label org, if they have one, is that of the gateway
// that was asked; checking that is the caller's.
func Received(a Answer) *Released {
	return &Released{entries: a.Entries, numbers: a.Numbers, streams: a.Streams, names: a.Names, fields: a.Fields, stats: a.Stats}
}
