package tenants

import (
	"fmt"
	"time"

	"github.com/prometheus/common/model"
)

// Limits bound what one partner may take. A zero field is the default of
// DefaultLimits, never "unlimited".
type Limits struct {
	// Concurrent questions under way at once.
	Concurrent int `yaml:"concurrent"`
	// Tails that run at once. They don't count among Concurrent.
	Tails int `yaml:"tails"`
	// QueriesPerMinute is a token bucket with a burst of the same size.
	QueriesPerMinute int `yaml:"queries_per_minute"`
	// Series in one answer; a name, a label's value, an entry of metadata or a
	// stream of logs counts as one.
	Series int `yaml:"series"`
	// Samples in one answer; a native histogram or an exemplar counts as one.
	Samples int `yaml:"samples"`
	// Bytes in one answer: lines, names and values of labels, names and metadata, and 16
	// for the time and value of each sample or exemplar, or what a native
	// histogram takes encoded if that is more. What the transfer adds, or saves by
	// compressing it, is not counted.
	Bytes int `yaml:"bytes"`
	// Lines of logs in one answer. Of a tail, Lines and Bytes are what leaves in a
	// minute.
	Lines int `yaml:"lines"`
	// Spans of traces in one answer.
	Spans int `yaml:"spans"`
	// KeptTraces are how many traces are kept at a time because the partner asked
	// for them to be.
	KeptTraces int `yaml:"kept_traces"`
	// Range of time one question may span, ranges, offsets and subqueries included.
	Range time.Duration `yaml:"range"`
}

// DefaultLimits are those of an agreement that states none.
var DefaultLimits = Limits{
	Concurrent:       8,
	Tails:            5,
	QueriesPerMinute: 600,
	Series:           50_000,
	Samples:          10_000_000,
	Bytes:            256 << 20,
	Lines:            5_000,
	Spans:            100_000,
	KeptTraces:       100,
	Range:            31 * 24 * time.Hour,
}

// OrDefault returns l with the zero fields filled from DefaultLimits.
func (l Limits) OrDefault() Limits { return l.fill(DefaultLimits) }

func (l Limits) fill(d Limits) Limits {
	if l.Concurrent == 0 {
		l.Concurrent = d.Concurrent
	}
	if l.Tails == 0 {
		l.Tails = d.Tails
	}
	if l.QueriesPerMinute == 0 {
		l.QueriesPerMinute = d.QueriesPerMinute
	}
	if l.Series == 0 {
		l.Series = d.Series
	}
	if l.Samples == 0 {
		l.Samples = d.Samples
	}
	if l.Bytes == 0 {
		l.Bytes = d.Bytes
	}
	if l.Lines == 0 {
		l.Lines = d.Lines
	}
	if l.Spans == 0 {
		l.Spans = d.Spans
	}
	if l.KeptTraces == 0 {
		l.KeptTraces = d.KeptTraces
	}
	if l.Range == 0 {
		l.Range = d.Range
	}
	return l
}

// Tighten returns, field by field, the smaller of l and o, where zero in
// either means that it has no say.
func (l Limits) Tighten(o Limits) Limits {
	return Limits{
		Concurrent:       tighter(l.Concurrent, o.Concurrent),
		Tails:            tighter(l.Tails, o.Tails),
		QueriesPerMinute: tighter(l.QueriesPerMinute, o.QueriesPerMinute),
		Series:           tighter(l.Series, o.Series),
		Samples:          tighter(l.Samples, o.Samples),
		Bytes:            tighter(l.Bytes, o.Bytes),
		Lines:            tighter(l.Lines, o.Lines),
		Spans:            tighter(l.Spans, o.Spans),
		KeptTraces:       tighter(l.KeptTraces, o.KeptTraces),
		Range:            tighter(l.Range, o.Range),
	}
}

func tighter[T int | time.Duration](a, b T) T {
	if a == 0 {
		return b
	}
	if b == 0 {
		return a
	}
	return min(a, b)
}

// CheckRange refuses a question that spans more time than l allows.
func (l Limits) CheckRange(partner OrgID, span time.Duration) error {
	if most := l.OrDefault().Range; span > most {
		// A range begins a millisecond after what it is as long as.
		if whole := span.Round(time.Second); whole > most {
			span = whole
		}
		return overLimit(OverRange, partner, "the question spans %s, at most %s are agreed", model.Duration(span), model.Duration(most))
	}
	return nil
}

// CheckSeries refuses an answer of more series than l allows.
func (l Limits) CheckSeries(partner OrgID, series int) error {
	if most := l.OrDefault().Series; series > most {
		return overLimit(OverSeries, partner, "more than the %d series agreed", most)
	}
	return nil
}

// CheckSamples refuses an answer of more samples than l allows.
func (l Limits) CheckSamples(partner OrgID, samples int) error {
	if most := l.OrDefault().Samples; samples > most {
		return overLimit(OverSamples, partner, "more than the %d samples agreed", most)
	}
	return nil
}

// CheckBytes refuses an answer of more bytes than l allows.
func (l Limits) CheckBytes(partner OrgID, bytes int) error {
	if most := l.OrDefault().Bytes; bytes > most {
		return overLimit(OverBytes, partner, "more than the %d bytes agreed", most)
	}
	return nil
}

func overLimit(r Reason, partner OrgID, format string, args ...any) error {
	return &Refusal{Reason: r, Partner: partner, Detail: fmt.Sprintf(format, args...)}
}
