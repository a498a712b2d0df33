package redact

import (
	"maps"
	"slices"
)

// LabelAccount is what becomes of the values of a label, or of an attribute of
// spans, for its owner's eyes.
type LabelAccount struct {
	Name string `json:"name"`
	// Values there are, and Seen are different ones that the partner sees of them.
	Values int `json:"values"`
	Seen   int `json:"seen"`
	// Kept are those that the partner sees as they are.
	Kept int `json:"kept"`
	// Datasets are those of what has it, by their index in the obligations, sorted.
	Datasets []int `json:"datasets"`
}

// Values count what becomes of the values of labels. Its zero value is ready.
type Values struct{ byName map[string]*valuesOf }

// valuesOf are the values of a label: raw, as they are seen, and those that are
// seen as they are.
type valuesOf struct {
	raw, seen, kept map[string]bool
	datasets        map[int]bool
}

// See notes that a label of something in these datasets is shown so; empty is not
// at all.
func (v *Values) See(name, raw, shown string, datasets []int) {
	of := v.byName[name]
	if of == nil {
		if v.byName == nil {
			v.byName = map[string]*valuesOf{}
		}
		of = &valuesOf{raw: map[string]bool{}, seen: map[string]bool{}, kept: map[string]bool{}, datasets: map[int]bool{}}
		v.byName[name] = of
	}
	of.raw[raw] = true
	if shown != "" {
		of.seen[shown] = true
	}
	if shown != "" && shown == raw {
		of.kept[raw] = true
	}
	for _, i := range datasets {
		of.datasets[i] = true
	}
}

// Accounts are the numbers, by name.
func (v *Values) Accounts() []LabelAccount {
	var out []LabelAccount
	for _, name := range slices.Sorted(maps.Keys(v.byName)) {
		of := v.byName[name]
		out = append(out, LabelAccount{
			Name: name, Values: len(of.raw), Seen: len(of.seen), Kept: len(of.kept), Datasets: slices.Sorted(maps.Keys(of.datasets)),
		})
	}
	return out
}
