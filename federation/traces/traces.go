// Package traces is the traces signal.
//
// Raw data and released data are different types, as in package metrics. A
// Source yields raw traces, through methods that only this package can call; the
// view of a Local makes of them what may be seen; a Federated stitches what
// several organizations released of one trace:
//
//	store := traces.NewStore(traces.StoreConfig{}) // in memory
//	local, err := traces.NewLocal(traces.LocalConfig{Org: "globex", Source: store, Secret: secret})
//
// The only model of a trace is OTLP's (go.opentelemetry.io/collector/pdata). The
// shapes of Jaeger and Tempo are those of sources and doors.
package traces

import (
	"encoding/hex"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/parley-gateway/parley/federation"
)

// ParseTraceID reads a trace id in hex, as it is pasted: up to 32 digits in either
// case, shorter ones being those of systems with ids of 64 bits. The error is a
// BadQuestion.
func ParseTraceID(text string) (pcommon.TraceID, error) {
	const digits = 32
	var id pcommon.TraceID
	if text == "" || len(text) > digits {
		return id, badTraceID(text)
	}
	if _, err := hex.Decode(id[:], []byte(strings.Repeat("0", digits-len(text))+text)); err != nil || id.IsEmpty() {
		return id, badTraceID(text)
	}
	return id, nil
}

func badTraceID(text string) error {
	return federation.Errorf(federation.BadQuestion, "trace id %.40q: want up to 32 hexadecimal digits, not all of them 0, such as 4bf92f3577b34da6a3ce929d0e0e4736", text)
}
