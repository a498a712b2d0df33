package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/alecthomas/kong"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/gateway/identity"
)

type devCACommand struct {
	Dir         string        `required:"" placeholder:"DIR" type:"path" help:"The CA's folder; made when it isn't there."`
	TrustDomain string        `required:"" placeholder:"NAME" help:"The trust domain, such as acme.example."`
	ID          string        `placeholder:"SPIFFE-ID" help:"Issue an X.509-SVID for this ID, such as spiffe://acme.example/parley."`
	TTL         time.Duration `default:"24h" help:"How long the SVID is valid (${default})."`
}

// Help is shown by parley dev-ca --help.
func (*devCACommand) Help() string {
	return `Example:

  parley dev-ca --dir ca --trust-domain acme.example \
    --id spiffe://acme.example/parley

The folder then holds the CA (ca.pem, ca.key), the trust bundle to hand to
partners (bundle.json), and the SVID (svid.pem, svid.key). A development CA
is for trying things out: for production use SPIRE.`
}

// Run makes what is missing and says what is there.
func (c *devCACommand) Run(k *kong.Kong) error {
	td, err := spiffeid.TrustDomainFromString(c.TrustDomain)
	if err != nil {
		return usage("--trust-domain %s: %w", c.TrustDomain, err)
	}
	// What can't be issued is found out before anything is made.
	id, err := c.id(td)
	if err != nil {
		return err
	}
	ca, err := identity.OpenDevCA(c.Dir, identity.DevCAConfig{TrustDomain: td})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(k.Stdout, "CA of %s in %s; hand %s to partners\n", td, c.Dir, filepath.Join(c.Dir, identity.DevCABundleFile)); err != nil {
		return err
	}
	if id.IsZero() {
		return nil
	}
	svid, err := ca.Issue(id, c.TTL)
	if err != nil {
		return err
	}
	cert, key := filepath.Join(c.Dir, "svid.pem"), filepath.Join(c.Dir, "svid.key")
	if err := identity.SaveSVID(svid, cert, key); err != nil {
		return err
	}
	_, err = fmt.Fprintf(k.Stdout, "SVID of %s in %s and %s, valid until %s\n", id, cert, key, svid.Certificates[0].NotAfter.Format(time.RFC3339))
	return err
}

// id is the one to issue an SVID for; zero is none.
func (c *devCACommand) id(td spiffeid.TrustDomain) (spiffeid.ID, error) {
	if c.ID == "" {
		return spiffeid.ID{}, nil
	}
	id, err := spiffeid.FromString(c.ID)
	switch {
	case err != nil:
		return id, usage("--id %s: %w; want one such as spiffe://%s/parley", c.ID, err, td)
	case !id.MemberOf(td) || id.Path() == "":
		return id, usage("--id %s: the CA of %s issues IDs such as spiffe://%s/parley", c.ID, td, td)
	case c.TTL <= 0:
		return id, usage("--ttl %s: an SVID has to be valid for some time, such as 24h", c.TTL)
	}
	return id, nil
}
