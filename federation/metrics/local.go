package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/differencing"
	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// LocalConfig is what a Local is made of.
type LocalConfig struct {
	// Org is the organization whose store this is.
	Org    tenants.OrgID
	Source Source
	// Secret is what pseudonyms are derived from: at least 32 random bytes,
	// the same on all replicas of a gateway, never shown to anyone.
	Secret []byte
	// Lookback is how far an instant selector looks back; zero is DefaultLookback.
	Lookback time.Duration
	// MaxSamples bounds the samples one evaluation may hold in memory, beside
	// what a decision's limits do; zero is Prometheus's default of 50 million.
	MaxSamples int
	// Now is the clock; nil is time.Now.
	Now    func() time.Time
	Logger *slog.Logger
	// Registerer takes the metrics; nil leaves them.
	Registerer prometheus.Registerer
}

// Local answers from our own store, through the view that a decision allows.
type Local struct {
	config       LocalConfig
	engines      *engines
	differencing *differencing.Memory
}

const (
	minSecret         = 32
	defaultMaxSamples = 50_000_000
	// evaluationTimeout is a backstop; deadlines come with the question.
	evaluationTimeout = 10 * time.Minute
)

// NewLocal returns a Local. The error says what is missing in the config.
func NewLocal(c LocalConfig) (*Local, error) {
	if c.Org == "" || c.Source == nil {
		return nil, errors.New("a local metrics store needs an organization and a source")
	}
	if len(c.Secret) < minSecret {
		return nil, fmt.Errorf("the pseudonym secret has %d bytes, at least %d are needed", len(c.Secret), minSecret)
	}
	if c.Lookback == 0 {
		c.Lookback = DefaultLookback
	}
	if c.MaxSamples == 0 {
		c.MaxSamples = defaultMaxSamples
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	remembered, err := differencing.New(c.Registerer, "one metric")
	if err != nil {
		return nil, err
	}
	return &Local{config: c, engines: &engines{lookback: c.Lookback}, differencing: remembered}, nil
}

// newEngine is the reference engine, with Prometheus's defaults.
func newEngine(maxSamples int, lookback time.Duration) *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples:               maxSamples,
		Timeout:                  evaluationTimeout,
		LookbackDelta:            lookback,
		NoStepSubqueryIntervalFn: defaultSubqueryStep,
		EnableAtModifier:         true,
		EnableNegativeOffset:     true,
	})
}

// defaultSubqueryStep is the step of a subquery that states none: Prometheus's
// default evaluation interval, in milliseconds.
func defaultSubqueryStep(int64) int64 { return time.Minute.Milliseconds() }

// Asking says for whom a Local answers.
type Asking = federation.Asking

// Answer answers a question from the view that the decision allows. A decision
// that doesn't allow is refused. The error is a *federation.Error, and the Part
// then says the same.
func (l *Local) Answer(ctx context.Context, q Question, d policy.Decision, by Asking) (released *Released, part federation.Part, err error) {
	// A defect that one question meets is not an outage for all others.
	defer func() {
		if cause := recover(); cause != nil {
			released = nil
			part, err = l.failed(ctx, by, fmt.Errorf("panic: %v\n%s", cause, debug.Stack()))
		}
	}()
	start := l.config.Now()
	if !d.Allow {
		part, err = l.failed(ctx, by, federation.Errorf(federation.Refused, federation.NotAllowed))
		return nil, part, err
	}
	v, err := l.view(d.Obligations, by)
	if err == nil {
		released, err = l.answer(ctx, q, v, d.Obligations, by)
	}
	var cost federation.Cost
	if err == nil {
		cost = released.Disclosed()
		err = withinLimits(by.Org, released, d.Obligations.Limits)
	}
	if err != nil {
		part, err = l.failed(ctx, by, err)
		return nil, part, err
	}
	cost.Latency = l.config.Now().Sub(start)
	return released, federation.Part{
		Org: l.config.Org, Status: federation.Complete, Cost: cost, Coverage: coverage(q, v), Notices: notices(v, q),
	}, nil
}

// failed gives an error its kind, and logs what the operator has to see to: it
// may be one part of an answer, of which nobody is told more than that it is
// missing.
func (l *Local) failed(ctx context.Context, by Asking, err error) (federation.Part, error) {
	e := federation.AsError(err)
	e.Org = l.config.Org
	if e.Kind == federation.Internal || e.Kind == federation.Unavailable && ctx.Err() == nil {
		l.config.Logger.ErrorContext(ctx, "our own metrics can't answer", "exchange", by.ExchangeID, "kind", e.Kind, "error", e.Err)
	}
	return federation.Part{Org: l.config.Org, Status: federation.StatusOf(e), Reason: e.Message}, e
}

