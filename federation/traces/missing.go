package traces

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// MissingService is a service that a dataset of a decision names and the store
// doesn't have. It is for the owner's eyes.
type MissingService struct {
	// Dataset is the one that names it, by its index in the obligations.
	Dataset int
	Service string
	// Among are the services that there are instead, sorted.
	Among []string
}

// MissingServices looks in the store for the services that the datasets of a
// decision name one by one: by dataset and name, each once. A store that doesn't
// list its services lacks none.
func (l *Local) MissingServices(ctx context.Context, o policy.Obligations) ([]MissingService, error) {
	from, ok := l.config.Source.(lister)
	if !ok {
		return nil, nil
	}
	services, err := from.servicesRaw(ctx)
	if errors.Is(err, errNotListed) {
		return nil, nil
	}
	if err != nil {
		return nil, federation.AsError(err)
	}
	slices.Sort(services)
	var out []MissingService
	for i, d := range o.Of(tenants.Traces).Datasets {
		for _, service := range servicesOf(d.Spans) {
			if !slices.Contains(services, service) {
				out = append(out, MissingService{Dataset: i, Service: service, Among: services})
			}
		}
	}
	return out, nil
}

// servicesOf are the services that selectors name one by one, sorted, each once.
func servicesOf(selectors []policy.Selector) []string {
	var out []string
	for _, s := range selectors {
		for _, m := range s {
			switch {
			case m.Name != resourcePrefix+serviceName:
			case m.Type == labels.MatchEqual:
				out = append(out, m.Value)
			default:
				out = append(out, m.SetMatches()...)
			}
		}
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(service string) bool { return service == "" })
}

// MissingAttribute is an attribute that the traces don't have, as policy calls it.
type MissingAttribute struct {
	// Dataset is the one that names it, by its index in the obligations.
	Dataset int
	Name    string
	// Among are the attributes that there are instead, sorted.
	Among []string
}

// meeting is which datasets spans are of, and which attributes they have.
type meeting struct {
	datasets   map[int]bool
	attributes map[string]bool
}

func (m meeting) add(n node, datasets []int) {
	for _, i := range datasets {
		m.datasets[i] = true
	}
	for prefix, attributes := range map[string]pcommon.Map{
		resourcePrefix: n.resource.Attributes(), scopePrefix: n.scope.Scope().Attributes(), spanPrefix: n.span.Attributes(),
	} {
		for key := range attributes.All() {
			m.attributes[prefix+exported(valid(key))] = true
		}
	}
}

// missing are the attributes that have to be there for a dataset that no span is of.
func (m meeting) missing(all []policy.Dataset) []MissingAttribute {
	var out []MissingAttribute
	among := slices.Sorted(maps.Keys(m.attributes))
	for i, d := range all {
		said := map[string]bool{}
		for _, s := range d.Spans {
			for _, by := range s {
				if m.datasets[i] || m.attributes[by.Name] || said[by.Name] || by.Matches("") || !isAttribute(by.Name) {
					continue
				}
				said[by.Name] = true
				out = append(out, MissingAttribute{Dataset: i, Name: by.Name, Among: among})
			}
		}
	}
	return out
}

// isAttribute says whether a name that spans are selected by is that of an attribute.
func isAttribute(name string) bool {
	return name != policy.SpanScopeName && name != policy.SpanScopeVersion &&
		slices.ContainsFunc([]string{resourcePrefix, scopePrefix, spanPrefix}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}
