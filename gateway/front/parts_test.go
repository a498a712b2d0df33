package front

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
)

func TestTogether(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	a := federation.Completeness{
		{Org: "acme", Status: federation.Complete, Coverage: policy.Window{Start: at(10), End: at(20)}, Notices: []string{"b", "c"}, Cost: federation.Cost{Series: 1, Samples: 2, Bytes: 3, Latency: 4}},
		{Org: "globex", Status: federation.Denied, Reason: "no"},
		{Org: "initech", Status: federation.NotAsked, Reason: "not needed"},
	}
	b := federation.Completeness{
		{Org: "acme", Status: federation.Partial, Reason: "window", Coverage: policy.Window{Start: at(5), End: at(15)}, Notices: []string{"a", "b"}, Cost: federation.Cost{Series: 1, Samples: 2, Bytes: 3, Latency: 2}},
		{Org: "globex", Status: federation.Timeout, Reason: "slow"},
		{Org: "initech", Status: federation.Complete, Coverage: policy.Window{Start: at(1), End: at(2)}},
		{Org: "aperture", Status: federation.Complete},
	}
	want := federation.Completeness{
		{Org: "acme", Status: federation.Partial, Reason: "window", Coverage: policy.Window{Start: at(5), End: at(20)}, Notices: []string{"a", "b", "c"}, Cost: federation.Cost{Series: 2, Samples: 4, Bytes: 6, Latency: 4}},
		{Org: "aperture", Status: federation.Complete},
		{Org: "globex", Status: federation.Denied, Reason: "no"},
		{Org: "initech", Status: federation.Complete, Coverage: policy.Window{Start: at(1), End: at(2)}},
	}
	if diff := cmp.Diff(want, together(a, b)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if diff := cmp.Diff(a, together(nil, a)); diff != "" {
		t.Errorf("the first question: -want +got\n%s", diff)
	}
}

func TestASCII(t *testing.T) {
	for _, text := range []string{"plain", "é", "日本", "😀", "\x7f", "\xff"} {
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		escaped := ascii(string(quoted))
		for _, c := range []byte(escaped) {
			if c < ' ' || c > '~' {
				t.Errorf("%q: %q", text, escaped)
			}
		}
		var back, want string
		if json.Unmarshal(quoted, &want) != nil || json.Unmarshal([]byte(escaped), &back) != nil || back != want {
			t.Errorf("%q became %q", want, back)
		}
	}
}

func TestOrderOfNaN(t *testing.T) {
	for _, text := range []string{"sort(x)", "sort_desc(x)", "topk(5, x)", "bottomk without (b) (5, x)"} {
		expr, err := parser.ParseExpr(text)
		if err != nil {
			t.Fatal(err)
		}
		got := ordered(expr, promql.Vector{{F: math.NaN()}, {F: 1}, {F: 2}})
		if len(got) != 3 || !math.IsNaN(got[2].F) {
			t.Errorf("%s: NaN must come last: %v", text, got)
		}
	}
}
