package metrics_test

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand" //nolint:depguard // promqlsmith takes this one
	randv2 "math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cortexproject/promqlsmith"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

var partner = metrics.Asking{Org: "globex", ExchangeID: "019b2f3e-8a00-7c54-9d31-5f0e6c8a4b17"}

// attacks are the ways in that PRIVACY's experiments found, against a policy
// that hides user.
var attacks = []string{
	`count(requests_total{user="bob"})`,
	`count(requests_total{user=~"[a-m].*"})`,
	`absent(requests_total{user="bob"})`,
	`sum(requests_total) - sum(requests_total{user!="bob"})`,
	`label_replace(requests_total, "region", "$1", "user", "(.*)")`,
	`label_join(requests_total, "region", ",", "user", "pod")`,
	`requests_total * on (pod) group_left (user) errors_total`,
	`count_values("region", requests_total)`,
	`topk(1, requests_total)`,
	`quantile by (user) (1, requests_total)`,
	`max by (user) (requests_total)`,
	`sum(queue_length) and on () (queue_length{user="bob"} > 1)`,
	`scalar(queue_length{user="bob"}) > bool 1`,
	`vector(scalar(queue_length{user="bob"}))`,
	`queue_length unless on (user) queue_length{user="bob"}`,
	`queue_length - queue_length offset 2m`,
	`requests_total / errors_total`,
	`requests_total / ignoring (user) errors_total`,
	`sum without (user) (requests_total)`,
	`sum by (user, pod) (rate(requests_total[5m]))`,
	`histogram_quantile(0.9, rate(latency_bucket[5m]))`,
	`histogram_fraction(0, 1, latency_native)`,
	`{__name__=~".+"}`,
	`{user="bob"}`,
	`count by (__name__) ({__name__=~".+"})`,
	`requests_total{exported_org="someone"}`,
	`requests_total{__parley_surrogate__=~".+"}`,
	`label_replace(requests_total, "region", "$1", "__parley_surrogate__", "(.*)")`,
	`memory_bytes`,
	`payroll_total`,
}

// randomPolicy hides some labels, some series and sometimes some of the time.
// With unique the labels that stay tell all series apart.
func randomPolicy(r *randv2.Rand, unique bool) policy.Obligations {
	names := [][]string{{"requests_total", "errors_total"}, {"queue_length", "latency_native"}, {"latency_bucket", "requests_total"}}
	o := policy.Obligations{Epoch: time.Hour}
	for i := range 1 + r.IntN(3) {
		selector := policy.Selector{labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, strings.Join(names[i], "|"))}
		if r.IntN(3) == 0 {
			selector = append(selector, labels.MustNewMatcher(labels.MatchEqual, "region", "eu"))
		}
		d := policy.Dataset{
			Name: fmt.Sprint(i), Series: []policy.Selector{selector}, Release: policy.Row,
			Labels: map[string]policy.LabelRule{"le": {Mode: policy.Keep}, "trace_id": {Mode: policy.Keep}},
		}
		for _, name := range []string{"region", "status", "user"} {
			d.Labels[name] = randomRule(r)
		}
		if unique {
			d.Labels["pod"] = policy.LabelRule{Mode: []policy.Mode{policy.Keep, policy.Pseudonym}[r.IntN(2)]}
		} else {
			d.Labels["pod"] = randomRule(r)
		}
		o.Datasets = append(o.Datasets, d)
	}
	if r.IntN(4) == 0 {
		o.Datasets = append(o.Datasets, policy.Dataset{
			Name: "not this", Release: policy.Deny,
			Series: []policy.Selector{{labels.MustNewMatcher(labels.MatchEqual, "status", "404")}},
		})
	}
	if r.IntN(3) == 0 {
		o.Resolution = []time.Duration{30 * time.Second, time.Minute}[r.IntN(2)]
	}
	if r.IntN(3) == 0 {
		o.Datasets[0].Rounding = []policy.Rounding{{Digits: 2}, {Base: 10}, {Digits: 3, Base: 0.5}}[r.IntN(3)]
	}
	if r.IntN(3) == 0 {
		o.NotBefore = metricstest.Start.Add(time.Duration(r.IntN(600)) * time.Second)
	}
	if r.IntN(3) == 0 {
		o.NotAfter = metricstest.End().Add(-time.Duration(r.IntN(600)) * time.Second)
	}
	return o
}

