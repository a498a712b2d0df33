package demo

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// chance is a company's dice: the same seed throws the same.
type chance struct{ *rand.Rand }

func newChance(seed uint64) chance {
	return chance{rand.New(rand.NewPCG(seed, 0))}
}

// manyAreNormal is from which mean on a Poisson distribution is drawn as a
// normal one.
const manyAreNormal = 60

// count is how many of something happen when mean are to be expected: a draw
// from the Poisson distribution.
func (c chance) count(mean float64) int {
	if mean > manyAreNormal {
		return max(0, int(math.Round(mean+math.Sqrt(mean)*c.NormFloat64())))
	}
	n, limit := 0, math.Exp(-mean)
	for p := c.Float64(); p > limit; p *= c.Float64() {
		n++
	}
	return n
}

// seconds is a duration around median, now and then far above it: a draw from
// the log-normal distribution.
func (c chance) seconds(median time.Duration, times float64) float64 {
	return median.Seconds() * times * math.Exp(0.5*c.NormFloat64())
}

// one of n, the first ones more often.
func (c chance) one(n int) int {
	u := c.Float64()
	return int(float64(n) * u * u)
}

// wave is how busy a region is: the day, a shorter wave that an hour shows,
// and noise that drifts.
type wave struct {
	region region
	drift  float64
}

func (w *wave) next(t time.Time, c chance) float64 {
	w.drift = 0.95*w.drift + 0.02*c.NormFloat64()
	day := float64(t.Unix()%86400)/86400 - float64(w.region.noon)/24
	short := float64(t.Unix()%1500) / 1500
	return w.region.share * (1 + 0.35*math.Cos(2*math.Pi*day) + 0.08*math.Sin(2*math.Pi*short)) * math.Exp(w.drift)
}

// traceID is that of the n-th journey of an interval in a region. All companies
// have the same: a trace goes through all of them.
func traceID(t time.Time, region string, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %d", t.Truncate(Interval).Unix(), region, n))
	return hex.EncodeToString(sum[:16])
}