// coverage is the part of the question's time that the view holds; zero when
// they don't meet.
func coverage(q Question, v *view) policy.Window {
	start := max(federation.Milliseconds(q.Start), v.oldest)
	end := min(federation.Milliseconds(q.End), v.newest)
	if start > end {
		return policy.Window{}
	}
	return policy.Window{Start: time.UnixMilli(start).UTC(), End: time.UnixMilli(end).UTC()}
}

func (l *Local) answer(ctx context.Context, q Question, v *view, o policy.Obligations, by Asking) (*Released, error) {
	switch q.Kind {
	case policy.Instant, policy.Range:
		return l.query(ctx, q, v, o, by)
	case policy.Exemplars:
		return l.exemplars(ctx, q, v, o, by)
	default:
		if err := l.checkListing(ctx, q, o, by); err != nil {
			return nil, err
		}
	}
	switch q.Kind {
	case policy.Series:
		return l.series(ctx, q, v, o)
	case policy.LabelNames, policy.LabelValues:
		return l.names(ctx, q, v)
	case policy.Metadata:
		return l.metadata(ctx, q, v)
	default:
	}
	return nil, federation.Errorf(federation.BadQuestion, "%q is not a kind of metrics question", q.Kind)
}

func (l *Local) view(o policy.Obligations, by Asking) (*view, error) {
	pseudonyms, err := redact.NewPseudonyms(l.config.Secret, by, o.Epoch)
	if err != nil {
		return nil, err
	}
	keys := keys{pseudonyms, redact.Derive(l.config.Secret, "surrogate", by.Org, "")}
	v := &view{
		source: l.config.Source,
		rules:  newRules(l.config.Org, o, keys),
		oldest: math.MinInt64,
		newest: math.MaxInt64,
		may:    l.allow(o.Limits),
	}
	if !o.NotBefore.IsZero() {
		v.oldest = o.NotBefore.UnixMilli()
	}
	if !o.NotAfter.IsZero() {
		v.newest = o.NotAfter.UnixMilli()
	}
	if o.Resolution > 0 {
		// Only intervals that lie in the view's time whole and are over: until
		// then their last sample is another one from moment to moment.
		v.newest = min(v.newest, l.config.Now().UnixMilli())
		if v.oldest != math.MinInt64 {
			v.oldest = floors{resolution: v.rules.resolution}.end(v.oldest + v.rules.resolution - 1)
		}
	}
	return v, nil
}

// query evaluates PromQL: at the backend where that is proved equal to the
// view, over the view otherwise.
func (l *Local) query(ctx context.Context, q Question, v *view, o policy.Obligations, by Asking) (*Released, error) {
	expr, err := parser.ParseExpr(q.Expression)
	if err != nil {
		return nil, federation.Errorf(federation.BadQuestion, "%v", err)
	}
	if err := refuseReserved(expr); err != nil {
		return nil, err
	}
	if err := checkFloors(expr, q, o); err != nil {
		return nil, err
	}
	if q.Lookback == 0 {
		q.Lookback = l.config.Lookback
	}
	estimate, err := v.estimate(q, l.config.Now())
	if err != nil {
		return nil, err
	}
	if err := estimate.within(by.Org, o.Limits, v.may); err != nil {
		return nil, err
	}
	cells, err := planCells(expr, v.rules, q)
	if err != nil {
		return nil, err
	}
	if err := l.checkDifferencing(ctx, q, expr.String(), parser.ExtractSelectors(expr), o, by); err != nil {
		return nil, err
	}
	var matrix promql.Matrix
	if cells != nil {
		matrix, err = l.aggregate(ctx, cells, q, v)
	} else {
		matrix, err = l.pushDown(ctx, expr, q, v)
		if errors.Is(err, errNotEvaluated) {
			matrix, err = l.evaluate(ctx, expr, q, v)
		}
	}
	if err != nil {
		return nil, err
	}
	if matrix, err = l.withoutSurrogates(matrix, o); err != nil {
		return nil, err
	}
	return releaseMatrix(matrix)
}

func (l *Local) evaluate(ctx context.Context, expr parser.Expr, q Question, v *view) (promql.Matrix, error) {
	ignoreSurrogates(expr)
	return run(ctx, v.may.engine, v, expr.String(), q)
}