func randomRule(r *randv2.Rand) policy.LabelRule {
	switch r.IntN(5) {
	case 0:
		return policy.LabelRule{Mode: policy.Keep}
	case 1:
		return policy.LabelRule{Mode: policy.Pseudonym}
	case 2:
		return policy.LabelRule{Mode: policy.Generalize, Mapping: &policy.Mapping{Prefix: 1}}
	}
	return policy.LabelRule{Mode: policy.Drop}
}

// redact makes the physically redacted copy, by the words of the design and
// not by the view's code.
func redact(series []metricstest.Series, o policy.Obligations, pseudonym func(string) string) []metricstest.Series {
	var out []metricstest.Series
	for _, s := range series {
		raw := withOrg(s.Labels, "acme")
		rules, ok := membership(raw, o)
		if !ok {
			continue
		}
		copied := s
		copied.Labels = redactLabels(raw, rules, pseudonym)
		copied.Labels = labels.NewBuilder(copied.Labels).Del("org").Labels() // the gateway sets it
		copied.Values, copied.Histograms = slices.Clone(s.Values), slices.Clone(s.Histograms)
		for i := range metricstest.Samples {
			at := metricstest.Start.Add(time.Duration(i) * metricstest.Interval)
			if at.Before(o.NotBefore) || !o.NotAfter.IsZero() && at.After(o.NotAfter) {
				if copied.Values != nil {
					copied.Values[i] = math.NaN()
				} else {
					copied.Histograms[i] = nil
				}
			}
		}
		copied = coarsen(copied, o, rounded(rules))
		copied.Exemplars = nil
		for _, e := range s.Exemplars {
			if at := time.UnixMilli(e.Ts); at.Before(o.NotBefore) || !o.NotAfter.IsZero() && at.After(o.NotAfter) {
				continue
			}
			e.Value = rounded(rules).Round(e.Value)
			e.Labels = redactLabels(e.Labels, rules, pseudonym)
			copied.Exemplars = append(copied.Exemplars, e)
		}
		copied.Exemplars = lastOfIntervals(copied.Exemplars, o)
		out = append(out, copied)
	}
	return out
}

// lastOfIntervals are, with a resolution, the last exemplars of its intervals.
func lastOfIntervals(all []exemplar.Exemplar, o policy.Obligations) []exemplar.Exemplar {
	if o.Resolution == 0 {
		return all
	}
	last := map[time.Time]exemplar.Exemplar{}
	for _, e := range all {
		end := time.UnixMilli(e.Ts).Add(o.Resolution - 1).Truncate(o.Resolution)
		if before, some := last[end]; inside(end, o) && (!some || before.Ts <= e.Ts) {
			last[end] = e
		}
	}
	var out []exemplar.Exemplar
	for end, e := range last {
		e.Ts = end.UnixMilli()
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b exemplar.Exemplar) int { return cmp.Compare(a.Ts, b.Ts) })
	return out
}

// inside says whether the interval of the resolution that ends then lies whole
// in the policy's time and is over.
func inside(end time.Time, o policy.Obligations) bool {
	first := end.Add(-o.Resolution + time.Millisecond)
	return !first.Before(o.NotBefore) && (o.NotAfter.IsZero() || !end.After(o.NotAfter)) && !end.After(metricstest.End())
}

func rounded(member []policy.Dataset) policy.Rounding {
	var out policy.Rounding
	for _, d := range member {
		out = out.Coarser(d.Rounding)
	}
	return out
}

// coarsen leaves the last sample of each interval, at its end, rounded.
func coarsen(s metricstest.Series, o policy.Obligations, r policy.Rounding) metricstest.Series {
	out := s
	out.Values, out.Histograms = nil, nil
	last := -1 // of the samples seen, since the last end of an interval
	for i := range metricstest.Samples {
		there := s.Values != nil && (!math.IsNaN(s.Values[i]) || value.IsStaleNaN(s.Values[i])) || s.Histograms != nil && s.Histograms[i] != nil
		if there {
			last = i
		}
		at := metricstest.Start.Add(time.Duration(i) * metricstest.Interval)
		ends := o.Resolution == 0 || at.Truncate(o.Resolution).Equal(at)
		var v float64
		var h *histogram.FloatHistogram
		from := last
		switch {
		case !ends || from < 0 || o.Resolution > 0 && !inside(at, o):
			v = math.NaN()
		case s.Values != nil:
			v = r.Round(s.Values[from])
		default:
			h = s.Histograms[from].Copy()
			h.Sum, h.ZeroCount = r.Round(h.Sum), r.Round(h.ZeroCount)
			h.Count = h.ZeroCount
			for j := range h.PositiveBuckets {
				h.PositiveBuckets[j] = r.Round(h.PositiveBuckets[j])
				h.Count += h.PositiveBuckets[j]
			}
			if r == (policy.Rounding{}) {
				h = s.Histograms[from]
			}
		}
		if ends {
			last = -1
		}
		if s.Values != nil {
			out.Values = append(out.Values, v)
		} else {
			out.Histograms = append(out.Histograms, h)
		}
	}
	return out
}

