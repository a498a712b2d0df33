package tenants_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/parley-gateway/parley/tenants"
)

// The thresholds are those of the examples in the OpenTelemetry specification
// ("TraceState: Probability Sampling", rejection threshold).
func TestSamplingThresholds(t *testing.T) {
	for p, want := range map[tenants.SamplingProbability]string{1: "0", 0.5: "8", 0.25: "c", 0.1: "e6666666666668", 1.0 / 3: "aaaaaaaaaaaaac", 0.01: "fd70a3d70a3d7"} {
		got := p.Threshold()
		if p == 0.1 || p == 1.0/3 {
			if got[:12] != want[:12] { // a float64 has 53 bits of the 56
				t.Errorf("%v: %s, want %s", p, got, want)
			}
			continue
		}
		if len(got) < len(want) || got[:len(want)] != want {
			t.Errorf("%v: %s, want %s", p, got, want)
		}
	}
}

func TestSamplingKeepsTheSameTraces(t *testing.T) {
	id := func(low uint64) (out [16]byte) {
		binary.BigEndian.PutUint64(out[8:], low)
		return out
	}
	half := tenants.SamplingProbability(0.5)
	for low, want := range map[uint64]bool{
		0x00_80000000000000: true, 0x00_7fffffffffffff: false, 0x00_ffffffffffffff: true, 0: false,
		0xff_00000000000000: false, // its first byte isn't random
	} {
		if half.Keeps(id(low)) != want {
			t.Errorf("%016x: kept is %t, want %t", low, !want, want)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, p := range []tenants.SamplingProbability{0.01, 0.25, 0.9} {
		const n = 200_000
		kept := 0
		for range n {
			trace := id(r.Uint64())
			if p.Keeps(trace) {
				kept++
				if !(p + 0.05).Keeps(trace) && p < 0.9 {
					t.Fatalf("%x is kept of fewer and not of more", trace)
				}
			}
		}
		if got := float64(kept) / n; math.Abs(got-float64(p)) > 0.01 {
			t.Errorf("%v keeps %v", p, got)
		}
	}
	if !tenants.SamplingProbability(0).Keeps(id(0)) {
		t.Error("without agreed sampling nothing is known to be dropped")
	}
}
