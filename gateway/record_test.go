package gateway

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/tenants"
)

// evidence is an Auditor and a Meter that keep what they get.
type evidence struct {
	recorded, observed []Exchange
	deadlines          []time.Duration
	err                error
}

func (e *evidence) Record(ctx context.Context, x Exchange) error {
	e.recorded = append(e.recorded, x)
	deadline, _ := ctx.Deadline()
	e.deadlines = append(e.deadlines, time.Until(deadline))
	return errors.Join(e.err, ctx.Err())
}

func (e *evidence) Observe(x Exchange) { e.observed = append(e.observed, x) }

func recorder(e *evidence) *Gateway {
	return &Gateway{
		config: Config{Auditor: e, Meter: e, Log: slog.New(slog.DiscardHandler), Now: time.Now},
		tracer: noop.NewTracerProvider().Tracer(""),
	}
}

// An asker that has left is recorded all the same, and a disk that stalls is
// not waited for for ever.
func TestRecordHasItsOwnTime(t *testing.T) {
	left, leave := context.WithCancel(t.Context())
	leave()
	e := &evidence{}
	if err := recorder(e).record(left, &Exchange{}); err != nil {
		t.Error(err)
	}
	if d := e.deadlines[0]; d <= 0 || d > recordTimeout {
		t.Errorf("the record may take %s, want at most %s", d, recordTimeout)
	}
}

func TestNothingIsDisclosedWithoutEvidence(t *testing.T) {
	e := &evidence{err: errors.New("no space left on device")}
	answer := &Answer{gateway: recorder(e), released: metrics.Received(nil, nil, nil, nil), exchange: Exchange{Series: 3, Samples: 30}}
	err := answer.Disclose(t.Context(), func(federation.Released, federation.Completeness) (int, error) { return 300, nil })
	if federation.AsError(err).Kind != federation.Unavailable {
		t.Errorf("got %v", err)
	}
	if x := e.observed[0]; x.Outcome != Failed || x.Series != 0 || x.Samples != 0 || x.Bytes != 0 {
		t.Errorf("counted %+v", x)
	}
}

// What a partner is told of a refusal, whatever its reason, is one of two
// things; the reason is in the record.
func TestRefusalsAreToldAlike(t *testing.T) {
	for reason, want := range map[tenants.Reason]federation.Kind{
		tenants.UnknownTrustDomain: federation.Refused, tenants.WrongWorkload: federation.Refused,
		tenants.NotYetValid: federation.Refused, tenants.Expired: federation.Refused,
		tenants.SignalNotAgreed: federation.Refused, tenants.PurposeNotAgreed: federation.Refused,
		tenants.OverConcurrency: federation.OverLimit, tenants.OverRate: federation.OverLimit, tenants.OverRange: federation.OverLimit,
		tenants.OverSeries: federation.OverLimit, tenants.OverSamples: federation.OverLimit, tenants.OverBytes: federation.OverLimit,
	} {
		e := &evidence{}
		told := federation.AsError(recorder(e).fail(t.Context(), &Exchange{}, &tenants.Refusal{Reason: reason, Partner: "globex", Detail: "the detail"}))
		if told.Kind != want || want == federation.Refused && told.Message != federation.NotAllowed || want == federation.OverLimit && told.Message != "the detail" {
			t.Errorf("%s: told %s, %q", reason, told.Kind, told.Message)
		}
		if x := e.recorded[0]; x.Outcome != Refused || x.ErrorKind != want || x.Reason == told.Message {
			t.Errorf("%s: recorded %s, %s, %q", reason, x.Outcome, x.ErrorKind, x.Reason)
		}
	}
}

// Evidence of what was turned away may be bounded, so that nothing else may
// pass for it: a failure is none, nor is what policy refused.
func TestTurnedAway(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"agreement": {&tenants.Refusal{Reason: tenants.OverRate}, "over-rate"},
		"door":      {&federation.Error{Kind: federation.Refused, Err: &tenants.Refusal{Reason: tenants.WrongWorkload}}, "wrong-workload"},
		"no SVID":   {&federation.Error{Kind: federation.Refused, Err: errors.New("expired")}, "refused"},
		"malformed": {federation.Errorf(federation.BadQuestion, "what?"), "bad-question"},
		"a defect":  {errors.New("panic"), ""},
		"the disk":  {federation.Errorf(federation.Unavailable, "full"), ""},
	} {
		e := &evidence{}
		_ = recorder(e).Refuse(t.Context(), Question{}, c.err)
		_ = recorder(e).fail(t.Context(), &Exchange{}, c.err)
		if got := e.recorded[0].TurnedAway; got != c.want {
			t.Errorf("%s: turned away for %q, want %q", name, got, c.want)
		}
		if got := e.recorded[1].TurnedAway; got != "" {
			t.Errorf("%s, after policy: turned away for %q", name, got)
		}
	}
}
