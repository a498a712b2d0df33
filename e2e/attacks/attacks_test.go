package attacks

import (
	"bufio"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	worlds = flag.Int("worlds", 24, "in how many worlds each attack is made")
	seed   = flag.Uint64("seed", 0, "what secrets are drawn from; 0 is another in each run")
	all    = flag.Bool("all", false, "make every attack on every ground; without it, what takes a minute")
	output = flag.String("results", "", "file for the results, as JSON")
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

// TestAttacks makes the attacks. What a policy hides must not be learned; what
// an attack can't learn where nothing is hidden isn't an attack.
func TestAttacks(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("to draw the same secrets again: -seed %d", *seed)
	results := Results{
		Date: time.Now().UTC().Format(time.DateOnly), Machine: machine(), Go: runtime.Version(), Command: "make attacks", Seed: *seed, Worlds: *worlds,
	}
	a := newArena(t, *worlds, rand.New(rand.NewPCG(*seed, 0)), *all)
	plan := a.plan()
	tried := 0
	for _, grounds := range plan {
		for _, g := range grounds {
			if g.hides() {
				tried += 2 // what is guessed, and what differs
			}
		}
	}
	a.alpha = falseAlarms / float64(max(tried, 1))
	results.Alpha = a.alpha
	for _, chapter := range catalogue {
		for _, k := range chapter.attacks {
			if len(plan[k]) == 0 {
				continue
			}
			result := Result{
				Chapter: chapter.title, Name: k.name, Learns: k.of.what, Bits: math.Log2(float64(k.of.values)), Policies: k.policies,
				Foreign: k.foreign, Open: k.open, Traces: k.traces, Timed: k.watch != nil, Got: map[string]Got{},
			}
			if k.policies == nil {
				result.Policies = rowsAndCells
			}
			t.Run(k.name, func(t *testing.T) {
				for _, g := range plan[k] {
					result.Got[g.name] = a.run(t, k, g)
				}
				fmt.Fprintln(os.Stderr, result.Line())
				check(t, k, result, plan[k])
			})
			if len(result.Got) > 0 { // -run left others out
				results.Attacks = append(results.Attacks, result)
			}
		}
	}
	if err := results.Print(os.Stderr); err != nil {
		t.Error(err)
	}
	if *output != "" {
		if err := results.Save(*output); err != nil {
			t.Error(err)
		}
	}
}

// plan is which attacks are made where. Without -all, what isn't long is made
// directly and at one of parley's doors, against one of the policies of most
// attacks, all of them by turns.
func (a *arena) plan() map[*attack][]*ground {
	out := map[*attack][]*ground{}
	n := 0
	for _, chapter := range catalogue {
		for _, k := range chapter.attacks {
			if k.long && !*all {
				continue
			}
			door, policy := []string{Front, Peer}[n%2], rowsAndCells[n/2%2]
			n++
			for _, g := range a.grounds {
				switch {
				case !k.at(g), !*all && g.policy == Unhidden:
				case *all, g.name == Direct, (k.only != "" || g.door == door) && (k.policies != nil || g.policy == policy):
					out[k] = append(out[k], g)
				}
			}
		}
	}
	return out
}

// check says what of a result must not be.
func check(t *testing.T, k *attack, r Result, grounds []*ground) {
	t.Helper()
	tried, learned := map[string]bool{}, map[string]bool{}
	for _, g := range grounds {
		got := r.Got[g.name]
		if !g.hides() {
			if g.name != LabelProxy && k.watch == nil && got.Bits < r.Bits/2 {
				t.Errorf("%s: %d of %d right where nothing is hidden: the attack is blind", g.name, got.Right, got.Trials)
			}
			continue
		}
		tried[g.policy] = true
		if got.most() == 0 || k.watch != nil && got.Slower < gross {
			continue
		}
		learned[g.policy] = true
		if k.open[g.policy] == "" {
			t.Errorf("%s: it learned %s: %d of %d right, %.1f bits; what was answered differs by %.1f bits; times %.2f",
				g.name, k.of.what, got.Right, got.Trials, got.Bits, got.Seen, got.Slower)
		}
	}
	for policy := range k.open {
		if tried[policy] && !learned[policy] && k.watch == nil {
			t.Errorf("%s: it is said to be open to this, and isn't: %s", policy, k.open[policy])
		}
	}
}

// machine is what this runs on, in words.
func machine() string {
	cpu := "an unknown processor"
	if file, err := os.Open("/proc/cpuinfo"); err == nil {
		defer file.Close()
		for lines := bufio.NewScanner(file); lines.Scan(); {
			if name, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d cores of %s, %s/%s", runtime.NumCPU(), cpu, runtime.GOOS, runtime.GOARCH)
}
