package attacks

import (
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/parley-gateway/parley/federation/metrics"
)

// A store has a sample of each series every interval, and ends when the run
// begins: policies speak of now. The policy of floors then hides the last 70
// minutes, which is for as long as a run may take and 10 more.
const (
	interval = time.Minute
	samples  = 175
)

// series is one of the store, with a value for each index, NaN where there is
// none, or a native histogram for all of them.
type series struct {
	labels    labels.Labels
	value     func(i int) float64
	histogram func(i int) *histogram.FloatHistogram
	exemplar  labels.Labels
	// before is how long before the others it is scraped.
	before        time.Duration
	ref           storage.SeriesRef
	exemplarAt    int
	exemplarValue float64
}

// store writes the worlds into a folder as a Prometheus finds it.
func store(t testing.TB, worlds []*world) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tsdb")
	db, err := metrics.OpenTSDB(metrics.TSDBConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	var all []*series
	for _, w := range worlds {
		all = append(all, w.series()...)
	}
	for i := range samples {
		at := worlds[0].at(i).UnixMilli()
		appender := db.Appender(t.Context())
		for _, s := range all {
			if err := s.append(appender, i, at); err != nil {
				t.Fatalf("%s: %v", s.labels, err)
			}
		}
		if err := appender.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (s *series) append(to storage.Appender, i int, at int64) (err error) {
	at -= s.before.Milliseconds()
	if s.histogram != nil {
		s.ref, err = to.AppendHistogram(s.ref, s.labels, at, nil, s.histogram(i))
		return err
	}
	v := s.value(i)
	if math.IsNaN(v) {
		return nil
	}
	if s.ref, err = to.Append(s.ref, s.labels, at, v); err != nil || s.exemplar.IsEmpty() || i != s.exemplarAt {
		return err
	}
	_, err = to.AppendExemplar(s.ref, s.labels, exemplar.Exemplar{Labels: s.exemplar, Value: s.exemplarValue, Ts: at, HasTs: true})
	return err
}

// constant is a gauge that doesn't change.
func constant(v float64) func(int) float64 { return func(int) float64 { return v } }

// steady is a counter.
func steady(each float64) func(int) float64 {
	return func(i int) float64 { return 100 + float64(i)*each }
}

var absent = math.NaN()

// Who may see a series by the tenant alone, which is all that a label proxy
// looks at.
const (
	shared   = "shared"
	internal = "internal"
)

// series are those of a world.
func (w *world) series() []*series {
	var out []*series
	add := func(tenant string, value func(int) float64, ls ...string) *series {
		s := &series{labels: labels.FromStrings(append(ls, "service", w.service, "tenant", tenant)...), value: value}
		out = append(out, s)
		return s
	}
	w.requests(add)
	w.denied(add)
	w.cells(add)
	w.events(add)
	w.exactness(add)
	out = append(out, w.latency()...)
	return out
}

type adding func(tenant string, value func(int) float64, labels ...string) *series

// requests have labels that a policy of rows drops, generalizes or renames.
// What is visible, region, class of status and how they grow, goes by slot; who
// is in which slot is the secret.
func (w *world) requests(add adding) {
	users := append([]string{w.named(spiking)}, w.others(spiking, 15)...)
	pods := append([]string{w.named(spikingPod)}, w.others(spikingPod, 3)...)
	of := func(slot int, user, region, status string, value func(int) float64) *series {
		return add(shared, value, "__name__", "http_requests_total", "region", region, "status", status,
			"user", user, "customer", fmt.Sprint("customer of ", user), "pod", pods[slot%len(pods)])
	}
	for slot, user := range users {
		value := steady(float64(20 + slot))
		if slot == 0 {
			value = func(i int) float64 { return steady(20)(i) + 2000*max(0, float64(i-samples+6)) }
		}
		s := of(slot, user, "eu", "200", value)
		if slot == 0 {
			s.exemplar, s.exemplarAt = labels.FromStrings("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736", "user", w.named(traced)), samples-20
		}
		if slot >= 8 && slot < 14 {
			of(slot, user, "eu", w.named(statusCode), steady(3))
		}
	}
	for slot := range 8 {
		of(slot, fmt.Sprintf("other-%02d", slot), "us", "200", steady(10))
	}
	add(shared, constant(1), "__name__", "agent_sessions", "user", "alice")
	add(shared, constant(1), "__name__", "agent_sessions", "user", w.named(userName))
	// The same value twice, in the order of a label that is dropped: whose is
	// first is the secret.
	regions := [2]string{"eu", "us"}
	add(shared, constant(0.1), "__name__", "http_retries", "customer", "anna", "region", regions[w.truth[tied]])
	add(shared, constant(0.1), "__name__", "http_retries", "customer", "zoe", "region", regions[1-w.truth[tied]])
}

// denied are series that a policy names as never released, of another tenant.
func (w *world) denied(add adding) {
	add(internal, steady(7), "__name__", "payroll_total", "department", w.named(department))
	add(shared, steady(9), "__name__", "http_logins_total", "region", "site-eu", "realm", "public")
	add(internal, steady(5), "__name__", "http_logins_total", "region", w.named(admitted), "realm", "staff")
	add(internal, constant(7), "__name__", w.named(level))
	if w.truth[burdened] == 1 {
		for i := range 400 {
			add(internal, steady(float64(i)), "__name__", "internal_events_total", "id", strconv.Itoa(i))
		}
	}
}

// cells have people as units, six of which make a cell.
func (w *world) cells(add adding) {
	people := func(metric, region string, n int, value func(person int) float64) {
		for i := range n {
			add(shared, constant(value(i)), "__name__", metric, "region", region, "user", fmt.Sprintf("%s-%d", region, i))
		}
	}
	of := func(v float64) func(int) float64 { return func(int) float64 { return v } }
	people("agent_jobs", "eu", 9, of(3))
	people("agent_jobs", "us", 7, of(4))
	people("agent_jobs", "sa", 3, func(i int) float64 { return float64([]int{10 + w.truth[smallSum], 2, 1}[i]) })

	people("agent_places", "eu", 9, of(3))
	people("agent_places", w.named(smallRegion), 3, of(2))

	people("agent_crew", "eu", 9, of(1))
	people("agent_crew", "ap", 2+w.truth[crew], of(1))

	people("agent_members", "eu", 12, of(5))
	people("agent_members", "ap", 2, of(5))
	since := func(s *secret) func(int) float64 {
		first := samples - 65 + 4*w.truth[s]
		return func(i int) float64 {
			if i < first {
				return absent
			}
			return 5
		}
	}
	add(shared, since(lateToLarge), "__name__", "agent_members", "region", "eu", "user", "eu-late")
	add(shared, since(lateToSmall), "__name__", "agent_members", "region", "ap", "user", "ap-late")

	// What the other eight have is nobody's to know.
	people("agent_shifts", "eu", 8, func(int) float64 { return float64(w.random.IntN(1000)) })
	for i, v := range []int{1 + w.truth[elsewhere], 1} {
		add(shared, constant(float64(v)), "__name__", "agent_shifts", "region", "eu", "user", fmt.Sprint("later-", i)).before = 30 * time.Second
	}

	people("agent_pods", "eu", 9, of(1))
	for pod := range 1 + 99*w.truth[laden] {
		add(shared, constant(1), "__name__", "agent_pods", "region", "ap", "user", "ap-0", "pod", strconv.Itoa(pod))
	}

	people("agent_spend", "eu", 8, of(1))
	people("agent_spend", "us", 8, func(i int) float64 {
		if i == 0 {
			return float64(1000 + 100*w.truth[fortune])
		}
		return 1
	})
}

// bounds of latency's buckets. Everything but one request took less than the
// first.
var bounds = []string{"0.1", "0.2", "0.4", "0.8", "1.6", "3.2", "6.4", "12.8", "+Inf"}

// latency is of eight users, as a classic histogram and as a native one.
func (w *world) latency() []*series {
	var out []*series
	for user := range 8 {
		slow := -1
		if user == 0 {
			slow = 1 + w.truth[slowest]
		}
		of := func(name string) *labels.Builder {
			return labels.NewBuilder(labels.FromStrings("__name__", name, "service", w.service, "tenant", shared, "region", "eu", "user", fmt.Sprint("eu-", user)))
		}
		for b, bound := range bounds {
			count := 50.0
			if slow >= 0 && b >= slow {
				count++
			}
			out = append(out, &series{labels: of("agent_wait_seconds_bucket").Set("le", bound).Labels(), value: constant(count)})
		}
		// Buckets double: the k-th above the first holds what took 0.1*2^k.
		h := &histogram.FloatHistogram{
			Schema: 0, ZeroThreshold: 0.001, Count: 50, Sum: 2.5,
			PositiveSpans: []histogram.Span{{Offset: -3, Length: 9}}, PositiveBuckets: []float64{50, 0, 0, 0, 0, 0, 0, 0, 0},
		}
		if slow > 0 {
			h.Count, h.PositiveBuckets[slow] = 51, 1
		}
		out = append(out, &series{labels: of("agent_wait_native_seconds").Labels(), histogram: func(int) *histogram.FloatHistogram { return h }})
	}
	return out
}

// eventInterval is that of the policy of events, whose units are the increments
// of counters.
const eventInterval = 10 * time.Minute

// eventsBegin is the beginning of the interval with secrets: its samples are
// those after it. It is the last but one that is over.
func (w *world) eventsBegin() time.Time { return w.end.Truncate(eventInterval).Add(-2 * eventInterval) }

func (w *world) events(add adding) {
	first := w.index(w.eventsBegin())
	add(shared, steady(12), "__name__", "signups_total", "region", "eu")
	few := float64(2 + w.truth[fewEvents])
	add(shared, func(i int) float64 {
		v := 1000.0 + 20*float64(i)
		if i > first {
			v = 1000 + 20*float64(first)
		}
		if i > first+4 {
			v += few
		}
		if i > first+10 {
			v += 20 * float64(i-first-10)
		}
		return v
	}, "__name__", "signups_total", "region", "ap")
	add(shared, func(i int) float64 {
		v := 1000.0 + 20*float64(min(i, first))
		if i > first+4 {
			v += 3 * float64(w.truth[anyEvent])
		}
		return v
	}, "__name__", "signups_total", "region", "af")
	add(shared, constant(1), "__name__", "signups_total", "region", w.named(lone))
	at := first + 1 + w.truth[minute]
	add(shared, func(i int) float64 {
		v := 1000.0 + 8*float64(min(i, first))
		if i >= at {
			v += 30
		}
		return v
	}, "__name__", "signups_total", "region", "sa")
}

// viewInterval is the resolution of the policy of floors.
const viewInterval = 5 * time.Minute

// spikedAt is a moment within an interval of the view, of which the view has
// the end alone.
func (w *world) spikedAt() time.Time {
	return w.insideView().Add(2 * time.Minute)
}

// exactness is what the floors of a view hide.
func (w *world) exactness(add adding) {
	gauge := func(queue string, value func(i int) float64) *series {
		return add(shared, value, "__name__", "queue_depth", "queue", queue)
	}
	exact := float64(5000 + 2*w.truth[digits])
	s := gauge("digits", constant(exact))
	s.exemplar, s.exemplarValue, s.exemplarAt = labels.FromStrings("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"), exact, w.index(w.insideView())
	gauge("scraped", constant(5000)).before = 2 * time.Second * time.Duration(w.truth[scraped])
	gauge("restarted", func(i int) float64 {
		if i == w.index(w.spikedAt()) && w.truth[restarted] == 1 {
			return 0
		}
		return float64(10_000 + 100*i)
	})
	gauge("between", func(i int) float64 {
		if i == w.index(w.spikedAt()) {
			return float64(6000 + 1000*w.truth[between])
		}
		return 5000
	})
	during := func(from, to int, s *secret) func(i int) float64 {
		return func(i int) float64 {
			if i >= from && i < to {
				return float64(6000 + 1000*w.truth[s])
			}
			return 5000
		}
	}
	gauge("recent", during(samples-10, samples, recent))
	gauge("old", during(0, 25, old))
	gauge("drift", func(i int) float64 { return float64(5000 + 6*w.truth[drifted] + 7*i) })
}
