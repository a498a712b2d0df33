package identity_test

import (
	"context"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/gateway/identity"
)

// A gateway with a development CA, and a workload of the same organization
// that it recognizes.
func Example() {
	acme := spiffeid.RequireTrustDomainFromString("acme.example")
	ca, err := identity.NewDevCA(identity.DevCAConfig{TrustDomain: acme})
	if err != nil {
		fmt.Println(err)
		return
	}
	source, err := ca.Source(identity.DevSourceConfig{ID: spiffeid.RequireFromPath(acme, "/parley"), TTL: time.Hour})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = source.Close() }()
	bundles, err := identity.NewBundles(identity.BundlesConfig{TrustDomain: acme, Own: source})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = bundles.Close() }()

	server := identity.ServerTLS(source, bundles, time.Now) // for a listener
	fmt.Println("tickets disabled:", server.SessionTicketsDisabled)

	// On every request, of its connection's state:
	svid, err := ca.Issue(spiffeid.RequireFromPath(acme, "/billing"), time.Hour)
	if err != nil {
		fmt.Println(err)
		return
	}
	id, err := identity.NewVerifier(bundles, time.Now).Verify(context.Background(), state(svid.Certificates))
	fmt.Println(id, err)

	// Output:
	// tickets disabled: true
	// spiffe://acme.example/billing <nil>
}
