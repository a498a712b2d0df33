// Package policy answers "may": what a question is to a policy, and what a
// policy makes of the view and the answer.
//
// A Decider gives the Decision on a Request. Its zero Decision denies:
//
//	d, err := decider.Decide(ctx, req)
//	if err != nil || !d.Allow { ... nothing leaves ... }
//	view := d.Obligations // what may be seen
//
// Evaluation of Rego is in policy/rego; this package is the vocabulary.
package policy

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/tenants"
)

// Side is on which end of a question a decision is made.
type Side string

const (
	// Ask decides, at the asker, what may be asked of whom.
	Ask Side = "ask"
	// Answer decides, at the owner, what is answered.
	Answer Side = "answer"
)

// Kind is what sort of question is asked of a signal.
type Kind string

// The kinds of questions. Those up to LabelValues are of metrics and logs alike.
const (
	Instant     Kind = "query"
	Range       Kind = "query_range"
	Series      Kind = "series"       // redacted series with samples, or only their labels; of logs, the labels of streams
	LabelNames  Kind = "labels"       // names of visible labels
	LabelValues Kind = "label_values" // values of one visible label
	Metadata    Kind = "metadata"     // type, help and unit of visible metrics
	Exemplars   Kind = "exemplars"

	Tail           Kind = "tail"            // entries as they come
	Stats          Kind = "stats"           // how many streams, entries and bytes a selector has
	Volume         Kind = "volume"          // bytes by label, at one time or over a range
	DetectedLabels Kind = "detected_labels" // visible labels with how many values they have
	DetectedFields Kind = "detected_fields" // fields of redacted lines
	Patterns       Kind = "patterns"        // templates of redacted lines

	Trace        Kind = "trace"        // whole traces, by id
	Search       Kind = "search"       // traces that an expression of TraceQL is true of
	Operations   Kind = "operations"   // visible services and their operations
	Dependencies Kind = "dependencies" // which visible service calls which
	KeepTrace    Kind = "keep"         // keep traces, by id, for longer than they would be
)

// Kinds returns the kinds of question there are of a signal, none for a signal
// that can't be asked yet.
func Kinds(s tenants.Signal) []Kind {
	switch s {
	case tenants.Metrics:
		return []Kind{Instant, Range, Series, LabelNames, LabelValues, Metadata, Exemplars}
	case tenants.Logs:
		return []Kind{Instant, Range, Series, LabelNames, LabelValues, Tail, Stats, Volume, DetectedLabels, DetectedFields, Patterns}
	case tenants.Traces:
		return []Kind{Trace, Search, LabelNames, LabelValues, Operations, Dependencies, KeepTrace}
	}
	return nil
}

// Window is a span of time, both ends included.
type Window struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// Union is the smallest window that holds both; a zero Window adds nothing.
func (w Window) Union(o Window) Window {
	switch {
	case w == Window{}:
		return o
	case o == Window{}:
		return w
	}
	if o.Start.Before(w.Start) {
		w.Start = o.Start
	}
	if o.End.After(w.End) {
		w.End = o.End
	}
	return w
}

// Request is a question as a policy sees it.
type Request struct {
	Side      Side
	Principal tenants.Principal
	// Purposes are what the principal's purpose is under, itself included, in
	// the agreement's vocabulary: see tenants.Agreement.Under.
	Purposes []tenants.Purpose
	// Owner is the organization whose data is asked for.
	Owner tenants.OrgID
	// Package is the Rego package that decides: the agreement's, or empty for
	// the default of the side.
	Package string
	Signal  tenants.Signal
	Kind    Kind
	// Window is the span of data the question touches: ranges, offsets,
	// subqueries and the lookback included.
	Window Window
	// Step is the resolution of a range query; zero otherwise.
	Step time.Duration
	// Query is the canonical text of the question, literals included. A policy
	// may test it, so it is part of a decision's cache key.
	Query string
	// Selectors are the vector selectors in the query, in order.
	Selectors []Selector
	// Functions are the names of functions and aggregations used, sorted, each once.
	Functions []string
	// Stages are the names of the stages of LogQL used, sorted, each once, and
	// LineFilters its line filters, in order.
	Stages, LineFilters []string
	// Label is the label asked for by LabelValues; empty otherwise.
	Label string
}

// Selector is an AND of matchers, the metric name among them as __name__.
type Selector []*labels.Matcher

// Decision is what policy says of a question. The zero Decision denies.
type Decision struct {
	Allow bool
	// Reasons say why, for our own log, audit and users; never for a partner.
	Reasons     []string
	Obligations Obligations
	Revision    Revision
}

