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
