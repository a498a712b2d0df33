package metrics

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/thanos-io/promql-engine/api"
	"github.com/thanos-io/promql-engine/engine"
	"github.com/thanos-io/promql-engine/logicalplan"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
)

// Member is an organization that can be asked, our own among them.
type Member = federation.Member[Question, *Released]

// Federated answers one question from several organizations.
type Federated struct {
	// reference evaluates what can't be distributed, over series fetched from
	// the members.
	reference *promql.Engine
	// distributed pushes parts of a query to the members and finishes it here.
	distributed *engine.Engine
	lookback    time.Duration
	now         func() time.Time
}

// NewFederated returns a Federated with the given bounds; zero values are as
// in LocalConfig.
func NewFederated(maxSamples int, lookback time.Duration, now func() time.Time) *Federated {
	if maxSamples == 0 {
		maxSamples = defaultMaxSamples
	}
	if lookback == 0 {
		lookback = DefaultLookback
	}
	if now == nil {
		now = time.Now
	}
	return &Federated{
		reference: newEngine(maxSamples, lookback),
		distributed: engine.New(engine.Opts{EngineOpts: promql.EngineOpts{
			MaxSamples:               maxSamples,
			Timeout:                  evaluationTimeout,
			LookbackDelta:            lookback,
			NoStepSubqueryIntervalFn: defaultSubqueryStep,
			EnableAtModifier:         true,
			EnableNegativeOffset:     true,
		}}),
		lookback: lookback,
		now:      now,
	}
}

// Answer asks the members what it takes and returns one answer with a part for
// each of them. An organization that fails is left out of the answer as a
// whole and stands in the completeness; the error is for when there is no
// answer at all.
func (f *Federated) Answer(ctx context.Context, q Question, members []Member) (*Released, federation.Completeness, error) {
	ctx, cancel := context.WithCancel(ctx)
	asking := newAsking(ctx, members)
	defer asking.wait()
	defer cancel()

	released, err := f.answer(q, asking)
	completeness := asking.completeness()
	if err != nil {
		return nil, completeness, err
	}
	if err := asking.nothingButFailures(); err != nil {
		return nil, completeness, err
	}
	return released, completeness, nil
}

func (f *Federated) answer(q Question, asking *asking) (*Released, error) {
	switch q.Kind {
	case policy.Instant, policy.Range:
		return f.query(q, asking)
	default:
		return merge(q, asking.all(q))
	}
}

// query evaluates until every organization is either in the answer with all
// that was asked of it or not at all: half of a pair, such as the sum of an
// average without its count, would make a wrong number. What was answered once
// is not asked again.
func (f *Federated) query(q Question, asking *asking) (*Released, error) {
	expr, err := parser.ParseExpr(q.Expression)
	if err != nil {
		return nil, federation.Errorf(federation.BadQuestion, "%v", err)
	}
	if err := refuseReserved(expr); err != nil {
		return nil, err
	}
	if q.Lookback == 0 {
		q.Lookback = f.lookback
	}
	if only, ok := asking.concernsOnly(expr); ok {
		return asking.start(only, q).wait()
	}
	for {
		matrix, err := f.evaluate(expr, q, asking)
		if asking.dropTorn() {
			continue
		}
		if err != nil {
			return nil, err
		}
		slices.SortFunc(matrix, func(a, b promql.Series) int { return labels.Compare(a.Metric, b.Metric) })
		return releaseMatrix(matrix)
	}
}

func (f *Federated) evaluate(expr parser.Expr, q Question, asking *asking) (promql.Matrix, error) {
	if selector, ok := sideBySide(expr); ok {
		return asking.together(expr, selector, q)
	}
	over := &federatedQueryable{asking: asking, now: f.now}
	if !distributable(unsorted(expr)) {
		return run(asking.ctx, f.reference, over, q.Expression, q)
	}
	copied, err := parser.ParseExpr(unsorted(expr).String())
	if err != nil {
		return nil, err
	}
	copied, err = rewriteAbsent(copied)
	if err != nil {
		return nil, fmt.Errorf("rewrite absent: %w", err)
	}
	matrix, err := f.distribute(copied, over, q, asking)
	if asking.unfit.Load() || err != nil && federation.AsError(err).Kind == federation.BadQuestion {
		// What the distributed engine doesn't know the reference does, and what
		// neither evaluates the reference says better.
		return run(asking.ctx, f.reference, over, q.Expression, q)
	}
	if unsorted(expr) != expr {
		matrix = slices.DeleteFunc(matrix, func(s promql.Series) bool { return len(s.Floats) == 0 })
		for i := range matrix {
			matrix[i].Histograms = nil
		}
	}
	return matrix, err
}

// unsorted is the argument of sort or sort_desc at the root: the order of a
// result is the front's, and that sort leaves histograms out is seen to above.
func unsorted(expr parser.Expr) parser.Expr {
	if call, ok := unwrapParens(expr).(*parser.Call); ok && (call.Func.Name == "sort" || call.Func.Name == "sort_desc") {
		return unsorted(call.Args[0])
	}
	return expr
}

func (f *Federated) distribute(expr parser.Expr, over *federatedQueryable, q Question, asking *asking) (promql.Matrix, error) {
	opts := &engine.QueryOpts{
		LookbackDeltaParam: q.Lookback,
		LogicalOptimizers:  []logicalplan.Optimizer{logicalplan.DistributedExecutionOptimizer{Endpoints: endpoints{asking, f.reference}}},
	}
	var query promql.Query
	var err error
	if q.Kind == policy.Instant {
		query, err = f.distributed.MakeInstantQuery(asking.ctx, over, opts, expr.String(), q.Start)
	} else {
		query, err = f.distributed.MakeRangeQuery(asking.ctx, over, opts, expr.String(), q.Start, q.End, q.Step)
	}
	if err != nil {
		return nil, evaluationError(err)
	}
	defer query.Close()
	result := query.Exec(asking.ctx)
	if result.Err != nil {
		return nil, evaluationError(result.Err)
	}
	return asMatrix(result)
}

