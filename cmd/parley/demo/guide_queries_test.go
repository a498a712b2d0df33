package demo_test

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"

	"github.com/parley-gateway/parley/cmd/parley/demo"
	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

var queryLine = regexp.MustCompile(`(?m)^  parley query (?:--purpose (\S+) )?'?(.+?)'?$`)

// acmeAsks are the three companies as acme's gateway has them, each behind the
// policy it has for acme.
func acmeAsks(t *testing.T) func(purpose tenants.Purpose, expr string) (promql.Matrix, federation.Completeness, error) {
	t.Helper()
	type owner struct {
		local  *metrics.Local
		decide func(context.Context, policy.Request) (policy.Decision, error)
		policy string
	}
	owners := map[tenants.OrgID]owner{}
	for _, c := range demo.Companies() {
		agreements := agreementsOf(t, c.Org, until)
		o := owner{local: filled(t, c.Org), decide: policiesOf(t, c.Org, agreements).Decide}
		for _, a := range agreements {
			if a.Partner == "acme" {
				o.policy = a.Policy
			}
		}
		owners[c.Org] = o
	}
	federated := metrics.NewFederated(0, 0, func() time.Time { return until })
	return func(purpose tenants.Purpose, expr string) (promql.Matrix, federation.Completeness, error) {
		var members []metrics.Member
		for org, o := range owners {
			members = append(members, metrics.Member{Org: org, Own: org == "acme", Ask: func(ctx context.Context, q metrics.Question) (*metrics.Released, federation.Part, error) {
				r, err := q.Request()
				if err != nil {
					return nil, federation.Part{}, err
				}
				r.Side, r.Owner, r.Package = policy.Answer, org, o.policy
				r.Principal = tenants.Principal{Org: "acme", Purpose: purpose}
				d, err := o.decide(ctx, r)
				if err != nil {
					return nil, federation.Part{}, err
				}
				return o.local.Answer(ctx, q, d, metrics.Asking{Org: "acme", ExchangeID: "019b2f3e-8a00-7c54-9d31-5f0e6c8a4b17"})
			}})
		}
		released, parts, err := federated.Answer(t.Context(), metrics.Question{Kind: policy.Instant, Expression: expr, Start: until, End: until}, members)
		if err != nil {
			return nil, parts, err
		}
		m, err := released.Matrix()
		return m, parts, err
	}
}

// What the guide says of its questions is so.
func TestGuideKeepsItsWord(t *testing.T) {
	var guide bytes.Buffer
	if err := demo.Guide(&guide, "parley", map[tenants.OrgID]string{"acme": "http://127.0.0.1:9480"}, ""); err != nil {
		t.Fatal(err)
	}
	asked := queryLine.FindAllStringSubmatch(guide.String(), -1)
	if len(asked) != 5 {
		t.Fatalf("the guide asks %q, want five questions", asked)
	}
	acme := acmeAsks(t)
	ask := func(i int) (promql.Matrix, federation.Completeness, error) {
		purpose := tenants.Purpose(asked[i][1])
		if purpose == "" {
			purpose = "slo-review"
		}
		return acme(purpose, asked[i][2])
	}
	answer := func(i int) promql.Matrix {
		m, parts, err := ask(i)
		if err != nil || !parts.Whole() {
			t.Fatalf("%s: %v, %v", asked[i][2], err, parts)
		}
		t.Logf("%s\n%v", asked[i][2], m)
		return m
	}

	if m := answer(0); len(m) != 9 {
		t.Errorf("want three companies in three regions, got %v", m)
	}
	if m := answer(1); len(m) != 1 || m[0].Metric.Has("user") {
		t.Errorf("want one group without a user, got %v", m)
	}
	_, _, err := acme("slo-review", `http_requests_total{org="globex"}`)
	var refused *federation.Error
	if !errors.As(err, &refused) || refused.Kind != federation.NeedsAggregation || !strings.Contains(err.Error(), "sum by") {
		t.Errorf("want a refusal that says how to ask, got %v", err)
	}
	own, pseudonyms := 0, 0
	for _, s := range answer(2) {
		switch user := s.Metric.Get("user"); {
		case strings.HasPrefix(user, "p-"):
			pseudonyms++
		case strings.Contains(user, "@") && !strings.HasSuffix(user, "globex.example"):
			own++
		}
	}
	if own == 0 || pseudonyms == 0 || own+pseudonyms != 8 {
		t.Errorf("%d of acme's own users and %d pseudonyms, want eight and some of both", own, pseudonyms)
	}
	workflows := map[string]bool{}
	for _, s := range answer(3) {
		workflows[s.Metric.Get("workflow")] = true
	}
	if !workflows["contract-review"] || len(workflows) != 6 {
		t.Errorf("want all companies' workflows, initech's contract-review among them, got %v", workflows)
	}
	if m, _, err := acme("incident-response", `sum by (region) (human_response_seconds_sum{org="initech"})`); err != nil || len(m) != 1 || m[0].Metric.Len() != 0 {
		t.Errorf("of initech's people want one sum without a region, got %v, %v", m, err)
	}
	if m, _, err := acme("incident-response", `human_response_seconds_sum{org="initech"}`); err == nil {
		t.Errorf("of initech's people no series are to leave, got %v", m)
	}
	m, parts, err := ask(4)
	if err != nil || parts.Whole() {
		t.Errorf("want that something is missing: %v, %v", parts, err)
	}
	status := map[string]string{}
	for _, s := range m {
		status[s.Metric.Get("org")] = s.Metric.Get("status")
	}
	if status["acme"] != "complete" || status["globex"] != "denied" || status["initech"] != "denied" {
		t.Errorf("completeness is %v", status)
	}
}
