package metrics_test

import (
	"testing"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/policy"
)

// Some subqueries would keep the engine busy for years, whatever the deadline.
func TestSubqueriesThatDontEnd(t *testing.T) {
	end := time.Unix(1_700_000_000, 0)
	instant := metrics.Question{Kind: policy.Instant, Start: end, End: end}
	month := metrics.Question{Kind: policy.Range, Start: end.Add(-31 * 24 * time.Hour), End: end, Step: 5 * time.Minute}
	for _, c := range []struct {
		question   metrics.Question
		expression string
		refused    bool
	}{
		{instant, "count_over_time(vector(1)[290y:1ms])", true},
		{instant, "count_over_time(vector(1)[1d:1ms])", true},
		{instant, "count_over_time(vector(1)[290y:])", true},
		{instant, "count_over_time(vector(1)[1d:0.0001])", false}, // no step of the engine: it takes the default
		{instant, "1 + (2 * abs(sum(count_over_time(vector(1)[290y:1ms] @ 1))))", true},
		{instant, "count_over_time(count_over_time(vector(1)[5d:1s])[5d:1s])", true},
		{instant, "count_over_time(count_over_time(vector(1)[1d:1s])[1d:1s])", true}, // 86,400 windows of 86,400 points
		{month, "count_over_time(vector(1)[1d:1s])", true},
		{month, "count_over_time(vector(1)[1d:1s] @ end())", true},
		{month, "count_over_time(vector(1)[7d:1s] @ end())", true},

		{instant, "count_over_time(vector(1)[5m:1s])", false},
		{instant, "max_over_time(rate(requests_total[5m])[31d:1m])", false},
		{instant, "quantile_over_time(0.99, max_over_time(rate(requests_total[5m])[1h:1m])[7d:5m])", false},
		{month, "max_over_time(rate(requests_total[5m])[1d:1m])", false},
		{month, "max_over_time(rate(requests_total[5m])[31d:1m] @ end())", false},
		{month, "rate(requests_total[31d])", false},
	} {
		c.question.Expression = c.expression
		_, err := c.question.Request()
		if (err != nil) != c.refused || err != nil && federation.AsError(err).Kind != federation.BadQuestion {
			t.Errorf("%s %s: %v", c.question.Kind, c.expression, err)
		}
	}
}
