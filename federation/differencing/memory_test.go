package differencing

import (
	"fmt"
	"testing"
	"time"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Questions about metrics that aren't there don't drive out those about one that
// is: a partner's memory that is full takes no new ones, until time has passed.
func TestAFullMemoryForgetsNothing(t *testing.T) {
	d, err := New(nil, "one metric")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(0, 0)
	b := policy.Differencing{Budget: 3, Within: time.Hour}
	question := func(by tenants.OrgID, text string, about ...string) Question {
		q := Question{By: by, Text: text}
		for _, name := range about {
			q.About = append(q.About, Subject{Name: name})
		}
		return q
	}
	exceeds := func(text string, about ...string) bool { return d.exceeds(question("globex", text, about...), b, now) }
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
	if d.exceeds(question("initech", "x", "up"), b, now) {
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

// A question is as many as it has selectors of one thing.
func TestSelectorsAreCounted(t *testing.T) {
	d, err := New(nil, "one metric")
	if err != nil {
		t.Fatal(err)
	}
	b, now := policy.Differencing{Budget: 3, Within: time.Hour}, time.Unix(0, 0)
	probes := func(text string, n int) Question {
		q := Question{By: "globex", Text: text}
		for i := range n {
			q.About = append(q.About, Subject{Name: "up", Selector: fmt.Sprint(i)})
		}
		return q
	}
	for range 2 {
		if d.exceeds(probes("two", 2), b, now) {
			t.Error("two of three")
		}
	}
	if !d.exceeds(probes("two more", 2), b, now) || d.exceeds(probes("one more", 1), b, now) {
		t.Error("four, and three")
	}
	if !d.exceeds(probes("again", 1), b, now) {
		t.Error("four, after all")
	}
}
