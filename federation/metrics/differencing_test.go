package metrics_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Ten of anything are answered, however they are asked again; the eleventh that
// differs in that alone isn't, until an hour has passed.
func TestQuestionsThatDifferInLittle(t *testing.T) {
	for name, test := range map[string]struct {
		ask    string
		budget int
	}{
		"one matcher":           {`sum(up{job="%[1]d"})`, 10},
		"one matcher more":      {`sum(up{job="a",instance!="%[1]d"})`, 10},
		"matchers for nothing":  {`sum(up{instance!="bob",nothing!="%[1]d"} or up{region="%[1]d"})`, 20},
		"bisection of a value":  {`sum(up) > %[1]d`, 10},
		"bisection of a range":  {`sum(rate(up[%[1]ds]))`, 10},
		"offsets":               {`sum(up) - sum(up offset %[1]ds)`, 11},
		"times":                 {`sum(up @ %[1]d)`, 10},
		"subqueries":            {`max_over_time(sum(up)[%[1]dm:1m])`, 10},
		"one beside the others": {`sum(up{job="%[1]d"}) + %[1]d * 0`, 10},
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
			o.Differencing = policy.Differencing{Budget: test.budget, Within: time.Hour, Refuse: true}
			asks := func(by tenants.OrgID, n int) error {
				q := metrics.Question{Kind: policy.Instant, Expression: fmt.Sprintf(test.ask, n), Start: now, End: now}
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
			if err := asks("globex", 200); err == nil || federation.AsError(err).Kind != federation.OverLimit || !strings.Contains(err.Error(), "differ in little") {
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
			want := "# HELP parley_differencing_exceeded_total Questions of partners beyond the number that may differ in little, by what became of them.\n" +
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