// Revision identifies the policy that decided: a hash of its sources, in hex.
type Revision string

// Obligations are what a decision makes of the view and the answer.
type Obligations struct {
	// Datasets are what is released. A series or stream in none of them isn't
	// there; one in several gets, label by label, the mode that hides most, and of
	// lines StrictestLine.
	Datasets []Dataset
	// Queries are published, to be asked by name.
	Queries []Query
	// NotBefore and NotAfter bound the samples of the view, both included. Zero
	// is unbounded.
	NotBefore, NotAfter time.Time
	// MaxAge and Delay are what NotBefore and NotAfter follow from at the time of
	// the decision; zero where they don't. They are there to be told.
	MaxAge, Delay time.Duration
	// Resolution is the time between two samples of the view: of each interval
	// of that length, counted from the Unix epoch, it holds the last sample, at
	// the interval's end. A question's steps and ranges may not be shorter. Zero
	// leaves samples as they are.
	Resolution time.Duration
	// Functions are the PromQL functions and aggregations that are answered; a
	// selector must stand under one of them. Empty is all, and selectors alone.
	Functions []string
	// Differencing bounds how many questions may be about one metric. Its zero value
	// bounds nothing.
	Differencing Differencing
	// Epoch is for how long a value keeps its pseudonym. Zero means a single
	// question.
	Epoch time.Duration
	// Limits tighten those of the agreement.
	Limits tenants.Limits
}

// Of are the obligations of a question about a signal: without the datasets of
// others and, for all but metrics, without published queries. What isn't known
// has none.
func (o Obligations) Of(signal tenants.Signal) Obligations {
	other := func(d Dataset) bool { return d.Signal() != signal }
	if slices.ContainsFunc(o.Datasets, other) {
		o.Datasets = slices.DeleteFunc(slices.Clone(o.Datasets), other)
	}
	if signal != tenants.Metrics {
		o.Queries = nil
	}
	return o
}

// Release is how much of a dataset leaves.
type Release string

// The release levels.
const (
	// Deny releases nothing: series of the dataset aren't there, whatever
	// other datasets say of them.
	Deny Release = "deny"
	// Aggregate releases no series, only cells of at least K distinct units.
	Aggregate Release = "aggregate"
	// Row releases series, each label in its mode.
	Row Release = "row"
)

// Dataset is a set of series, of streams or of spans, and how they are released.
// What a dataset of one says is never said of another.
type Dataset struct {
	// Name is for reasons and audit.
	Name string
	// Series is an OR of selectors: a series belongs to the dataset when one
	// matches its raw labels. An empty list matches nothing; an empty Selector
	// matches everything.
	Series []Selector
	// Streams is the same of the streams of logs, by their raw labels without
	// structured metadata. It isn't nil exactly when the dataset is of streams,
	// and Series is nil then.
	Streams []Selector
	// Spans is the same of spans, by their raw attributes, whose names are those of
	// SpanAttributes. It isn't nil exactly when the dataset is of spans, and Series
	// and Streams are nil then.
	Spans []Selector
	// Release is not Aggregate for streams and spans.
	Release Release
	// Labels are the rules of labels by name, as they are called after an
	// owner's own `org` became `exported_org`. __name__ and org are always
	// kept and can't be named. Of streams they hold for structured metadata too.
	Labels map[string]LabelRule
	// Others is the rule for labels not named; its zero value drops.
	Others LabelRule
	// Rounding is of the samples of rows and of the sums of cells; of how many
	// series a cell is of, its Digits.
	Rounding Rounding
	// Cells are what is released of a dataset whose release is Aggregate; nil
	// for the others. Labels then are the rules of its dimensions, all of them
	// named, and Others drops.
	Cells *Cells
	// Line is what leaves of the lines of streams.
	Line Line
	// Span is what leaves of spans.
	Span Span
}

// Signal is what the dataset is of.
func (d *Dataset) Signal() tenants.Signal {
	switch {
	case d.Streams != nil:
		return tenants.Logs
	case d.Spans != nil:
		return tenants.Traces
	}
	return tenants.Metrics
}

// Selectors are those of its series, streams or spans.
func (d *Dataset) Selectors() []Selector {
	switch {
	case d.Streams != nil:
		return d.Streams
	case d.Spans != nil:
		return d.Spans
	}
	return d.Series
}

