package inspect

import (
	"slices"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// ContentFate is what becomes of the lines of a dataset of streams, or of the spans
// of one of spans.
type ContentFate struct {
	// What is what leaves, in words.
	What string `json:"mode"`
	// Dataset is the one that it is said of, and Says the one that says so: by their
	// index. Clash says that datasets of which each leaves something leave nothing
	// together.
	Dataset int  `json:"dataset"`
	Says    int  `json:"says"`
	Clash   bool `json:"clash,omitempty"`
	// Partly are the datasets that leave something else of what is in them, too.
	Partly []PartialFate `json:"-"`
}

// Contents say what becomes of the lines or spans of these datasets, by dataset, as
// Fates say it of labels. Datasets of series and those that deny have none.
func Contents(datasets []policy.Dataset, among []int, asked []policy.Selector) []ContentFate {
	var out []ContentFate
	for _, i := range among {
		if datasets[i].Signal() == tenants.Metrics || datasets[i].Release == policy.Deny {
			continue
		}
		whole, partly := company(datasets, i, among, asked)
		f := ContentFate{What: contentOf(those(datasets, whole)), Dataset: i, Says: i}
		says := slices.IndexFunc(whole, func(w int) bool { return contentOf(those(datasets, []int{w})) == f.What })
		if f.Clash = says < 0; !f.Clash {
			f.Says = whole[says]
		}
		for _, p := range partly {
			what := contentOf(those(datasets, append(slices.Clone(whole), p)))
			if what != f.What {
				f.Partly = append(f.Partly, PartialFate{What: what, Also: p, Series: beyond(datasets[p], narrowed(datasets[i], asked))})
			}
		}
		out = append(out, f)
	}
	return out
}

// contentOf is what leaves of a line or a span that is in all of the datasets.
func contentOf(members []*policy.Dataset) string {
	if members[0].Signal() == tenants.Logs {
		return policy.StrictestLine(members).String()
	}
	span := policy.StrictestSpan(members)
	if span.Mode >= policy.SpanAttributes {
		return span.Mode.String() // nothing is folded
	}
	return span.String()
}
