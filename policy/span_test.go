package policy

import (
	"testing"

	"github.com/parley-gateway/parley/tenants"
)

func TestStrictestSpan(t *testing.T) {
	full, attributes, shape, boundary, hidden := Span{Mode: SpanFull}, Span{Mode: SpanAttributes}, Span{Mode: SpanShape}, Span{Mode: SpanBoundary}, Span{}
	counted := func(s Span) Span { s.Counts = true; return s }
	timeless := func(s Span) Span { s.WithholdDurations = true; return s }
	for _, test := range []struct {
		of   []Span
		want Span
	}{
		{nil, hidden},
		{[]Span{hidden}, hidden},
		{[]Span{full, full}, counted(full)},
		{[]Span{full, attributes}, counted(attributes)},
		{[]Span{attributes, shape}, shape},
		{[]Span{shape, boundary}, boundary},
		{[]Span{full, hidden}, hidden},
		{[]Span{counted(boundary), boundary}, boundary},
		{[]Span{counted(boundary), counted(shape)}, counted(boundary)},
		// What folds nothing tells how much all the same.
		{[]Span{counted(boundary), full}, counted(boundary)},
		{[]Span{boundary, full}, boundary},
		{[]Span{boundary, timeless(boundary)}, timeless(boundary)},
	} {
		datasets := make([]*Dataset, len(test.of))
		for i, s := range test.of {
			datasets[i] = &Dataset{Spans: []Selector{}, Span: s}
		}
		if got := StrictestSpan(datasets); got != test.want {
			t.Errorf("of %v: %+v, want %+v", test.of, got, test.want)
		}
	}
}

func TestSpanModesByName(t *testing.T) {
	for mode, want := range map[SpanMode]string{SpanHidden: "hidden", SpanBoundary: "boundary", SpanShape: "shape", SpanAttributes: "attributes", SpanFull: "full", 9: "span-mode-9"} {
		if mode.String() != want {
			t.Errorf("%d is called %s, want %s", mode, mode, want)
		}
	}
	d := Dataset{Spans: []Selector{}}
	if d.Signal() != tenants.Traces || d.Selectors() == nil {
		t.Error("an empty dataset of spans is none")
	}
}

func TestStrictestOfSpans(t *testing.T) {
	of := func(mode SpanMode, labels map[string]LabelRule, others Mode) *Dataset {
		return &Dataset{Spans: []Selector{}, Span: Span{Mode: mode}, Labels: labels, Others: LabelRule{Mode: others}}
	}
	kept := map[string]LabelRule{SpanName: {Mode: Keep}, "span.user.id": {Mode: Pseudonym}}
	full, attributes, shape, hidden := of(SpanFull, nil, Drop), of(SpanAttributes, kept, Drop), of(SpanShape, nil, Drop), of(SpanHidden, nil, Drop)
	boundary := of(SpanBoundary, map[string]LabelRule{SpanName: {Mode: Drop}}, Keep)
	for _, test := range []struct {
		of   []*Dataset
		name string
		want Mode
	}{
		{nil, SpanKind, Drop},
		{[]*Dataset{full}, "span.anything", Keep},
		{[]*Dataset{full, attributes}, SpanName, Keep},
		{[]*Dataset{full, attributes}, "span.user.id", Pseudonym},
		{[]*Dataset{full, attributes}, "span.anything", Drop},
		{[]*Dataset{attributes, boundary}, SpanName, Drop},
		{[]*Dataset{attributes, boundary}, "span.user.id", Pseudonym},
		{[]*Dataset{attributes, shape}, SpanName, Drop},
		{[]*Dataset{attributes, shape}, SpanKind, Keep},
		{[]*Dataset{attributes, hidden}, SpanKind, Drop},
	} {
		if got := StrictestOfSpans(test.of, test.name); got.Mode != test.want {
			t.Errorf("%s of %d datasets: %s, want %s", test.name, len(test.of), got, test.want)
		}
	}
	if text := (Span{Mode: SpanBoundary, Counts: true, WithholdDurations: true}).String(); text != "boundary, counts told, durations withheld" {
		t.Error(text)
	}
}