// Cells are the finest sums that leave of a dataset: one lattice, from which
// every coarser view is computed, of every partner.
type Cells struct {
	// Dimensions tell cells apart. The label le of a classic histogram is one
	// without being named; its buckets with fewer than K observations are merged.
	Dimensions []string
	// Units are the labels that tell one unit from another: counted, never seen.
	// Empty says that the increments of counters are the units: of each interval
	// of the obligations' Resolution, which is then not zero, an increase between
	// zero and K is suppressed, and nothing but sums of increases leaves.
	Units []string
	// K is the least number of distinct units in a cell that leaves; at least 2.
	K int
	// Other releases what is suppressed for having fewer than K units as one
	// cell whose dimensions are OtherCell, where together there are enough.
	Other bool
	// Dominance is the largest share of a cell that one unit may have, above 0
	// and at most 1; zero is no bound. It is of the sum of absolute values, of the
	// counts and sums of native histograms, and of the number of series.
	Dominance float64
	// Schema is the finest schema of native histograms that leaves, -4 to 8; nil
	// leaves it. Buckets with fewer than K observations are merged.
	Schema *int32
}

// Differencing is what becomes of many questions about one metric, whose answers
// together tell what none does. They are different when their text is, or how
// far they look back; the time at which they are asked has no part in it.
type Differencing struct {
	// Budget is how many different ones there may be within Within; zero is no bound.
	Budget int
	Within time.Duration
	// Refuse refuses those beyond; otherwise they are counted and logged.
	Refuse bool
}

// Rounding makes numbers less exact. The zero value leaves them.
type Rounding struct {
	// Digits are the significant decimal digits that stay; zero is all.
	Digits int
	// Base is what numbers are multiples of, after Digits; zero is nothing.
	Base float64
}

// Coarser is a rounding that tells no more than r and o do.
func (r Rounding) Coarser(o Rounding) Rounding {
	out := Rounding{Digits: min(r.Digits, o.Digits), Base: max(r.Base, o.Base)}
	if r.Digits == 0 || o.Digits == 0 {
		out.Digits = max(r.Digits, o.Digits)
	}
	return out
}

// Round returns the number as it may be told. What isn't finite stays, stale
// markers among it.
func (r Rounding) Round(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return v
	}
	if r.Digits > 0 {
		// Formatting is exact where multiplying by a power of ten is not; the text
		// of a finite number is one.
		v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'e', r.Digits-1, 64), 64)
	}
	if r.Base > 0 {
		if n := math.Round(v / r.Base); !math.IsInf(n, 0) {
			v = n * r.Base
		}
	}
	return v
}

// OtherCell is the value of the dimensions of the cell that holds what was
// suppressed.
const OtherCell = "__other__"

// Mode is what the view holds of a label.
type Mode uint8

// The modes, from what hides most (and is the default) to what hides least.
const (
	Drop Mode = iota
	Generalize
	Pseudonym
	Keep
)

func (m Mode) String() string {
	names := [...]string{"drop", "generalize", "pseudonym", "keep"}
	if int(m) < len(names) {
		return names[m]
	}
	return fmt.Sprintf("mode-%d", uint8(m))
}

// LabelRule is the mode of a label with, for Generalize, its mapping.
type LabelRule struct {
	Mode Mode
	// Mapping is set exactly when Mode is Generalize.
	Mapping *Mapping
}

// String says it in words, for its owner. Rules that differ have other words.
func (r LabelRule) String() string {
	m := r.Mapping
	if r.Mode != Generalize || m == nil {
		return r.Mode.String()
	}
	var out string
	switch {
	case m.Prefix > 0:
		return fmt.Sprintf("generalize to the first %d characters", m.Prefix)
	case len(m.Buckets) > 0:
		bounds := make([]string, len(m.Buckets))
		for i, b := range m.Buckets {
			bounds[i] = formatBound(b)
		}
		out = "generalize to buckets up to " + strings.Join(bounds, ", ")
	case m.Regexp != nil:
		expression := strings.TrimSuffix(strings.TrimPrefix(m.Regexp.String(), "^(?s:"), ")$")
		out = fmt.Sprintf("generalize %s to %s", expression, m.Replacement)
	}
	if m.Else != "" {
		out += ", all else to " + m.Else
	}
	return out
}

// Decider decides on questions. Implementations are safe for concurrent use.
type Decider interface {
	// Decide returns the decision. An error denies as well: the caller treats
	// it as a denial whose reason is for our own log alone.
	Decide(ctx context.Context, r Request) (Decision, error)
}
