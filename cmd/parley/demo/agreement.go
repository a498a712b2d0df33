package demo

import (
	_ "embed"
	"fmt"
	"io"
	"text/template"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/tenants"
)

// TrustDomain is a company's trust domain, such as acme.example.
func TrustDomain(org tenants.OrgID) spiffeid.TrustDomain {
	return spiffeid.RequireTrustDomainFromString(string(org) + ".example")
}

// GatewayID is the SPIFFE ID of a company's gateway, such as
// spiffe://acme.example/parley.
func GatewayID(org tenants.OrgID) spiffeid.ID {
	return spiffeid.RequireFromPath(TrustDomain(org), "/parley")
}

// Agreement is what one company agreed with another.
type Agreement struct {
	Owner, Partner tenants.OrgID
	// Addresses are host:port of the partner's peer doors.
	Addresses []string
	// BundleAddress is host:port of the partner's bundle endpoint, which shows
	// the SVID of the partner's gateway.
	BundleAddress string
	// BundleFile is the partner's trust bundle as a file, as in
	// tenants.BundleSource; empty is none.
	BundleFile string
}

// validity is for how long a demo's agreement is settled.
const validity = 365 * 24 * time.Hour

//go:embed agreement.yml.tmpl
var agreementText string

// Write writes the agreement as tenants.ParseAgreement reads it, valid for a
// year from now.
func (a Agreement) Write(w io.Writer, now time.Time) error {
	t, err := template.New("agreement").Parse(agreementText)
	if err != nil {
		return fmt.Errorf("read the template of agreements: %w", err)
	}
	err = t.Execute(w, struct {
		Agreement
		TrustDomain spiffeid.TrustDomain
		GatewayID   spiffeid.ID
		NotAfter    string
	}{a, TrustDomain(a.Partner), GatewayID(a.Partner), now.Add(validity).UTC().Format(time.RFC3339)})
	if err != nil {
		return fmt.Errorf("write the agreement of %s with %s: %w", a.Owner, a.Partner, err)
	}
	return nil
}
