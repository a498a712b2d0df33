package metrics_test

import (
	"testing"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

// The epoch is that of the question, whose id says when it was asked: not that
// of each sub-question, the last of which may be answered in the next epoch.
func TestPseudonymsAreThoseOfTheQuestionsTime(t *testing.T) {
	clock := metricstest.Start
	local, err := metrics.NewLocal(metrics.LocalConfig{
		Org: "acme", Source: metricstest.Open(t), Secret: make([]byte, 32), Now: func() time.Time { return clock },
	})
	if err != nil {
		t.Fatal(err)
	}
	boundary := metricstest.Start.Truncate(time.Hour).Add(time.Hour)
	asked := func(at time.Time) metrics.Asking {
		return metrics.Asking{Org: "globex", ExchangeID: federation.NewExchangeID(at)}
	}
	before, after := asked(boundary.Add(-time.Millisecond)), asked(boundary)
	hourly := policy.Obligations{Epoch: time.Hour}

	clock = boundary.Add(-time.Second)
	first := local.Pseudonym(hourly, before, "alice")
	clock = boundary.Add(time.Second)
	if second := local.Pseudonym(hourly, before, "alice"); second != first {
		t.Errorf("two sub-questions of one question: %s and %s", first, second)
	}
	if next := local.Pseudonym(hourly, after, "alice"); next == first {
		t.Errorf("the next epoch has the pseudonym %s too", next)
	}
	if again := local.Pseudonym(hourly, asked(boundary.Add(59*time.Minute)), "alice"); again != local.Pseudonym(hourly, after, "alice") {
		t.Errorf("two questions of one epoch have %s and %s", again, local.Pseudonym(hourly, after, "alice"))
	}
	question := policy.Obligations{}
	if one, other := local.Pseudonym(question, before, "alice"), local.Pseudonym(question, asked(boundary.Add(-time.Millisecond)), "alice"); one == other {
		t.Errorf("two questions have %s", one)
	}
}

// Without the time of the question there is no epoch.
func TestNoPseudonymsWithoutATime(t *testing.T) {
	local, err := metrics.NewLocal(metrics.LocalConfig{Org: "acme", Source: metricstest.Open(t), Secret: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	d := policy.Decision{Allow: true, Obligations: policy.Obligations{Epoch: time.Hour}}
	q := metrics.Question{Kind: policy.Instant, Expression: "up", Start: metricstest.End(), End: metricstest.End()}
	if _, _, err := local.Answer(t.Context(), q, d, metrics.Asking{Org: "globex", ExchangeID: "x"}); federation.AsError(err).Kind != federation.Internal {
		t.Errorf("got %v", err)
	}
}
