package metrics

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

const (
	// orgLabel is set by the owner's gateway on everything it serves.
	orgLabel = federation.OrgLabel
	// reservedPrefix starts the names no question may contain.
	reservedPrefix = federation.ReservedPrefix
	// surrogateLabel keeps apart, inside one evaluation, series that differ
	// only in what was removed. It never leaves.
	surrogateLabel = reservedPrefix + "_surrogate__"
)

// rules are the obligations of one decision, ready to be applied to raw
// series. They are for one question, and not safe for concurrent use: values
// mapped once are remembered.
type rules struct {
	// Labels say which series there are, and what is seen of their labels.
	*redact.Labels

	org      tenants.OrgID
	datasets []policy.Dataset
	queries  []policy.Query
	// everything: the view is the store, with nothing but the org label added.
	everything bool
	// resolution is the view's, in milliseconds; zero is none.
	resolution int64
	// rounds: a dataset makes numbers less exact.
	rounds bool

	surrogates hash.Hash
}

// keys are those of one question. Their zero value is for rules that neither
// replace nor hide anything.
type keys struct {
	pseudonyms *redact.Pseudonyms
	surrogate  []byte
}

func newRules(org tenants.OrgID, o policy.Obligations, k keys) *rules {
	o = o.Of(tenants.Metrics)
	return &rules{
		Labels:     redact.New(org, o.Datasets, k.pseudonyms),
		org:        org,
		datasets:   o.Datasets,
		queries:    o.Queries,
		everything: releasesEverything(o.Datasets),
		resolution: o.Resolution.Milliseconds(),
		rounds:     slices.ContainsFunc(o.Datasets, func(d policy.Dataset) bool { return d.Rounding != policy.Rounding{} }),
		surrogates: hmac.New(sha256.New, k.surrogate),
	}
}

func releasesEverything(datasets []policy.Dataset) bool {
	if len(datasets) != 1 {
		return false
	}
	d := datasets[0]
	if d.Release != policy.Row || d.Rounding != (policy.Rounding{}) || d.Others.Mode != policy.Keep || !slices.ContainsFunc(d.Series, func(s policy.Selector) bool { return len(s) == 0 }) {
		return false
	}
	for _, rule := range d.Labels {
		if rule.Mode != policy.Keep {
			return false
		}
	}
	return true
}

// visible returns the labels of a raw series as the view holds them. ok is
// false when the view does not hold the series.
func (r *rules) visible(raw labels.Labels) (view labels.Labels, ok bool) {
	raw = r.WithOrg(raw)
	member := r.Membership(raw)
	if len(member) == 0 {
		return labels.EmptyLabels(), false
	}
	if r.everything {
		return raw, true
	}
	return r.Seen(member, raw), true
}

// rounding is how exact the samples of a raw series are in the view.
func (r *rules) rounding(raw labels.Labels) policy.Rounding {
	var out policy.Rounding
	if r.rounds {
		for _, d := range r.Membership(r.WithOrg(raw)) {
			out = out.Coarser(d.Rounding)
		}
	}
	return out
}

// whole says whether the view holds every series of a metric, whatever the
// source has: a dataset releases them by name alone, and none could deny one.
func (r *rules) whole(metric string) bool {
	named := func(s policy.Selector) bool {
		return !slices.ContainsFunc(s, func(m *labels.Matcher) bool { return m.Name == labels.MetricName && !m.Matches(metric) })
	}
	byNameAlone := func(s policy.Selector) bool {
		return named(s) && !slices.ContainsFunc(s, func(m *labels.Matcher) bool { return m.Name != labels.MetricName })
	}
	released := false
	for _, d := range r.datasets {
		if d.Release == policy.Deny && slices.ContainsFunc(d.Series, named) {
			return false
		}
		released = released || d.Release != policy.Deny && slices.ContainsFunc(d.Series, byNameAlone)
	}
	return released
}

// exemplarLabels returns the labels an exemplar of a series may show. A label
// named like one of the series' takes the same mode; one that is called org or
// __name__ is neither, and takes that of labels no policy names.
func (r *rules) exemplarLabels(series, raw labels.Labels) labels.Labels {
	member := r.Membership(r.WithOrg(series))
	b := labels.NewScratchBuilder(raw.Len())
	raw.Range(func(l labels.Label) {
		if value, _ := r.InMode(member, l); value != "" {
			b.Add(l.Name, value)
		}
	})
	return b.Labels()
}

// surrogate stands for what a raw series loses in the view.
func (r *rules) surrogate(raw labels.Labels) string {
	raw = r.WithOrg(raw)
	member := r.Membership(raw)
	r.surrogates.Reset()
	raw.Range(func(l labels.Label) {
		if _, hidden := r.Shown(member, l); hidden {
			r.surrogates.Write([]byte(l.Name))
			r.surrogates.Write([]byte{0xff}) // not in UTF-8: ends a string unmistakably
			r.surrogates.Write([]byte(l.Value))
			r.surrogates.Write([]byte{0xff})
		}
	})
	return hex.EncodeToString(r.surrogates.Sum(nil)[:16])
}
