package inspect

import (
	"fmt"
	"slices"
	"testing"

	"github.com/parley-gateway/parley/policy"
)

// What leaves of lines and of spans is said of all that is asked for of a dataset,
// and of what of it is in another one.
func TestContents(t *testing.T) {
	streams := func(name string, line policy.Line, selectors ...string) policy.Dataset {
		d := policy.Dataset{Name: name, Release: policy.Row, Line: line, Streams: []policy.Selector{}}
		for _, s := range selectors {
			d.Streams = append(d.Streams, selector(t, s))
		}
		return d
	}
	masks := policy.Line{Mode: policy.LineByRules, Rules: []policy.LineRule{{Masks: []policy.Mask{{Name: "email"}}}}}
	ofLogs := []policy.Dataset{
		streams("a", masks, `{service="shop"}`),
		streams("b", policy.Line{Mode: policy.LineShape}, `{region="eu"}`),
		streams("c", policy.Line{Mode: policy.LineKeep}, `{service=~"shop|mail"}`),
		{Name: "d", Release: policy.Deny, Streams: []policy.Selector{selector(t, `{service="vault"}`)}},
	}
	spans := func(name string, span policy.Span, selectors ...string) policy.Dataset {
		d := policy.Dataset{Name: name, Release: policy.Row, Span: span, Spans: []policy.Selector{}}
		for _, s := range selectors {
			d.Spans = append(d.Spans, selector(t, s))
		}
		return d
	}
	ofTraces := []policy.Dataset{
		spans("a", policy.Span{Mode: policy.SpanFull}, `{"resource.service.name"="web"}`),
		spans("b", policy.Span{Mode: policy.SpanHidden}, `{kind="internal"}`),
		spans("c", policy.Span{Mode: policy.SpanBoundary, Counts: true}, `{"resource.service.name"=~"web|core"}`),
	}
	for _, c := range []struct {
		datasets []policy.Dataset
		asked    string
		want     []string
	}{
		{ofLogs, `{service="shop",region="us"}`, []string{"a: mask email by a", "c: mask email by a"}},
		{ofLogs, `{service="mail"}`, []string{"b: shape by b", "c: keep by c [b shape {region=\"eu\"}]"}},
		{ofLogs, `{service="shop",region="eu"}`, []string{"a: none by all", "b: none by all", "c: none by all"}},
		{ofTraces, `{}`, []string{
			"a: boundary, counts told by c [b hidden {kind=\"internal\"}]", "b: hidden by b",
			"c: boundary, counts told by c [b hidden {kind=\"internal\"}]",
		}},
	} {
		asked := []policy.Selector{selector(t, c.asked)}
		var met []int
		for i, d := range c.datasets {
			if Meet(asked, d) {
				met = append(met, i)
			}
		}
		var got []string
		for _, f := range Contents(c.datasets, met, asked) {
			by := c.datasets[f.Says].Name
			if f.Clash {
				by = "all"
			}
			text := fmt.Sprintf("%s: %s by %s", c.datasets[f.Dataset].Name, f.What, by)
			for _, p := range f.Partly {
				text += fmt.Sprintf(" [%s %s %s]", c.datasets[p.Also].Name, p.What, selectorsText(p.Series))
			}
			got = append(got, text)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%q\nwant\n%q", c.asked, got, c.want)
		}
	}
	// Of what is hidden nothing is said of names; what isn't redacted says nothing of
	// them where something else does.
	for _, f := range Fates(ofTraces, []int{0, 1, 2}, []policy.Selector{nil}, map[int][]string{0: {"name"}}) {
		if f.Dataset == 1 {
			t.Errorf("of hidden spans: %+v", f)
		}
		if f.Dataset == 0 && f.Label == "name" && (f.What != "drop" || ofTraces[f.Says].Name != "c" || len(f.Partly) > 0) {
			t.Errorf("of spans that are in two datasets: %+v", f)
		}
	}
}
