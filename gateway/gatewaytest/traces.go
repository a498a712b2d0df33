package gatewaytest

import (
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/federation/traces"
)

// Records gives the organization a store with the traces, or adds them to it. They
// are of the time of metricstest's stores.
func (o *Org) Records(all ...ptrace.Traces) *traces.Store {
	o.world.t.Helper()
	store, ok := o.Traces.(*traces.Store)
	if !ok {
		store = traces.NewStore(traces.StoreConfig{Now: func() time.Time { return metricstest.End().Add(time.Hour) }})
		o.Traces = store
	}
	for _, trace := range all {
		if err := store.Append(trace); err != nil {
			o.world.t.Fatal(err)
		}
	}
	return store
}
