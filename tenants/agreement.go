package tenants

import (
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Agreement is what two organizations settled, as one of them wrote it down:
// what we answer the partner, and where and for what we may ask it. Each side
// keeps its own; a question passes only where both allow it.
//
// The yaml tags are the keys of an agreement's file; see ParseAgreement.
type Agreement struct {
	Partner     OrgID                `yaml:"partner"`
	TrustDomain spiffeid.TrustDomain `yaml:"trust_domain"`
	// GatewayID is the SPIFFE ID of the partner's gateway: the only workload
	// of its trust domain that is answered, and the one we expect when we dial.
	GatewayID spiffeid.ID `yaml:"gateway_id"`
	// Addresses are host:port of the peer doors of the partner's gateway
	// replicas, tried in order. Empty: we answer the partner but never ask it.
	Addresses []string     `yaml:"addresses"`
	Bundle    BundleSource `yaml:"bundle"`
	Signals   []Signal     `yaml:"signals"`
	// Purposes are what may be asked for: these, and every narrower one.
	Purposes []Purpose `yaml:"purposes"`
	// Terms are purposes that the built-in vocabulary doesn't have, each with
	// those that are directly broader.
	Terms map[Purpose][]Purpose `yaml:"terms"`
	// NotBefore and NotAfter bound the agreement's validity: valid at t when
	// NotBefore <= t < NotAfter. A zero NotBefore is "since ever"; NotAfter is
	// never zero: an agreement ends.
	NotBefore time.Time `yaml:"not_before"`
	NotAfter  time.Time `yaml:"not_after"`
	// Policy is the Rego package that decides on the partner's questions,
	// such as parley.partners.globex. Empty: the default package, which denies.
	Policy string `yaml:"policy"`
	Limits Limits `yaml:"limits"`
	// Traces are terms about traces.
	Traces TracesTerms `yaml:"traces"`
	// BreakGlass is for emergencies; nil: none.
	BreakGlass *BreakGlass `yaml:"break_glass"`
	// File is where the agreement was read from, for messages.
	File string `yaml:"-"`
}

// BundleSource is where a partner's trust bundle comes from: a SPIFFE bundle
// endpoint (SPIFFE Trust Domain and Bundle, section 5) or a file in the same
// format. Exactly one of Endpoint and File is set, but that an https_spiffe
// endpoint has a File too: the bundle its first fetch is verified with.
type BundleSource struct {
	Endpoint *url.URL      `yaml:"endpoint"`
	Profile  BundleProfile `yaml:"profile"`
	// EndpointID is the SPIFFE ID that an https_spiffe endpoint presents.
	EndpointID spiffeid.ID `yaml:"endpoint_id"`
	// File is a path to a SPIFFE bundle (JWKS) or a PEM file of root
	// certificates; in the agreement's file, relative to the folder it is in.
	// That it exists is found out when it is read, not with the agreement.
	File string `yaml:"file"`
}

// BundleProfile is how a bundle endpoint authenticates itself.
type BundleProfile string

// The profiles of the SPIFFE specification.
const (
	HTTPSWeb    BundleProfile = "https_web"
	HTTPSSPIFFE BundleProfile = "https_spiffe"
)

// ParseBundleProfile returns s as a BundleProfile.
func ParseBundleProfile(s string) (BundleProfile, error) {
	p := BundleProfile(s)
	if p != HTTPSWeb && p != HTTPSSPIFFE {
		return "", fmt.Errorf("bundle endpoint profile %q: want https_web or https_spiffe", s)
	}
	return p, nil
}

// Covers says whether the agreement, at t, is about the signal and the
// purpose, which it is when it names that or a broader one. The error is a *Refusal with the first reason that applies.
func (a Agreement) Covers(t time.Time, s Signal, p Purpose) error {
	switch {
	case t.Before(a.NotBefore):
		return &Refusal{Reason: NotYetValid, Partner: a.Partner}
	case !t.Before(a.NotAfter):
		return &Refusal{Reason: Expired, Partner: a.Partner}
	case !slices.Contains(a.Signals, s):
		return &Refusal{Reason: SignalNotAgreed, Partner: a.Partner, Detail: string(s)}
	case !slices.ContainsFunc(a.Under(p), func(p Purpose) bool { return slices.Contains(a.Purposes, p) }):
		return &Refusal{Reason: PurposeNotAgreed, Partner: a.Partner, Detail: string(p), Agreed: a.Purposes}
	}
	return nil
}
