package bench

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/rogpeppe/go-internal/lockedfile"
)

// dataVersion changes with everything below that changes the data: blocks are
// kept between runs under it.
const dataVersion = "1"

// The data of an organization: 10,000 series, one hour of them at 15 s.
const (
	pods      = 500 // each in one region and of one service
	routes    = 5
	interval  = 15 * time.Second
	samples   = 240
	blockSpan = 2 * time.Hour
)

var (
	dataStart = time.Date(2025, 6, 2, 12, 0, 0, 0, time.UTC)
	regions   = []string{"ap-south", "eu-north", "eu-west", "us-east", "us-west"}
	statuses  = []string{"200", "301", "404", "500"}
	services  = []string{"auth", "cart", "catalog", "checkout", "feed", "mail", "media", "orders", "search", "users"}
	paths     = []string{"/", "/api/v1/items", "/api/v1/items/:id", "/healthz", "/login"}
	bounds    = []string{"0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "10", "+Inf"} // seconds
)

// store returns a folder with a Prometheus database of the organization, which
// goes with the test.
func store(t testing.TB, org string) string {
	t.Helper()
	return copied(t, block(t, org))
}

func copied(t testing.TB, from string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatalf("copying data: %v", err)
	}
	return dir
}

// block returns the folder of the organization's block.
func block(t testing.TB, org string) string {
	t.Helper()
	return kept(t, filepath.Join("data-"+dataVersion, org), func(dir string) {
		random := rand.New(rand.NewPCG(1, uint64(len(org))))
		write(t, dir, random, newCounters(random, org))
	})
}

// storeOfCells is a store of acme with as many buckets of histograms besides.
func storeOfCells(t testing.TB) string {
	t.Helper()
	return copied(t, kept(t, filepath.Join("data-"+dataVersion, "cells"), func(dir string) {
		random := rand.New(rand.NewPCG(1, 1))
		write(t, dir, random, append(newCounters(random, "acme"), newBuckets(random)...))
	}))
}

// kept returns a folder with data that is kept between runs, made when it isn't
// there yet.
func kept(t testing.TB, name string, fill func(dir string)) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatalf("no folder to keep benchmark data in: %v; set XDG_CACHE_HOME or HOME", err)
	}
	dir := filepath.Join(cache, "parley", "bench", name)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := lockedfile.MutexAt(dir + ".lock").Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	making := dir + ".making"
	if err := os.RemoveAll(making); err != nil { // what an interrupted run left
		t.Fatal(err)
	}
	fill(making)
	if err := os.Rename(making, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// counter is one series in the making.
type counter struct {
	labels labels.Labels
	ref    storage.SeriesRef
	offset time.Duration // of its target's scrapes
	rate   int           // requests between two scrapes, twice the mean
	value  float64
	added  float64 // since the last scrape
	// includes: it is a bucket of which the counter before it is one as well.
	includes bool
}

// write writes a block of counters.
func write(t testing.TB, dir string, random *rand.Rand, counters []counter) {
	t.Helper()
	writer, err := tsdb.NewBlockWriter(slog.New(slog.DiscardHandler), dir, blockSpan.Milliseconds())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := writer.Close(); err != nil {
			t.Error(err)
		}
	}()
	for i := range samples {
		appender := writer.Appender(t.Context())
		for j := range counters {
			c := &counters[j]
			c.added = float64(random.IntN(c.rate))
			if c.includes {
				c.added += counters[j-1].added
			}
			c.value += c.added
			at := dataStart.Add(time.Duration(i)*interval + c.offset).UnixMilli()
			if c.ref, err = appender.Append(c.ref, c.labels, at, c.value); err != nil {
				t.Fatal(err)
			}
		}
		if err := appender.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := writer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func newCounters(random *rand.Rand, org string) []counter {
	var out []counter
	for pod := range pods {
		offset := time.Duration(random.Int64N(int64(interval))).Truncate(time.Millisecond)
		for s, status := range statuses {
			for route := range routes {
				out = append(out, counter{
					labels: labels.FromStrings(
						labels.MetricName, "http_requests_total",
						"region", regions[pod%len(regions)], "service", services[pod/len(regions)%len(services)],
						"pod", fmt.Sprintf("%s-%s-%05x", org, services[pod/len(regions)%len(services)], pod*7919),
						"status", status, "route", paths[route],
						"instance", fmt.Sprintf("10.1.%d.%d:8080", pod/256, pod%256), "job", "api",
					),
					offset: offset,
					rate:   2 + (100+random.IntN(1000))>>(2*s),
					value:  float64(random.IntN(1_000_000)),
				})
			}
		}
	}
	return out
}

// newBuckets are those of two histograms for each pod.
func newBuckets(random *rand.Rand) []counter {
	out := make([]counter, 0, pods*2*len(bounds))
	for pod := range pods {
		offset := time.Duration(random.Int64N(int64(interval))).Truncate(time.Millisecond)
		for _, status := range statuses[:2] {
			for i, bound := range bounds {
				out = append(out, counter{
					labels: labels.FromStrings(
						labels.MetricName, "http_request_duration_seconds_bucket",
						"region", regions[pod%len(regions)], "service", services[pod/len(regions)%len(services)],
						"pod", fmt.Sprintf("acme-%05x", pod*7919), "status", status, labels.BucketLabel, bound,
						"instance", fmt.Sprintf("10.1.%d.%d:8080", pod/256, pod%256), "job", "api",
					),
					offset:   offset,
					rate:     2 + random.IntN(200)>>(i/3),
					includes: i > 0,
				})
			}
		}
	}
	return out
}
