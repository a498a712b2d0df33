package tenants

import (
	"net/url"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Agreement is what two organizations settled, as one of them wrote it down:
// what we answer the partner, and where and for what we may ask it. Each side
// keeps its own; a question passes only where both allow it.
type Agreement struct {
	Partner     OrgID
	TrustDomain spiffeid.TrustDomain
	// GatewayID is the SPIFFE ID of the partner's gateway: the only workload
	// of its trust domain that is answered, and the one we expect when we dial.
	GatewayID spiffeid.ID
	// Addresses are host:port of the peer doors of the partner's gateway
	// replicas, tried in order. Empty: we answer the partner but never ask it.
	Addresses []string
	Bundle    BundleSource
	Signals   []Signal
	Purposes  []Purpose
	// NotBefore and NotAfter bound the agreement's validity: valid at t when
	// NotBefore <= t < NotAfter. A zero NotBefore is "since ever"; NotAfter is
	// never zero: an agreement ends.
	NotBefore, NotAfter time.Time
	// Policy is the Rego package that decides on the partner's questions,
	// such as parley.partners.globex. Empty: the default package, which denies.
	Policy string
	Limits Limits
	// File is where the agreement was read from, for messages.
	File string
}

// BundleSource is where a partner's trust bundle comes from: a SPIFFE bundle
// endpoint (SPIFFE Trust Domain and Bundle, section 5) or a file in the same
// format. Exactly one of Endpoint and File is set.
type BundleSource struct {
	Endpoint *url.URL
	Profile  BundleProfile
	// EndpointID is the SPIFFE ID that an https_spiffe endpoint presents.
	EndpointID spiffeid.ID
	// File is a path to a SPIFFE bundle (JWKS) or a PEM file of root certificates.
	File string
}

// BundleProfile is how a bundle endpoint authenticates itself.
type BundleProfile string

// The profiles of the SPIFFE specification.
const (
	HTTPSWeb    BundleProfile = "https_web"
	HTTPSSPIFFE BundleProfile = "https_spiffe"
)

// Limits bound what one partner may take. A zero field is the default of
// DefaultLimits, never "unlimited".
type Limits struct {
	// Concurrent questions under way at once.
	Concurrent int
	// QueriesPerMinute is a token bucket with a burst of the same size.
	QueriesPerMinute int
	// Series in one answer.
	Series int
	// Samples in one answer; a native histogram counts as one.
	Samples int
	// Range of time one question may span, ranges, offsets and subqueries included.
	Range time.Duration
}

// DefaultLimits are those of an agreement that states none.
var DefaultLimits = Limits{
	Concurrent:       8,
	QueriesPerMinute: 600,
	Series:           50_000,
	Samples:          10_000_000,
	Range:            31 * 24 * time.Hour,
}

// OrDefault returns l with the zero fields filled from DefaultLimits.
func (l Limits) OrDefault() Limits { return l.fill(DefaultLimits) }

func (l Limits) fill(d Limits) Limits {
	if l.Concurrent == 0 {
		l.Concurrent = d.Concurrent
	}
	if l.QueriesPerMinute == 0 {
		l.QueriesPerMinute = d.QueriesPerMinute
	}
	if l.Series == 0 {
		l.Series = d.Series
	}
	if l.Samples == 0 {
		l.Samples = d.Samples
	}
	if l.Range == 0 {
		l.Range = d.Range
	}
	return l
}

// Tighten returns, field by field, the smaller of l and o, where zero in
// either means that it has no say.
func (l Limits) Tighten(o Limits) Limits {
	return Limits{
		Concurrent:       tighter(l.Concurrent, o.Concurrent),
		QueriesPerMinute: tighter(l.QueriesPerMinute, o.QueriesPerMinute),
		Series:           tighter(l.Series, o.Series),
		Samples:          tighter(l.Samples, o.Samples),
		Range:            tighter(l.Range, o.Range),
	}
}

func tighter[T int | time.Duration](a, b T) T {
	if a == 0 {
		return b
	}
	if b == 0 {
		return a
	}
	return min(a, b)
}

// Covers says whether the agreement, at t, is about the signal and the
// purpose. The error is a *Refusal with the first reason that applies.
func (a Agreement) Covers(t time.Time, s Signal, p Purpose) error {
	switch {
	case t.Before(a.NotBefore):
		return &Refusal{Reason: NotYetValid, Partner: a.Partner}
	case !t.Before(a.NotAfter):
		return &Refusal{Reason: Expired, Partner: a.Partner}
	case !slices.Contains(a.Signals, s):
		return &Refusal{Reason: SignalNotAgreed, Partner: a.Partner, Detail: string(s)}
	case !slices.Contains(a.Purposes, p):
		return &Refusal{Reason: PurposeNotAgreed, Partner: a.Partner, Detail: string(p)}
	}
	return nil
}

// Reason is why a question was refused before policy was asked. It is for our
// own log and audit; what the partner sees is a federation error kind.
type Reason string

// The reasons. Each has its own so that an operator knows what to do.
const (
	UnknownTrustDomain Reason = "unknown-trust-domain"
	WrongWorkload      Reason = "wrong-workload" // right trust domain, not the gateway's SPIFFE ID
	NotYetValid        Reason = "agreement-not-yet-valid"
	Expired            Reason = "agreement-expired"
	SignalNotAgreed    Reason = "signal-not-agreed"
	PurposeNotAgreed   Reason = "purpose-not-agreed"
	OverConcurrency    Reason = "over-concurrency"
	OverRate           Reason = "over-rate"
	OverSeries         Reason = "over-series"
	OverSamples        Reason = "over-samples"
	OverRange          Reason = "over-range"
)

// Refusal is the error of a question that the agreement does not allow.
type Refusal struct {
	Reason  Reason
	Partner OrgID
	// Detail is what was asked for, such as the purpose; never data.
	Detail string
}

func (r *Refusal) Error() string {
	msg := "refused: " + string(r.Reason)
	if r.Partner != "" {
		msg += " (partner " + string(r.Partner) + ")"
	}
	if r.Detail != "" {
		msg += ": " + r.Detail
	}
	return msg
}
