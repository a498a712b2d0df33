package e2e

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// shop is an application of an organization whose metrics are worth hiding.
// Whatever must not leave has the word secret and the organization's name in it.
type shop struct {
	server  *httptest.Server
	scrapes atomic.Int64
	orders  *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	salary  *prometheus.GaugeVec
}

// regions are kept by everybody, customers by nobody.
var (
	regions   = []string{"eu", "us"}
	customers = []string{"ada", "bob", "cem"}
)

// secret is a value of the organization that its partners never see.
func secret(org, of string) string { return "secret-" + org + "-" + of }

// secretName is the same as the name of a metric or a label.
func secretName(org, of string) string {
	return strings.ReplaceAll(secret(org, of), "-", "_")
}

func newShop(t testing.TB, org string) *shop {
	t.Helper()
	ward := secretName(org, "ward") // a label whose very name is hidden
	s := &shop{
		orders: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "orders_total", Help: "Orders placed."}, []string{"region", "customer", ward}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "order_seconds", Help: "How long an order took.",
			Buckets: []float64{.1, 1}, NativeHistogramBucketFactor: 1.5,
		}, []string{"region"}),
		salary: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: secretName(org, "salary"), Help: "What the people are paid, " + secret(org, "help") + ".",
		}, []string{"employee"}),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.orders, s.seconds, s.salary)
	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.work(org)
		metrics.ServeHTTP(w, r)
	}))
	t.Cleanup(s.server.Close)
	return s
}

// work is what the shop does between two scrapes. Numbers are small integers,
// so that sums are the same in any order.
func (s *shop) work(org string) {
	n := s.scrapes.Add(1)
	for i, customer := range customers {
		orders := s.orders.WithLabelValues(regions[i%len(regions)], secret(org, customer), secret(org, "b2"))
		orders.(prometheus.ExemplarAdder).AddWithExemplar(float64(i+1), prometheus.Labels{
			"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "customer": secret(org, customer),
		})
		s.seconds.WithLabelValues(regions[i%len(regions)]).Observe(float64(n%8) / 4)
	}
	s.salary.WithLabelValues(secret(org, "eve")).Set(4000)
}

func (s *shop) address() string { return strings.TrimPrefix(s.server.URL, "http://") }
