package identity

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// bundleCollector shows Status as metrics, one series per partner.
type bundleCollector struct{ bundles *Bundles }

var (
	bundleRefreshed = prometheus.NewDesc(
		"parley_bundle_last_refresh_timestamp_seconds",
		"When the partner's trust bundle was last had from its source; 0: not since the start.",
		[]string{"partner", "trust_domain"}, nil)
	bundleFailures = prometheus.NewDesc(
		"parley_bundle_refresh_failures_total",
		"Refreshes of the partner's trust bundle that failed.",
		[]string{"partner", "trust_domain"}, nil)
	bundleAuthorities = prometheus.NewDesc(
		"parley_bundle_authorities",
		"X.509 authorities in the partner's trust bundle as last known; 0: nobody of the partner is believed.",
		[]string{"partner", "trust_domain"}, nil)
)

func (c bundleCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- bundleRefreshed
	ch <- bundleFailures
	ch <- bundleAuthorities
}

func (c bundleCollector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.bundles.Status() {
		labels := []string{string(s.Partner), s.TrustDomain.Name()}
		refreshed := 0.0
		if !s.Refreshed.IsZero() {
			refreshed = float64(s.Refreshed.UnixMilli()) / 1000
		}
		ch <- prometheus.MustNewConstMetric(bundleRefreshed, prometheus.GaugeValue, refreshed, labels...)
		ch <- prometheus.MustNewConstMetric(bundleFailures, prometheus.CounterValue, float64(s.Failures), labels...)
		ch <- prometheus.MustNewConstMetric(bundleAuthorities, prometheus.GaugeValue, float64(s.Authorities), labels...)
	}
}

// RegisterSVIDExpiry adds a metric that says until when our SVID is valid.
func RegisterSVIDExpiry(reg prometheus.Registerer, source x509svid.Source) error {
	err := reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "parley_svid_not_after_timestamp_seconds",
		Help: "Until when our gateway's own SVID is valid; 0: there is none.",
	}, func() float64 {
		svid, err := source.GetX509SVID()
		if err != nil {
			return 0
		}
		return float64(svid.Certificates[0].NotAfter.Unix())
	}))
	if err != nil {
		return fmt.Errorf("metric of our SVID: %w", err)
	}
	return nil
}
