package traces

import (
	"context"
	"errors"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

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
