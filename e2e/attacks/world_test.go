package attacks

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// secret is something that a policy hides, of which every world has another
// value: an index below values, each as likely as any other.
type secret struct {
	what   string
	values int
	name   func(value int) string // as it stands in the data; nil where it is a number
	// unhidden is a purpose for which globex's policy is as ever, but for what
	// hides this.
	unhidden string
}

func numbered(format string) func(int) string {
	return func(value int) string { return fmt.Sprintf(format, value) }
}

var (
	spiking    = &secret{"which of 16 users has the spike", 16, numbered("user-%02d"), "unhidden-user"}
	userName   = &secret{"a user's name of four hexadecimal digits", 1 << 16, numbered("h%04x"), "unhidden-user"}
	spikingPod = &secret{"which of 16 pods has the spike", 16, numbered("pod-%02d"), "unhidden-pod"}
	statusCode = &secret{"which of 16 status codes between 400 and 415", 16, func(v int) string { return fmt.Sprint(400 + v) }, "unhidden-status"}
	traced     = &secret{"which of 16 users an exemplar is of", 16, numbered("traced-%02d"), "unhidden-user"}
	tied       = &secret{"which of two series is first by a label that is dropped", 2, nil, "unhidden-customer"}

	department = &secret{"which of 16 departments a denied series is of", 16, numbered("dept-%02d"), "unhidden-denied"}
	admitted   = &secret{"which of 16 sites a denied series of a released metric is of", 16, numbered("site-%02d"), "unhidden-denied"}
	level      = &secret{"which of 16 denied metrics there is", 16, numbered("internal_%02d_level"), "unhidden-denied"}
	helped     = &secret{"which of 16 help texts a denied metric has", 16, numbered("word%02dword"), "unhidden-denied"}
	targeted   = &secret{"which of 16 pods a denied target is", 16, numbered("target-%02d"), "unhidden-denied"}
	owning     = &secret{"which of 16 people owns an alert", 16, numbered("owner-%02d"), "unhidden-denied"}
	burdened   = &secret{"whether there are 400 denied series", 2, nil, "unhidden-denied"}

	smallSum    = &secret{"which of 16 values a cell of three users sums to", 16, nil, "unhidden-small"}
	smallRegion = &secret{"which of 16 regions three users are in", 16, numbered("place-%02d"), "unhidden-small"}
	crew        = &secret{"how many of two to five users are in a small cell", 4, nil, "unhidden-small"}
	lateToSmall = &secret{"in which of 16 spans of 4m a third user came to a cell of two", 16, nil, "unhidden-small"}
	lateToLarge = &secret{"in which of 16 spans of 4m a thirteenth user came to a cell of twelve", 16, nil, "unhidden-small"}
	elsewhere   = &secret{"which of 16 values two of ten people sum to", 16, nil, "unhidden-small"}
	laden       = &secret{"whether the one user of a cell has 100 series", 2, nil, "unhidden-small"}
	fortune     = &secret{"which of 16 values the one who is most of a cell has", 16, nil, "unhidden-dominant"}
	slowest     = &secret{"in which of 8 buckets a cell's one slow request is", 8, nil, "unhidden-everything"}

	fewEvents = &secret{"how many of two to five events an interval had", 4, nil, "unhidden-few"}
	anyEvent  = &secret{"whether an interval had no event or three", 2, nil, "unhidden-few"}
	lone      = &secret{"in which of 16 regions there was ever an event", 16, numbered("lone-%02d"), "unhidden-few"}
	minute    = &secret{"in which of 10 minutes of an interval all its events were", 10, nil, "unhidden-minute"}

	digits    = &secret{"which of 16 values rounds to the same", 16, nil, "unhidden-digits"}
	between   = &secret{"which of 16 values there was between two samples of the view", 16, nil, "unhidden-between"}
	recent    = &secret{"which of 16 values there was in the last minutes", 16, nil, "unhidden-recent"}
	old       = &secret{"which of 16 values there was before the view begins", 16, nil, "unhidden-old"}
	restarted = &secret{"whether a counter began anew between two samples of the view", 2, nil, "unhidden-between"}
	scraped   = &secret{"at which of 16 moments of a minute a target is scraped", 16, nil, "unhidden-between"}
	drifted   = &secret{"at which of 16 values a steady counter began", 16, nil, "unhidden-digits"}
)

// secrets are all there are.
var secrets = []*secret{
	spiking, userName, spikingPod, statusCode, traced, tied,
	department, admitted, level, helped, targeted, owning, burdened,
	smallSum, smallRegion, crew, lateToSmall, lateToLarge, elsewhere, laden, fortune, slowest,
	fewEvents, anyEvent, lone, minute, digits, between, recent, old, restarted, scraped, drifted,
	callerOf, sessionOf, vault, deniedTrace, linked, interposed, inside, nesting, lasting, begun,
}

// world is one set of secrets. All worlds are in one store, told apart by the
// label service, which every policy keeps; those of traces in another. What policies show is the same in
// each.
type world struct {
	service string
	truth   map[*secret]int
	// end is the time of the last sample, a whole minute.
	end time.Time
	// random settles what is neither secret nor seen, such as who the others are.
	random *rand.Rand
}

func newWorlds(n int, end time.Time, r *rand.Rand) []*world {
	out := make([]*world, n)
	for i := range out {
		w := &world{service: fmt.Sprintf("w%03d", i), truth: map[*secret]int{}, end: end, random: rand.New(rand.NewPCG(r.Uint64(), r.Uint64()))}
		for _, s := range secrets {
			w.truth[s] = r.IntN(s.values)
		}
		out[i] = w
	}
	return out
}

// named is the value of a secret as it stands in the data.
func (w *world) named(s *secret) string { return s.name(w.truth[s]) }

// others are the n values of a secret that this world doesn't have, shuffled.
func (w *world) others(s *secret, n int) []string {
	var out []string
	for _, v := range w.random.Perm(s.values) {
		if v != w.truth[s] && len(out) < n {
			out = append(out, s.name(v))
		}
	}
	return out
}

// at is the time of the i-th sample.
func (w *world) at(i int) time.Time { return w.end.Add(time.Duration(i+1-samples) * interval) }

// index is the sample at a time.
func (w *world) index(at time.Time) int { return samples - 1 - int(w.end.Sub(at)/interval) }