// distributable says whether the distributed engine evaluates the expression
// as the reference engine does.
func distributable(expr parser.Expr) bool {
	if expr.Type() != parser.ValueTypeVector && expr.Type() != parser.ValueTypeScalar {
		return false
	}
	ok := true
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			ok = ok && !selectsCompleteness(n.LabelMatchers)
		case *parser.Call:
			ok = ok && !slices.Contains(referenceOnly, n.Func.Name) && constantParameters(n)
		case *parser.AggregateExpr:
			ok = ok && (n.Param == nil || isConstant(n.Param))
		}
		return nil
	})
	return ok
}

// constantParameters is false for a function with an argument that is computed
// from numbers, and for a quantile that isn't one: the distributed engine
// evaluates some of them otherwise.
func constantParameters(call *parser.Call) bool {
	if call.Func.Name == "histogram_quantile" {
		q, ok := unwrapParens(call.Args[0]).(*parser.NumberLiteral)
		return ok && q.Val >= 0 && q.Val <= 1
	}
	return !slices.ContainsFunc(call.Args, func(a parser.Expr) bool {
		return a.Type() == parser.ValueTypeScalar && !isConstant(a) && call.Func.Name != "vector"
	})
}

func isConstant(e parser.Expr) bool {
	switch unwrapParens(e).(type) {
	case *parser.NumberLiteral, *parser.StringLiteral:
		return true
	}
	return false
}

// referenceOnly are functions that the distributed engine evaluates
// differently: sort keeps histograms there, and timestamp loses offset and @.
var referenceOnly = []string{"sort", "sort_desc", "timestamp"}

// merge makes one answer of the parts to a question that is not a query.
func merge(q Question, parts []*Released) (*Released, error) {
	out := &Released{}
	for _, p := range parts {
		out.series = append(out.series, p.series...)
		out.names = append(out.names, p.names...)
		out.exemplars = append(out.exemplars, p.exemplars...)
		for name, entries := range p.metadata {
			out.addMetadata(name, entries)
		}
	}
	slices.SortFunc(out.series, func(a, b ReleasedSeries) int { return labels.Compare(a.Labels, b.Labels) })
	slices.Sort(out.names)
	out.names = slices.Compact(out.names)
	if q.Limit > 0 {
		out.series = out.series[:min(q.Limit, len(out.series))]
		out.names = out.names[:min(q.Limit, len(out.names))]
	}
	return out, nil
}

// asRemote is a member as the distributed engine sees it: a partition by org
// that holds all of time.
type asRemote struct {
	*member
	asking    *asking
	reference *promql.Engine
}

// Far beyond any sample, and far enough from the ends of int64 that adding a
// range doesn't overflow.
const (
	beginningOfTime = -1 << 52
	endOfTime       = 1 << 52
)

func (r asRemote) MinT() int64 { return beginningOfTime }
func (r asRemote) MaxT() int64 { return endOfTime }

// LabelSets says nothing: the engine would leave out a member that one selector
// of many can't match at, though of a unless b it may have all of a.
func (r asRemote) LabelSets() []labels.Labels { return nil }

func (r asRemote) PartitionLabelSets() []labels.Labels {
	return []labels.Labels{labels.FromStrings(orgLabel, string(r.Org))}
}

// NewRangeQuery starts asking at once: all remote parts of a plan are made
// before the first is read.
func (r asRemote) NewRangeQuery(_ context.Context, opts promql.QueryOpts, plan api.RemoteQuery, start, end time.Time, step time.Duration) (promql.Query, error) {
	q := Question{Kind: policy.Range, Expression: plan.String(), Start: start, End: end, Step: step, Lookback: opts.LookbackDelta()}
	if step == 0 || start.Equal(end) {
		q.Kind, q.Step = policy.Instant, 0
	}
	expr, err := parser.ParseExpr(q.Expression)
	if err != nil {
		return nil, err
	}
	remote := &remoteQuery{expression: q.Expression, unfit: &r.asking.unfit}
	selectors := selectorsOf(expr)
	switch {
	case len(selectors) == 0:
		// A number or a function of time that stands beside something remote:
		// every member would say the same, and none of it is theirs.
		remote.answer = r.asking.here(q, r.reference)
	case !carriesOrg(expr):
		r.asking.unfit.Store(true)
		remote.answer = nothing()
	case !concerns(r.member, selectors):
		remote.answer = nothing()
	default:
		remote.answer = r.asking.start(r.member, q)
	}
	return remote, nil
}

func selectorsOf(expr parser.Expr) []policy.Selector {
	var out []policy.Selector
	for _, s := range parser.ExtractSelectors(expr) {
		out = append(out, s)
	}
	return out
}

// endpoints are the members as the distributed engine finds them.
type endpoints struct {
	asking    *asking
	reference *promql.Engine
}

// Engines are the members still in the answer.
func (e endpoints) Engines() []api.RemoteEngine {
	out := make([]api.RemoteEngine, 0, len(e.asking.members))
	for _, m := range e.asking.members {
		if !m.dropped.Load() {
			out = append(out, asRemote{member: m, asking: e.asking, reference: e.reference})
		}
	}
	return out
}
