package metrics

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
)

// Account is what becomes of the series that a query's selectors match in the
// store: numbers, the names of labels, and which cells are suppressed. It is for
// the owner's eyes.
type Account struct {
	Selectors []SelectorAccount  `json:"selectors"`
	Cells     []CellAccount      `json:"cells,omitempty"`
	Events    []EventAccount     `json:"events,omitempty"`
	Published []PublishedAccount `json:"published,omitempty"`
}

// SelectorAccount is what becomes of the series of a selector.
type SelectorAccount struct {
	Selector string `json:"selector"`
	// Series match, as the owner would have it. They are Rows, InCells, InTwo,
	// Denied, Outside, Unmatched or Elsewhen.
	Series int `json:"series"`
	// Rows are in the view as series, one by one, and match there too.
	Rows int `json:"rows"`
	// InCells are counted into cells.
	InCells int `json:"in_cells"`
	// InTwo are in two datasets that release cells, and so in the cells of neither.
	InTwo int `json:"in_two"`
	// Denied are in a dataset that denies, by its index in the obligations.
	Denied map[int]int `json:"denied,omitempty"`
	// Outside are in no dataset.
	Outside int `json:"outside"`
	// Unmatched are released, but the selector matches them by what is hidden.
	Unmatched int `json:"unmatched"`
	// Elsewhen have no samples in the time that may be seen.
	Elsewhen int `json:"elsewhen"`
	// Labels are those of the rows and of the series in cells.
	Labels []LabelAccount `json:"labels,omitempty"`
}

// LabelAccount is what becomes of the values of a label.
type LabelAccount struct {
	Name string `json:"name"`
	// Values there are, and Seen are different ones that the partner may see of
	// them.
	Values int `json:"values"`
	Seen   int `json:"seen"`
	// Kept are those that the partner may see as they are, in some series or cell.
	Kept int `json:"kept"`
	// InCells says that series in cells have the label: of their values those are
	// seen whose cells are released.
	InCells bool `json:"in_cells,omitempty"`
}

// Account counts what becomes of an instant or range query's series under a
// decision. Of published queries it counts what they give: what they select is
// their author's to account for.
func (l *Local) Account(ctx context.Context, q Question, o policy.Obligations, by Asking) (Account, error) {
	var out Account
	v, err := l.view(o, by)
	if err != nil {
		return out, err
	}
	expr, err := parser.ParseExpr(q.Expression)
	if err != nil {
		return out, federation.Errorf(federation.BadQuestion, "%v", err)
	}
	if q.Lookback == 0 {
		q.Lookback = l.config.Lookback
	}
	window := touched(expr, q)
	for _, asked := range parser.ExtractSelectors(expr) {
		if v.rules.published(asked) != nil {
			continue
		}
		sel := selection{mint: window.Start.UnixMilli(), maxt: window.End.UnixMilli(), matchers: asked, labelsOnly: true}
		account, err := v.account(ctx, sel)
		if err != nil {
			return out, federation.AsError(evaluationError(err))
		}
		out.Selectors = append(out.Selectors, account)
	}
	plan, err := planCells(expr, v.rules, q)
	if err != nil || plan == nil {
		return out, nil //nolint:nilerr // a refusal is not this function's to tell
	}
	for _, leaf := range plan.leaves {
		if err := l.accountLeaf(ctx, &out, leaf, v, q); err != nil {
			return out, federation.AsError(err)
		}
	}
	return out, nil
}

// account counts the series of a selector.
func (v *view) account(ctx context.Context, sel selection) (SelectorAccount, error) {
	out := SelectorAccount{Selector: brief(sel.matchers)}
	all, err := v.listRawLabels(ctx, sel)
	if err != nil {
		return out, err
	}
	visible := map[string]bool{}
	bounded := v.oldest > sel.mint || v.newest < sel.maxt
	if bounded {
		sel.mint, sel.maxt = max(sel.mint, v.oldest), min(sel.maxt, v.newest)
		var seen []labels.Labels
		if sel.mint <= sel.maxt {
			if seen, err = v.listRawLabels(ctx, sel); err != nil {
				return out, err
			}
		}
		for _, ls := range seen {
			visible[string(ls.Bytes(nil))] = true
		}
	}
	counted := map[string]*valuesOf{}
	for _, ls := range all {
		out.Series++
		if bounded && !visible[string(ls.Bytes(nil))] {
			out.Elsewhen++
			continue
		}
		v.rules.accountSeries(&out, ls, sel.matchers, counted)
	}
	for _, name := range slices.Sorted(maps.Keys(counted)) {
		c := counted[name]
		out.Labels = append(out.Labels, LabelAccount{Name: name, Values: len(c.raw), Seen: len(c.seen), Kept: len(c.kept), InCells: c.inCells})
	}
	return out, nil
}

// listRawLabels are the labels of the store's series, with org, that match.
func (v *view) listRawLabels(ctx context.Context, sel selection) ([]labels.Labels, error) {
	asked := sel.matchers
	sel.matchers = slices.DeleteFunc(slices.Clone(asked), func(m *labels.Matcher) bool { return strings.HasSuffix(m.Name, orgLabel) })
	var out []labels.Labels
	release, err := v.source.selectRaw(ctx, sel, func(s storage.ChunkSeries) error {
		if ls := v.rules.withOrg(s.Labels()); matches(asked, ls) {
			out = append(out, ls.Copy())
		}
		return ctx.Err()
	})
	if errors.Is(err, errNotListed) {
		sel.labelsOnly, sel.matchers = false, asked
		return v.listRawLabels(ctx, sel)
	}
	if err != nil {
		return nil, err
	}
	return out, release()
}

// valuesOf are the values of a label, raw, as they are seen, and those that are
// seen as they are.
type valuesOf struct {
	raw, seen, kept map[string]bool
	inCells         bool
}

func (r *rules) accountSeries(out *SelectorAccount, ls labels.Labels, asked []*labels.Matcher, counted map[string]*valuesOf) {
	var rows, cells []*policy.Dataset
	for i := range r.datasets {
		d := &r.datasets[i]
		if !slices.ContainsFunc(d.Series, func(s policy.Selector) bool { return matches(s, ls) }) {
			continue
		}
		switch d.Release {
		case policy.Deny:
			if out.Denied == nil {
				out.Denied = map[int]int{}
			}
			out.Denied[i]++
			return
		case policy.Aggregate:
			cells = append(cells, d)
		case policy.Row:
			rows = append(rows, d)
		}
	}
	see := func(shown labels.Labels) {
		ls.Range(func(l labels.Label) {
			if l.Name == labels.MetricName || l.Name == orgLabel {
				return
			}
			c := counted[l.Name]
			if c == nil {
				c = &valuesOf{raw: map[string]bool{}, seen: map[string]bool{}, kept: map[string]bool{}}
				counted[l.Name] = c
			}
			c.raw[l.Value] = true
			c.inCells = c.inCells || len(cells) > 0
			as := shown.Get(l.Name)
			if as == l.Value {
				c.kept[l.Value] = true
			}
			if as != "" {
				c.seen[as] = true
			}
		})
	}
	switch {
	case len(cells) > 1:
		out.InTwo++
	case len(cells) == 1:
		out.InCells++
		see(r.seenLabels(cells[0], ls.MatchLabels(true, cellLabels(cells[0], true)...)))
	case len(rows) > 0:
		shown, _ := r.visible(ls)
		if !matches(asked, shown) {
			out.Unmatched++
			return
		}
		out.Rows++
		see(shown)
	default:
		out.Outside++
	}
}
