package metrics

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/policy"
)

// Questions about metrics that aren't there don't drive out those about one that
// is: a partner's memory that is full takes no new ones, until time has passed.
func TestAFullMemoryForgetsNothing(t *testing.T) {
	d, err := newDifferencing(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(0, 0)
	named := func(name string) []*labels.Matcher {
		return []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, name)}
	}
	b := policy.Differencing{Budget: 3, Within: time.Hour}
	exceeds := func(text string, selectors ...[]*labels.Matcher) bool {
		return d.exceeds("globex", Question{Kind: policy.Instant}, text, selectors, b, now)
	}
	for n := range 4 {
		if over := exceeds(fmt.Sprint(n), named("up")); over != (n == 3) {
			t.Fatalf("question %d: %t", n, over)
		}
	}
	now = now.Add(time.Minute)
	asked := 0
	for full := false; !full; asked++ {
		var many [][]*labels.Matcher
		for n := range maxMetrics {
			many = append(many, named(fmt.Sprintf("junk_%d_%d", asked, n)))
		}
		full = exceeds(fmt.Sprint("junk", asked), many...)
	}
	if got := (asked-1)*maxMetrics + 3; got > maxRemembered || got < maxRemembered-maxMetrics {
		t.Errorf("%d are remembered, want about %d", got, maxRemembered)
	}
	if !exceeds("another", named("up")) || exceeds("1", named("up")) {
		t.Error("what was asked is forgotten")
	}
	if !exceeds("x", append([][]*labels.Matcher{named("up")}, make([][]*labels.Matcher, 1)...)...) {
		t.Error("a new question has a place")
	}
	now = now.Add(time.Hour)
	if exceeds("another", named("up")) {
		t.Error("an hour later nothing is forgotten")
	}
	if d.exceeds("initech", Question{Kind: policy.Instant}, "x", [][]*labels.Matcher{named("up")}, b, now) {
		t.Error("another partner has no place")
	}
	var many [][]*labels.Matcher
	for n := range maxMetrics + 1 {
		many = append(many, named(fmt.Sprint("m", n)))
	}
	now = now.Add(2 * time.Hour)
	if !exceeds("many", many...) || exceeds("many", many[1:]...) {
		t.Error("a question about too many metrics is like others")
	}
	if b.Within = time.Minute; exceeds("another", named("up")) || len(d.memories) != 2 {
		t.Errorf("%d memories, want those of globex", len(d.memories))
	}
}
