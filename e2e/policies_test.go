package e2e

import (
	"math/rand/v2"
	"regexp"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

var (
	keep       = policy.LabelRule{Mode: policy.Keep}
	pseudonym  = policy.LabelRule{Mode: policy.Pseudonym}
	generalize = policy.LabelRule{Mode: policy.Generalize, Mapping: &policy.Mapping{Regexp: regexp.MustCompile(`^([1-5])\d\d$`), Replacement: "${1}xx"}}
	drop       = policy.LabelRule{Mode: policy.Drop}
)

// named is a selector of all metrics whose name matches.
func named(name string, more ...*labels.Matcher) policy.Selector {
	return append(policy.Selector{labels.MustNewMatcher(labels.MatchRegexp, "__name__", name)}, more...)
}

func is(name, value string) *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchEqual, name, value)
}

func rows(rules map[string]policy.LabelRule, series ...policy.Selector) policy.Dataset {
	return policy.Dataset{Name: "rows", Series: series, Release: policy.Row, Labels: rules}
}

// policies are what partners are released, by what is special about it.
func policies(r *rand.Rand) map[string]policy.Obligations {
	usual := map[string]policy.LabelRule{"region": keep, "service": keep, "status": keep, "le": keep, "pod": pseudonym, "trace_id": keep}
	everything := policy.Dataset{Name: "all", Series: []policy.Selector{{}}, Release: policy.Row, Others: keep}
	butUser := everything
	butUser.Labels = map[string]policy.LabelRule{"user": drop}
	never := policy.Dataset{Name: "never", Series: []policy.Selector{named("errors_.*"), named("http_.*", is("status", "404"))}, Release: policy.Deny}
	out := map[string]policy.Obligations{
		"everything":                 {Datasets: []policy.Dataset{everything}},
		"everything but the user":    {Datasets: []policy.Dataset{butUser}},
		"pods by pseudonym":          {Datasets: []policy.Dataset{rows(usual, named(".+"))}},
		"status by class":            {Datasets: []policy.Dataset{rows(map[string]policy.LabelRule{"region": keep, "status": generalize, "le": keep}, named(".+"))}},
		"one region":                 {Datasets: []policy.Dataset{rows(usual, named(".+", labels.MustNewMatcher(labels.MatchRegexp, "region", "eu.*")))}},
		"chosen by a hidden label":   {Datasets: []policy.Dataset{rows(usual, named(".+", labels.MustNewMatcher(labels.MatchNotEqual, "user", "bob")))}},
		"two datasets and a denied":  {Datasets: []policy.Dataset{rows(usual, named("http_.*")), rows(map[string]policy.LabelRule{"region": keep}, named("requests_.*|queue_.*")), never}},
		"two selectors that overlap": {Datasets: []policy.Dataset{rows(usual, named(".+", is("service", "search")), named(".+", is("region", "eu-west")), named("latency_.*"))}},
		"not the first minutes": {
			Datasets: []policy.Dataset{rows(usual, named(".+"))}, NotBefore: metricstest.Start.Add(3 * time.Minute),
		},
		"not the last minutes": {
			Datasets: []policy.Dataset{rows(usual, named(".+"))}, NotAfter: metricstest.End().Add(-4*time.Minute - time.Duration(r.IntN(60_000))*time.Millisecond),
		},
	}
	for name, o := range out {
		o.Epoch = time.Hour
		out[name] = o
	}
	return out
}
