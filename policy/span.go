package policy

import "fmt"

// Span is what leaves of the spans of a dataset. Its zero value lets none leave.
type Span struct {
	Mode SpanMode
	// Counts tells how many spans were folded into one, and leaves those of a
	// SpanShape unfolded.
	Counts bool
	// WithholdDurations is for what stands for folded spans: it then lasts as long as
	// the span it is in.
	WithholdDurations bool
}

// SpanMode is how much of a span leaves. Its time and kind leave in every mode
// but SpanHidden.
type SpanMode uint8

// The modes, from what hides most (and is the default) to what hides least.
const (
	// SpanHidden spans are as if they had never been recorded: what they called
	// was called by whoever called them.
	SpanHidden SpanMode = iota
	// SpanBoundary leaves the spans with which a request enters or leaves the
	// organization, with the attributes that rules let be seen. The others are
	// folded: one withheld span stands for all that are directly inside of one
	// that is left.
	SpanBoundary
	// SpanShape leaves spans without names and attributes; those of the kind
	// internal are folded.
	SpanShape
	// SpanAttributes leaves the names and attributes that rules let be seen.
	SpanAttributes
	// SpanFull leaves spans as they are.
	SpanFull
)

func (m SpanMode) String() string {
	names := [...]string{"hidden", "boundary", "shape", "attributes", "full"}
	if int(m) < len(names) {
		return names[m]
	}
	return fmt.Sprintf("span-mode-%d", uint8(m))
}

// The names of what a span has beside attributes, for rules and selectors. The
// attributes of a span are called span.<name>, those of its resource
// resource.<name>, of its scope scope.<name>, of its events event.<name> and of
// its links link.<name>. Selectors see names, kind, status, scope and the
// attributes of span, resource and scope.
const (
	SpanName          = "name"
	SpanKind          = "kind"   // "unspecified", "internal", "server", "client", "producer" or "consumer"; always seen
	SpanStatus        = "status" // "unset", "ok" or "error"
	SpanStatusMessage = "status_message"
	SpanTraceState    = "trace_state" // of the span and its links
	SpanScopeName     = "scope.name"
	SpanScopeVersion  = "scope.version"
	SpanEventName     = "event.name" // an event whose name isn't seen isn't there
)

// StrictestOfSpans is the rule of a name or an attribute of spans that are in
// several datasets, whatever their mode.
func StrictestOfSpans(datasets []*Dataset, name string) LabelRule {
	mode := StrictestSpan(datasets).Mode
	switch {
	case mode == SpanHidden:
		return LabelRule{}
	case mode == SpanFull || name == SpanKind:
		return LabelRule{Mode: Keep}
	case mode == SpanShape:
		return LabelRule{}
	}
	var redacting []*Dataset
	for _, d := range datasets {
		if d.Span.Mode != SpanFull {
			redacting = append(redacting, d)
		}
	}
	return Strictest(redacting, name)
}

// String says it in words, for its owner.
func (s Span) String() string {
	out := s.Mode.String()
	if s.Counts {
		out += ", counts told"
	}
	if s.WithholdDurations {
		out += ", durations withheld"
	}
	return out
}

// StrictestSpan is what leaves of a span that is in several datasets: the mode
// that hides most, and of counts and durations what all of them tell; those that
// fold no spans tell both. Of no datasets nothing is seen.
func StrictestSpan(datasets []*Dataset) Span {
	if len(datasets) == 0 {
		return Span{}
	}
	out := Span{Mode: SpanFull, Counts: true}
	for _, d := range datasets {
		out.Mode = min(out.Mode, d.Span.Mode)
		out.Counts = out.Counts && (d.Span.Counts || d.Span.Mode >= SpanAttributes)
		out.WithholdDurations = out.WithholdDurations || d.Span.WithholdDurations
	}
	return out
}
