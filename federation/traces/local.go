package traces

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/differencing"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// LocalConfig is what a Local is made of.
type LocalConfig struct {
	// Org is the organization whose store this is.
	Org    tenants.OrgID
	Source Source
	// Secret is what pseudonyms and the ids of withheld spans are derived from: at
	// least 32 random bytes, the same on all replicas of a gateway, never shown to
	// anyone.
	Secret []byte
	// Now is the clock; nil is time.Now.
	Now    func() time.Time
	Logger *slog.Logger
	// Registerer gets the metrics of what policy says of questions; nil: none.
	Registerer prometheus.Registerer
}

// Local answers from our own store, through the view that a decision allows.
type Local struct {
	config       LocalConfig
	differencing *differencing.Memory
}

const minSecret = 32

// NewLocal returns a Local. The error says what is missing in the config.
func NewLocal(c LocalConfig) (*Local, error) {
	if c.Org == "" || c.Source == nil {
		return nil, errors.New("a local traces store needs an organization and a source")
	}
	if len(c.Secret) < minSecret {
		return nil, fmt.Errorf("the pseudonym secret has %d bytes, at least %d are needed", len(c.Secret), minSecret)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	remembered, err := differencing.New(c.Registerer, "traces")
	if err != nil {
		return nil, err
	}
	return &Local{config: c, differencing: remembered}, nil
}

// Answer answers a question from the view that the decision allows. A decision
// that doesn't allow is refused. The error is a *federation.Error, and the Part
// then says the same.
func (l *Local) Answer(ctx context.Context, q Question, d policy.Decision, by federation.Asking) (released *Released, part federation.Part, err error) {
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
	o := d.Obligations.Of(tenants.Traces)
	v, err := newView(l.config.Org, o, l.config.Secret, by, start)
	if err == nil {
		err = l.allowed(ctx, q, o, by)
	}
	if err == nil {
		released, err = l.answer(ctx, q, v, o.Limits.OrDefault(), by.Org)
	}
	if err == nil {
		err = withinLimits(by.Org, released, o.Limits)
	}
	if err != nil {
		part, err = l.failed(ctx, by, err)
		return nil, part, err
	}
	cost := released.Disclosed()
	cost.Latency = l.config.Now().Sub(start)
	return released, federation.Part{
		Org: l.config.Org, Status: federation.Complete, Cost: cost, Coverage: v.coverage(q), Notices: notices(o.Datasets),
	}, nil
}

// allowed refuses what obligations don't let be asked, by the question's text and
// those that were asked before.
func (l *Local) allowed(ctx context.Context, q Question, o policy.Obligations, by federation.Asking) error {
	asked, err := q.Request()
	if err != nil {
		return err
	}
	if err := checkFunctions(o); err != nil {
		return err
	}
	if q.Kind == policy.Trace || q.Kind == policy.KeepTrace {
		return nil // who has an id, of which none can be guessed, asks for no difference
	}
	question := differencing.Question{
		By: by.Org, ExchangeID: by.ExchangeID, About: []differencing.Subject{{}},
		Text: fmt.Sprintf("%s\xff%s\xff%s", q.Kind, asked.Query, q.Label),
	}
	return l.differencing.Check(ctx, l.config.Logger, question, o.Differencing, l.config.Now())
}

// checkFunctions refuses spans where only functions of numbers are answered.
func checkFunctions(o policy.Obligations) error {
	if len(o.Functions) == 0 {
		return nil
	}
	return federation.Errorf(federation.NeedsAggregation, "spans are not answered, only numbers by %s", strings.Join(o.Functions, ", "))
}

// failed gives an error its kind, and logs what the operator has to see to.
func (l *Local) failed(ctx context.Context, by federation.Asking, err error) (federation.Part, error) {
	e := federation.AsError(err)
	e.Org = l.config.Org
	if e.Kind == federation.Internal || e.Kind == federation.Unavailable && ctx.Err() == nil {
		l.config.Logger.ErrorContext(ctx, "our own traces can't answer", "exchange", by.ExchangeID, "kind", e.Kind, "error", e.Err)
	}
	return federation.Part{Org: l.config.Org, Status: federation.StatusOf(e), Reason: e.Message}, e
}

func (l *Local) answer(ctx context.Context, q Question, v *view, limits tenants.Limits, by tenants.OrgID) (*Released, error) {
	switch q.Kind {
	case policy.Trace:
		return l.traces(ctx, q, v, limits)
	case policy.Search:
		return l.search(ctx, q, v, limits)
	case policy.LabelNames, policy.LabelValues, policy.Operations, policy.Dependencies:
		return l.list(ctx, q, v, limits)
	case policy.KeepTrace:
		return l.keep(ctx, q, v, limits, by)
	}
	return nil, federation.Errorf(federation.BadQuestion, "%q is not a kind of question about traces", q.Kind)
}

// traces answers what there is of traces by their ids, in the order in which they
// are asked for.
func (l *Local) traces(ctx context.Context, q Question, v *view, limits tenants.Limits) (*Released, error) {
	out := &Released{}
	spans := 0
	for raw, err := range l.config.Source.tracesRaw(ctx, q.IDs) {
		if err != nil {
			return nil, err
		}
		trace, ok := v.trace(raw)
		if !ok || !within(trace, q) {
			continue
		}
		out.traces = append(out.traces, Trace{ID: idOf(trace), Spans: trace})
		if spans += trace.SpanCount(); spans > limits.Spans {
			return nil, tooManySpans(limits)
		}
	}
	slices.SortFunc(out.traces, func(a, b Trace) int { return slices.Index(q.IDs, a.ID) - slices.Index(q.IDs, b.ID) })
	return out, nil
}

// keep keeps what there is of traces for longer, for whoever may see something of
// them, and answers with the ids of those that are kept: one that isn't seen is as
// one that isn't there.
func (l *Local) keep(ctx context.Context, q Question, v *view, limits tenants.Limits, by tenants.OrgID) (*Released, error) {
	keeping, ok := l.config.Source.(*Keeping)
	if !ok {
		return nil, federation.Errorf(federation.BadQuestion, "no traces are kept here for longer than others")
	}
	out := &Released{}
	for raw, err := range keeping.tracesRaw(ctx, q.IDs) {
		if err != nil {
			return nil, err
		}
		if _, seen := v.trace(raw); !seen {
			continue
		}
		switch err := keeping.keep(ctx, raw, by, limits.KeptTraces); {
		case errors.Is(err, errKeptEnough):
			return nil, federation.Errorf(federation.OverLimit, "no more traces are kept, the last ones asked for among them")
		case err != nil:
			return nil, err
		}
		out.names = append(out.names, idOf(raw).String())
	}
	slices.Sort(out.names)
	return out, nil
}

// within says whether a span of a trace begins within the question's time, if it
// has one.
func within(t ptrace.Traces, q Question) bool {
	if !q.timed() {
		return true
	}
	for p := range traceql.Spans(t) {
		if begins(p.Span, q) {
			return true
		}
	}
	return false
}

// begins says whether a span begins within the question's time.
func begins(span ptrace.Span, q Question) bool {
	at := span.StartTimestamp().AsTime()
	return !at.Before(q.Start) && at.Before(q.End)
}

// tooManySpans refuses an answer that has grown beyond what may leave, before it
// grows on.
func tooManySpans(limits tenants.Limits) error {
	return federation.Errorf(federation.OverLimit, "the answer has more than %d spans; ask for fewer traces, or a lower limit", limits.Spans)
}

// withinLimits checks an answer against what may leave at once.
func withinLimits(by tenants.OrgID, r *Released, limits tenants.Limits) error {
	most := limits.OrDefault()
	if err := limits.CheckSeries(by, r.Disclosed().Series); err != nil {
		return &federation.Error{Kind: federation.OverLimit, Err: err, Message: fmt.Sprintf("the answer has more than %d names, values, operations or dependencies; select fewer spans, or ask for less time", most.Series)}
	}
	if err := limits.CheckBytes(by, r.Bytes()); err != nil {
		return &federation.Error{Kind: federation.OverLimit, Err: err, Message: fmt.Sprintf("the answer has more than %d bytes; ask for fewer traces, or a lower limit", most.Bytes)}
	}
	return nil
}

// coverage is the part of the question's time that the view holds; zero when
// they don't meet.
func (v *view) coverage(q Question) policy.Window {
	out := policy.Window{Start: federation.Earliest, End: federation.Latest}
	if q.timed() {
		out = policy.Window{Start: q.Start, End: q.End}
	}
	if oldest := time.Unix(0, v.oldest).UTC(); v.oldest > math.MinInt64 && oldest.After(out.Start) {
		out.Start = oldest
	}
	if newest := time.Unix(0, v.newest).UTC(); v.newest < math.MaxInt64 && newest.Before(out.End) {
		out.End = newest
	}
	if out.Start.After(out.End) {
		return policy.Window{}
	}
	return out
}

// notices say in words what policy redacts: policy decides, whatever the store
// holds.
func notices(datasets []policy.Dataset) []string {
	var said []string
	for i := range datasets {
		if d := &datasets[i]; d.Release == policy.Row && d.Span.Mode != policy.SpanFull && d.Span.Mode != policy.SpanHidden {
			said = append(said, "policy says: "+redactions(d))
		}
	}
	slices.Sort(said)
	return slices.Compact(said)
}

// redactions say in words what becomes of a dataset's spans.
func redactions(d *policy.Dataset) string {
	if d.Span.Mode == policy.SpanShape {
		return "of some spans only time and kind are shown"
	}
	var said []string
	for _, m := range []policy.Mode{policy.Keep, policy.Pseudonym, policy.Generalize, policy.Drop} {
		var names []string
		for name, rule := range d.Labels {
			if rule.Mode == m {
				names = append(names, name)
			}
		}
		if len(names) > 0 {
			slices.Sort(names)
			said = append(said, m.String()+" "+strings.Join(names, ", "))
		}
	}
	said = append(said, d.Others.Mode.String()+" all else of spans")
	if d.Span.Mode == policy.SpanBoundary {
		said = append(said, "only where requests enter and leave")
	}
	return strings.Join(said, "; ")
}
