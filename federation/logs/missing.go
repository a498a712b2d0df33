package logs

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Missing looks in the store for what the selectors of a decision's datasets name:
// streams, and labels of streams. Labels that datasets show aren't looked for, since
// they may be of structured metadata, which no store lists. It looks where
// metrics.LookedIn says, of the time that an instant or a range query touches, which
// it returns.
func (l *Local) Missing(ctx context.Context, q Question, o policy.Obligations, by federation.Asking) ([]metrics.Missing, policy.Window, error) {
	v, err := l.view(o.Of(tenants.Logs), by)
	if err != nil {
		return nil, policy.Window{}, err
	}
	asked, err := q.Request()
	if err != nil {
		return nil, policy.Window{}, err
	}
	window := metrics.LookedIn(asked.Window)
	streams, err := v.source.selectStreams(ctx, selection{start: window.Start.UnixNano(), end: window.End.UnixNano()})
	if err != nil {
		return nil, window, federation.AsError(err)
	}
	names := map[string]bool{}
	for i := range streams {
		streams[i] = v.labels.WithOrg(streams[i])
		streams[i].Range(func(l labels.Label) { names[l.Name] = true })
	}
	var out []metrics.Missing
	for i, d := range v.datasets {
		matches := func(stream labels.Labels) bool {
			return slices.ContainsFunc(d.Streams, func(s policy.Selector) bool { return redact.Matches(s, stream) })
		}
		if !slices.ContainsFunc(streams, matches) {
			out = append(out, metrics.Missing{Dataset: i, What: metrics.MissingSeries, Key: "streams"})
		}
		for _, name := range matched(d.Streams) {
			if !names[name] {
				out = append(out, metrics.Missing{Dataset: i, What: metrics.MissingLabel, Key: "streams", Name: name, Among: meant(names)})
			}
		}
	}
	return out, window, nil
}

// matched are the labels of matchers, sorted, but for what is there by our own doing.
func matched(selectors []policy.Selector) []string {
	var out []string
	for _, s := range selectors {
		for _, m := range s {
			if !ours(m.Name) {
				out = append(out, m.Name)
			}
		}
	}
	return compacted(out)
}

// meant are those of names that a policy's author could have meant, sorted.
func meant(names map[string]bool) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(names)), ours)
}

// ours says whether a label is there by our own doing.
func ours(name string) bool {
	return strings.HasSuffix(name, federation.OrgLabel) || federation.Reserved(name)
}
