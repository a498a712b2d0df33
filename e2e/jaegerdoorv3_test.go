package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/e2e/servers"
)

// TestJaegerDoorVersion3 is TestJaegerDoor for /api/v3, over HTTP and gRPC, as Grafana's data source
// with its toggle and Jaeger's newer UI use it. The UI's list of what it found is
// later than these Jaegers: that is compared with the traces themselves.
func TestJaegerDoorVersion3(t *testing.T) {
	for name, v2 := range map[string]bool{"version 1": false, "version 2": true} {
		t.Run(name, func(t *testing.T) {
			d := jaegerDoorV3{}
			d.jaeger, d.o, d.start = startJaegerDoor(t, v2)
			d.lists(t)
			d.traces(t)
			d.searches(t)
			d.summaries(t)
			d.overGRPC(t)
		})
	}
}

type jaegerDoorV3 struct {
	jaeger servers.Jaeger
	o      *org
	start  time.Time
}

// both asks the Jaeger and the gateway.
func (d jaegerDoorV3) both(t *testing.T, path string, parameters ...string) (theirs, ours reply) {
	t.Helper()
	v := url.Values{}
	for pair := range slices.Chunk(parameters, 2) {
		v.Add(pair[0], pair[1])
	}
	theirs, ours = asks(t, d.jaeger.URL, path, v), asks(t, d.o.url()+"/jaeger", path, v)
	if theirs.status != ours.status {
		t.Errorf("%s %v: Jaeger answers %d %s, and we %d %s", path, v, theirs.status, theirs.body, ours.status, ours.body)
	}
	return theirs, ours
}

func (d jaegerDoorV3) lists(t *testing.T) {
	type lists struct {
		Services   []string
		Operations []struct{ Name, SpanKind string }
	}
	sorted := func(r reply) (out []string) {
		var l lists
		if err := json.Unmarshal([]byte(r.body), &l); err != nil {
			t.Fatalf("%v: %s", err, r.body)
		}
		for _, o := range l.Operations {
			l.Services = append(l.Services, o.Name+" "+o.SpanKind)
		}
		slices.Sort(l.Services)
		return l.Services
	}
	for _, c := range []struct {
		path string
		with []string
		want int
	}{
		{"/api/v3/services", nil, 3},
		{"/api/v3/operations", []string{"service", "web"}, 2},
		{"/api/v3/operations", []string{"service", "pay"}, 2},
		{"/api/v3/operations", []string{"service", "nobody"}, 0},
		{"/api/v3/operations", []string{"service", "pay", "span_kind", "internal"}, 1},
	} {
		theirs, ours := d.both(t, c.path, c.with...)
		if diff := cmp.Diff(sorted(theirs), sorted(ours)); diff != "" || len(sorted(ours)) != c.want {
			t.Errorf("%s %v (-Jaeger +ours):\n%s", c.path, c.with, diff)
		}
	}
}

// otlpIn are the spans of an answer in words, without what gateways say.
func otlpIn(t *testing.T, r reply) []string {
	t.Helper()
	var body struct{ Result json.RawMessage }
	if err := json.Unmarshal([]byte(r.body), &body); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	if body.Result == nil {
		return nil
	}
	var u ptrace.JSONUnmarshaler
	spans, err := u.UnmarshalTraces(body.Result)
	if err != nil {
		t.Fatalf("%v: %s", err, body.Result)
	}
	return otlpLines(spans)
}

func otlpLines(spans ptrace.Traces) (out []string) {
	ours := func(name string, _ pcommon.Value) bool { return strings.HasPrefix(name, "parley.") }
	for _, resource := range spans.ResourceSpans().All() {
		resource.Resource().Attributes().RemoveIf(ours)
		for _, scope := range resource.ScopeSpans().All() {
			for _, s := range scope.Spans().All() {
				s.Attributes().RemoveIf(ours)
				text := fmt.Sprint(s.TraceID(), s.SpanID(), s.ParentSpanID(), " ", s.Name(), s.Kind(), int64(s.StartTimestamp()), " ", int64(s.EndTimestamp()), s.Status().Code(), s.Status().Message(),
					s.TraceState().AsRaw(), s.Attributes().AsRaw(), resource.Resource().Attributes().AsRaw(), scope.Scope().Name(), scope.Scope().Version())
				for _, e := range s.Events().All() {
					text += fmt.Sprint(" event ", int64(e.Timestamp()), e.Name(), e.Attributes().AsRaw())
				}
				for _, l := range s.Links().All() {
					text += fmt.Sprint(" link ", l.TraceID(), l.SpanID(), l.Attributes().AsRaw())
				}
				out = append(out, text)
			}
		}
	}
	slices.Sort(out)
	return out
}

