package differencing

import (
	"fmt"
	"testing"
	"time"

	"github.com/parley-gateway/parley/policy"
)

// Questions about metrics that aren't there don't drive out those about one that
// is: a partner's memory that is full takes no new ones, until time has passed.
func TestAFullMemoryForgetsNothing(t *testing.T) {
	d, err := New(nil, "one metric", "metrics")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(0, 0)
	b := policy.Differencing{Budget: 3, Within: time.Hour}
	exceeds := func(text string, about ...string) bool {
		return d.exceeds(Question{By: "globex", Text: text, About: about}, b, now)
	}
	for n := range 4 {
		if over := exceeds(fmt.Sprint(n), "up"); over != (n == 3) {
			t.Fatalf("question %d: %t", n, over)
		}
	}
	now = now.Add(time.Minute)
	asked := 0
	for full := false; !full; asked++ {
		var many []string
		for n := range maxAbout {
			many = append(many, fmt.Sprintf("junk_%d_%d", asked, n))
		}
		full = exceeds(fmt.Sprint("junk", asked), many...)
	}
	if got := (asked-1)*maxAbout + 3; got > maxRemembered || got < maxRemembered-maxAbout {
		t.Errorf("%d are remembered, want about %d", got, maxRemembered)
	}
	if !exceeds("another", "up") || exceeds("1", "up") {
		t.Error("what was asked is forgotten")
	}
	if !exceeds("x", "up", "") {
		t.Error("a new question has a place")
	}
	now = now.Add(time.Hour)
	if exceeds("another", "up") {
		t.Error("an hour later nothing is forgotten")
	}
	if d.exceeds(Question{By: "initech", Text: "x", About: []string{"up"}}, b, now) {
		t.Error("another partner has no place")
	}
	var many []string
	for n := range maxAbout + 1 {
		many = append(many, fmt.Sprint("m", n))
	}
	now = now.Add(2 * time.Hour)
	if !exceeds("many", many...) || exceeds("many", many[1:]...) {
		t.Error("a question about too many metrics is like others")
	}
	if b.Within = time.Minute; exceeds("another", "up") || len(d.partners) != 2 {
		t.Errorf("%d memories, want those of globex", len(d.partners))
	}
}
