package demo

import (
	"errors"
	"math"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
)

// target is what a Prometheus server scrapes: a pod with its instruments.
type target struct {
	up          *number // the server's own: whether the scrape went well
	instruments []instrument
	// missing is how many scrapes fail yet while the pod restarts.
	missing int
}

// instrument is a metric of a target: one series, or those of a histogram.
type instrument interface {
	// write appends what the instrument shows now, or stale markers.
	write(*scrape)
	// reset is what a restart of the process does.
	reset()
}

// restartScrapes is how many scrapes a restarting pod misses.
const restartScrapes = 2

func (t *target) write(s *scrape) {
	if t.up.value = 1; t.missing > 0 {
		t.up.value = 0
	}
	t.up.write(s)
	for _, i := range t.instruments {
		switch t.missing {
		case 0:
			i.write(s)
		case restartScrapes:
			s.stale = true
			i.write(s)
			s.stale = false
			i.reset()
		default:
			i.reset()
		}
	}
	t.missing = max(0, t.missing-1)
}

// scrape is one sample of everything there is, at one time.
type scrape struct {
	to    storage.Appender
	at    int64 // Unix milliseconds
	stale bool  // stale markers are written instead of values
	old   bool  // the store had the sample appended last, or a later one
	err   error // the first that is the store's fault
}

// identity is a series as the store knows it.
type identity struct {
	labels labels.Labels
	ref    storage.SeriesRef
}

func newIdentity(metric string, pairs ...string) identity {
	b := labels.NewBuilder(labels.FromStrings(pairs...))
	return identity{labels: b.Set(labels.MetricName, metric).Labels()}
}

// with is the identity of another series of the same histogram; an empty le is
// none.
func (i identity) with(suffix, le string) identity {
	b := labels.NewBuilder(i.labels)
	return identity{labels: b.Set(labels.MetricName, i.labels.Get(labels.MetricName)+suffix).Set(labels.BucketLabel, le).Labels()}
}

func (s *scrape) append(i *identity, v float64) {
	if s.stale {
		v = math.Float64frombits(value.StaleNaN)
	}
	ref, err := s.to.Append(i.ref, i.labels, s.at, v)
	s.appended(i, ref, err)
}

// appended keeps the reference. A store that was kept from an earlier run may
// have these moments already: what it has stays.
func (s *scrape) appended(i *identity, ref storage.SeriesRef, err error) {
	s.old = err != nil
	switch {
	case err == nil:
		i.ref = ref
	case errors.Is(err, storage.ErrOutOfOrderSample), errors.Is(err, storage.ErrOutOfBounds),
		errors.Is(err, storage.ErrTooOldSample), errors.Is(err, storage.ErrDuplicateSampleForTimestamp),
		errors.Is(err, storage.ErrOutOfOrderExemplar):
	case s.err == nil:
		s.err = err
	}
}

// number is a counter or a gauge.
type number struct {
	identity
	value float64
}

func newNumber(metric string, pairs ...string) *number {
	return &number{identity: newIdentity(metric, pairs...)}
}

func (n *number) write(s *scrape) { s.append(&n.identity, n.value) }

func (n *number) reset() { n.value = 0 }