func (d jaegerDoorV3) traces(t *testing.T) {
	for id, spans := range map[string]int{"ab000000000000000000000000000301": 5, "ab000000000000000000000000000a01": 5, "00000000000000000000000000000001": 0} {
		theirs, ours := d.both(t, "/api/v3/traces/"+id)
		if spans == 0 {
			if ours.status != http.StatusNotFound {
				t.Errorf("%s: %d %s", id, ours.status, ours.body)
			}
			continue
		}
		got := otlpIn(t, ours)
		if diff := cmp.Diff(otlpIn(t, theirs), got); diff != "" || len(got) != spans {
			t.Errorf("%s (-Jaeger +ours):\n%s", id, diff)
		}
	}
}

// span is the time of all traces, in the parameters of a search.
func (d jaegerDoorV3) span() []string {
	return []string{
		"query.start_time_min", d.start.UTC().Format(time.RFC3339Nano), "query.start_time_max", d.start.Add(time.Minute).UTC().Format(time.RFC3339Nano), "query.num_traces", "20",
	}
}

func (d jaegerDoorV3) searches(t *testing.T) {
	for _, c := range []struct {
		with []string
		want int // spans; each trace has five
	}{
		{[]string{"query.service_name", "web"}, 50},
		{[]string{"query.service_name", "web", "query.operation_name", "POST"}, 50},
		{[]string{"query.service_name", "pay", "query.operation_name", "POST"}, 0},
		{[]string{"query.service_name", "web", "query.operation_name", "GET /checkout", "query.duration_min", "35ms", "query.duration_max", "65ms"}, 15},
	} {
		theirs, ours := d.both(t, "/api/v3/traces", append(c.with, d.span()...)...)
		if ours.status != http.StatusOK {
			if c.want > 0 {
				t.Errorf("%v: %d %s", c.with, ours.status, ours.body)
			}
			continue
		}
		got := otlpIn(t, ours)
		if diff := cmp.Diff(otlpIn(t, theirs), got); diff != "" || len(got) != c.want {
			t.Errorf("%v: %d spans (-Jaeger +ours):\n%s", c.with, len(got), diff)
		}
	}
}

// summaries compares what the UI's list says with what Jaeger says of the traces.
func (d jaegerDoorV3) summaries(t *testing.T) {
	v := url.Values{
		"query.serviceName": {"web"}, "query.searchDepth": {"20"},
		"query.startTimeMin": {d.start.UTC().Format(time.RFC3339Nano)}, "query.startTimeMax": {d.start.Add(time.Minute).UTC().Format(time.RFC3339Nano)},
	}
	var answer struct {
		Summaries []struct {
			TraceID, RootServiceName, RootOperationName string
			MinStartTimeUnixNano, MaxEndTimeUnixNano    string
			SpanCount, ErrorSpanCount, OrphanSpanCount  int
			Services                                    []struct {
				Name                      string
				SpanCount, ErrorSpanCount int
			}
		}
	}
	r := asks(t, d.o.url(), "/jaeger/api/v3/trace-summaries", v)
	if err := json.Unmarshal([]byte(r.body), &answer); err != nil || len(answer.Summaries) != 10 {
		t.Fatalf("%v: %d %s", err, r.status, r.body)
	}
	for _, got := range answer.Summaries {
		var theirs struct{ Data []jaegerTrace }
		text := asks(t, d.jaeger.URL, "/api/traces/"+got.TraceID, nil).body
		if err := json.Unmarshal([]byte(text), &theirs); err != nil || len(theirs.Data) != 1 {
			t.Fatalf("%v: %s", err, text)
		}
		counts, failed := map[string]int{}, 0
		for _, s := range theirs.Data[0].Spans {
			counts[theirs.Data[0].Processes[s.ProcessID].ServiceName]++
			if slices.ContainsFunc(s.Tags, func(tag jaegerTag) bool { return tag.Key == "error" && tag.Value == true }) {
				failed++
			}
			if len(s.References) == 0 && (s.OperationName != got.RootOperationName || fmt.Sprint(s.StartTime)+"000" != got.MinStartTimeUnixNano) {
				t.Errorf("Jaeger's trace begins with %s at %d: %+v", s.OperationName, s.StartTime, got)
			}
		}
		ours := map[string]int{}
		for _, s := range got.Services {
			ours[s.Name] = s.SpanCount
		}
		if diff := cmp.Diff(counts, ours); diff != "" || got.SpanCount != len(theirs.Data[0].Spans) || got.ErrorSpanCount != failed || got.OrphanSpanCount != 0 || got.RootServiceName != "web" {
			t.Errorf("%+v, of which %d failed; services (-Jaeger +ours):\n%s", got, failed, diff)
		}
	}
}
