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
	"github.com/parley-gateway/parley/federation/redact"
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
	// Values there are, and Seen are different ones that the partner sees of them,
	// in series or in cells that are released.
	Values int `json:"values"`
	Seen   int `json:"seen"`
	// Kept are those that the partner sees as they are.
	Kept int `json:"kept"`
	// InCells says that series in cells have the label, and Dimension that cells
	// which are released show it.
	InCells   bool `json:"in_cells,omitempty"`
	Dimension bool `json:"dimension,omitempty"`
	// Datasets are those of the series that have it, by their index in the
	// obligations, sorted.
	Datasets []int `json:"datasets"`
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
	var of []valuesByLabel                // by selector
	counted := map[string]valuesByLabel{} // the same by its text
	for _, asked := range parser.ExtractSelectors(expr) {
		if v.rules.published(asked) != nil {
			continue
		}
		sel := selection{mint: window.Start.UnixMilli(), maxt: window.End.UnixMilli(), matchers: asked, labelsOnly: true}
		account, values, err := v.account(ctx, sel)
		if err != nil {
			return out, federation.AsError(evaluationError(err))
		}
		out.Selectors, counted[unordered(asked)] = append(out.Selectors, account), values
		of = append(of, values)
	}
	plan, err := planCells(expr, v.rules, q)
	if err == nil && plan != nil { // a refusal is not this function's to tell
		for _, leaf := range plan.leaves {
			if err := l.accountLeaf(ctx, &out, leaf, v, q, counted); err != nil {
				return out, federation.AsError(err)
			}
		}
	}
	for i, values := range of {
		out.Selectors[i].Labels = values.accounts()
	}
	return out, nil
}

// unordered is the text of matchers in whatever order they are: an expression that
// is written and read again may have them in another one.
func unordered(asked []*labels.Matcher) string {
	texts := make([]string, len(asked))
	for i, m := range asked {
		texts[i] = m.String()
	}
	slices.Sort(texts)
	return strings.Join(texts, ",")
}

// account counts the series of a selector, and the values of their labels: of
// cells what is there, not what is seen.
func (v *view) account(ctx context.Context, sel selection) (SelectorAccount, valuesByLabel, error) {
	out := SelectorAccount{Selector: brief(sel.matchers)}
	all, err := v.listRawLabels(ctx, sel)
	if err != nil {
		return out, nil, err
	}
	visible := map[string]bool{}
	bounded := v.oldest > sel.mint || v.newest < sel.maxt
	if bounded {
		sel.mint, sel.maxt = max(sel.mint, v.oldest), min(sel.maxt, v.newest)
		var seen []labels.Labels
		if sel.mint <= sel.maxt {
			if seen, err = v.listRawLabels(ctx, sel); err != nil {
				return out, nil, err
			}
		}
		for _, ls := range seen {
			visible[string(ls.Bytes(nil))] = true
		}
	}
	counted := valuesByLabel{}
	for _, ls := range all {
		out.Series++
		if bounded && !visible[string(ls.Bytes(nil))] {
			out.Elsewhen++
			continue
		}
		v.rules.accountSeries(&out, ls, sel.matchers, counted)
	}
	return out, counted, nil
}

// listRawLabels are the labels of the store's series, with org, that match.
func (v *view) listRawLabels(ctx context.Context, sel selection) ([]labels.Labels, error) {
	asked := sel.matchers
	sel.matchers = slices.DeleteFunc(slices.Clone(asked), func(m *labels.Matcher) bool { return strings.HasSuffix(m.Name, orgLabel) })
	var out []labels.Labels
	release, err := v.source.selectRaw(ctx, sel, func(s storage.ChunkSeries) error {
		if ls := v.rules.WithOrg(s.Labels()); redact.Matches(asked, ls) {
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
	raw, seen, kept    map[string]bool
	inCells, dimension bool
	datasets           map[int]bool
}

// valuesByLabel are the values of labels, but for those that every series has.
type valuesByLabel map[string]*valuesOf

func (vs valuesByLabel) of(label string) *valuesOf {
	if vs[label] == nil {
		vs[label] = &valuesOf{raw: map[string]bool{}, seen: map[string]bool{}, kept: map[string]bool{}, datasets: map[int]bool{}}
	}
	return vs[label]
}

// see notes how labels are shown.
func (vs valuesByLabel) see(raw, shown labels.Labels) {
	raw.Range(func(l labels.Label) {
		if l.Name == labels.MetricName || l.Name == orgLabel {
			return
		}
		switch as := shown.Get(l.Name); as {
		case "":
		case l.Value:
			vs.of(l.Name).kept[as] = true
			fallthrough
		default:
			vs.of(l.Name).seen[as] = true
		}
	})
}

// accounts are the numbers of values.
func (vs valuesByLabel) accounts() []LabelAccount {
	var out []LabelAccount
	for _, name := range slices.Sorted(maps.Keys(vs)) {
		c := vs[name]
		out = append(out, LabelAccount{
			Name: name, Values: len(c.raw), Seen: len(c.seen), Kept: len(c.kept), InCells: c.inCells, Dimension: c.dimension,
			Datasets: slices.Sorted(maps.Keys(c.datasets)),
		})
	}
	return out
}

func (r *rules) accountSeries(out *SelectorAccount, ls labels.Labels, asked []*labels.Matcher, counted valuesByLabel) {
	var rows, cells []int
	for i := range r.datasets {
		d := &r.datasets[i]
		if !slices.ContainsFunc(d.Series, func(s policy.Selector) bool { return redact.Matches(s, ls) }) {
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
			cells = append(cells, i)
		case policy.Row:
			rows = append(rows, i)
		}
	}
	count := func(in []int, inCells bool, shown labels.Labels) {
		ls.Range(func(l labels.Label) {
			if l.Name == labels.MetricName || l.Name == orgLabel {
				return
			}
			c := counted.of(l.Name)
			c.raw[l.Value] = true
			c.inCells = c.inCells || inCells
			c.dimension = c.dimension || inCells && shown.Has(l.Name)
			for _, i := range in {
				c.datasets[i] = true
			}
		})
	}
	switch {
	case len(cells) > 1:
		out.InTwo++
	case len(cells) == 1:
		out.InCells++
		d := &r.datasets[cells[0]]
		count(cells, true, r.seenLabels(d, ls.MatchLabels(true, cellLabels(d, true)...)))
	case len(rows) > 0:
		shown, _ := r.visible(ls)
		if !redact.Matches(asked, shown) {
			out.Unmatched++
			return
		}
		out.Rows++
		count(rows, false, shown)
		counted.see(ls, shown)
	default:
		out.Outside++
	}
}
