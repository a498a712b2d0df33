package attacks

import (
	"slices"
	"testing"
	"time"
)

// attack tries to learn a secret.
type attack struct {
	name string
	// of is what it tries to learn.
	of *secret
	// policies hide that; nil is rows and cells. They must not let it be learned,
	// but where they are known to be open to it, for the reason that is given.
	policies []string
	open     map[string]string
	// foreign: the secret is in series of another tenant.
	foreign bool
	// only is the one of parley's doors at which there is such an attack; empty:
	// both.
	only string
	// traces: it is after traces, and made as one of the owner's own people where
	// others are at a Prometheus.
	traces bool
	// unserved: parley has no such route, function or text, and no answer to a
	// question of such a shape, whatever policy releases.
	unserved bool
	// long: it asks so much that it is left out where all has to be done in a
	// minute.
	long bool
	// guess returns a value of the secret; what is none is wrong. Or else:
	guess func(*attempt) int
	// watch measures how long something takes, for a secret of two values of
	// which 1 is to take longer.
	watch func(*attempt) time.Duration
}

// catalogue is every attack there is, by chapter.
var catalogue = []struct {
	title   string
	attacks []*attack
}{
	{"Labels", onLabels},
	{"Series and routes", onSeries},
	{"Doors", onDoors},
	{"Time taken", onTime},
	{"Cells", onCells},
	{"Events", onEvents},
	{"Floors", onFloors},
	{"Traces", onTraces},
}

// hides says whether a policy hides what the attack is after.
func (k *attack) hides(policy string) bool {
	if k.policies == nil {
		return slices.Contains(rowsAndCells, policy)
	}
	return slices.Contains(k.policies, policy)
}

// at says whether the attack is made on a ground.
func (k *attack) at(g *ground) bool {
	switch {
	case g.name == LabelProxy && k.traces:
		return false
	case g.policy == "":
		return true
	case k.only != "" && k.only != g.door:
		return false
	case g.policy == Unhidden:
		return !k.unserved && k.watch == nil
	}
	return k.hides(g.policy)
}

func TestCatalogue(t *testing.T) {
	named, learned := map[string]bool{}, map[*secret]bool{}
	for _, chapter := range catalogue {
		for _, k := range chapter.attacks {
			if named[k.name] {
				t.Errorf("two attacks are called %s", k.name)
			}
			if (k.guess == nil) == (k.watch == nil) {
				t.Errorf("%s has to guess or to watch", k.name)
			}
			for policy := range k.open {
				if !k.hides(policy) {
					t.Errorf("%s is said to be open in %s, which doesn't hide %s", k.name, policy, k.of.what)
				}
			}
			named[k.name], learned[k.of] = true, true
		}
	}
	for _, s := range secrets {
		if !learned[s] {
			t.Errorf("nobody tries to learn %s", s.what)
		}
	}
}
