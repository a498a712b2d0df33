package policy

import (
	"regexp"
	"slices"
	"testing"

	"github.com/parley-gateway/parley/tenants"
)

func linesOfRules(rules ...LineRule) Line { return Line{Mode: LineByRules, Rules: rules} }

func TestStrictestLine(t *testing.T) {
	fields := func(others Mode) LineRule {
		return LineRule{JSON: &Fields{Named: map[string]LabelRule{"a": {Mode: Keep}}, Others: LabelRule{Mode: others}}}
	}
	generalized := func(bound float64) Line {
		return linesOfRules(LineRule{Logfmt: &Fields{Others: LabelRule{Mode: Generalize, Mapping: &Mapping{Buckets: []float64{bound}}}}})
	}
	masked := func(expression string) Line {
		return linesOfRules(LineRule{Masks: []Mask{{Name: "email"}, {Name: "x", Pattern: regexp.MustCompile(expression)}}})
	}
	keep, shape, none := Line{Mode: LineKeep}, Line{Mode: LineShape}, Line{}
	for _, test := range []struct {
		of   []Line
		want Line
	}{
		{nil, none},
		{[]Line{keep}, keep},
		{[]Line{keep, keep}, keep},
		{[]Line{shape}, shape},
		{[]Line{shape, shape, keep}, shape},
		{[]Line{keep, none}, none},
		{[]Line{shape, none}, none},
		{[]Line{masked("a"), masked("a")}, masked("a")},
		{[]Line{masked("a"), keep, masked("b")}, none},
		{[]Line{masked("a"), shape}, none},
		{[]Line{generalized(1), generalized(1)}, generalized(1)},
		{[]Line{generalized(1), generalized(2)}, none},
		{[]Line{linesOfRules(fields(Drop)), linesOfRules(fields(Drop)), keep}, linesOfRules(fields(Drop))},
		{[]Line{linesOfRules(fields(Drop)), linesOfRules(fields(Keep))}, none},
	} {
		for range len(test.of) + 1 { // in every order
			var datasets []*Dataset
			for _, l := range test.of {
				datasets = append(datasets, &Dataset{Line: l})
			}
			if got := StrictestLine(datasets); !got.Equal(test.want) {
				t.Errorf("%s: %s, want %s", test.of, got, test.want)
			}
			if len(test.of) > 0 {
				test.of = append(slices.Clone(test.of[1:]), test.of[0])
			}
		}
	}
}

func TestLineString(t *testing.T) {
	rules := linesOfRules(
		LineRule{JSON: &Fields{Named: map[string]LabelRule{"b": {Mode: Pseudonym}, "a.b": {Mode: Generalize, Mapping: &Mapping{Prefix: 3}}}}},
		LineRule{Masks: []Mask{{Name: "email"}, {Name: "ticket", Pattern: regexp.MustCompile("T-[0-9]+")}}},
	)
	for want, line := range map[string]Line{
		"none": {}, "shape": {Mode: LineShape}, "keep": {Mode: LineKeep}, "line-mode-9": {Mode: 9},
		`json "a.b" generalize to the first 3 characters, "b" pseudonym, * drop; mask email, ticket "T-[0-9]+"`: rules,
	} {
		if got := line.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestObligationsOfASignal(t *testing.T) {
	o := Obligations{
		Datasets: []Dataset{{Name: "series", Series: []Selector{{}}}, {Name: "streams", Streams: []Selector{}}, {Name: "nothing"}},
		Queries:  []Query{{Name: "q"}},
	}
	for signal, want := range map[tenants.Signal][]string{
		tenants.Metrics: {"series", "nothing"}, tenants.Logs: {"streams"}, tenants.Traces: nil, "": nil,
	} {
		of := o.Of(signal)
		var got []string
		for _, d := range of.Datasets {
			got = append(got, d.Name)
		}
		if !slices.Equal(got, want) || (len(of.Queries) > 0) != (signal == tenants.Metrics) {
			t.Errorf("%q: %v %v, want %v", signal, got, of.Queries, want)
		}
	}
	if len(o.Datasets) != 3 || o.Datasets[1].Name != "streams" {
		t.Errorf("changed what it was made from: %+v", o.Datasets)
	}
}