func membership(raw labels.Labels, o policy.Obligations) (member []policy.Dataset, ok bool) {
	for _, d := range o.Datasets {
		in := slices.ContainsFunc(d.Series, func(s policy.Selector) bool {
			return !slices.ContainsFunc(s, func(m *labels.Matcher) bool { return !m.Matches(raw.Get(m.Name)) })
		})
		if in && d.Release == policy.Deny {
			return nil, false
		}
		if in {
			member = append(member, d)
		}
	}
	return member, len(member) > 0
}

func redactLabels(raw labels.Labels, member []policy.Dataset, pseudonym func(string) string) labels.Labels {
	out := map[string]string{}
	raw.Range(func(l labels.Label) {
		if l.Name == "__name__" || l.Name == "org" {
			out[l.Name] = l.Value
			return
		}
		mode, generalizations := policy.Keep, map[*policy.Mapping]bool{}
		for _, d := range member {
			rule := d.Labels[l.Name]
			mode = min(mode, rule.Mode)
			if rule.Mode == policy.Generalize {
				generalizations[rule.Mapping] = true
			}
		}
		switch {
		case mode == policy.Keep:
			out[l.Name] = l.Value
		case mode == policy.Pseudonym:
			out[l.Name] = pseudonym(l.Value)
		case mode == policy.Generalize && len(generalizations) == 1:
			out[l.Name] = l.Value[:1]
		}
	})
	return labels.FromMap(out)
}

