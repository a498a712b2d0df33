package gatewaytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/parley-gateway/parley/gateway/audit"
	"github.com/parley-gateway/parley/gateway/front"
)

// Audited is what its gateway recorded so far.
func (o *Org) Audited() []audit.Record {
	o.world.t.Helper()
	var out []audit.Record
	for record, err := range audit.Read(os.DirFS(o.AuditDir())) {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			o.world.t.Fatal(err)
		}
		out = append(out, record)
	}
	return out
}

// Ready is what /-/ready says: whether all is well, and the checks by name.
func (o *Org) Ready() (bool, map[string]front.Check) {
	o.world.t.Helper()
	reply := o.Get("/-/ready", nil)
	var report struct{ Checks []front.Check }
	if err := json.Unmarshal(reply.Body, &report); err != nil {
		o.world.t.Fatalf("%d %q: %v", reply.Code, reply.Body, err)
	}
	checks := map[string]front.Check{}
	for _, c := range report.Checks {
		checks[c.Name] = c
	}
	return reply.Code == http.StatusOK, checks
}

// Metric is the sum of the samples of a counter or gauge at /metrics that have
// the labels, a list of name, value pairs.
func (o *Org) Metric(name string, with ...string) float64 {
	o.world.t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(o.Get("/metrics", nil).Body))
	if err != nil {
		o.world.t.Fatal(err)
	}
	total := 0.0
	for _, m := range families[name].GetMetric() {
		if has(m, with) {
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return total
}

func has(m *dto.Metric, with []string) bool {
	values := map[string]string{}
	for _, l := range m.GetLabel() {
		values[l.GetName()] = l.GetValue()
	}
	for i := 0; i+1 < len(with); i += 2 {
		if values[with[i]] != with[i+1] {
			return false
		}
	}
	return true
}
