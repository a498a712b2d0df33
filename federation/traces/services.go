package traces

import (
	"context"
	"errors"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Clients ask all the time which services there are, of days. To find that out not
// every trace has to be read: of each service that the store has, one that shows it
// is enough.

// lister is a Source that knows which services it has.
type lister interface {
	// servicesRaw are those of which there may be spans, at any time.
	servicesRaw(ctx context.Context) ([]string, error)
	// someRaw are a few traces with a span of the selection, as few as are quickly
	// had; none when there are none.
	someRaw(ctx context.Context, s selection) ([]ptrace.Traces, error)
}

// errNotListed is the error of a source that doesn't know which services it has.
var errNotListed = errors.New("the store of traces doesn't list services")

// asksForServices says whether a question is for the services that there are.
func asksForServices(q Question) bool {
	return q.Kind == policy.LabelValues && q.Label == resourcePrefix+serviceName && q.Expression == ""
}

// listServices answers which services the view has. What it shows of a service of
// the store can have so many names alone; when all of them were seen, or all that
// there is of it was read, it is done with.
func (l *Local) listServices(ctx context.Context, q Question, v *view, from lister, limits tenants.Limits) (*Released, error) {
	list, err := newListing(q, limits)
	if err != nil {
		return nil, err
	}
	sel := v.selection(q, nil)
	services := sel.services
	if services == nil {
		if services, err = from.servicesRaw(ctx); err != nil {
			return nil, err
		}
	}
	for _, service := range services {
		names := v.namesOf(service)
		missing := func() bool {
			return slices.ContainsFunc(names, func(name string) bool { return !list.values[Value{Type: traceql.StringValue.String(), Text: name}] })
		}
		if !missing() {
			continue
		}
		sel.services = []string{service}
		some, err := from.someRaw(ctx, sel)
		if err != nil {
			return nil, err
		}
		for _, raw := range some {
			if trace, ok := v.trace(raw); ok {
				if err := list.add(trace); err != nil {
					return nil, err
				}
			}
		}
		if len(some) == 0 || !missing() {
			continue
		}
		if err := v.read(ctx, l.config.Source, sel, list.add, func(int64) bool { return missing() }); err != nil {
			return nil, err
		}
	}
	return list.released(q.Limit), nil
}

// namesOf are the names under which the view may show spans of a service; none: it
// shows none of them.
func (v *view) namesOf(service string) []string {
	const name = resourcePrefix + serviceName
	var out []string
	var member []*policy.Dataset
	for _, s := range v.rules.selectors {
		of := func(m *labels.Matcher) bool { return m.Name == name }
		if d := &v.rules.datasets[s.dataset]; !slices.ContainsFunc(s.shared, func(m *labels.Matcher) bool { return of(m) && !m.Matches(service) }) &&
			d.Release == policy.Row && d.Span.Mode != policy.SpanHidden && !slices.Contains(member, d) {
			member = append(member, d)
		}
	}
	for _, d := range member {
		switch d.Span.Mode {
		case policy.SpanFull:
			out = append(out, service)
		case policy.SpanAttributes, policy.SpanBoundary:
			out = append(out, v.shownAs(redact.Strictest([]*policy.Dataset{d}, name), service))
		default:
			out = append(out, string(v.org))
		}
		if d.Span.Mode == policy.SpanBoundary || len(member) > 1 {
			out = append(out, string(v.org)) // of what is folded; and two rules may have no common one
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// shownAs is the name of a service by a rule.
func (v *view) shownAs(rule policy.LabelRule, service string) string {
	shown := ""
	switch rule.Mode {
	case policy.Keep:
		shown = valid(service)
	case policy.Pseudonym:
		shown = v.pseudonyms.Of(valid(service))
	case policy.Generalize:
		shown = rule.Mapping.Apply(valid(service))
	case policy.Drop:
	}
	if shown == "" {
		return string(v.org)
	}
	return shown
}
