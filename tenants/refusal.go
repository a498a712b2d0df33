package tenants

import "strings"

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

	BreakGlassNotAgreed   Reason = "break-glass-not-agreed"
	BreakGlassWithoutCase Reason = "break-glass-without-case"
	BreakGlassUnproven    Reason = "break-glass-person-not-proven"
	BreakGlassEnded       Reason = "break-glass-ended" // there was a grant for the case and the person; there is no other
	BreakGlassTooMany     Reason = "break-glass-too-many-grants"

	OverConcurrency Reason = "over-concurrency"
	OverRate        Reason = "over-rate"
	OverSeries      Reason = "over-series"
	OverSamples     Reason = "over-samples"
	OverBytes       Reason = "over-bytes"
	OverRange       Reason = "over-range"
)

// IsLimit says whether a limit of the agreement was met: what the partner
// asked for is agreed, only not so much or so often.
func (r Reason) IsLimit() bool {
	switch r {
	case OverConcurrency, OverRate, OverSeries, OverSamples, OverBytes, OverRange:
		return true
	default:
		return false
	}
}

// Refusal is the error of a question that the agreement does not allow.
type Refusal struct {
	Reason  Reason
	Partner OrgID
	// Detail is what was asked for, such as the purpose; never data.
	Detail string
	// Agreed are the purposes that are, where that of a question isn't.
	Agreed []Purpose
}

func (r *Refusal) Error() string {
	msg := "refused: " + string(r.Reason)
	if r.Partner != "" {
		msg += " (partner " + string(r.Partner) + ")"
	}
	if r.Detail != "" {
		msg += ": " + r.Detail
	}
	if len(r.Agreed) > 0 {
		msg += "; agreed for " + r.AgreedText()
	}
	return msg
}

// AgreedText are the purposes that are agreed, in words.
func (r *Refusal) AgreedText() string {
	names := make([]string, len(r.Agreed))
	for i, p := range r.Agreed {
		names[i] = string(p)
	}
	return strings.Join(names, ", ")
}
