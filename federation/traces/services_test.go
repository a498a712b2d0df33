package traces_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/tracestest"
	"github.com/parley-gateway/parley/policy"
)

// unlisted is a store that doesn't know its services.
type unlisted struct{ traces.Source }

// randomRelease releases what it is like: in any mode, by any selectors.
func randomRelease(r *rand.Rand) policy.Obligations {
	o := policy.Obligations{Epoch: time.Hour}
	services := []string{tracestest.Web, tracestest.Open, tracestest.Core, tracestest.Vault, tracestest.Batch, tracestest.Secret}
	matcher := func() *labels.Matcher {
		switch r.IntN(4) {
		case 0:
			return labels.MustNewMatcher(labels.MatchRegexp, "resource.service.name", services[r.IntN(6)]+"|"+services[r.IntN(6)])
		case 1:
			return labels.MustNewMatcher(labels.MatchNotEqual, "resource.service.name", services[r.IntN(6)])
		case 2:
			return labels.MustNewMatcher(labels.MatchEqual, "kind", []string{"server", "client", "internal"}[r.IntN(3)])
		}
		return labels.MustNewMatcher(labels.MatchEqual, "resource.service.name", services[r.IntN(6)])
	}
	for range 1 + r.IntN(4) {
		d := policy.Dataset{Release: policy.Row, Spans: []policy.Selector{{matcher()}}, Span: policy.Span{Mode: policy.SpanMode(r.IntN(5)), WithholdDurations: r.IntN(4) == 0}}
		if r.IntN(4) == 0 {
			d.Spans = append(d.Spans, policy.Selector{matcher(), matcher()})
		}
		if r.IntN(6) == 0 {
			d.Release = policy.Deny
		}
		if d.Span.Mode == policy.SpanAttributes || d.Span.Mode == policy.SpanBoundary {
			d.Labels = map[string]policy.LabelRule{"resource.service.name": {Mode: []policy.Mode{policy.Keep, policy.Keep, policy.Pseudonym, policy.Drop}[r.IntN(4)]}}
			if r.IntN(4) == 0 {
				d.Labels["resource.service.name"] = policy.LabelRule{Mode: policy.Generalize, Mapping: &policy.Mapping{Prefix: 1}}
			}
		}
		o.Datasets = append(o.Datasets, d)
	}
	return o
}

// Which services there are is the same, whether every trace is read or, where the
// store knows its services, as few as are enough.
func TestServicesAreThoseOfTheView(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	some := 0
	for seed := range uint64(120) {
		w := tracestest.NewWorld(seed, seed)
		store := storeOf(t, w)
		keeping, err := traces.NewKeeping(store, traces.KeepingConfig{})
		if err != nil {
			t.Fatal(err)
		}
		for range 4 {
			o := randomRelease(r)
			q := traces.Question{Kind: policy.LabelValues, Label: "resource.service.name", Start: tracestest.Start, End: tracestest.Start.Add(time.Duration(r.Int64N(int64(2 * tracestest.Length))))}
			want := answerOf(t, unlisted{store}, o, q)
			for _, source := range []traces.Source{store, keeping} {
				if got := answerOf(t, source, o, q); !bytes.Equal(bytesOf(t, got, true), bytesOf(t, want, true)) {
					t.Fatalf("world %d, %+v: %v, want %v", seed, o.Datasets, got.Values(), want.Values())
				}
			}
			if len(want.Values()) > 1 {
				some++
			}
		}
	}
	if some < 80 {
		t.Errorf("only %d answers have more than a service: the test is blind", some)
	}
}
