package rego

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/parley-gateway/parley/policy"
)

// FuzzDecisionResult gives whatever a policy could return to the reader: it
// never panics, and what it allows is complete and can be applied.
func FuzzDecisionResult(f *testing.F) {
	shape, err := newShape()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte, asking bool) {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		var value any
		if decoder.Decode(&value) != nil {
			return
		}
		side := policy.Answer
		if asking {
			side = policy.Ask
		}
		v, err := shape.read(value, side, ofSeries)
		d := v.at(noon)
		if err != nil && (d.Allow || len(d.Obligations.Datasets) > 0) {
			t.Fatalf("invalid and allowed: %+v", d)
		}
		object, _ := value.(map[string]any)
		if d.Allow && object["allow"] != true {
			t.Fatalf("allowed without allow: %+v", d)
		}
		if !d.Allow || asking {
			if len(d.Obligations.Datasets) > 0 {
				t.Fatalf("datasets of a denial: %+v", d)
			}
			return
		}
		if len(d.Obligations.Datasets) == 0 {
			t.Fatal("allowed with nothing to answer")
		}
		for _, ds := range d.Obligations.Datasets {
			checkDataset(t, ds)
		}
	})
}

func checkDataset(t *testing.T, ds policy.Dataset) {
	t.Helper()
	if ds.Name == "" || ds.Release != policy.Row && ds.Release != policy.Deny {
		t.Fatalf("dataset %+v", ds)
	}
	sources := 0
	for _, list := range [][]policy.Selector{ds.Series, ds.Streams, ds.Spans} {
		if list != nil {
			sources++
		}
	}
	if sources != 1 || ds.Streams == nil && ds.Line.Mode != policy.LineNone || ds.Spans == nil && ds.Span != (policy.Span{}) {
		t.Fatalf("not one of series, streams and spans: %+v", ds)
	}
	checkLine(t, ds.Line)
	if ds.Spans != nil {
		checkSpans(t, ds)
	}
	for _, s := range ds.Selectors() {
		for _, m := range s {
			m.Matches("x")
		}
	}
	for name, r := range ds.Labels {
		if name == "" || name == "org" || name == "*" || len(name) > 1 && name[:2] == "__" {
			t.Fatalf("label %q has a rule", name)
		}
		checkRule(t, r)
	}
	checkRule(t, ds.Others)
}

func checkLine(t *testing.T, l policy.Line) {
	t.Helper()
	if (l.Mode == policy.LineByRules) != (len(l.Rules) > 0) {
		t.Fatalf("line %+v", l)
	}
	for i, r := range l.Rules {
		set := 0
		for _, f := range []*policy.Fields{r.JSON, r.Logfmt} {
			if f == nil {
				continue
			}
			set++
			checkRule(t, f.Others)
			for _, rule := range f.Named {
				checkRule(t, rule)
			}
		}
		if len(r.Masks) > 0 {
			set++
		}
		if set != 1 || i > 0 && len(r.Masks) == 0 {
			t.Fatalf("line rule %d of %+v", i, l)
		}
		for _, m := range r.Masks {
			if m.Pattern == nil != slices.Contains(policy.Detectors, policy.Detector(m.Name)) || m.Pattern != nil && m.Pattern.MatchString("") {
				t.Fatalf("mask %+v", m)
			}
		}
	}
}

func checkRule(t *testing.T, r policy.LabelRule) {
	t.Helper()
	if (r.Mode == policy.Generalize) != (r.Mapping != nil) {
		t.Fatalf("rule %+v", r)
	}
	if r.Mapping != nil {
		for _, value := range []string{"", "404", "1.5", "NaN", "pod-ü", "\xff"} {
			r.Mapping.Apply(value)
		}
	}
}

func checkSpans(t *testing.T, ds policy.Dataset) {
	t.Helper()
	mode := ds.Span.Mode
	ruled := len(ds.Labels) > 0 || ds.Others != (policy.LabelRule{})
	if mode > policy.SpanFull || ds.Release == policy.Deny && mode != policy.SpanHidden || ruled && mode != policy.SpanAttributes && mode != policy.SpanBoundary {
		t.Fatalf("spans that contradict themselves: %+v", ds)
	}
	if folds := mode == policy.SpanBoundary || mode == policy.SpanShape; !folds && (ds.Span.Counts || ds.Span.WithholdDurations) {
		t.Fatalf("counts of what isn't folded: %+v", ds)
	}
	for name := range ds.Labels {
		if _, key, _ := strings.Cut(name, "."); name == policy.SpanKind || strings.HasPrefix(key, "parley.") {
			t.Fatalf("%q has a rule", name)
		}
	}
	for _, s := range ds.Spans {
		for _, m := range s {
			if err := selectsSpans(m); err != nil {
				t.Fatal(err)
			}
		}
	}
}
