package tenants

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/parley-gateway/parley/tenants/yamlstrict"
)

// TracesTerms are what both organizations settled about traces. Its zero value
// settles nothing.
type TracesTerms struct {
	// Sampling is the share of traces that both keep: the same ones, by consistent
	// probability sampling over trace ids.
	Sampling SamplingProbability `yaml:"sampling"`
	// Restarts says that traces begin anew where requests cross between the two, under
	// another id, with a link to the span that called. Then what goes on under other
	// ids is looked for whenever a trace is asked for.
	Restarts bool `yaml:"restarts"`
	// Correlation names attributes of spans. A client or producer span of one
	// organization and a server or consumer span of the other that carry the same value
	// are of the same request, whatever their trace ids are.
	Correlation []string `yaml:"correlation"`
}

// SamplingProbability is above 0 and at most 1; zero stands for none that was
// agreed. Which traces it keeps is the OpenTelemetry specification's ("TraceState:
// Probability Sampling"): those whose randomness, the last 56 bits of their ids, is
// at or above the rejection threshold.
type SamplingProbability float64

const randomnessBits = 56

// threshold is the rejection threshold: how many of the 2^56 values of randomness
// are below it is the share of traces that are not kept.
func (p SamplingProbability) threshold() uint64 {
	return uint64(math.Round((1 - float64(p)) * (1 << randomnessBits)))
}

// Keeps says whether the trace of an id is one of those that are kept. Without an
// agreed probability that isn't known, and it says yes.
func (p SamplingProbability) Keeps(trace [16]byte) bool {
	const randomness = 1<<randomnessBits - 1
	return p == 0 || binary.BigEndian.Uint64(trace[8:])&randomness >= p.threshold()
}

// Threshold is what samplers of the probability write into a trace's state, after
// ot=th: hexadecimal digits without zeros at the end.
func (p SamplingProbability) Threshold() string {
	if digits := strings.TrimRight(fmt.Sprintf("%014x", p.threshold()), "0"); digits != "" {
		return digits
	}
	return "0"
}

// ParseSamplingProbability reads a share such as 0.25.
func ParseSamplingProbability(s string) (SamplingProbability, error) {
	p, err := strconv.ParseFloat(s, 64)
	// As a threshold has 56 bits, a share below 2^-56 would keep none.
	if err != nil || !(p >= 1.0/(1<<randomnessBits) && p <= 1) {
		return 0, fmt.Errorf("sampling probability %q: want a share above 0 and at most 1, such as 0.25 for a quarter of all traces", s)
	}
	return SamplingProbability(p), nil
}

// maxCorrelation is how many attributes may correlate: each is looked for.
const maxCorrelation = 8

func checkTraces(doc *yamlstrict.Document, t TracesTerms) {
	checkSet(doc, "traces.correlation", t.Correlation)
	if len(t.Correlation) > maxCorrelation {
		doc.Problemf("traces.correlation", "has more than %d attributes", maxCorrelation)
	}
	for i, name := range t.Correlation {
		if name == "" || strings.TrimSpace(name) != name {
			doc.Problemf(fmt.Sprintf("traces.correlation[%d]", i), "want the name of an attribute such as messaging.message.id, not %q", name)
		}
	}
}
