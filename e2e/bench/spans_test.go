package bench

import (
	"bytes"
	"context"
	bigendian "encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/e2e/servers"
)

// The traces of three organizations: most are of a single request, and some of
// many calls.
const (
	smallTraces = 2000
	largeCalls  = 300
	tracesSpan  = 25 * time.Minute
	// leavingTrace is the small one whose last call isn't to a database: it may go on
	// under another id.
	leavingTrace = smallTraces / 2
)

// spansOf is how many spans each organization has of a call: acme calls globex,
// whose work is most of it, and which calls initech.
var spansOf = map[string]int{"acme": 2, "globex": 5, "initech": 3}

// traceOf is the id of a trace by its number; the one after the small ones is
// large.
func traceOf(number int) pcommon.TraceID {
	id := pcommon.TraceID{0: 0x70}
	bigendian.BigEndian.PutUint64(id[8:], uint64(number+1))
	return id
}

// journey is what organizations record of a trace.
type journey struct {
	trace pcommon.TraceID
	spans map[string]ptrace.SpanSlice
	all   map[string]ptrace.Traces
	last  uint64 // the id of the span that was made last
}

func newJourney(trace pcommon.TraceID) *journey {
	return &journey{trace: trace, spans: map[string]ptrace.SpanSlice{}, all: map[string]ptrace.Traces{}}
}

// record makes a trace of a request that begins at a time and is of so many calls,
// one after the other.
func record(number, calls int, start time.Time) *journey {
	j := newJourney(traceOf(number))
	const took = 10 * time.Millisecond
	root := j.add("acme", pcommon.SpanID{}, ptrace.SpanKindServer, start, time.Duration(calls)*took)
	for i := range calls {
		at := start.Add(time.Duration(i) * took)
		parent := root
		for depth, s := range []struct {
			org  string
			kind ptrace.SpanKind
		}{
			{"acme", ptrace.SpanKindInternal},
			{"acme", ptrace.SpanKindClient},
			{"globex", ptrace.SpanKindServer},
			{"globex", ptrace.SpanKindInternal},
			{"globex", ptrace.SpanKindInternal},
			{"globex", ptrace.SpanKindInternal},
			{"globex", ptrace.SpanKindClient},
			{"initech", ptrace.SpanKindServer},
			{"initech", ptrace.SpanKindInternal},
			{"initech", ptrace.SpanKindClient},
		} {
			inset := time.Duration(depth) * took / 25
			parent = j.add(s.org, parent, s.kind, at.Add(inset), took-2*inset)
		}
		if number != leavingTrace {
			last := j.spans["initech"]
			last.At(last.Len()-1).Attributes().PutStr("db.system.name", "postgresql")
		}
	}
	return j
}

// add makes a span as instrumentation does.
func (j *journey) add(org string, parent pcommon.SpanID, kind ptrace.SpanKind, start time.Time, took time.Duration) pcommon.SpanID {
	if _, there := j.spans[org]; !there {
		j.all[org] = ptrace.NewTraces()
		rs := j.all[org].ResourceSpans().AppendEmpty()
		for name, value := range map[string]string{"service.name": "api", "service.version": "1.4.2", "host.name": org + "-7", "k8s.pod.name": "api-5d8f9c7b6-x2x9z"} {
			rs.Resource().Attributes().PutStr(name, value)
		}
		ss := rs.ScopeSpans().AppendEmpty()
		ss.Scope().SetName("go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp")
		j.spans[org] = ss.Spans()
	}
	s := j.spans[org].AppendEmpty()
	j.last++
	var id pcommon.SpanID
	bigendian.BigEndian.PutUint64(id[:], j.last)
	s.SetTraceID(j.trace)
	s.SetSpanID(id)
	s.SetParentSpanID(parent)
	s.SetKind(kind)
	s.SetName("POST /api/v1/orders")
	s.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
	s.SetEndTimestamp(pcommon.NewTimestampFromTime(start.Add(took)))
	a := s.Attributes()
	a.PutStr("http.request.method", "POST")
	a.PutStr("http.route", "/api/v1/orders")
	a.PutInt("http.response.status_code", []int64{200, 200, 200, 500}[int(j.trace[15])%4])
	a.PutStr("url.full", fmt.Sprintf("http://orders.%s.svc:8080/api/v1/orders?id=%d", org, j.last))
	a.PutStr("user.id", fmt.Sprintf("u-%d", j.last%100))
	a.PutStr("network.peer.address", "10.3.4.5")
	if kind == ptrace.SpanKindInternal {
		e := s.Events().AppendEmpty()
		e.SetName("retry")
		e.SetTimestamp(s.StartTimestamp())
		e.Attributes().PutInt("attempt", 2)
	}
	return id
}

// pushSpans sends a Jaeger what an organization recorded of all traces, and
// returns when it is there.
func pushSpans(b *testing.B, c client, jaeger servers.Jaeger, org string, start time.Time) {
	b.Helper()
	const atOnce = 100
	all := ptrace.NewTraces()
	for i := range smallTraces {
		record(i, 1, start.Add(time.Duration(i)*tracesSpan/smallTraces)).all[org].ResourceSpans().MoveAndAppendTo(all.ResourceSpans())
		if (i+1)%atOnce == 0 {
			if err := c.export(b.Context(), jaeger.OTLPHTTP, all); err != nil {
				b.Fatal(err)
			}
			all = ptrace.NewTraces()
		}
	}
	if err := c.export(b.Context(), jaeger.OTLPHTTP, record(smallTraces, largeCalls, start).all[org]); err != nil {
		b.Fatal(err)
	}
	want := largeCalls * spansOf[org]
	if org == "acme" {
		want++ // the root
	}
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		body, err := c.get(b.Context(), jaeger.URL+"/api/traces/"+traceOf(smallTraces).String(), nil)
		if err == nil && strings.Count(string(body), `"operationName"`) == want {
			return
		}
		select {
		case <-again.C:
		case <-b.Context().Done():
			b.Fatalf("the Jaeger of %s hasn't got what was sent to it: %v", org, err)
		}
	}
}

// export sends spans as OTLP.
func (c client) export(ctx context.Context, base string, spans ptrace.Traces) error {
	var marshaler ptrace.ProtoMarshaler
	body, err := marshaler.MarshalTraces(spans)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/traces", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return fmt.Errorf("%s: %s", response.Status, text)
	}
	return nil
}
