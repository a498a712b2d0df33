package attacks

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

var (
	worlds = flag.Int("worlds", 24, "in how many worlds each attack is made")
	seed   = flag.Uint64("seed", 0, "what secrets are drawn from; 0 is another in each run")
)

// binaryDir is where the binary is. It goes with the test run.
var binaryDir = filepath.Join(os.TempDir(), fmt.Sprintf("parley-attacks-%d", os.Getpid()))

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := os.RemoveAll(binaryDir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
		os.Exit(code)
	}))
}

// falseAlarms is the probability that anything in a run is above nothing by
// chance.
const falseAlarms = 1e-3

func TestAttacks(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed %d", *seed)
	a := newArena(t, *worlds, rand.New(rand.NewPCG(*seed, 0)))
	results := 0
	for _, k := range catalogue {
		for _, g := range a.grounds {
			if k.at(g) {
				results += 2 // what is guessed, and what differs
			}
		}
	}
	a.alpha = falseAlarms / float64(results)
	for _, k := range catalogue {
		t.Run(k.name, func(t *testing.T) {
			line := fmt.Sprintf("%-30s %-60s", k.name, k.of.what)
			for _, g := range a.grounds {
				if !k.at(g) {
					continue
				}
				got := a.run(t, k, g)
				line += fmt.Sprintf(" | %s %d/%d %.1f %.1f", g.name, got.Right, got.Trials, got.Bits, got.Seen)
			}
			fmt.Fprintln(os.Stderr, line)
		})
	}
}

// at says whether the attack is made on a ground.
func (k *attack) at(g *ground) bool {
	if g.policy == "" {
		return true
	}
	for _, p := range k.policies {
		if p == g.policy && (k.only == "" || k.only == g.door) {
			return true
		}
	}
	return false
}
