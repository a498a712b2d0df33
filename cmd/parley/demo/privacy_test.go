package demo_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/cmd/parley/demo"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
)

func exemplars(t *testing.T, local *metrics.Local, d policy.Decision) []exemplar.QueryResult {
	t.Helper()
	q := metrics.Question{Kind: policy.Exemplars, Expression: `{__name__=~".+"}`, Start: until.Add(-time.Hour), End: until}
	released, _, err := local.Answer(t.Context(), q, d, metrics.Asking{Org: "partner", ExchangeID: "019b2f3e-8a00-7c54-9d31-5f0e6c8a4b17"})
	if err != nil {
		t.Fatal(err)
	}
	return released.Exemplars()
}

// partner asks an owner for one purpose.
type partner struct {
	t        *testing.T
	local    *metrics.Local
	policies *rego.Policies
	request  policy.Request // who asks whom, why
}

// answer is nil where policy denies.
func (p partner) answer(q metrics.Question) *metrics.Released {
	p.t.Helper()
	r, err := q.Request()
	if err != nil {
		p.t.Fatal(err)
	}
	r.Side, r.Principal, r.Owner, r.Package = p.request.Side, p.request.Principal, p.request.Owner, p.request.Package
	d, err := p.policies.Decide(p.t.Context(), r)
	if err != nil {
		p.t.Fatal(err)
	}
	if !d.Allow {
		return nil
	}
	released, _, err := p.local.Answer(p.t.Context(), q, d, metrics.Asking{Org: p.request.Principal.Org, ExchangeID: "019b2f3e-8a00-7c54-9d31-5f0e6c8a4b17"})
	if err != nil {
		p.t.Fatal(err)
	}
	return released
}

// seen are all label names and values that the partner can get to see of the
// metric, or of all when it is empty, by metric.
func (p partner) seen(metric string) (names, values []string) {
	p.t.Helper()
	matcher := labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, ".+")
	if metric != "" {
		matcher = labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, metric)
	}
	selectors := []policy.Selector{{matcher}}
	q := metrics.Question{Selectors: selectors, Start: until.Add(-time.Hour), End: until}
	of := func(kind policy.Kind) metrics.Question { q.Kind = kind; return q }

	if released := p.answer(of(policy.LabelNames)); released != nil {
		names = append(names, released.Names()...)
	}
	for _, label := range []string{labels.MetricName, "user", "customer", "reviewer", "pod", "employee", "flag", "service", "region", "status", "workflow"} {
		ask := of(policy.LabelValues)
		ask.Label = label
		if released := p.answer(ask); released != nil {
			values = append(values, released.Names()...)
		}
	}
	take := func(ls labels.Labels) {
		ls.Range(func(l labels.Label) { names, values = append(names, l.Name), append(values, l.Value) })
	}
	ask := of(policy.Series)
	ask.LabelsOnly = true
	if released := p.answer(ask); released != nil {
		for _, s := range released.Series() {
			take(s.Labels)
		}
	}
	if released := p.answer(of(policy.Metadata)); released != nil {
		for name := range released.Metadata() {
			values = append(values, name)
		}
	}
	q.Expression = "{" + matcher.String() + "}"
	if released := p.answer(of(policy.Exemplars)); released != nil {
		for _, r := range released.Exemplars() {
			take(r.SeriesLabels)
			for _, e := range r.Exemplars {
				take(e.Labels)
			}
		}
	}
	slices.Sort(names)
	slices.Sort(values)
	return slices.Compact(names), slices.Compact(values)
}

// secrets are the values in a company's own data that no partner may see.
func secrets(t *testing.T, local *metrics.Local) []string {
	t.Helper()
	var out []string
	for _, label := range []string{"user", "customer", "reviewer", "employee", "flag"} {
		q := metrics.Question{Kind: policy.LabelValues, Label: label, Start: until.Add(-time.Hour), End: until}
		released, _, err := local.Answer(t.Context(), q, everything, metrics.Asking{})
		if err != nil {
			t.Fatal(err)
		}
		if len(released.Names()) == 0 {
			t.Errorf("there is no %s to hide", label)
		}
		out = append(out, released.Names()...)
	}
	return out
}

// What every partner gets to see of every company, for every purpose.
func TestPartnersSeeNothingPrivate(t *testing.T) {
	visible := map[string]bool{} // owner, partner and purpose with an answer
	for _, owner := range demo.Companies() {
		store := openStore(t)
		fill(t, owner, store, 10*time.Minute)
		local := newLocal(t, owner.Org, store)
		private := secrets(t, local)
		agreements := agreementsOf(t, owner.Org, until)
		policies := policiesOf(t, owner.Org, agreements)
		for _, a := range agreements {
			for _, purpose := range a.Purposes {
				p := partner{t, local, policies, policy.Request{
					Side: policy.Answer, Owner: owner.Org, Package: a.Policy,
					Principal: tenants.Principal{Org: a.Partner, Workload: a.GatewayID, Purpose: purpose, Case: "INC-7"},
				}}
				name := strings.Join([]string{string(owner.Org), string(a.Partner), string(purpose)}, " ")
				for _, metric := range []string{"", "http_requests_total", "http_request_duration_seconds_bucket", "agent_executions_total", "payroll_total"} {
					names, values := p.seen(metric)
					visible[name] = visible[name] || len(values) > 0
					checkPublic(t, name, names, values, private)
				}
			}
		}
	}
	for name, answered := range visible {
		denied := strings.HasSuffix(name, "capacity") || name == "globex initech incident-response" || name == "initech globex incident-response"
		if answered == denied {
			t.Errorf("%s: answered: %t", name, answered)
		}
	}
}

func checkPublic(t *testing.T, name string, labelNames, values, private []string) {
	t.Helper()
	for _, label := range labelNames {
		if slices.Contains([]string{"customer", "employee", "flag", "department"}, label) {
			t.Errorf("%s: the label %s is there", name, label)
		}
	}
	for _, value := range values {
		for _, prefix := range []string{"billing_", "payroll_", "internal_"} {
			if strings.HasPrefix(value, prefix) {
				t.Errorf("%s: %s is there", name, value)
			}
		}
		if strings.Contains(value, "@") || slices.ContainsFunc(private, func(s string) bool { return strings.Contains(value, s) }) {
			t.Errorf("%s: %q is private", name, value)
		}
	}
}

// An exemplar leads acme to traces of globex that acme has too.
func TestExemplarsJoinAcrossCompanies(t *testing.T) {
	var traces [][]string
	for _, org := range []tenants.OrgID{"acme", "globex"} {
		store := openStore(t)
		fill(t, company(t, org), store, 5*time.Minute)
		agreements := agreementsOf(t, org, until)
		asks := partner{t, newLocal(t, org, store), policiesOf(t, org, agreements), policy.Request{
			Side: policy.Answer, Owner: org, Package: agreements[0].Policy,
			Principal: tenants.Principal{Org: agreements[0].Partner, Purpose: "slo-review"},
		}}
		_, values := asks.seen("http_request_duration_seconds_bucket")
		traces = append(traces, slices.DeleteFunc(values, func(v string) bool { return len(v) != 32 }))
	}
	both := slices.DeleteFunc(traces[0], func(id string) bool { return !slices.Contains(traces[1], id) })
	atLeast(t, "traces that both have", float64(len(both)), 50)
}
