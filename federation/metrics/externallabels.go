package metrics

import (
	"context"
	"errors"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"gopkg.in/yaml.v3"
)

// A Prometheus adds its external labels to the series it gives by remote read,
// unless they have a label of that name, and not to those of its own API. To a
// policy they are labels like any other, so what comes from the API gets them
// here, and nothing that is about one of them is left to the server to select.
// While they are unknown, all is read by remote read, which shows them.
// See https://prometheus.io/docs/prometheus/latest/configuration/configuration/.

// errUntold says to the operator why something can't be had.
var errUntold = errors.New("the external labels of the metrics backend are unknown, as it doesn't show its configuration; " +
	"state them in the gateway's as metrics.prometheus.external_labels, or {} if there are none")

// external returns the server's external labels, sorted; known is false for a
// server that doesn't tell, whose last word is then returned.
func (p *Prometheus) external(ctx context.Context) (ls []labels.Label, known bool) {
	if p.config.ExternalLabels != nil {
		return sorted(p.config.ExternalLabels), true
	}
	p.mu.Lock()
	ls, known = p.externalLabels, p.externalKnown
	fresh := p.config.Now().Sub(p.externalProbed) <= versionTTL
	p.mu.Unlock()
	if fresh {
		return ls, known
	}
	found, err := p.readExternal(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return ls, known // the question was given up: that says nothing of the server
	case err != nil:
		p.config.Logger.WarnContext(ctx, "nothing is pushed down to the metrics backend or listed by it, and exemplars are refused",
			"reason", errUntold, "error", p.unavailable("read configuration", err))
	default:
		ls = found
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.externalLabels, p.externalKnown, p.externalProbed = ls, err == nil, p.config.Now()
	return ls, err == nil
}

func (p *Prometheus) readExternal(ctx context.Context) ([]labels.Label, error) {
	var answer struct {
		YAML string `json:"yaml"`
	}
	if _, err := p.get(ctx, "/api/v1/status/config", nil, into(&answer)); err != nil {
		return nil, err
	}
	var config struct {
		Global struct {
			ExternalLabels map[string]string `yaml:"external_labels"`
		} `yaml:"global"`
	}
	if err := yaml.Unmarshal([]byte(answer.YAML), &config); err != nil {
		return nil, err
	}
	return sorted(config.Global.ExternalLabels), nil
}

func sorted(set map[string]string) []labels.Label {
	var out []labels.Label
	labels.FromMap(set).Range(func(l labels.Label) { out = append(out, l) })
	return out
}

// withExternal is a series of the API as remote read would give it.
func withExternal(ls labels.Labels, external []labels.Label) labels.Labels {
	if len(external) == 0 {
		return ls
	}
	b := labels.NewBuilder(ls)
	for _, l := range external {
		if !ls.Has(l.Name) {
			b.Set(l.Name, l.Value)
		}
	}
	return b.Labels()
}

// stored leaves out the matchers on external labels: those are not what the
// server would match them with. The view matches by itself. While they are
// unknown, any label could be one: then only the matchers stay that a series
// without the label meets, and those for equality, of which the server knows
// by itself whether they are met by an external label.
func stored(matchers []*labels.Matcher, external []labels.Label, known bool) []*labels.Matcher {
	return slices.DeleteFunc(slices.Clone(matchers), func(m *labels.Matcher) bool {
		unclear := !known && m.Name != labels.MetricName && m.Type != labels.MatchEqual && !m.Matches("")
		return unclear || isExternal(external, m.Name)
	})
}

// readsExternal says whether an expression selects or groups by an external
// label, which the server's own evaluation wouldn't see.
func readsExternal(expression string, external []labels.Label) bool {
	if len(external) == 0 {
		return false
	}
	expr, err := parser.ParseExpr(expression)
	if err != nil {
		return true
	}
	reads := false
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			for _, m := range n.LabelMatchers {
				reads = reads || isExternal(external, m.Name)
			}
		case *parser.AggregateExpr:
			for _, name := range n.Grouping {
				reads = reads || isExternal(external, name)
			}
		}
		return nil
	})
	return reads
}

func isExternal(external []labels.Label, name string) bool {
	return slices.ContainsFunc(external, func(l labels.Label) bool { return l.Name == name })
}
