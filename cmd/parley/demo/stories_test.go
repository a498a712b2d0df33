package demo_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/parley-gateway/parley/tenants"
)

// atLeast and atMost read as the story does.
func atLeast(t *testing.T, what string, got, want float64) {
	t.Helper()
	t.Logf("%s: %.4g", what, got)
	if !(got >= want) {
		t.Errorf("%s: %g, want at least %g", what, got, want)
	}
}

func atMost(t *testing.T, what string, got, want float64) {
	t.Helper()
	t.Logf("%s: %.4g", what, got)
	if !(got <= want) {
		t.Errorf("%s: %g, want at most %g", what, got, want)
	}
}

// slow is how long agents work in a region, at the ninth of ten executions.
func slow(region string) string {
	return fmt.Sprintf(`histogram_quantile(0.9, sum by (le) (rate(agent_execution_seconds_bucket{region=%q}[5m])))`, region)
}

func TestGlobexsAgentsInEuAreSlow(t *testing.T) {
	globex := filled(t, "globex")
	before := until.Add(-25 * time.Minute)
	for _, region := range []string{"us", "ap"} {
		atMost(t, region+" is as slow as before", value(t, globex, until, slow(region))/value(t, globex, before, slow(region)), 1.4)
		atMost(t, "the queues of "+region, value(t, globex, until, fmt.Sprintf(`sum(agent_queue_length{region=%q})`, region)), 20)
	}
	atLeast(t, "eu is slower than before", value(t, globex, until, slow("eu"))/value(t, globex, before, slow("eu")), 3)
	queue := `sum(agent_queue_length{region="eu"})`
	atMost(t, "eu's queues before", value(t, globex, before, queue), 20)
	atLeast(t, "eu's queues grow", value(t, globex, until.Add(-10*time.Minute), queue), 100)
	atLeast(t, "and grow", value(t, globex, until, queue)/value(t, globex, until.Add(-10*time.Minute), queue), 1.5)
	atLeast(t, "less is done in eu than before", value(t, globex, before,
		`sum(rate(agent_executions_total{region="eu"}[5m])) / sum(rate(agent_executions_total{region="eu"}[5m] offset -25m))`), 1.5)
}

func TestAcmesErrorsFollow(t *testing.T) {
	acme := filled(t, "acme")
	errors := func(service, region string) string {
		return fmt.Sprintf(`sum(rate(http_requests_total{status=~"5..", service=%q, region=%q}[3m])) / sum(rate(http_requests_total{service=%[1]q, region=%[2]q}[3m]))`, service, region)
	}
	atLeast(t, "assistant in eu fails", value(t, acme, until, errors("assistant", "eu")), 0.05)
	atMost(t, "before", value(t, acme, until.Add(-25*time.Minute), errors("assistant", "eu")), 0.01)
	atMost(t, "and when globex's agents became slow", value(t, acme, until.Add(-17*time.Minute), errors("assistant", "eu")), 0.01)
	atMost(t, "assistant in us", value(t, acme, until, errors("assistant", "us")), 0.01)
	atMost(t, "accounts in eu", value(t, acme, until, errors("accounts", "eu")), 0.01)

	// Both kinds of histogram tell the same.
	const classic = `histogram_quantile(0.5, sum by (le) (rate(http_request_duration_seconds_bucket{service="assistant", region="eu"}[5m])))`
	const native = `histogram_quantile(0.5, sum(rate(http_request_duration_native_seconds{service="assistant", region="eu"}[5m])))`
	atLeast(t, "median latency in eu", value(t, acme, until, native), 2)
	atMost(t, "before", value(t, acme, until.Add(-25*time.Minute), native), 1)
	ratio := value(t, acme, until, classic) / value(t, acme, until, native)
	atLeast(t, "classic to native", ratio, 0.7)
	atMost(t, "classic to native", ratio, 1.4)
	const count = `sum(rate(http_request_duration_seconds_count[5m])) / histogram_count(sum(rate(http_request_duration_native_seconds[5m])))`
	atMost(t, "classic count to native", value(t, acme, until, count), 1.0001)
	atLeast(t, "classic count to native", value(t, acme, until, count), 0.9999)
}

func TestInitechWaitsForPeople(t *testing.T) {
	initech := filled(t, "initech")
	response := func(workflow string) float64 {
		return value(t, initech, until, fmt.Sprintf(`sum(rate(human_response_seconds_sum{workflow=%q}[30m])) / sum(rate(human_response_seconds_count{workflow=%[1]q}[30m]))`, workflow))
	}
	contract := response("contract-review")
	atLeast(t, "seconds until a contract is reviewed", contract, 400)
	for _, workflow := range []string{"listing-check", "payout-approval"} {
		atMost(t, workflow, response(workflow), contract/5)
		atMost(t, "pending "+workflow, value(t, initech, until, fmt.Sprintf(`sum(human_response_pending{workflow=%q})`, workflow)), 10)
	}
	pending := `sum(human_response_pending{workflow="contract-review"})`
	atLeast(t, "contracts that wait", value(t, initech, until, pending), 80)
	atLeast(t, "and are more than at the beginning", value(t, initech, until, pending)-value(t, initech, until.Add(-55*time.Minute), pending), 20)
	atMost(t, "while agents have nothing to do", value(t, initech, until, `sum(agent_queue_length)`), 20)
	atLeast(t, "workflows under way", value(t, initech, until,
		`sum(workflow_active{workflow="contract-review"}) / sum(workflow_active{workflow="listing-check"})`), 1.5)
}

// A pod restarts: its counters begin again, which rate sees through.
func TestAPodRestarts(t *testing.T) {
	for org, pod := range map[tenants.OrgID]string{"acme": "accounts-us-0", "globex": "tools-ap-1", "initech": "payments-eu-1"} {
		local := filled(t, org)
		all := func(format string) string { return fmt.Sprintf(format, pod) }
		const resets = `max by (org) (resets(http_requests_total{pod=%q, status="200"}[1h]))`
		atLeast(t, pod+" restarts", value(t, local, until, all(resets)), 1)
		atMost(t, "once", value(t, local, until, all(resets)), 1)
		atMost(t, "nobody else does", value(t, local, until, all(`max by (org) (resets(http_requests_total{pod!=%q}[1h]))`)), 0)
		atMost(t, "its native histogram, too", value(t, local, until, all(`max by (org) (resets(http_request_duration_native_seconds{pod=%q}[1h]))`)), 1)
		atLeast(t, "its native histogram, too", value(t, local, until, all(`max by (org) (resets(http_request_duration_native_seconds{pod=%q}[1h]))`)), 1)
		at := until.Add(-35*time.Minute + 20*time.Second)
		atMost(t, "while it is away it is not up", value(t, local, at, all(`sum(up{pod=%q})`)), 0)
		atMost(t, "and shows nothing", value(t, local, at, all(`count(http_requests_total{pod=%q}) or vector(0)`)), 0)
		atLeast(t, "then it is back", value(t, local, until, all(`sum(rate(http_requests_total{pod=%q}[5m]))`)), 0.5)
	}
}
