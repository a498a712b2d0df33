package metrics

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/policy"
)

// notices say in words what policy redacts of the answer to a question. It is for
// policy and the question's text to say, by labels that are kept: what the store
// holds has no part in it, and neither have labels that are hidden.
func notices(v *view, q Question) []string {
	r := v.rules
	if r.everything {
		return nil
	}
	rows, cells, unreleased := r.meets(q)
	said := cellNotices(cells)
	if len(rows) > 0 {
		said = append(said, "policy says: "+modes(rows))
	}
	if r.resolution > 0 {
		said = append(said, "policy says: one sample every "+model.Duration(r.resolution*int64(time.Millisecond)).String())
	}
	if slices.ContainsFunc(slices.Concat(rows, cells), func(d *policy.Dataset) bool { return d.Rounding != policy.Rounding{} }) {
		said = append(said, "policy says: numbers are rounded")
	}
	if len(unreleased) > 0 {
		said = append(said, "policy says: nothing of "+strings.Join(unreleased, ", ")+" is released")
	}
	return said
}

// meets are the datasets, released as rows or in cells, that a question's
// selectors can match, and the selectors that none can, as PromQL writes them.
// Datasets that deny have no part in it. What has no selectors meets all, and so
// does a question that is all for other organizations.
func (r *rules) meets(q Question) (rows, cells []*policy.Dataset, unreleased []string) {
	met := map[*policy.Dataset]bool{}
	asked, err := q.Request()
	all := err != nil || !slices.ContainsFunc(asked.Selectors, func(s policy.Selector) bool { return r.forUs(s) })
	for _, s := range asked.Selectors {
		found := slices.Concat(r.rowsOf(s), r.cellsOf(s))
		for _, d := range found {
			met[d] = true
		}
		if len(found) == 0 && r.published(s) == nil && r.forUs(s) {
			unreleased = append(unreleased, brief(s))
		}
	}
	for i := range r.datasets {
		switch d := &r.datasets[i]; {
		case !all && !met[d]:
		case d.Release == policy.Row:
			rows = append(rows, d)
		case d.Release == policy.Aggregate:
			cells = append(cells, d)
		}
	}
	slices.Sort(unreleased)
	unreleased = slices.Compact(unreleased)
	const most = 5 // of what may be long a header and an audit record hold enough
	if len(unreleased) > most {
		unreleased = append(unreleased[:most], "others")
	}
	return rows, cells, unreleased
}

// forUs says whether a selector doesn't ask for another organization's.
func (r *rules) forUs(asked []*labels.Matcher) bool {
	return !slices.ContainsFunc(asked, func(m *labels.Matcher) bool { return m.Name == orgLabel && !m.Matches(string(r.org)) })
}

// rowsOf are the datasets released as rows that a selector can match, by what it
// says of labels that are always kept.
func (r *rules) rowsOf(asked []*labels.Matcher) []*policy.Dataset {
	pushed, possible := r.OnKept(asked)
	if !possible {
		return nil
	}
	var out []*policy.Dataset
	for _, c := range r.Candidates(pushed) {
		if !slices.Contains(out, c.Dataset) {
			out = append(out, c.Dataset)
		}
	}
	return out
}

// cellNotices say what leaves in cells.
func cellNotices(cells []*policy.Dataset) []string {
	var out []string
	for _, d := range cells {
		by := ""
		if names := seenDimensions(d); len(names) > 0 {
			by = " by " + strings.Join(names, ", ")
		}
		units := strings.Join(d.Cells.Units, " and ")
		if countsEvents(d) {
			units = "events"
		}
		out = append(out, fmt.Sprintf("policy says: of %s only sums%s over at least %d %s", d.Name, by, d.Cells.K, units))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// brief is a selector as its author wrote it, or the beginning of one.
func brief(s policy.Selector) string {
	v := parser.VectorSelector{LabelMatchers: []*labels.Matcher(s)}
	for _, m := range s {
		if m.Name == labels.MetricName && m.Type == labels.MatchEqual {
			v.Name = m.Value
		}
	}
	const most = 100
	if text := []rune(v.String()); len(text) > most {
		return string(text[:most]) + "..."
	}
	return v.String()
}

// modes say in words what becomes of the labels of rows.
func modes(rows []*policy.Dataset) string {
	byMode := map[policy.Mode]map[string]bool{}
	others := policy.Keep
	for _, d := range rows {
		others = min(others, d.Others.Mode)
		for name := range d.Labels {
			mode := redact.Strictest([]*policy.Dataset{d}, name).Mode
			if byMode[mode] == nil {
				byMode[mode] = map[string]bool{}
			}
			byMode[mode][name] = true
		}
	}
	var said []string
	for _, m := range []policy.Mode{policy.Keep, policy.Pseudonym, policy.Generalize, policy.Drop} {
		if len(byMode[m]) > 0 {
			said = append(said, m.String()+" "+joinSorted(byMode[m]))
		}
	}
	said = append(said, others.String()+" all other labels")
	return strings.Join(said, "; ")
}

func joinSorted(names map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(names)), ", ")
}
