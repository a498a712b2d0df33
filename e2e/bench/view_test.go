package bench

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/policy"
)

// BenchmarkView evaluates in this process, over an embedded database, what a
// partner may see of it with every pod a pseudonym. It is compared with a view
// that hides nothing (x-nopolicy), and with Prometheus's engine on the same
// database without a view at all (x-engine).
func BenchmarkView(b *testing.B) {
	raw, err := tsdb.Open(store(b, "acme"), nil, nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := raw.Close(); err != nil {
			b.Error(err)
		}
	})
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 50_000_000, Timeout: time.Minute, LookbackDelta: metrics.DefaultLookback})
	local := newLocal(b)
	for _, q := range questions {
		b.Run(q.name, func(b *testing.B) {
			ctx := b.Context()
			inTurn(b, minTurns,
				func() error { return answer(ctx, local, q, pseudonyms()) },
				side{"x-nopolicy", func() error { return answer(ctx, local, q, everything()) }},
				side{"x-engine", func() error { return evaluate(ctx, engine, raw, q) }})
		})
	}
}

func newLocal(b *testing.B) *metrics.Local {
	b.Helper()
	source, err := metrics.OpenTSDB(metrics.TSDBConfig{Dir: store(b, "acme")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := source.Close(); err != nil {
			b.Error(err)
		}
	})
	local, err := metrics.NewLocal(metrics.LocalConfig{Org: "acme", Source: source, Secret: []byte(strings.Repeat("x", 32))})
	if err != nil {
		b.Fatal(err)
	}
	return local
}

func everything() policy.Decision {
	return policy.Decision{Allow: true, Obligations: policy.Obligations{Datasets: []policy.Dataset{{
		Name: "everything", Series: []policy.Selector{{}}, Release: policy.Row, Others: policy.LabelRule{Mode: policy.Keep},
	}}}}
}

func pseudonyms() policy.Decision {
	labels := map[string]policy.LabelRule{"pod": {Mode: policy.Pseudonym}}
	for _, kept := range []string{"region", "status", "service", "route", "job", "instance"} {
		labels[kept] = policy.LabelRule{Mode: policy.Keep}
	}
	return policy.Decision{Allow: true, Obligations: policy.Obligations{Epoch: 24 * time.Hour, Datasets: []policy.Dataset{{
		Name: "requests", Series: []policy.Selector{{}}, Release: policy.Row, Labels: labels,
	}}}}
}

// answer asks a Local as a gateway does on a partner's behalf.
func answer(ctx context.Context, local *metrics.Local, q question, d policy.Decision) error {
	released, _, err := local.Answer(ctx, metrics.Question{
		Kind: policy.Range, Expression: q.expression, Start: firstStep(), End: lastStep(), Step: step,
	}, d, metrics.Asking{Org: "globex", ExchangeID: "019b2f3e-8a00-7c54-9d31-5f0e6c8a4b17"})
	if err != nil {
		return err
	}
	if series, _ := released.Cost(); series == 0 {
		return fmt.Errorf("%s has no answer", q.expression)
	}
	return nil
}

func evaluate(ctx context.Context, engine *promql.Engine, db storage.Queryable, q question) error {
	query, err := engine.NewRangeQuery(ctx, db, nil, q.expression, firstStep(), lastStep(), step)
	if err != nil {
		return err
	}
	defer query.Close()
	result := query.Exec(ctx)
	if result.Err != nil {
		return result.Err
	}
	if matrix, ok := result.Value.(promql.Matrix); !ok || matrix.Type() != parser.ValueTypeMatrix || len(matrix) == 0 {
		return fmt.Errorf("%s has no answer", q.expression)
	}
	return nil
}
