package attacks

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Learned is how many bits of a secret guesses show, at least, and whether they
// could be chance: right of them, made about trials secrets that were drawn
// independently from values equally likely ones.
//
// Fano's inequality bounds from below what guesses that are wrong with a
// probability e tell of a secret, log2(n) - h(e) - e log2(n-1). The probability
// that mere chance is right as often is a binomial tail; where it is above
// alpha, nothing was learned.
func Learned(values, right, trials int, alpha float64) (bits float64) {
	if trials == 0 || values < 2 || chanceTail(trials, right, 1/float64(values)) > alpha {
		return 0
	}
	wrong := 1 - float64(right)/float64(trials)
	bits = math.Log2(float64(values)) - entropy(wrong)
	if wrong > 0 {
		bits -= wrong * math.Log2(float64(values-1))
	}
	return max(bits, 0)
}

// entropy is that of one event, in bits.
func entropy(p float64) float64 {
	if p <= 0 || p >= 1 {
		return 0
	}
	return -p*math.Log2(p) - (1-p)*math.Log2(1-p)
}

// chanceTail is the probability that of n events, each with probability p, at
// least k occur.
func chanceTail(n, k int, p float64) float64 {
	if k <= 0 {
		return 1
	}
	logFactorial := func(n int) float64 { v, _ := math.Lgamma(float64(n) + 1); return v }
	tail := 0.0
	for i := k; i <= n; i++ {
		tail += math.Exp(logFactorial(n) - logFactorial(i) - logFactorial(n-i) + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return min(tail, 1)
}

// Distinguishable is how many bits of a secret can be told by whoever sees all
// that was answered, whatever he makes of it: the mutual information between
// secrets and what was seen, less what it is on average when the secrets are
// shuffled, and nothing where shuffled secrets have as much of it with a
// probability above alpha.
func Distinguishable(secrets []int, seen []string, r *rand.Rand, alpha float64) (bits float64) {
	truth, classes := classes(secrets), classes(seen)
	most := slices.Max(append(slices.Clone(classes), 0)) + 1
	if most == 1 || most == len(seen) { // nothing differs, or everything does
		return 0
	}
	t := newPairs(truth, classes)
	observed := t.information(truth)
	shuffled := slices.Clone(truth)
	// Most of what could be chance shows early that it is.
	const first = 1000
	total, asMuch, n := 0.0, 0, 0
	for enough := first; n < enough && (n < first || float64(asMuch+1) <= alpha*float64(enough)); n++ {
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		information := t.information(shuffled)
		total += information
		if information >= observed-1e-9 {
			asMuch++
		}
		if n == first-1 && asMuch < 3 {
			enough = int(5 / alpha)
		}
	}
	if float64(asMuch+1)/float64(n+1) > alpha {
		return 0
	}
	return max(observed-total/float64(n), 0)
}

// classes numbers different values from 0.
func classes[T comparable](values []T) []int {
	numbers := map[T]int{}
	out := make([]int, len(values))
	for i, v := range values {
		if _, ok := numbers[v]; !ok {
			numbers[v] = len(numbers)
		}
		out[i] = numbers[v]
	}
	return out
}

// pairs counts which secrets come with which classes.
type pairs struct {
	seen   []int
	counts []int // by secret and class
	width  int
	logs   []float64 // n log2 n
	rest   float64   // what doesn't depend on how secrets and classes are paired
}

func newPairs(secrets, seen []int) *pairs {
	t := &pairs{seen: seen, width: slices.Max(seen) + 1, logs: make([]float64, len(seen)+1)}
	for n := 2; n <= len(seen); n++ {
		t.logs[n] = float64(n) * math.Log2(float64(n))
	}
	rows, columns := make([]int, slices.Max(secrets)+1), make([]int, t.width)
	for i := range seen {
		rows[secrets[i]]++
		columns[seen[i]]++
	}
	t.counts = make([]int, len(rows)*t.width)
	t.rest = t.logs[len(seen)]
	for _, n := range slices.Concat(rows, columns) {
		t.rest -= t.logs[n]
	}
	return t
}

// information is the mutual information in bits.
func (t *pairs) information(secrets []int) float64 {
	clear(t.counts)
	sum := t.rest
	for i, s := range secrets {
		at := s*t.width + t.seen[i]
		sum += t.logs[t.counts[at]+1] - t.logs[t.counts[at]]
		t.counts[at]++
	}
	return sum / float64(len(secrets))
}
