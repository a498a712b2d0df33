package inspect

import (
	"maps"
	"slices"

	"github.com/parley-gateway/parley/policy"
)

// Others stands for the labels that a dataset doesn't name.
const Others = "*"

// LabelFate is what becomes of a label in a dataset.
type LabelFate struct {
	Label string      `json:"label"` // Others for those not named
	Mode  policy.Mode `json:"-"`
	// What is the mode in words, with the mapping of generalize.
	What string `json:"mode"`
	// Dataset is the one in which the label is, and Says the one that says so: by
	// their index.
	Dataset int `json:"dataset"`
	Says    int `json:"says"`
}

// Fates say what becomes of the labels of these datasets, by dataset: the
// strictest of what is said by those that a series could be in as well.
// Datasets that deny have none.
func Fates(datasets []policy.Dataset, among []int) []LabelFate {
	var out []LabelFate
	for _, i := range among {
		if datasets[i].Release == policy.Deny {
			continue
		}
		with := []int{i}
		if datasets[i].Release == policy.Row {
			with = append(with, overlapping(datasets, among, i)...)
		}
		names := map[string]bool{}
		for _, w := range with {
			for name := range datasets[w].Labels {
				names[name] = true
			}
		}
		for _, name := range append(slices.Sorted(maps.Keys(names)), Others) {
			out = append(out, fate(datasets, name, i, with))
		}
	}
	return out
}

// overlapping are the row datasets that series of one could be in as well.
func overlapping(datasets []policy.Dataset, among []int, of int) []int {
	var out []int
	for _, i := range among {
		if i == of || datasets[i].Release != policy.Row {
			continue
		}
		if _, possible := overlap(datasets[of], datasets[i]); possible != no {
			out = append(out, i)
		}
	}
	return out
}

func fate(datasets []policy.Dataset, name string, of int, with []int) LabelFate {
	members := make([]*policy.Dataset, 0, len(with))
	for _, i := range with {
		members = append(members, &datasets[i])
	}
	rule := policy.Strictest(members, name)
	out := LabelFate{Label: name, Mode: rule.Mode, What: rule.String(), Dataset: of, Says: of}
	for _, i := range with {
		if said := datasets[i].Rule(name); said.Mode == rule.Mode && said.Mapping == rule.Mapping {
			out.Says = i
			break
		}
	}
	return out
}
