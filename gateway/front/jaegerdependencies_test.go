package front

import (
	"math"
	"testing"

	"github.com/parley-gateway/parley/federation/traces"
)

// Services of one name are one, and a partner that calls them more often than can be
// counted doesn't take away what others counted.
func TestDependenciesOfOneName(t *testing.T) {
	got := dependenciesOf(traces.Received(traces.Answer{Dependencies: []traces.Dependency{
		{Parent: "shop", Child: "bank", ParentOrg: "acme", ChildOrg: "acme", Calls: 5},
		{Parent: "shop", Child: "bank", ParentOrg: "globex", ChildOrg: "globex", Calls: math.MaxUint64 - 2},
	}}), "")
	if want := (jaegerDependency{"shop", "bank", math.MaxUint64}); len(got) != 1 || got[0] != want {
		t.Errorf("%v, want %v", got, want)
	}
}
