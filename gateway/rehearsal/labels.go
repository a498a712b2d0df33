package rehearsal

import (
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
)

// mentions are where a query speaks of labels, by dataset that it meets there
// and label.
type mentions map[int]map[string][]string

func (m mentions) add(datasets []int, spoken []metrics.Mention) {
	for _, d := range datasets {
		if m[d] == nil {
			m[d] = map[string][]string{}
		}
		for _, s := range spoken {
			in := append(slices.Clone(m[d][s.Label]), s.In...)
			slices.Sort(in)
			m[d][s.Label] = slices.Compact(in)
		}
	}
}

// labels are those it speaks of.
func (m mentions) labels() map[int][]string {
	out := map[int][]string{}
	for d, byLabel := range m {
		out[d] = slices.Collect(maps.Keys(byLabel))
	}
	return out
}

// label is what becomes of a label, with names and places.
func label(org tenants.OrgID, datasets []policy.Dataset, written []rego.Written, fate inspect.LabelFate) Label {
	says := datasets[fate.Says]
	out := Label{LabelFate: fate, Dataset: datasets[fate.Dataset].Name, Says: says.Name}
	if fate.Label == federation.OrgLabel {
		out.Mode, out.What = policy.Keep, policy.Keep.String()
		out.Why = "the gateway sets it to " + string(org)
		return out
	}
	out.Place, out.Why = placeOf(says, written[fate.Says], fate.Label)
	if says.Signal() == tenants.Traces && (says.Span.Mode == policy.SpanFull || says.Span.Mode == policy.SpanShape) {
		out.Place, out.Why = placeOfContent(says, written[fate.Says]), says.Span.Mode.String()+" spans"
	}
	if says.Cells != nil && fate.Label == labels.BucketLabel { // a dimension without being named
		out.Mode, out.What = policy.Keep, policy.Keep.String()
	}
	for _, p := range fate.Partly {
		at, _ := placeOf(datasets[p.Also], written[p.Also], fate.Label)
		out.Partly = append(out.Partly, partial(datasets, p, at))
	}
	return out
}

func partial(datasets []policy.Dataset, p inspect.PartialFate, at rego.Place) PartialLabel {
	out := PartialLabel{What: p.What, Also: datasets[p.Also].Name, Place: at}
	for _, s := range p.Series {
		out.Series = append(out.Series, metrics.FormatSelector(s))
	}
	return out
}

// content is what becomes of lines or spans, with names and places.
func content(datasets []policy.Dataset, written []rego.Written, fate inspect.ContentFate) Content {
	says := datasets[fate.Says]
	out := Content{ContentFate: fate, Dataset: datasets[fate.Dataset].Name, Says: says.Name, Place: placeOfContent(says, written[fate.Says])}
	for _, p := range fate.Partly {
		out.Partly = append(out.Partly, partial(datasets, p, placeOfContent(datasets[p.Also], written[p.Also])))
	}
	return out
}

// placeOfContent is where a dataset says what leaves of lines or spans.
func placeOfContent(d policy.Dataset, w rego.Written) rego.Place {
	key := map[tenants.Signal]string{tenants.Logs: "line", tenants.Traces: "span"}[d.Signal()]
	if at, said := w.Keys[key]; said {
		return at
	}
	return w.Place
}

// writes says whether a query writes the label.
func writes(in []string) bool {
	return slices.ContainsFunc(in, func(in string) bool { return strings.HasPrefix(in, "written by ") })
}

// parses says whether stages of a pipeline find labels in lines.
func parses(stages []string) bool {
	return slices.ContainsFunc([]string{"json", "logfmt", "regexp", "pattern", "unpack"}, func(parser string) bool { return slices.Contains(stages, parser) })
}

// ofLines says whether a label of which a query speaks so may be one that a parser
// finds: its streams' labels are those of matchers.
func ofLines(in []string) bool { return len(in) > 0 && !slices.Contains(in, "matcher") }

// placeOf is where something is said of a label, and why that is said of it where
// it has no mode of its own.
func placeOf(d policy.Dataset, w rego.Written, label string) (at rego.Place, why string) {
	_, named := d.Labels[label]
	if at, said := w.Labels[label]; said && label != inspect.Others {
		return at, ""
	}
	key := ""
	switch {
	case named && d.Cells == nil:
		key = "labels"
	case named:
		key, why = "dimensions", "it is a dimension"
	case d.Cells == nil && label == inspect.Others:
	case d.Cells == nil:
		why = "it isn't named"
	case label == inspect.Others:
		key = "dimensions"
	case slices.Contains(d.Cells.Units, label):
		key, why = "units", "it is a unit: counted, never seen"
	case label == labels.BucketLabel:
		key, why = "dimensions", "buckets of classic histograms always have it"
	default:
		key, why = "dimensions", "it isn't a dimension"
	}
	if at, said := w.Keys[key]; said {
		return at, why
	}
	if at, said := w.Labels[inspect.Others]; said && !named {
		return at, why
	}
	return w.Place, why
}
