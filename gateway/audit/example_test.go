package audit_test

import (
	"context"
	"fmt"
	"os"

	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/audit"
	"github.com/parley-gateway/parley/tenants"
)

func Example() {
	dir, err := os.MkdirTemp("", "audit")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }() // of an example

	log, err := audit.Open(audit.Config{Dir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = log.Record(context.Background(), gateway.Exchange{
		ID:        "6f1c2a58",
		Door:      gateway.PeerDoor,
		Org:       "acme",
		Principal: tenants.Principal{Org: "globex", Purpose: "incident-response"},
		Signal:    tenants.Metrics,
		Query:     "sum by (region) (up)",
		Outcome:   gateway.Answered,
		Series:    3,
	})
	fmt.Println("durable:", err == nil)
	fmt.Println("closed:", log.Close() == nil)

	for record, err := range audit.Read(os.DirFS(dir)) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(record.Principal.Org, "asked", record.Query, "for", record.Principal.Purpose, "and got", record.Series, "series")
	}
	// Output:
	// durable: true
	// closed: true
	// globex asked sum by (region) (up) for incident-response and got 3 series
}
