package policy

// Rule is what the dataset says of a label.
func (d *Dataset) Rule(label string) LabelRule {
	if rule, named := d.Labels[label]; named {
		return rule
	}
	return d.Others
}

// Strictest is the rule of a label of a series that is in several datasets: the
// one that hides most. Two different generalizations have no common one, so the
// label is dropped. Of no datasets nothing is seen.
func Strictest(datasets []*Dataset, label string) LabelRule {
	if len(datasets) == 0 {
		return LabelRule{}
	}
	out := LabelRule{Mode: Keep}
	for _, d := range datasets {
		rule := d.Rule(label)
		switch {
		case rule.Mode < out.Mode:
			out = rule
		case rule.Mode == Generalize && out.Mode == Generalize && rule.Mapping != out.Mapping:
			return LabelRule{}
		}
	}
	return out
}
