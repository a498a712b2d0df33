package inspect

import (
	"fmt"
	"slices"
	"testing"

	"github.com/parley-gateway/parley/policy"
)

// What another dataset hides is said of the series that are in it and asked for.
func TestFates(t *testing.T) {
	row := func(name string, labels map[string]policy.LabelRule, series ...string) policy.Dataset {
		d := policy.Dataset{Name: name, Release: policy.Row, Labels: labels}
		for _, s := range series {
			d.Series = append(d.Series, selector(t, s))
		}
		return d
	}
	keep, drop, pseudonym := policy.LabelRule{Mode: policy.Keep}, policy.LabelRule{}, policy.LabelRule{Mode: policy.Pseudonym}
	datasets := []policy.Dataset{
		row("a", map[string]policy.LabelRule{"pod": keep, "region": keep}, "requests", "errors"),
		row("b", map[string]policy.LabelRule{"pod": pseudonym, "region": keep}, `{region="eu",service!="tools"}`),
		row("c", map[string]policy.LabelRule{"region": drop}, `{__name__=~"req.*"}`),
		{Name: "d", Release: policy.Deny, Series: []policy.Selector{selector(t, "payroll")}},
	}
	for asked, want := range map[string]string{
		`errors`:                               `a pod keep a [b pseudonym {region="eu",service!="tools"}]`,
		`errors{region="us"}`:                  `a pod keep a`,
		`errors{region=~"us|uk"}`:              `a pod keep a`,
		`errors{region="eu"}`:                  `a pod keep a [b pseudonym {service!="tools"}]`,
		`errors{region="eu",service="search"}`: `a pod pseudonym b`,
		`requests{region="us"}`:                `a pod drop c`,
	} {
		got := ""
		for _, f := range Fates(datasets, []int{0, 1, 2, 3}, []policy.Selector{selector(t, asked)}, nil) {
			if f.Dataset != 0 || f.Label != "pod" {
				continue
			}
			got = fmt.Sprintf("a pod %s %s", f.What, datasets[f.Says].Name)
			for _, p := range f.Partly {
				got += fmt.Sprintf(" [%s %s %s]", datasets[p.Also].Name, p.What, selectorsText(p.Series))
			}
		}
		if got != want {
			t.Errorf("%s:\n%s\nwant\n%s", asked, got, want)
		}
	}
	if Meet([]policy.Selector{selector(t, `errors{region="us"}`)}, datasets[1]) {
		t.Error("what is asked of one region meets a dataset of another")
	}
	if of := Fates(datasets, []int{3}, []policy.Selector{selector(t, "payroll")}, map[int][]string{3: {"user"}}); len(of) > 0 {
		t.Errorf("labels of what is denied: %v", of)
	}

	// What a question mentions has a fate although no dataset names it.
	names := func(mentioned map[int][]string) (out []string) {
		for _, f := range Fates(datasets, []int{0}, []policy.Selector{selector(t, "errors")}, mentioned) {
			out = append(out, f.Label+" "+f.What)
		}
		return out
	}
	if got, want := names(map[int][]string{0: {"user", "pod"}, 1: {"le"}}), []string{"pod keep", "region keep", "user drop", "* drop"}; !slices.Equal(got, want) {
		t.Errorf("mentioned: %q, want %q", got, want)
	}
}
