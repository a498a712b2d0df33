package rego_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
)

// Without a policy folder the embedded defaults decide.
func Example() {
	policies, err := rego.New(context.Background(), rego.Config{
		Org: "acme",
		Now: time.Now,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	for _, org := range []tenants.OrgID{"acme", "globex"} {
		d, err := policies.Decide(context.Background(), policy.Request{
			Side: policy.Answer, Signal: tenants.Metrics, Kind: policy.Instant, Query: "up",
			Principal: tenants.Principal{Org: org, Purpose: "slo-review"},
			Owner:     "acme",
		})
		fmt.Println(org, d.Allow, d.Reasons, err)
	}
	// Output:
	// acme true [] <nil>
	// globex false [the agreement names no policy, and the default answers nothing] <nil>
}
