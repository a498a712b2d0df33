// Package tenants answers "who": which organizations there are, who asks on
// whose behalf and why, and what was agreed with each partner.
//
// Values here are parsed once, at the edge, and can't be malformed after that:
//
//	org, err := tenants.ParseOrgID("globex")
//	purpose, err := tenants.ParsePurpose("incident-response")
//
// A Directory holds the agreements, read from a folder and re-read when it
// changes; a Quota counts what partners take. Of the project the package
// imports only tenants/yamlstrict, the reader of files people write.
package tenants

import (
	"fmt"
	"slices"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// OrgID is an organization's short name: the value of the label `org` on
// everything its gateway serves. It has the form of a DNS label (RFC 1123):
// lower-case letters, digits and hyphens, 1 to 63 of them, no hyphen at
// either end. The zero OrgID names nobody.
type OrgID string

// ParseOrgID returns s as an OrgID, or an error that says what a name looks like.
func ParseOrgID(s string) (OrgID, error) {
	if err := checkName(s); err != nil {
		return "", fmt.Errorf("organization %q: %w", s, err)
	}
	return OrgID(s), nil
}

func (o OrgID) String() string { return string(o) }

// ParseTrustDomain returns s as a trust domain. Unlike spiffeid's own parser
// it takes only the bare name, never a SPIFFE ID to cut the name from.
func ParseTrustDomain(s string) (spiffeid.TrustDomain, error) {
	td, err := spiffeid.TrustDomainFromString(s)
	if err != nil || td.Name() != s {
		return spiffeid.TrustDomain{}, fmt.Errorf("trust domain %q: want a bare name in lower case, such as globex.example", s)
	}
	return td, nil
}

// ParseSPIFFEID returns s as the SPIFFE ID of a workload.
func ParseSPIFFEID(s string) (spiffeid.ID, error) {
	id, err := spiffeid.FromString(s)
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("SPIFFE ID %q: %w; want one such as spiffe://globex.example/parley", s, err)
	}
	if id.Path() == "" {
		return spiffeid.ID{}, fmt.Errorf("SPIFFE ID %q: names a trust domain and no workload in it; want one such as spiffe://globex.example/parley", s)
	}
	return id, nil
}

// Signal is a kind of telemetry.
type Signal string

// The signals, as they are spelled in agreements, policies, audit and metrics.
const (
	Metrics Signal = "metrics"
	Logs    Signal = "logs"
	Traces  Signal = "traces"
)

// ParseSignal returns s as a Signal.
func ParseSignal(s string) (Signal, error) {
	sig := Signal(s)
	if !slices.Contains([]Signal{Metrics, Logs, Traces}, sig) {
		return "", fmt.Errorf("signal %q: want metrics, logs or traces", s)
	}
	return sig, nil
}

// Purpose is why a question is asked: a term that both sides' agreements cover,
// such as incident-response. It has the form of a DNS label.
type Purpose string

// ParsePurpose returns s as a Purpose.
func ParsePurpose(s string) (Purpose, error) {
	if err := checkName(s); err != nil {
		return "", fmt.Errorf("purpose %q: %w", s, err)
	}
	return Purpose(s), nil
}

// CaseID names the incident, ticket or audit a question belongs to: 1 to 128
// printable ASCII characters without spaces. The zero CaseID is "none".
type CaseID string

// ParseCaseID returns s as a CaseID; the empty string is no case.
func ParseCaseID(s string) (CaseID, error) {
	if len(s) > maxCaseID {
		return "", fmt.Errorf("case id: %d characters, at most %d are accepted", len(s), maxCaseID)
	}
	for _, r := range s {
		if r <= ' ' || r > '~' {
			return "", fmt.Errorf("case id %q: only printable ASCII without spaces is accepted", s)
		}
	}
	return CaseID(s), nil
}

const maxCaseID = 128

// User is the person or account a question is asked for, as the asking
// organization states it. The zero User is "nobody stated".
type User struct {
	// Subject is the identifier, at most 256 characters.
	Subject string
	// Proof is how the asking organization knows.
	Proof UserProof
}

// Proven says whether it was established by more than another's word.
func (u User) Proven() bool {
	return u.Subject != "" && (u.Proof == ProvenBySVID || u.Proof == ProvenByJWT)
}

// UserProof says how a user was established.
type UserProof string

// The proofs, strongest first.
const (
	ProvenBySVID  UserProof = "svid"  // an mTLS client certificate of the user's workload
	ProvenByJWT   UserProof = "jwt"   // a bearer token verified against a JWKS
	StatedByProxy UserProof = "proxy" // a header from a configured trusted proxy
)

// Principal is who asks. Its zero value is nobody and is refused everywhere.
type Principal struct {
	// Org is the asking organization.
	Org OrgID
	// Workload is the SPIFFE ID of the workload at the other end of the
	// connection; zero for our own users on the loopback listener.
	Workload spiffeid.ID
	User     User
	Purpose  Purpose
	Case     CaseID
	// BreakGlass is why this is an emergency; see Agreement.Emergency.
	BreakGlass EmergencyReason
}

func checkName(s string) error {
	const what = "want 1 to 63 lower-case letters, digits and hyphens, no hyphen at either end"
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return fmt.Errorf("%s", what)
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return fmt.Errorf("%s", what)
		}
	}
	return nil
}
