package attacks

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

const sure = 1e-4

func TestLearned(t *testing.T) {
	for _, c := range []struct {
		values, right, trials int
		want                  float64
	}{
		{values: 16, right: 24, trials: 24, want: 4},
		{values: 2, right: 24, trials: 24, want: 1},
		{values: 1 << 16, right: 24, trials: 24, want: 16},
		{values: 16, right: 2, trials: 24},
		{values: 16, right: 6, trials: 24}, // of 300 such lists one is as good by chance
		{values: 2, right: 18, trials: 24},
		{values: 2, right: 0, trials: 24},
		{values: 16},
		{values: 16, right: 12, trials: 24, want: 4 - 1 - 0.5*math.Log2(15)},
	} {
		if got := Learned(c.values, c.right, c.trials, sure); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%d of %d right of %d values: %g bits, want %g", c.right, c.trials, c.values, got, c.want)
		}
	}
}

// TestLearnedByChance guesses at random: what that shows must be nothing, as
// often as alpha says.
func TestLearnedByChance(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const runs, trials, alpha = 20_000, 24, 1e-2
	for _, values := range []int{2, 4, 16} {
		lucky := 0
		for range runs {
			right := 0
			for range trials {
				if r.IntN(values) == r.IntN(values) {
					right++
				}
			}
			if Learned(values, right, trials, alpha) > 0 {
				lucky++
			}
		}
		if float64(lucky) > 1.3*alpha*runs {
			t.Errorf("%d values: %d of %d random guessers learned something", values, lucky, runs)
		}
	}
}

func TestDistinguishable(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const n = 32
	for _, c := range []struct {
		name     string
		values   int
		seen     func(i, secret int) string
		min, max float64
	}{
		{"nothing differs", 16, func(int, int) string { return "same" }, 0, 0},
		{"everything differs", 16, func(i, _ int) string { return fmt.Sprint(i) }, 0, 0},
		{"noise", 16, func(int, int) string { return fmt.Sprint(r.IntN(4)) }, 0, 0},
		{"the secret", 2, func(_, secret int) string { return fmt.Sprint("x", secret) }, 0.8, 1},
		{"one value of sixteen in another way", 16, func(_, secret int) string { return fmt.Sprint(secret / 8) }, 0.5, 1},
		{"the secret among noise", 2, func(_, secret int) string { return fmt.Sprint(secret, r.IntN(2)) }, 0.7, 1},
	} {
		secrets, seen := make([]int, n), make([]string, n)
		for i := range secrets {
			secrets[i] = r.IntN(c.values)
			seen[i] = c.seen(i, secrets[i])
		}
		if got := Distinguishable(secrets, seen, r, sure); got < c.min || got > c.max {
			t.Errorf("%s: %g bits, want %g to %g", c.name, got, c.min, c.max)
		}
	}
}
