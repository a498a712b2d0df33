package metrics

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"hash"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

const (
	// orgLabel is set by the owner's gateway on everything it serves.
	orgLabel = federation.OrgLabel
	// exportedOrgLabel is what an owner's own org label is called in the view,
	// after Prometheus's rule for labels that clash with a target's.
	exportedOrgLabel = "exported_org"
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
	org      tenants.OrgID
	datasets []policy.Dataset
	queries  []policy.Query
	// everything: the view is the store, with nothing but the org label added.
	everything bool
	// resolution is the view's, in milliseconds; zero is none.
	resolution int64
	// rounds: a dataset makes numbers less exact.
	rounds bool

	pseudonyms map[string]string
	keyed      hash.Hash // HMAC under the partner's key of the epoch
	surrogates hash.Hash

	builder labels.ScratchBuilder
	adder   *labels.Builder // of the org label
	member  []*policy.Dataset
}

func newRules(org tenants.OrgID, o policy.Obligations, keys keys) *rules {
	o = o.Of(tenants.Metrics)
	return &rules{
		org:        org,
		datasets:   o.Datasets,
		queries:    o.Queries,
		everything: releasesEverything(o.Datasets),
		resolution: o.Resolution.Milliseconds(),
		rounds:     slices.ContainsFunc(o.Datasets, func(d policy.Dataset) bool { return d.Rounding != policy.Rounding{} }),
		pseudonyms: map[string]string{},
		keyed:      hmac.New(sha256.New, keys.pseudonym),
		surrogates: hmac.New(sha256.New, keys.surrogate),
		builder:    labels.NewScratchBuilder(16),
		adder:      labels.NewBuilder(labels.EmptyLabels()),
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
	raw = r.withOrg(raw)
	member := r.membership(raw)
	if len(member) == 0 {
		return labels.EmptyLabels(), false
	}
	if r.everything {
		return raw, true
	}
	r.builder.Reset()
	raw.Range(func(l labels.Label) {
		if value, _ := r.apply(member, l); value != "" {
			r.builder.Add(l.Name, value)
		}
	})
	return r.builder.Labels(), true
}

// membership returns the datasets that release a series, given with its org
// label: none when one of those it belongs to denies. They are valid until the
// next call.
func (r *rules) membership(ls labels.Labels) []*policy.Dataset {
	member := r.member[:0]
	for i := range r.datasets {
		d := &r.datasets[i]
		if !slices.ContainsFunc(d.Series, func(s policy.Selector) bool { return matches(s, ls) }) {
			continue
		}
		if d.Release != policy.Row {
			return nil
		}
		member = append(member, d)
	}
	r.member = member
	return member
}

// rounding is how exact the samples of a raw series are in the view.
func (r *rules) rounding(raw labels.Labels) policy.Rounding {
	var out policy.Rounding
	if r.rounds {
		for _, d := range r.membership(r.withOrg(raw)) {
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
	member := r.membership(r.withOrg(series))
	r.builder.Reset()
	raw.Range(func(l labels.Label) {
		if value, _ := r.inMode(member, l); value != "" {
			r.builder.Add(l.Name, value)
		}
	})
	return r.builder.Labels()
}

// withOrg sets the org label. One that was there becomes exported_org, with
// the prefix repeated while that is taken too.
func (r *rules) withOrg(raw labels.Labels) labels.Labels {
	own := raw.Get(orgLabel)
	b := r.adder
	b.Reset(raw)
	if own != "" {
		name := exportedOrgLabel
		for raw.Has(name) {
			name = "exported_" + name
		}
		b.Set(name, own)
	}
	return b.Set(orgLabel, string(r.org)).Labels()
}

// apply returns what the view holds of a label, and whether that lost anything.
func (r *rules) apply(member []*policy.Dataset, l labels.Label) (value string, hidden bool) {
	if l.Name == labels.MetricName || l.Name == orgLabel {
		return l.Value, false
	}
	return r.inMode(member, l)
}

func (r *rules) inMode(member []*policy.Dataset, l labels.Label) (value string, hidden bool) {
	rule := strictest(member, l.Name)
	switch rule.Mode {
	case policy.Keep:
		return l.Value, false
	case policy.Pseudonym:
		return r.pseudonym(l.Value), false
	case policy.Generalize:
		return rule.Mapping.Apply(l.Value), true
	case policy.Drop:
	}
	return "", true
}

// strictest is the rule that hides most.
func strictest(member []*policy.Dataset, name string) policy.LabelRule {
	if federation.Reserved(name) {
		return policy.LabelRule{}
	}
	return policy.Strictest(member, name)
}

// pseudonym is HMAC-SHA-256 of the value, cut to 100 bits: enough that two of
// a billion values collide with a chance below one in a trillion.
func (r *rules) pseudonym(value string) string {
	if p, ok := r.pseudonyms[value]; ok {
		return p
	}
	r.keyed.Reset()
	r.keyed.Write([]byte(value))
	p := pseudonymPrefix + base32Lower.EncodeToString(r.keyed.Sum(nil))[:20]
	r.pseudonyms[value] = p
	return p
}

// pseudonymPrefix tells a reader that a value is a pseudonym.
const pseudonymPrefix = "p-"

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// surrogate stands for what a raw series loses in the view.
func (r *rules) surrogate(raw labels.Labels) string {
	raw = r.withOrg(raw)
	member := r.membership(raw)
	r.surrogates.Reset()
	raw.Range(func(l labels.Label) {
		if _, hidden := r.apply(member, l); hidden {
			r.surrogates.Write([]byte(l.Name))
			r.surrogates.Write([]byte{0xff}) // not in UTF-8: ends a string unmistakably
			r.surrogates.Write([]byte(l.Value))
			r.surrogates.Write([]byte{0xff})
		}
	})
	return base32Lower.EncodeToString(r.surrogates.Sum(nil))[:26]
}

func matches(s policy.Selector, ls labels.Labels) bool {
	for _, m := range s {
		if !m.Matches(ls.Get(m.Name)) {
			return false
		}
	}
	return true
}

// keys are the keys of one question.
type keys struct{ pseudonym, surrogate []byte }

// deriveKeys derives a question's keys from the gateway's secret: one for
// pseudonyms per partner and epoch, where a zero epoch is the question itself.
// The epoch is that of the time in the exchange id, so that all that is asked
// under one id has the same pseudonyms however long it takes.
// The label name has no part in it, so that a partner can join `user` in
// metrics with `user_id` in logs.
func deriveKeys(secret []byte, asker tenants.OrgID, epoch time.Duration, exchange federation.ExchangeID) (keys, error) {
	scope := "exchange\xff" + string(exchange)
	if epoch > 0 {
		made, err := exchange.Time()
		if err != nil {
			return keys{}, err
		}
		scope = "epoch\xff" + made.Truncate(epoch).Format(time.RFC3339Nano) + "\xff" + epoch.String()
	}
	return keys{
		pseudonym: derive(secret, "pseudonym\xff"+string(asker)+"\xff"+scope),
		surrogate: derive(secret, "surrogate\xff"+string(asker)),
	}, nil
}

func derive(secret []byte, info string) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(info))
	return mac.Sum(nil)
}
