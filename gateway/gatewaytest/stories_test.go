package gatewaytest_test

import (
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/gateway/gatewaytest"
)

// requests are two pods' request counters in each of two regions.
func requests(users ...string) []metricstest.Series {
	var out []metricstest.Series
	for i, user := range users {
		values := make([]float64, metricstest.Samples)
		for j := range values {
			values[j] = float64(j * (i + 1) * 15)
		}
		out = append(out, metricstest.Series{
			Labels: labels.FromStrings("__name__", "http_requests_total", "region", []string{"eu", "us"}[i%2], "user", user, "pod", "pod-"+user),
			Values: values,
		})
	}
	return out
}

const releaseRequests = `{"allow": true, "datasets": [{"name": "requests", "series": ["http_requests_total"], "release": "row",
	"labels": {"region": "keep", "pod": "pseudonym"}}]}`

func TestThreeOrganizationsAreOneAnswer(t *testing.T) {
	world := gatewaytest.New(t, "acme", "globex", "initech")
	world.Org("acme").Holds(requests("ann", "abe")...)
	world.Org("globex").Holds(requests("gus", "gil", "gem")...)
	world.Org("initech").Holds(requests("ida")...)
	world.Org("globex").Releases("acme", releaseRequests)
	world.Org("initech").Releases("acme", releaseRequests)
	world.Start()

	reply := world.Org("acme").Asks("round(sum by (org, region) (rate(http_requests_total[5m])))")
	if reply.Code != 200 {
		t.Fatalf("%d %s", reply.Code, reply.Body)
	}
	for _, want := range []string{
		`{"metric":{"org":"acme","region":"eu"},"value":[1767324585,"1"]}`,
		`{"metric":{"org":"globex","region":"eu"},"value":[1767324585,"4"]}`,
		`{"metric":{"org":"globex","region":"us"},"value":[1767324585,"2"]}`,
		`{"metric":{"org":"initech","region":"eu"},"value":[1767324585,"1"]}`,
	} {
		if !strings.Contains(string(reply.Body), want) {
			t.Errorf("no %s in %s", want, reply.Body)
		}
	}
	for org, part := range reply.Completeness(t) {
		if part.Status != federation.Complete {
			t.Errorf("%s is %s: %s", org, part.Status, part.Reason)
		}
	}
	hidden := world.Org("acme").Asks(`count by (user) (http_requests_total{org="globex",user=~"g.*"})`)
	if strings.Contains(string(hidden.Body), "gus") || !strings.Contains(string(hidden.Body), `"result":[]`) {
		t.Errorf("a hidden label was found: %s", hidden.Body)
	}
}
