package metrics_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Ten questions are answered, however often they are asked; the eleventh that
// differs in whatever isn't, until an hour has passed.
func TestManyQuestionsAboutOneMetric(t *testing.T) {
	for name, ask := range map[string]string{
		"one matcher":           `sum(up{job="%[1]d"})`,
		"one matcher more":      `sum(up{job="a",instance!="%[1]d"})`,
		"matchers for nothing":  `sum(up{instance!="bob",nothing!="%[1]d"})`,
		"bisection of a value":  `sum(up) > %[1]d`,
		"bisection of a range":  `sum(rate(up[%[1]ds]))`,
		"offsets":               `sum(up) - sum(up offset %[1]ds)`, // of one selector
		"times":                 `sum(up @ %[1]d)`,
		"subqueries":            `max_over_time(sum(up)[%[1]dm:1m])`,
		"one beside the others": `sum(up{job="%[1]d"}) + %[1]d * 0`,
		"a length of constants": `sum(up) > scalar(count_over_time(vector(1)[%[1]dm:1m]))`,
		"a string":              `count_values("l%[1]d", sum(up))`,
		"a pattern above":       `label_replace(up, "x", "$1", "region", "(e%[1]d.*)")`,
	} {
		t.Run(name, func(t *testing.T) {
			now := metricstest.End()
			registry := prometheus.NewPedanticRegistry()
			local, err := metrics.NewLocal(metrics.LocalConfig{
				Org: "acme", Source: metricstest.Store(t, nil), Secret: []byte("0123456789abcdef0123456789abcdef"),
				Now: func() time.Time { return now }, Registerer: registry,
			})
			if err != nil {
				t.Fatal(err)
			}
			o := everything.Obligations
			o.Differencing = policy.Differencing{Budget: 10, Within: time.Hour, Refuse: true}
			asks := func(by tenants.OrgID, n int) error {
				q := metrics.Question{Kind: policy.Instant, Expression: fmt.Sprintf(ask, n), Start: now, End: now}
				_, _, err := local.Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: o}, metrics.Asking{Org: by, ExchangeID: partner.ExchangeID})
				return err
			}
			for range 3 {
				for n := range 10 {
					if err := asks("globex", 100+n); err != nil {
						t.Fatalf("question %d: %v", n, err)
					}
				}
			}
			if err := asks("globex", 200); err == nil || federation.AsError(err).Kind != federation.OverLimit || !strings.Contains(err.Error(), "different questions about one metric") {
				t.Errorf("the eleventh: %v", err)
			}
			if err := asks("globex", 105); err != nil {
				t.Errorf("one asked before: %v", err)
			}
			if err := asks("initech", 200); err != nil {
				t.Errorf("another partner: %v", err)
			}
			now = now.Add(time.Hour + time.Second)
			if err := asks("globex", 200); err != nil {
				t.Errorf("an hour later: %v", err)
			}
			want := "# HELP parley_differencing_exceeded_total Questions of partners beyond the number that policy lets them ask about one metric, or about logs, by what became of them.\n" +
				"# TYPE parley_differencing_exceeded_total counter\n" + `parley_differencing_exceeded_total{action="refuse",partner="globex"} 1` + "\n"
			if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
				t.Error(err)
			}
		})
	}
}

// What is flagged is answered.
func TestQuestionsThatAreFlagged(t *testing.T) {
	local := newLocalAt(t, metricstest.Store(t, nil))
	o := everything.Obligations
	o.Differencing = policy.Differencing{Budget: 1, Within: time.Hour}
	for n := range 5 {
		q := metrics.Question{Kind: policy.Instant, Expression: fmt.Sprintf(`sum(up{job="%d"})`, n), Start: metricstest.End(), End: metricstest.End()}
		if _, _, err := local.Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: o}, partner); err != nil {
			t.Errorf("question %d: %v", n, err)
		}
	}
}

// Ten different questions are ten, whatever it is that they differ in: the shape
// of the expression, how far they look back, or what kind they are of.
func TestQuestionsOfAnyFormAreDifferent(t *testing.T) {
	at := metricstest.End()
	expression := func(text string) metrics.Question {
		return metrics.Question{Kind: policy.Instant, Expression: text, Start: at, End: at}
	}
	selecting := func(n int) []policy.Selector {
		return []policy.Selector{{labels.MustNewMatcher(labels.MatchEqual, "__name__", "up"), labels.MustNewMatcher(labels.MatchRegexp, "region", fmt.Sprintf("e%d.*", n))}}
	}
	for name, question := range map[string]func(n int) metrics.Question{
		"parentheses": func(n int) metrics.Question {
			return expression(strings.Repeat("(", n) + "sum(up)" + strings.Repeat(")", n) + " > 1")
		},
		"signs": func(n int) metrics.Question {
			return expression("sum(up) > scalar(" + strings.Repeat("-", n) + "vector(1))")
		},
		"plus zero":                 func(n int) metrics.Question { return expression("sum(up) > 1" + strings.Repeat(" + 0", n)) },
		"a number without literals": func(n int) metrics.Question { return expression("sum(up) > pi()" + strings.Repeat(" + pi()", n)) },
		"lookback": func(n int) metrics.Question {
			q := expression("sum(up)")
			q.Lookback = time.Duration(n+1) * time.Second
			return q
		},
		"series": func(n int) metrics.Question {
			return metrics.Question{Kind: policy.Series, Start: at.Add(-time.Hour), End: at, Selectors: selecting(n), LabelsOnly: n%2 == 0}
		},
		"label values": func(n int) metrics.Question {
			return metrics.Question{Kind: policy.LabelValues, Label: "region", Start: at.Add(-time.Hour), End: at, Selectors: selecting(n)}
		},
		"label names": func(n int) metrics.Question {
			return metrics.Question{Kind: policy.LabelNames, Start: at.Add(-time.Hour), End: at, Selectors: selecting(n)}
		},
		"metadata": func(n int) metrics.Question {
			return metrics.Question{Kind: policy.Metadata, Start: at.Add(-time.Hour), End: at, Selectors: selecting(n)}
		},
		"exemplars": func(n int) metrics.Question {
			return metrics.Question{Kind: policy.Exemplars, Start: at.Add(-time.Hour), End: at, Expression: fmt.Sprintf(`up{region=~"e%d.*"}`, n)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			local := newLocalAt(t, metricstest.Store(t, nil))
			o := everything.Obligations
			o.Differencing = policy.Differencing{Budget: 10, Within: time.Hour, Refuse: true}
			answered := 0
			for n := range 30 {
				_, _, err := local.Answer(t.Context(), question(n), policy.Decision{Allow: true, Obligations: o}, partner)
				switch {
				case err == nil:
					answered++
				case federation.AsError(err).Kind != federation.OverLimit:
					t.Fatal(err)
				}
			}
			if answered != 10 {
				t.Errorf("%d are answered, want 10", answered)
			}
		})
	}
}
