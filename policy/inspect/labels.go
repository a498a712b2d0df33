package inspect

import (
	"maps"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Others stands for the labels that a dataset doesn't name.
const Others = "*"

// LabelFate is what becomes of a label, or of a name or an attribute of spans, in a
// dataset.
type LabelFate struct {
	Label string      `json:"label"` // Others for those not named
	Mode  policy.Mode `json:"-"`
	// What is the mode in words, with the mapping of generalize.
	What string `json:"mode"`
	// Dataset is the one in which the label is, and Says the one that says so: by
	// their index. It is another one where all that is asked for is in that, too.
	Dataset int `json:"dataset"`
	Says    int `json:"says"`
	// Partly are the datasets that hide more of the series which are in them, too.
	Partly []PartialFate `json:"-"`
}

// PartialFate is what becomes of those series, streams or spans of a dataset that are
// in another one as well, or of a label of them.
type PartialFate struct {
	Mode policy.Mode
	What string
	// Also is that dataset, by its index.
	Also int
	// Series are its selectors that choose them, without the matchers that all
	// series match that are asked for.
	Series []policy.Selector
}

// Fates say what becomes of the labels of these datasets, by dataset, as far as
// series are asked for, which all that is asked of raw series says: a series is
// when one of the selectors matches it. They are the labels that the datasets name,
// units among them, and those mentioned, by dataset, of a question. Datasets that
// deny, or hide all their spans, have none.
func Fates(datasets []policy.Dataset, among []int, asked []policy.Selector, mentioned map[int][]string) []LabelFate {
	var out []LabelFate
	for _, i := range among {
		d := datasets[i]
		if d.Release == policy.Deny {
			continue
		}
		whole, partly := company(datasets, i, among, asked)
		if hiddenWith(datasets, whole) {
			continue
		}
		names := map[string]bool{}
		for _, name := range mentioned[i] {
			names[name] = true
		}
		if d.Cells != nil {
			for _, name := range d.Cells.Units {
				names[name] = true
			}
		}
		for _, w := range slices.Concat(whole, partly) {
			for name := range datasets[w].Labels {
				names[name] = true
			}
		}
		for _, name := range append(slices.Sorted(maps.Keys(names)), Others) {
			f := fate(datasets, name, i, whole)
			for _, p := range partly {
				if !hiddenWith(datasets, append(slices.Clone(whole), p)) {
					f.partly(datasets, p, whole, asked)
				}
			}
			out = append(out, f)
		}
	}
	return out
}

// company are the datasets in which all is that is asked for of one, itself among
// them, and those in which some of it is.
func company(datasets []policy.Dataset, i int, among []int, asked []policy.Selector) (whole, partly []int) {
	d := datasets[i]
	whole = []int{i}
	for _, o := range among {
		if o == i || d.Release != policy.Row || datasets[o].Release != policy.Row || !Meet(asked, d, datasets[o]) {
			continue
		}
		if allIn(narrowed(d, asked), datasets[o]) == yes {
			whole = append(whole, o)
		} else {
			partly = append(partly, o)
		}
	}
	return whole, partly
}

// hiddenWith says whether spans that are in these datasets aren't there.
func hiddenWith(datasets []policy.Dataset, which []int) bool {
	return datasets[which[0]].Signal() == tenants.Traces && policy.StrictestSpan(those(datasets, which)).Mode == policy.SpanHidden
}

// Meet says whether a series that is asked for could be in all datasets. What is
// too much to work out could be.
func Meet(asked []policy.Selector, datasets ...policy.Dataset) bool {
	among := asked
	for _, d := range datasets {
		among = narrowed(d, among)
	}
	return len(among) > 0
}

// narrowed are the selectors of a dataset's series that are asked for.
func narrowed(d policy.Dataset, asked []policy.Selector) []policy.Selector {
	var out []policy.Selector
	for _, a := range asked {
		for _, s := range d.Selectors() {
			if _, possible := meeting(a, s); possible != no {
				out = append(out, slices.Concat(a, s))
			}
		}
	}
	return out
}

// allIn says whether all series that one of the selectors matches are in a
// dataset.
func allIn(selectors []policy.Selector, in policy.Dataset) answer {
	out := yes
	for _, s := range selectors {
		switch covers(in.Selectors(), s) {
		case no:
			return no
		case unknown:
			out = unknown
		case yes:
		}
	}
	return out
}

func fate(datasets []policy.Dataset, name string, of int, with []int) LabelFate {
	rule := strictest(those(datasets, with), name)
	out := LabelFate{Label: name, Mode: rule.Mode, What: rule.String(), Dataset: of, Says: of}
	for _, i := range with {
		if said := strictest(those(datasets, []int{i}), name); said.Mode == rule.Mode && said.Mapping == rule.Mapping {
			out.Says = i
			break
		}
	}
	return out
}

// partly adds what becomes of series that are in another dataset, too, if that
// is something else.
func (f *LabelFate) partly(datasets []policy.Dataset, also int, whole []int, asked []policy.Selector) {
	rule := strictest(those(datasets, append(slices.Clone(whole), also)), f.Label)
	what := rule.String()
	if what == f.What {
		return
	}
	f.Partly = append(f.Partly, PartialFate{Mode: rule.Mode, What: what, Also: also, Series: beyond(datasets[also], narrowed(datasets[f.Dataset], asked))})
}

// beyond are the selectors of a dataset that match some of what others match,
// without the matchers that all of it matches anyhow.
func beyond(d policy.Dataset, others []policy.Selector) []policy.Selector {
	var out []policy.Selector
	for _, s := range d.Selectors() {
		if !Meet(others, policy.Dataset{Series: []policy.Selector{s}}) {
			continue
		}
		out = append(out, slices.DeleteFunc(slices.Clone(s), func(m *labels.Matcher) bool {
			return allIn(others, policy.Dataset{Series: []policy.Selector{{m}}}) == yes
		}))
	}
	return out
}

func those(datasets []policy.Dataset, which []int) []*policy.Dataset {
	out := make([]*policy.Dataset, 0, len(which))
	for _, i := range which {
		out = append(out, &datasets[i])
	}
	return out
}
