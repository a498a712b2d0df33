package gatewaytest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/parley-gateway/parley/gateway/identity"
	"github.com/parley-gateway/parley/tenants"
)

// Agreement is what an agreement file says, as a story may change it.
type Agreement struct {
	Addresses []string
	Purposes  []string
	NotAfter  time.Time
	Limits    string // YAML of the key limits
	Terms     string // YAML of the key terms
	// BreakGlass is YAML of the key break_glass; "" leaves it out.
	BreakGlass string
}

// Agrees writes the organization's agreement with a partner; change may alter
// it before.
func (o *Org) Agrees(partner tenants.OrgID, change func(*Agreement)) {
	o.world.t.Helper()
	p := o.world.Org(partner)
	a := Agreement{
		Addresses: []string{p.peerAt}, Purposes: []string{"slo-review", "incident-response"},
		NotAfter: time.Now().Add(24 * time.Hour), Limits: "{}", Terms: "{}",
	}
	if change != nil {
		change(&a)
	}
	if _, err := os.Stat(o.policyFile(partner)); err != nil {
		o.Releases(partner, `{"allow": false, "reasons": ["nothing is released yet"]}`)
	}
	if a.BreakGlass != "" {
		a.BreakGlass = "break_glass: " + a.BreakGlass + "\n"
	}
	o.write(agreementFile(partner), fmt.Sprintf(`partner: %s
trust_domain: %s
gateway_id: %s
addresses: [%s]
bundle: {file: %q}
signals: [metrics, logs, traces]
traces: {restarts: true}
purposes: [%s]
not_after: %s
policy: parley.partners.%s
limits: %s
terms: %s
%s`, partner, p.TrustDomain().Name(), p.GatewayID(), strings.Join(a.Addresses, ", "), filepath.Join(p.Dir, "ca", identity.DevCABundleFile),
		strings.Join(a.Purposes, ", "), a.NotAfter.UTC().Format(time.RFC3339), partner, a.Limits, a.Terms, a.BreakGlass))
}

// Scribbles makes the agreement's file one that can't be read.
func (o *Org) Scribbles(partner tenants.OrgID) {
	o.world.t.Helper()
	o.write(agreementFile(partner), "partner: [")
}

// Revokes removes the agreement with a partner.
func (o *Org) Revokes(partner tenants.OrgID) {
	o.world.t.Helper()
	if err := os.Remove(filepath.Join(o.Dir, agreementFile(partner))); err != nil {
		o.world.t.Fatal(err)
	}
}

func agreementFile(partner tenants.OrgID) string {
	return filepath.Join("agreements", string(partner)+".yml")
}

func (o *Org) policyFile(partner tenants.OrgID) string {
	return filepath.Join(o.Dir, "policies", string(partner)+".rego")
}

// Releases writes the policy for a partner: one decision for every question.
func (o *Org) Releases(partner tenants.OrgID, decision string) {
	o.world.t.Helper()
	o.Decides(partner, "decision := "+decision)
}

// Decides writes the policy for a partner: the rules of its package.
func (o *Org) Decides(partner tenants.OrgID, rules string) {
	o.world.t.Helper()
	o.Policy(string(partner)+".rego", fmt.Sprintf("package parley.partners.%s\n\n%s\n", partner, rules))
}

// Policy writes a file of the policy folder.
func (o *Org) Policy(name, rego string) {
	o.world.t.Helper()
	o.write(filepath.Join("policies", name), rego)
}

// write replaces a file at once, as a careful operator would.
func (o *Org) write(name, text string) {
	o.world.t.Helper()
	path := filepath.Join(o.Dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		o.world.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		o.world.t.Fatal(err)
	}
}
