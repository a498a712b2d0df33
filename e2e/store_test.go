package e2e

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/parley-gateway/parley/e2e/servers"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
)

// twins are an embedded store and a real Prometheus that hold the same: half
// an hour of everything that makes PromQL hard.
type twins struct {
	series     []metricstest.Series
	embedded   *metrics.TSDB
	prometheus *servers.Server
}

// newTwins writes the data once, as Prometheus's own storage does. The copy is
// what the real one finds in its folder when it starts.
func newTwins(t *testing.T, r *rand.Rand) twins {
	t.Helper()
	return twinsOf(t, append(metricstest.Random(r), requests(r)...))
}

func twinsOf(t *testing.T, series []metricstest.Series) twins {
	t.Helper()
	dir, copied := filepath.Join(t.TempDir(), "tsdb"), filepath.Join(t.TempDir(), "tsdb")
	written, err := metrics.OpenTSDB(metrics.TSDBConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	metricstest.Append(t, written, series)
	if err := written.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	embedded, err := metrics.OpenTSDB(metrics.TSDBConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := embedded.Close(); err != nil {
			t.Error(err)
		}
	})
	return twins{series: series, embedded: embedded, prometheus: servers.Prometheus(t, servers.PrometheusConfig{
		Data: copied, Config: "scrape_configs: []", Flags: []string{"--enable-feature=exemplar-storage"},
	})}
}

// requests are counters of 24 pods, by what the benchmarks group by. Their
// increments aren't round, so that the order of additions shows.
func requests(r *rand.Rand) []metricstest.Series {
	var out []metricstest.Series
	for pod := range 24 {
		for _, status := range []string{"200", "404", "500"} {
			s := metricstest.Series{
				Labels: labels.FromStrings("__name__", "http_requests_total",
					"region", []string{"eu-west", "us-east", "us-west"}[pod%3], "service", []string{"checkout", "search"}[pod%2],
					"status", status, "pod", fmt.Sprintf("pod-%d", pod), "user", fmt.Sprintf("user-%d", pod/5)),
				Values: make([]float64, metricstest.Samples),
			}
			total := 0.0
			for i := range s.Values {
				total += r.ExpFloat64()
				switch r.IntN(80) {
				case 0: // the process started again
					total = 0
				case 1: // a scrape failed
					s.Values[i] = math.Float64frombits(value.StaleNaN)
					continue
				}
				s.Values[i] = total
			}
			out = append(out, s)
		}
	}
	return out
}

// source is a real Prometheus as a gateway uses it.
func source(t *testing.T, c metrics.PrometheusConfig, base string) *metrics.Prometheus {
	t.Helper()
	var err error
	if c.URL, err = url.Parse(base); err != nil {
		t.Fatal(err)
	}
	if c.Client == nil {
		transport := &http.Transport{MaxIdleConnsPerHost: 4}
		t.Cleanup(transport.CloseIdleConnections)
		c.Client = &http.Client{Transport: transport}
	}
	p, err := metrics.NewPrometheus(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// local answers from a source, always with the same pseudonyms and at the end
// of the data.
func local(t *testing.T, s metrics.Source) *metrics.Local {
	t.Helper()
	l, err := metrics.NewLocal(metrics.LocalConfig{
		Org: "acme", Source: s, Secret: []byte("0123456789abcdef0123456789abcdef"), Now: metricstest.End,
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}
