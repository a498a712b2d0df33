package tenants

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// directoryMetrics tell whether the folder of agreements is what is served.
// The names follow Prometheus's own for its configuration.
type directoryMetrics struct {
	agreements  prometheus.Gauge
	successful  prometheus.Gauge
	lastSuccess prometheus.Gauge
}

func newDirectoryMetrics(r prometheus.Registerer) (directoryMetrics, error) {
	m := directoryMetrics{
		agreements: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "parley_agreements",
			Help: "Agreements in force or waiting for it, expired ones included.",
		}),
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "parley_agreements_last_reload_successful",
			Help: "Whether the folder of agreements, as it is now, could be loaded.",
		}),
		lastSuccess: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "parley_agreements_last_reload_success_timestamp_seconds",
			Help: "When the agreements were last loaded, in Unix time.",
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.agreements, m.successful, m.lastSuccess} {
		if err := r.Register(c); err != nil {
			return directoryMetrics{}, fmt.Errorf("registering the metrics of agreements: %w", err)
		}
	}
	return m, nil
}

func (m directoryMetrics) reloaded(agreements int, at time.Time) {
	m.agreements.Set(float64(agreements))
	m.successful.Set(1)
	m.lastSuccess.Set(float64(at.UnixMilli()) / 1000)
}

func (m directoryMetrics) failed(agreements int) {
	m.agreements.Set(float64(agreements))
	m.successful.Set(0)
}
