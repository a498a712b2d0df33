package rego

import (
	"bytes"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

const demoPolicies = "../../cmd/parley/demo/policies"

// The policies of `parley demo`, each asked by its partners.
func TestDemoPolicies(t *testing.T) {
	orgs := []string{"acme", "globex", "initech"}
	metrics := []string{
		"http_requests_total", "http_request_duration_seconds_bucket", "http_request_duration_native_seconds",
		"agent_queue_length", "workflow_active", "agent_execution_seconds_bucket", "human_response_seconds_bucket",
		"billing_revenue_total", "payroll_total", "internal_flags", "up", "xhttp_requests_total",
	}
	http, all := metrics[:3], metrics[:7]
	waiting := []string{http[0], http[1], http[2], "agent_queue_length", "human_response_seconds_bucket"}
	visible := map[string][]string{
		"acme globex slo-review": http, "acme globex incident-response": all,
		"acme initech slo-review": http, "acme initech incident-response": http,
		"globex acme slo-review": http, "globex acme incident-response": all,
		"globex initech slo-review": http[:1],
		"initech acme slo-review":   http, "initech acme incident-response": waiting,
		"initech globex slo-review": http,
	}
	for _, owner := range orgs {
		var agreements []tenants.Agreement
		for _, partner := range orgs {
			if partner != owner {
				agreements = append(agreements, agreement(partner, "parley.partners."+partner, "slo-review", "incident-response", "capacity"))
			}
		}
		policies, err := New(t.Context(), Config{
			Org: tenants.OrgID(owner), Dir: filepath.Join(demoPolicies, owner),
			Agreements: func() []tenants.Agreement { return agreements },
			Now:        func() time.Time { return noon }, Log: slog.New(slog.NewTextHandler(&bytes.Buffer{}, nil)),
		})
		if err != nil {
			t.Error(err)
			continue
		}
		for _, a := range agreements {
			for _, purpose := range a.Purposes {
				r := asks(string(a.Partner), a.Policy, purpose, "http_requests_total")
				r.Owner, r.Principal.Case = tenants.OrgID(owner), "INC-7"
				d, err := policies.Decide(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				name := strings.Join([]string{owner, string(a.Partner), string(purpose)}, " ")
				if diff := cmp.Diff(visible[name], released(d, metrics)); diff != "" {
					t.Errorf("%s (%v):\n%s", name, d.Reasons, diff)
				}
				neverInTheClear(t, name, d)
			}
		}
	}
}

// released are the metrics that a decision lets out, in their order.
func released(d policy.Decision, metrics []string) []string {
	var out []string
	for _, metric := range metrics {
		leaves := false
		denied := slices.ContainsFunc(d.Obligations.Datasets, func(ds policy.Dataset) bool {
			matches := slices.ContainsFunc(ds.Series, func(s policy.Selector) bool {
				return !slices.ContainsFunc(s, func(m *labels.Matcher) bool { return !m.Matches(metric) })
			})
			leaves = leaves || matches && ds.Release != policy.Deny
			return matches && ds.Release == policy.Deny
		})
		if leaves && !denied {
			out = append(out, metric)
		}
	}
	return out
}

func neverInTheClear(t *testing.T, name string, d policy.Decision) {
	t.Helper()
	rule := func(ds policy.Dataset, label string) policy.Mode {
		if r, ok := ds.Labels[label]; ok {
			return r.Mode
		}
		return ds.Others.Mode
	}
	for _, ds := range d.Obligations.Datasets {
		if rule(ds, "customer") != policy.Drop {
			t.Errorf("%s: %s shows customers", name, ds.Name)
		}
		for _, label := range []string{"user", "pod", "reviewer"} {
			if rule(ds, label) == policy.Keep {
				t.Errorf("%s: %s shows %s (%v)", name, ds.Name, label, slices.Sorted(maps.Keys(ds.Labels)))
			}
		}
	}
}
