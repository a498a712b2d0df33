package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/tenants"
)

// turnAway is fail for a question of which neither policy nor data knows.
func (g *Gateway) turnAway(ctx context.Context, x *Exchange, err error) error {
	var refusal *tenants.Refusal
	switch kind := asTold(err).Kind; {
	case errors.As(err, &refusal):
		x.TurnedAway = string(refusal.Reason)
	case outcomeOf(kind) == Refused:
		x.TurnedAway = string(kind)
	}
	return g.fail(ctx, x, err)
}

// fail closes the record of an exchange without an answer and returns what the
// asker is told.
func (g *Gateway) fail(ctx context.Context, x *Exchange, err error) error {
	told := asTold(err)
	x.Series, x.Samples, x.Lines, x.Spans, x.Bytes, x.Redactions = 0, 0, 0, 0, 0, nil
	x.ErrorKind, x.Reason = told.Kind, told.Error()
	x.Outcome = outcomeOf(told.Kind)
	if told.Kind == federation.Internal {
		g.config.Log.ErrorContext(ctx, "question failed", "exchange", x.ID, "error", err)
	}
	if err := g.record(ctx, x); err != nil {
		return err
	}
	return told
}

// outcomeOf is how a question ends with an error of a kind.
func outcomeOf(k federation.Kind) Outcome {
	switch k {
	case federation.Refused, federation.OverLimit, federation.NeedsAggregation, federation.BadQuestion:
		return Refused
	case federation.Unavailable, federation.DeadlineExceeded, federation.Internal:
	}
	return Failed
}

// asTold gives an error the kind and the words that may leave.
func asTold(err error) *federation.Error {
	var known *federation.Error
	if errors.As(err, &known) {
		return known
	}
	var refusal *tenants.Refusal
	if !errors.As(err, &refusal) {
		return federation.AsError(err)
	}
	if refusal.Reason.IsLimit() {
		return &federation.Error{Kind: federation.OverLimit, Message: refusal.Detail, Err: refusal}
	}
	return &federation.Error{Kind: federation.Refused, Message: federation.NotAllowed, Err: refusal}
}

// recordTimeout is how long a record may take to become durable. A disk that
// stalls must not gather questions, each with its answer, for ever.
const recordTimeout = 10 * time.Second

// record makes the record of an exchange durable. An asker who has gone away
// doesn't keep it from being written.
func (g *Gateway) record(ctx context.Context, x *Exchange) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	ctx, span := g.tracer.Start(ctx, "parley.record")
	defer span.End()
	x.Latency = g.config.Now().Sub(x.Start)
	err := g.config.Auditor.Record(ctx, *x)
	if err != nil {
		x.Outcome, x.ErrorKind = Failed, federation.Unavailable
		x.Series, x.Samples, x.Lines, x.Spans, x.Bytes, x.Redactions = 0, 0, 0, 0, 0, nil
		g.config.Log.ErrorContext(ctx, "an exchange can't be recorded, so nothing of it leaves", "exchange", x.ID, "error", err)
	}
	g.config.Meter.Observe(*x)
	if err != nil {
		return &federation.Error{Kind: federation.Unavailable, Message: "evidence of the exchange can't be recorded now, so it is not answered", Err: err}
	}
	return nil
}