// bytesOf is everything an answer says, values bit by bit.
func bytesOf(released *metrics.Released, err error) string {
	if err != nil {
		e := federation.AsError(err)
		return fmt.Sprintf("error %s %s", e.Kind, e.Message)
	}
	matrix, err := released.Matrix()
	if err != nil {
		return "undecodable: " + err.Error()
	}
	var b strings.Builder
	for _, s := range matrix {
		fmt.Fprintf(&b, "%s", s.Metric)
		for _, p := range s.Floats {
			fmt.Fprintf(&b, " %d:%016x", p.T, math.Float64bits(p.F))
		}
		for _, p := range s.Histograms {
			fmt.Fprintf(&b, " %d:%s", p.T, p.H)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintln(&b, released.Names(), released.Exemplars(), released.Metadata())
	return b.String()
}

// questions are a random expression and one of each kind of listing.
func questions(r *randv2.Rand, smith *promqlsmith.PromQLSmith, known []labels.Labels) []metrics.Question {
	q := randomQuestion(r, smith.WalkRangeQuery, smith.WalkInstantQuery)
	selector := randomSelector(r, known)
	listing := func(kind policy.Kind, label string) metrics.Question {
		return metrics.Question{Kind: kind, Label: label, Start: q.Start, End: q.Start.Add(10 * time.Minute), Selectors: []policy.Selector{selector}}
	}
	out := []metrics.Question{
		q, listing(policy.Series, ""), listing(policy.LabelNames, ""),
		listing(policy.LabelValues, []string{"user", "region", "pod", "__name__", "exported_org"}[r.IntN(5)]),
		{Kind: policy.Exemplars, Expression: q.Expression, Start: q.Start, End: q.Start.Add(20 * time.Minute)},
		{Kind: policy.Metadata, Start: q.Start, End: q.End},
	}
	labelsOnly := out[1]
	labelsOnly.LabelsOnly = true
	return append(out, labelsOnly)
}

// randomSelector matches on some labels of some series, raw or redacted.
func randomSelector(r *randv2.Rand, known []labels.Labels) policy.Selector {
	var out policy.Selector
	known[r.IntN(len(known))].Range(func(l labels.Label) {
		if r.IntN(3) == 0 {
			kind := []labels.MatchType{labels.MatchEqual, labels.MatchEqual, labels.MatchNotEqual, labels.MatchRegexp, labels.MatchNotRegexp}[r.IntN(5)]
			value := l.Value
			if kind == labels.MatchRegexp || kind == labels.MatchNotRegexp {
				value = regexp.QuoteMeta(value[:1]) + ".*"
			}
			out = append(out, labels.MustNewMatcher(kind, l.Name, value))
		}
	})
	return out
}

func TestAnswersEqualThoseOfARedactedCopy(t *testing.T) {
	seed := seedOf(t)
	r := randv2.New(randv2.NewPCG(uint64(seed), 2))
	answered := 0
	for round := range 12 {
		series := metricstest.Random(r)
		o := randomPolicy(r, true)
		local := newLocalAt(t, metricstest.Store(t, series))
		pseudonym := func(value string) string { return local.Pseudonym(o, partner, value) }
		copied := newLocalOf(t, metricstest.Store(t, redact(series, o, pseudonym)), func(metric string) bool { return whole(o, metric) }, "")
		known := rawAndRedacted(series, o, pseudonym)
		smith := promqlsmith.New(rand.New(rand.NewSource(seed+int64(round))), known, oracleOptions()...)
		for range 100 {
			for _, q := range questions(r, smith, known) {
				answered += compareViews(t, q, local, o, copied, everything.Obligations)
			}
		}
		for _, attack := range attacks {
			q := metrics.Question{Kind: policy.Instant, Expression: attack, Start: metricstest.End().Add(-time.Minute)}
			q.End = q.Start
			answered += compareViews(t, q, local, o, copied, everything.Obligations)
		}
	}
	t.Logf("%d answers with something in them", answered)
	if answered < 500 {
		t.Errorf("only %d answers had something in them: the test is blind", answered)
	}
}

func TestHiddenDifferencesDontShow(t *testing.T) {
	seed := seedOf(t)
	r := randv2.New(randv2.NewPCG(uint64(seed), 3))
	answered := 0
	for round := range 8 {
		series := metricstest.Random(r)
		o := randomPolicy(r, false)
		one := newLocalAt(t, metricstest.Store(t, series))
		other := newOtherAt(t, metricstest.Store(t, disguise(r, series, o)), o)
		known := rawAndRedacted(series, o, func(v string) string { return one.Pseudonym(o, partner, v) })
		smith := promqlsmith.New(rand.New(rand.NewSource(seed+int64(round))), known, oracleOptions()...)
		for range 100 {
			for _, q := range questions(r, smith, known) {
				answered += compareViews(t, q, one, o, other, o)
			}
		}
		for _, attack := range attacks {
			q := metrics.Question{Kind: policy.Instant, Expression: attack, Start: metricstest.End().Add(-time.Minute)}
			q.End = q.Start
			answered += compareViews(t, q, one, o, other, o)
		}
	}
	t.Logf("%d answers with something in them", answered)
	if answered < 500 {
		t.Errorf("only %d answers had something in them: the test is blind", answered)
	}
}

// FuzzHiddenDifferences looks for an expression that tells two stores apart
// which differ only in what a policy hides.
func FuzzHiddenDifferences(f *testing.F) {
	for i, attack := range attacks {
		f.Add(uint64(i), attack)
	}
	type pair struct {
		one, other *metrics.Local
		hides      policy.Obligations
	}
	var pairs []pair
	for seed := range uint64(4) {
		r := randv2.New(randv2.NewPCG(seed, 4))
		series := metricstest.Random(r)
		o := randomPolicy(r, false)
		pairs = append(pairs, pair{newLocalAt(f, metricstest.Store(f, series)), newOtherAt(f, metricstest.Store(f, disguise(r, series, o)), o), o})
	}
	f.Fuzz(func(t *testing.T, choice uint64, expression string) {
		if len(expression) > 300 {
			return // long ones are slow and say nothing new
		}
		p := pairs[choice%uint64(len(pairs))]
		at := metricstest.End().Add(-time.Duration(choice%600) * time.Second)
		for _, kind := range []policy.Kind{policy.Instant, policy.Exemplars} {
			compareViews(t, metrics.Question{Kind: kind, Expression: expression, Start: at, End: at}, p.one, p.hides, p.other, p.hides)
		}
	})
}

// TestTheComparisonSees makes sure that a difference that may be seen is.
func TestTheComparisonSees(t *testing.T) {
	r := randv2.New(randv2.NewPCG(7, 7))
	series := metricstest.Random(r)
	one, other := newLocalAt(t, metricstest.Store(t, series)), newLocalAt(t, metricstest.Store(t, disguise(r, series, policy.Obligations{})))
	seen := 0
	for _, attack := range attacks {
		q := metrics.Question{Kind: policy.Instant, Expression: attack, Start: metricstest.End().Add(-time.Minute)}
		q.End = q.Start
		if ask(one, q, everything.Obligations) != ask(other, q, everything.Obligations) {
			seen++
		}
	}
	if seen < len(attacks)/2 {
		t.Errorf("of %d attacks only %d tell the stores apart without policy: the test is blind", len(attacks), seen)
	}
}

func ask(l *metrics.Local, q metrics.Question, o policy.Obligations) string {
	released, _, err := l.Answer(context.Background(), q, policy.Decision{Allow: true, Obligations: o}, partner)
	return bytesOf(released, err)
}

// compareViews returns 1 when the answers are the same and not empty.
func compareViews(t *testing.T, q metrics.Question, a *metrics.Local, ao policy.Obligations, b *metrics.Local, bo policy.Obligations) int {
	t.Helper()
	got, want := ask(a, q, ao), ask(b, q, bo)
	if ao.Resolution > 0 && bo.Resolution == 0 && strings.HasPrefix(got, "error over-limit the resolution") {
		return 0 // for its steps or ranges, whatever there is
	}
	if got != want && (!unstable(a, q, ao) || !unstable(b, q, bo)) {
		t.Fatalf("%s label=%s labelsOnly=%t %v\nthrough policy: %.900s\nredacted copy:  %.900s\npolicy: %+v", describe(q), q.Label, q.LabelsOnly, q.Selectors, got, want, ao)
	}
	if got == want && got != "[] [] map[]\n" && !strings.HasPrefix(got, "error") {
		return 1
	}
	return 0
}

// unstable says whether one store answers one question differently from time
// to time. Prometheus's engine goes through series in the order of a Go map
// where a function takes instant vectors, so that sums of floating-point
// numbers differ in their last bits, and ties of topk break either way.
func unstable(l *metrics.Local, q metrics.Question, o policy.Obligations) bool {
	first := ask(l, q, o)
	for range 40 {
		if ask(l, q, o) != first {
			return true
		}
	}
	return false
}

func seedOf(t *testing.T) int64 {
	seed := *oracleSeed
	if seed == 0 {
		seed = time.Now().UnixNano()
	}
	t.Logf("seed %d (repeat with -oracle.seed=%d)", seed, seed)
	return seed
}

// newLocalAt is a Local whose clock stands at the end of the samples.
func newLocalAt(t testing.TB, store *metrics.TSDB) *metrics.Local {
	t.Helper()
	return newLocalOf(t, store, func(string) bool { return true }, "")
}

// newOtherAt is one that differs in the metadata that a policy hides.
func newOtherAt(t testing.TB, store *metrics.TSDB, o policy.Obligations) *metrics.Local {
	t.Helper()
	newLocalOf(t, store, func(metric string) bool { return !whole(o, metric) }, "a secret and the ")
	return newLocalOf(t, store, func(metric string) bool { return whole(o, metric) }, "")
}

// newLocalOf is one whose source knows of some metrics what they are.
func newLocalOf(t testing.TB, store *metrics.TSDB, knows func(metric string) bool, prefix string) *metrics.Local {
	t.Helper()
	for name, about := range map[string]struct {
		of  string // the metric that has to be visible
		typ model.MetricType
	}{
		"requests_total": {"requests_total", model.MetricTypeCounter}, "queue_length": {"queue_length", model.MetricTypeGauge},
		"latency": {"latency_bucket", model.MetricTypeHistogram}, "payroll_total": {"payroll_total", model.MetricTypeCounter},
		"memory_bytes": {"memory_bytes", model.MetricTypeGauge}, "requests": {"", model.MetricTypeGauge},
	} {
		if about.of != "" && knows(about.of) || about.of == "" && prefix != "" {
			store.Describe(name, metadata.Metadata{Type: about.typ, Help: prefix + "help of " + name})
		}
	}
	local, err := metrics.NewLocal(metrics.LocalConfig{
		Org: "acme", Source: store, Secret: []byte("0123456789abcdef0123456789abcdef"), Now: metricstest.End,
	})
	if err != nil {
		t.Fatal(err)
	}
	return local
}

// whole says whether a policy hides no series of a metric whatever there is.
func whole(o policy.Obligations, metric string) bool {
	released := false
	for _, d := range o.Datasets {
		if d.Release == policy.Deny {
			return false // those of randomPolicy are not chosen by name
		}
		released = released || slices.ContainsFunc(d.Series, func(s policy.Selector) bool {
			return !slices.ContainsFunc(s, func(m *labels.Matcher) bool { return m.Name != "__name__" || !m.Matches(metric) })
		})
	}
	return released
}

func rawAndRedacted(series []metricstest.Series, o policy.Obligations, pseudonym func(string) string) []labels.Labels {
	var out []labels.Labels
	for _, s := range series {
		out = append(out, withOrg(s.Labels, "acme"))
	}
	for _, s := range redact(series, o, pseudonym) {
		out = append(out, s.Labels)
	}
	return out
}

// disguise changes everything that the policy hides, and nothing else: values
// of dropped labels are renamed one to one, hidden series get other values and
// names, hidden times other samples, and there are new hidden ones.
func disguise(r *randv2.Rand, series []metricstest.Series, o policy.Obligations) []metricstest.Series {
	renamed := func(v string) string { return fmt.Sprintf("%s-%x", []string{"zz", "aa"}[len(v)%2], v) }
	var out []metricstest.Series
	for _, s := range series {
		copied := s
		raw := withOrg(s.Labels, "acme")
		member, ok := membership(raw, o)
		if !ok {
			copied.Labels = labels.NewBuilder(s.Labels).Set("user", renamed("x")).Set("secret", "other").Labels()
			if copied.Values != nil {
				copied.Values = gaugeLike(r)
			}
			if _, visible := membership(withOrg(copied.Labels, "acme"), o); !visible {
				out = append(out, copied)
			}
			continue
		}
		b := labels.NewBuilder(s.Labels)
		raw.Range(func(l labels.Label) {
			if l.Name != "__name__" && l.Name != "org" && l.Name != "exported_org" && !named(member, l.Name) && !selects(o, l.Name) {
				b.Set(l.Name, renamed(l.Value))
			}
		})
		copied.Labels = b.Labels()
		if again, ok := membership(withOrg(copied.Labels, "acme"), o); !ok || len(again) != len(member) {
			panic("the disguise changes which datasets a series is in")
		}
		copied.Exemplars = nil
		for _, e := range s.Exemplars {
			if !named(member, "user") {
				e.Labels = labels.NewBuilder(e.Labels).Set("user", renamed(e.Labels.Get("user"))).Labels()
			}
			copied.Exemplars = append(copied.Exemplars, e)
		}
		copied.Values = slices.Clone(s.Values)
		for i := range copied.Values {
			at := metricstest.Start.Add(time.Duration(i) * metricstest.Interval)
			if at.Before(o.NotBefore) || !o.NotAfter.IsZero() && at.After(o.NotAfter) {
				copied.Values[i] = float64(r.IntN(1000))
			}
		}
		out = append(out, copied)
	}
	payroll := metricstest.Series{Labels: labels.FromStrings("__name__", "payroll_total", "user", "bob"), Values: gaugeLike(r)}
	payroll.Exemplars = []exemplar.Exemplar{{Labels: labels.FromStrings("user", "bob"), Value: 1, Ts: metricstest.End().UnixMilli(), HasTs: true}}
	return append(out, payroll)
}

// selects says whether a dataset is chosen by a label: then its value shows in
// what there is.
func selects(o policy.Obligations, name string) bool {
	return slices.ContainsFunc(o.Datasets, func(d policy.Dataset) bool {
		return slices.ContainsFunc(d.Series, func(s policy.Selector) bool {
			return slices.ContainsFunc(s, func(m *labels.Matcher) bool { return m.Name == name })
		})
	})
}

// named says whether a rule keeps anything of a label.
func named(member []policy.Dataset, name string) bool {
	return !slices.ContainsFunc(member, func(d policy.Dataset) bool { return d.Labels[name].Mode == policy.Drop })
}

func gaugeLike(r *randv2.Rand) []float64 {
	out := make([]float64, metricstest.Samples)
	for i := range out {
		out[i] = float64(r.IntN(500))
	}
	return out
}
