package metrics

import (
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// refuseReserved refuses a question that names what only a gateway may name.
func refuseReserved(expr parser.Expr) error {
	var names []string
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			for _, m := range n.LabelMatchers {
				names = append(names, m.Name)
				if m.Name == labels.MetricName {
					names = append(names, m.Value)
				}
			}
		case *parser.AggregateExpr:
			names = append(names, n.Grouping...)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				names = append(append(names, n.VectorMatching.MatchingLabels...), n.VectorMatching.Include...)
			}
		case *parser.StringLiteral:
			names = append(names, n.Val)
		}
		return nil
	})
	if i := slices.IndexFunc(names, func(n string) bool { return strings.Contains(n, reservedPrefix) }); i >= 0 {
		return federation.Errorf(federation.BadQuestion, "%q can't be asked for: names with %s in them are reserved", names[i], reservedPrefix)
	}
	return nil
}

// ignoreSurrogates makes aggregations without labels merge series that differ
// only in what was removed, as they would if nothing had been there.
func ignoreSurrogates(expr parser.Expr) {
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if a, ok := node.(*parser.AggregateExpr); ok && a.Without {
			a.Grouping = append(slices.Clone(a.Grouping), surrogateLabel)
		}
		return nil
	})
}

// withoutSurrogates takes the surrogates off a result, sorted by labels. It is
// an error when series would then be the same.
func (l *Local) withoutSurrogates(m promql.Matrix, o policy.Obligations) (promql.Matrix, error) {
	for i := range m {
		if m[i].Metric.Has(surrogateLabel) {
			m[i].Metric = labels.NewBuilder(m[i].Metric).Del(surrogateLabel).Labels()
		}
	}
	slices.SortFunc(m, func(a, b promql.Series) int { return labels.Compare(a.Metric, b.Metric) })
	for i := 1; i < len(m); i++ {
		if labels.Equal(m[i-1].Metric, m[i].Metric) {
			return nil, l.needsAggregation(o)
		}
	}
	return m, nil
}

// needsAggregation says what to do about series that policy made alike. It
// tells what policy says and nothing of the data.
func (l *Local) needsAggregation(o policy.Obligations) error {
	hidden, kept := map[string]bool{}, map[string]bool{}
	for _, d := range o.Of(tenants.Metrics).Datasets {
		for name, rule := range d.Labels {
			switch rule.Mode {
			case policy.Drop:
				hidden[name] = true
			case policy.Keep, policy.Pseudonym, policy.Generalize:
				kept[name] = true
			}
		}
	}
	const what = "series of the result differ only in labels that %s's policy hides; aggregate them away"
	switch {
	case len(hidden) > 0:
		return federation.Errorf(federation.NeedsAggregation, what+", for example with sum without (%s) (...)", l.config.Org, joinSorted(hidden))
	case len(kept) > 0:
		return federation.Errorf(federation.NeedsAggregation, what+", for example with sum by (%s) (...)", l.config.Org, joinSorted(kept))
	}
	return federation.Errorf(federation.NeedsAggregation, what+", for example with sum by (org) (...)", l.config.Org)
}
