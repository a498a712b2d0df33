package e2e

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/parley-gateway/parley/e2e/servers"
)

// org is an organization: servers of its own, and a gateway.
type org struct {
	name string
	dir  string
	// front, peer and bundle are host:port of the gateway's doors.
	front, peer, bundle string
	// identity is the section of that name of the gateway's config.
	identity string

	node       *servers.Server
	shop       *shop
	prometheus *servers.Server
	gateway    *servers.Server
}

// templates are the files of an organization, as its operator writes them.
//
//go:embed testdata/org
var templates embed.FS

// newOrg makes the organization's folder and starts what it scrapes.
func newOrg(t testing.TB, name string) *org {
	t.Helper()
	o := bareOrg(t, name)
	o.node, o.shop = servers.NodeExporter(t), newShop(t, name)
	return o
}

// bareOrg makes the folder of an organization that has nothing to scrape.
func bareOrg(t testing.TB, name string) *org {
	t.Helper()
	o := &org{
		name: name, dir: t.TempDir(),
		front: freeAddress(t), peer: freeAddress(t), bundle: freeAddress(t),
		identity: "development: {dir: ca}",
	}
	for _, folder := range []string{"agreements", "policies", "partners"} {
		if err := os.Mkdir(filepath.Join(o.dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	o.write(t, "pseudonyms.key", strings.Repeat(name, 32))
	o.runs(t, "dev-ca", "--dir", filepath.Join(o.dir, "ca"), "--trust-domain", name+".example")
	return o
}

// certified gives the organization's gateway its identity as files.
func (o *org) certified(t testing.TB) {
	t.Helper()
	o.runs(t, "dev-ca", "--dir", filepath.Join(o.dir, "ca"), "--trust-domain", o.name+".example", "--id", "spiffe://"+o.name+".example/parley")
	o.identity = "files: {cert_file: ca/svid.pem, key_file: ca/svid.key, bundle_file: ca/bundle.json}"
}

// runs runs parley for the organization's operator.
func (o *org) runs(t testing.TB, arguments ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), parley(t), arguments...).CombinedOutput(); err != nil {
		t.Fatalf("parley %s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
}

// scrapes starts the organization's Prometheus, which scrapes itself, the
// machine, the shop and the gateway.
func (o *org) scrapes(t testing.TB) {
	t.Helper()
	o.prometheus = servers.Prometheus(t, servers.PrometheusConfig{
		Config: o.expand(t, "prometheus.yml", map[string]any{"Node": o.node.Address, "Shop": o.shop.address(), "Gateway": o.front}),
		Flags:  []string{"--enable-feature=exemplar-storage"},
	})
}

// agrees writes the organization's side of an agreement, and takes the
// partner's trust bundle as it was handed over.
func (o *org) agrees(t testing.TB, partner *org) {
	t.Helper()
	o.trusts(t, partner)
	// A partner that asks nothing in these tests has no policy, and gets nothing.
	policy, err := templates.ReadFile("testdata/org/" + o.name + "-" + partner.name + ".rego")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err == nil {
		o.write(t, "policies/"+partner.name+".rego", string(policy))
	}
	o.agreesAbout(t, partner, "metrics", err == nil)
}

// agreesAbout writes the agreement itself.
func (o *org) agreesAbout(t testing.TB, partner *org, signal string, hasPolicy bool) {
	t.Helper()
	o.write(t, o.agreement(partner), o.expand(t, "agreement.yml", map[string]any{
		"Partner": partner.name, "Peer": partner.peer, "Bundle": partner.bundle, "HasPolicy": hasPolicy, "Signal": signal,
		"NotAfter": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
	}))
}

// shows writes both sides of an agreement by which a partner is shown the
// organization's data of a signal, and the policy for it.
func (o *org) shows(t testing.TB, partner *org, signal string) {
	t.Helper()
	o.trusts(t, partner)
	partner.trusts(t, o)
	rules, err := templates.ReadFile("testdata/org/" + o.name + "-" + signal + ".rego")
	if err != nil {
		t.Fatal(err)
	}
	o.write(t, "policies/"+partner.name+".rego", string(rules))
	o.agreesAbout(t, partner, signal, true)
	partner.agreesAbout(t, o, signal, false)
}

// trusts takes the partner's trust bundle as it was handed over.
func (o *org) trusts(t testing.TB, partner *org) {
	t.Helper()
	bundle, err := os.ReadFile(filepath.Join(partner.dir, "ca", "bundle.json"))
	if err != nil {
		t.Fatal(err)
	}
	o.write(t, "partners/"+partner.name+".json", string(bundle))
}

// agreement is the file of the agreement with a partner.
func (o *org) agreement(partner *org) string { return "agreements/" + partner.name + ".yml" }

// serves starts the organization's gateway, or starts it again.
func (o *org) serves(t testing.TB) {
	t.Helper()
	o.write(t, "gateway.yml", o.expand(t, "gateway.yml", map[string]any{
		"Org": o.name, "Identity": o.identity, "Front": o.front, "Peer": o.peer, "Bundle": o.bundle, "Prometheus": o.prometheus.URL,
	}))
	o.starts(t)
}

// starts starts the organization's gateway as its folder says, or starts it again.
func (o *org) starts(t testing.TB) {
	t.Helper()
	o.gateway = servers.Start(t, o.front, "/-/ready", parley(t), "serve", "--config", filepath.Join(o.dir, "gateway.yml"))
}

func (o *org) expand(t testing.TB, name string, values map[string]any) string {
	t.Helper()
	parsed, err := template.New(name).Option("missingkey=error").ParseFS(templates, "testdata/org/"+name)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := parsed.Execute(&out, values); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func (o *org) write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(o.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// freeAddress is a loopback address that nobody listens on, and that no
// connection will have when a gateway that was killed comes back to it: the
// port is below those that systems give to connections.
func freeAddress(t testing.TB) string {
	t.Helper()
	for {
		address := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		listener, err := net.Listen("tcp", address)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		return address
	}
}
