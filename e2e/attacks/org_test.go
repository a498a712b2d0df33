package attacks

import (
	_ "embed"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/e2e/servers"
	"github.com/parley-gateway/parley/gateway/identity"
)

// org is an organization with a gateway of its own, a process.
type org struct {
	name string
	dir  string
	ca   *identity.DevCA
	// front and peer are host:port.
	front, peer string
}

//go:embed testdata/globex-acme.rego
var globexAnswersAcme string

func newOrg(t testing.TB, name, front, peer string) *org {
	t.Helper()
	o := &org{name: name, dir: t.TempDir(), front: front, peer: peer}
	var err error
	if o.ca, err = identity.NewDevCA(identity.DevCAConfig{TrustDomain: o.trustDomain()}); err != nil {
		t.Fatal(err)
	}
	if err := o.ca.Save(filepath.Join(o.dir, "ca")); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"agreements", "policies"} {
		if err := os.Mkdir(filepath.Join(o.dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	o.write(t, "pseudonyms.key", strings.Repeat(name, 32))
	return o
}

func (o *org) trustDomain() spiffeid.TrustDomain {
	return spiffeid.RequireTrustDomainFromString(o.name + ".example")
}

func (o *org) gatewayID() spiffeid.ID {
	return spiffeid.RequireFromPath(o.trustDomain(), "/parley")
}

func (o *org) url() string { return "http://" + o.front }

// agrees writes the agreement with a partner: for all purposes, and as much as
// anybody may want to ask.
func (o *org) agrees(t testing.TB, partner *org, policy string) {
	t.Helper()
	agreed := slices.Sorted(maps.Values(purposes))
	for _, s := range secrets {
		agreed = append(agreed, s.unhidden)
	}
	text := fmt.Sprintf(`partner: %[1]s
trust_domain: %[1]s.example
gateway_id: spiffe://%[1]s.example/parley
addresses: ["%[2]s"]
bundle: {file: %[3]q}
signals: [metrics, traces]
purposes: [%[5]s]
not_after: %[4]s
limits: {queries_per_minute: 10_000_000, concurrent: 256}
`, partner.name, partner.peer, filepath.Join(partner.dir, "ca", identity.DevCABundleFile), time.Now().Add(24*time.Hour).UTC().Format(time.RFC3339),
		strings.Join(slices.Compact(slices.Sorted(slices.Values(agreed))), ", "))
	if policy != "" {
		text += "policy: parley.partners." + partner.name + "\n"
		o.write(t, "policies/"+partner.name+".rego", policy)
	}
	o.write(t, "agreements/"+partner.name+".yml", text)
}

func (o *org) write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(o.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// maxSamples is what one evaluation may load, at the owner's gateway and its
// Prometheus alike: little, so that an attack on it is cheap.
const maxSamples = 300_000

// serves runs the gateway over stores, the config's sections.
func (o *org) serves(t testing.TB, stores string) {
	t.Helper()
	o.write(t, "gateway.yml", fmt.Sprintf(`org: %[1]s
trust_domain: %[1]s.example
identity: {development: {dir: ca}}
front: {listen: "%[2]s", default_purpose: slo-review}
peer: {listen: "%[3]s"}
agreements: {dir: agreements}
policy: {dir: policies}
%[4]s
pseudonyms: {key_file: pseudonyms.key}
audit: {dir: audit}
`, o.name, o.front, o.peer, stores))
	servers.Start(t, o.front, "/-/ready", parley(t), "serve", "--config", filepath.Join(o.dir, "gateway.yml"))
}

var buildOnce = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binaryDir, "parley")
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "../../cmd/parley")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building parley: %w\n%s", err, out)
	}
	return path, nil
})

// parley is the path of the binary, built from the tree as it is now.
func parley(t testing.TB) string {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// freeAddresses are n different ones on loopback.
func freeAddresses(t testing.TB, n int) []string {
	t.Helper()
	var out []string
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = listener.Close() }() // nothing was sent
		out = append(out, listener.Addr().String())
	}
	return out
}
