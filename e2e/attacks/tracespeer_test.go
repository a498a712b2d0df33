package attacks

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
)

// tracesRequest is a question about traces in the peer door's protocol.
func (o overPeer) tracesRequest(q question) (*federationv1.AskRequest, error) {
	m := &federationv1.TracesQuestion{Expression: q.form.Get("q")}
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(q.form.Get(name), 10, 64)
		return n
	}
	m.StartNs, m.EndNs = number("start")*int64(time.Second), number("end")*int64(time.Second)
	last := q.path[strings.LastIndexByte(q.path, '/')+1:]
	between := func(before, after string) (string, bool) {
		name, is := strings.CutPrefix(q.path, before)
		if !is {
			return "", false
		}
		return strings.CutSuffix(name, after)
	}
	tag, isValues := between("/tempo/api/v2/search/tag/", "/values")
	service, isOperations := between("/jaeger/api/services/", "/operations")
	switch {
	case strings.HasPrefix(q.path, "/jaeger/api/traces/"):
		m.Kind = string(policy.Trace)
	case strings.HasPrefix(q.path, "/api/parley/v1/kept-traces/"):
		m.Kind = string(policy.KeepTrace)
	case q.path == "/tempo/api/search":
		m.Kind, m.Limit = string(policy.Search), number("limit")
	case isValues:
		m.Kind, m.Label = string(policy.LabelValues), tag
	case isOperations:
		m.Kind, m.Label = string(policy.Operations), service
		m.StartNs, m.EndNs = time.Now().Add(-time.Hour).UnixNano(), time.Now().UnixNano()
	case q.path == "/jaeger/api/dependencies":
		m.Kind = string(policy.Dependencies)
		m.EndNs = number("endTs") * int64(time.Millisecond)
		m.StartNs = m.EndNs - number("lookback")*int64(time.Millisecond)
	default:
		return nil, errNoSuchKind
	}
	if m.GetKind() == string(policy.Trace) || m.GetKind() == string(policy.KeepTrace) {
		id := traceIDOf(last)
		m.Ids = [][]byte{id[:]}
	}
	return &federationv1.AskRequest{
		ExchangeId: string(federation.NewExchangeID(time.Now())), Purpose: o.purpose,
		Question: &federationv1.AskRequest_Traces{Traces: m},
	}, nil
}

// addTrace adds a trace as OTLP's JSON.
func (a *peerAnswer) addTrace(chunk *federationv1.TraceChunk) error {
	a.otlp = append(a.otlp, chunk.GetOtlp()...)
	if chunk.GetMore() {
		return nil
	}
	spans, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(a.otlp)
	if err != nil {
		return err
	}
	a.otlp = nil
	text, err := (&ptrace.JSONMarshaler{}).MarshalTraces(spans)
	if err != nil {
		return err
	}
	a.others = append(a.others, json.RawMessage(text))
	return nil
}
