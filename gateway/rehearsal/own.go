package rehearsal

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Account is what becomes of what the question is about: of its signal. The others
// are nil.
type Account struct {
	Metrics *metrics.Account
	Logs    *logs.Account
	Traces  *traces.Account
}

// MarshalJSON is that of the one there is.
func (a Account) MarshalJSON() ([]byte, error) {
	switch {
	case a.Logs != nil:
		return json.Marshal(a.Logs)
	case a.Traces != nil:
		return json.Marshal(a.Traces)
	}
	return json.Marshal(a.Metrics)
}

// own is our own store of a question's signal.
type own struct {
	answer answers
	// account adds to a trial what is between its answers.
	account func(ctx context.Context, t *Trial, e Explanation, by federation.Asking) error
}

// answers is a gateway.Signal's Answer.
type answers = func(context.Context, federation.Question, policy.Decision, federation.Asking) (federation.Released, federation.Part, error)

// own opens the store that the question is about.
func (s Stage) own(b Backend, a Ask) (own, error) {
	switch q := a.Question.(type) {
	case metrics.Question:
		local, err := metrics.NewLocal(metrics.LocalConfig{
			Org: s.Folder.Org, Source: b.Metrics, Secret: b.Secret, Lookback: s.Lookback, MaxSamples: s.MaxSamples, Now: s.Folder.Now,
		})
		return own{answer: gateway.AnswerFrom(local), account: func(ctx context.Context, t *Trial, e Explanation, by federation.Asking) error {
			return t.accountMetrics(ctx, local, q, e, by)
		}}, err
	case logs.Question:
		local, err := logs.NewLocal(logs.LocalConfig{
			Org: s.Folder.Org, Source: b.Logs, Secret: b.Secret, MaxSamples: s.MaxSamples, Now: s.Folder.Now,
		})
		return own{answer: gateway.AnswerFrom(local), account: func(ctx context.Context, t *Trial, e Explanation, by federation.Asking) error {
			return t.accountLogs(ctx, local, q, e, by)
		}}, err
	case traces.Question:
		local, err := traces.NewLocal(traces.LocalConfig{Org: s.Folder.Org, Source: b.Traces, Secret: b.Secret, Now: s.Folder.Now})
		return own{answer: gateway.AnswerFrom(local), account: func(ctx context.Context, t *Trial, e Explanation, by federation.Asking) error {
			return t.accountTraces(ctx, local, e, by)
		}}, err
	}
	return own{}, fmt.Errorf("a question of type %T can't be tried", a.Question)
}

func (t *Trial) accountMetrics(ctx context.Context, local *metrics.Local, q metrics.Question, e Explanation, by federation.Asking) error {
	account, err := local.Account(ctx, q, e.decision.Obligations, by)
	if err != nil {
		return err
	}
	t.Account = &Account{Metrics: &account}
	missing, looked, err := local.Missing(ctx, q, e.decision.Obligations, by)
	t.look(e, missing, looked, err)
	return nil
}

func (t *Trial) accountLogs(ctx context.Context, local *logs.Local, q logs.Question, e Explanation, by federation.Asking) error {
	account, err := local.Account(ctx, q, everything.Obligations, e.decision.Obligations, by)
	if err != nil {
		return err
	}
	t.Account = &Account{Logs: &account}
	missing, looked, err := local.Missing(ctx, q, e.decision.Obligations, by)
	t.look(e, missing, looked, err)
	return nil
}

// accountTraces is of the traces in both answers.
func (t *Trial) accountTraces(ctx context.Context, local *traces.Local, e Explanation, by federation.Asking) error {
	var ids []pcommon.TraceID
	for _, trace := range slices.Concat(t.Raw.Traces, t.Released.Traces) {
		id, err := traces.ParseTraceID(trace.TraceID)
		if err != nil {
			return err
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	account, err := local.Account(ctx, ids, e.decision.Obligations, by)
	if err != nil {
		return err
	}
	t.Account = &Account{Traces: &account}
	var missing []metrics.Missing
	services, err := local.MissingServices(ctx, e.decision.Obligations)
	for _, s := range services {
		missing = append(missing, metrics.Missing{Dataset: s.Dataset, What: missingService, Key: "spans", Name: s.Service, Among: s.Among})
	}
	for _, a := range account.Missing {
		missing = append(missing, metrics.Missing{Dataset: a.Dataset, What: missingAttribute, Key: "spans", Name: a.Name, Among: a.Among})
	}
	t.look(e, missing, policy.Window{}, err)
	return nil
}

// everything is what the owner sees of its own data.
var everything = policy.Decision{Allow: true, Obligations: policy.Obligations{
	Datasets: []policy.Dataset{
		{Name: "all series", Series: []policy.Selector{{}}, Release: policy.Row, Others: policy.LabelRule{Mode: policy.Keep}},
		{
			Name: "all streams", Streams: []policy.Selector{{}}, Release: policy.Row,
			Others: policy.LabelRule{Mode: policy.Keep}, Line: policy.Line{Mode: policy.LineKeep},
		},
		{Name: "all spans", Spans: []policy.Selector{{}}, Release: policy.Row, Span: policy.Span{Mode: policy.SpanFull}},
	},
	Limits: tenants.Limits{Series: 1_000_000, Samples: 50_000_000, Bytes: 1 << 30, Lines: 1_000_000, Spans: 1_000_000},
}}
