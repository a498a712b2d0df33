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

// MissingService is a service that a dataset of a decision names and the store doesn't have.
// It is for the owner's eyes.
type MissingService struct {
	// Dataset is the one that names it, by its index in the obligations.
	Dataset int
	Service string
	// Among are the services that there are instead, sorted.
	Among []string
}

// MissingServices looks in the store for the services that the datasets of a decision name one
// by one. A store that doesn't list its services lacks none.
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
		for _, s := range d.Spans {
			for _, m := range s {
				if m.Name != resourcePrefix+serviceName {
					continue
				}
				named := m.SetMatches()
				if m.Type == labels.MatchEqual {
					named = []string{m.Value}
				}
				for _, service := range named {
					if service != "" && !slices.Contains(services, service) {
						out = append(out, MissingService{Dataset: i, Service: service, Among: services})
					}
				}
			}
		}
	}
	return out, nil
}
