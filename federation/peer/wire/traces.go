package wire

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/policy"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
)

// maxNamesAsked is how many names of a listing a question may ask for.
const maxNamesAsked = 1_000_000

// tracesHave says which fields each kind of question has.
type tracesHave struct{ ids, expression, needExpression, label, needLabel, limit, needLimit bool }

var tracesKinds = map[policy.Kind]tracesHave{
	policy.Trace:        {ids: true},
	policy.Search:       {expression: true, needExpression: true, limit: true, needLimit: true},
	policy.LabelNames:   {expression: true, label: true, limit: true},
	policy.LabelValues:  {expression: true, label: true, needLabel: true, limit: true},
	policy.Operations:   {expression: true, label: true, limit: true},
	policy.Dependencies: {expression: true},
	policy.KeepTrace:    {ids: true},
}

func encodeTraces(q traces.Question) *federationv1.TracesQuestion {
	m := &federationv1.TracesQuestion{Kind: string(q.Kind), Expression: q.Expression, Limit: int64(q.Limit), Label: q.Label}
	if !q.Start.IsZero() || !q.End.IsZero() {
		m.StartNs, m.EndNs = federation.Nanoseconds(q.Start), federation.Nanoseconds(q.End)
	}
	for _, id := range q.IDs {
		m.Ids = append(m.Ids, id[:])
	}
	return m
}

func decodeTraces(m *federationv1.TracesQuestion) (traces.Question, error) {
	q := traces.Question{Kind: policy.Kind(m.GetKind()), Expression: m.GetExpression(), Label: m.GetLabel(), Limit: int(m.GetLimit())}
	has, known := tracesKinds[q.Kind]
	if !known {
		return traces.Question{}, bad("kind: none that this gateway knows")
	}
	timed := m.GetStartNs() != 0 || m.GetEndNs() != 0
	if timed {
		q.Start, q.End = time.Unix(0, m.GetStartNs()).UTC(), time.Unix(0, m.GetEndNs()).UTC()
	}
	most := int64(maxNamesAsked)
	if q.Kind == policy.Search {
		most = traces.MaxAsked
	}
	switch {
	case m.GetEndNs() < m.GetStartNs():
		return q, bad("end_ns: is before start_ns")
	case m.GetStartNs() < 0 && m.GetEndNs()-m.GetStartNs() < 0:
		return q, bad("start_ns, end_ns: too far apart")
	case !timed && !has.ids:
		return q, bad("start_ns, end_ns: only traces by id are asked for without")
	case len(m.GetExpression()) > maxExpression:
		return q, bad("expression: %d bytes, at most %d are accepted", len(m.GetExpression()), maxExpression)
	case has.needExpression && m.GetExpression() == "" || !has.expression && m.GetExpression() != "":
		return q, bad("expression: a search has one, a trace has none")
	case len(m.GetLabel()) > maxLabel:
		return q, bad("label: %d bytes, at most %d are accepted", len(m.GetLabel()), maxLabel)
	case has.needLabel && m.GetLabel() == "" || !has.label && m.GetLabel() != "":
		return q, bad("label: label_values has one, labels and operations may have one, the others have none")
	case m.GetLimit() < 0 || m.GetLimit() > most || has.needLimit && m.GetLimit() == 0 || !has.limit && m.GetLimit() != 0:
		return q, bad("limit: a search has one of up to %d traces, labels, label_values and operations may have one", traces.MaxAsked)
	case has.ids != (len(m.GetIds()) > 0) || len(m.GetIds()) > traces.MaxAsked:
		return q, bad("ids: trace and keep have 1 to %d, the others have none", traces.MaxAsked)
	}
	for _, id := range m.GetIds() {
		var trace pcommon.TraceID
		if len(id) != len(trace) {
			return q, bad("ids: want 16 bytes each")
		}
		copy(trace[:], id)
		if trace.IsEmpty() || slices.Contains(q.IDs, trace) {
			return q, bad("ids: one is empty or there twice")
		}
		q.IDs = append(q.IDs, trace)
	}
	_, err := q.Request()
	return q, err
}

// tracesMessages are the messages of an answer about traces, but for its end.
func tracesMessages(released *traces.Released) ([]*federationv1.AskResponse, error) {
	var out []*federationv1.AskResponse
	var marshaler ptrace.ProtoMarshaler
	for _, t := range released.Traces() {
		data, err := marshaler.MarshalTraces(t.Spans)
		if err != nil {
			return nil, fmt.Errorf("a trace of the answer: %w", err)
		}
		if err := checkOTLP(data, otlpTracesData, 0, func(int) error { return nil }); err != nil {
			return nil, fmt.Errorf("a trace of the answer can't be sent: it has %w", err)
		}
		for more := true; more; {
			piece := data[:min(len(data), batchSize)]
			data = data[len(piece):]
			more = len(data) > 0
			out = append(out, &federationv1.AskResponse{Message: &federationv1.AskResponse_Trace{
				Trace: &federationv1.TraceChunk{Otlp: piece, More: more},
			}})
		}
	}
	out = append(out, nameMessages(released.Names())...)
	for _, batch := range batches(released.Values(), func(v traces.Value) int { return len(v.Type) + len(v.Text) + chunkOverhead }) {
		values := &federationv1.ValueBatch{}
		for _, v := range batch {
			values.Values = append(values.Values, &federationv1.AttributeValue{Type: v.Type, Text: v.Text})
		}
		out = append(out, &federationv1.AskResponse{Message: &federationv1.AskResponse_Values{Values: values}})
	}
	for _, batch := range batches(released.Operations(), func(o traces.Operation) int { return len(o.Service) + len(o.Name) + chunkOverhead }) {
		operations := &federationv1.OperationBatch{}
		for _, o := range batch {
			operations.Operations = append(operations.Operations, &federationv1.Operation{Service: o.Service, Name: o.Name, Kind: uint32(o.Kind)})
		}
		out = append(out, &federationv1.AskResponse{Message: &federationv1.AskResponse_Operations{Operations: operations}})
	}
	for _, batch := range batches(released.Dependencies(), func(d traces.Dependency) int { return len(d.Parent) + len(d.Child) + chunkOverhead }) {
		dependencies := &federationv1.DependencyBatch{}
		for _, d := range batch {
			dependencies.Dependencies = append(dependencies.Dependencies, &federationv1.Dependency{Parent: d.Parent, Child: d.Child, Calls: d.Calls})
		}
		out = append(out, &federationv1.AskResponse{Message: &federationv1.AskResponse_Dependencies{Dependencies: dependencies}})
	}
	return out, nil
}

// tracesReceiver is what a Receiver has of an answer about traces.
type tracesReceiver struct {
	asked  traces.Question
	pieces []byte // of the trace that isn't whole yet
	answer traces.Answer
	spans  int
	seen   map[pcommon.TraceID]bool
}

// asksTraces prepares the receiver for an answer about traces.
func (r *Receiver) asksTraces(q traces.Question) error {
	if _, known := tracesKinds[q.Kind]; !known {
		return fmt.Errorf("a question of the kind %q can't be asked", q.Kind)
	}
	r.signal = q.Signal()
	r.traces = &tracesReceiver{asked: q, seen: map[pcommon.TraceID]bool{}}
	if q.Kind == policy.LabelNames || q.Kind == policy.KeepTrace {
		r.asked.Kind = policy.LabelNames // the answer is names
	}
	return nil
}

// addTrace takes a trace or a piece of one.
func (r *Receiver) addTrace(c *federationv1.TraceChunk) error {
	switch {
	case r.traces == nil || r.traces.asked.Kind != policy.Trace && r.traces.asked.Kind != policy.Search:
		return errUnasked
	case hasUnknown(c):
		return errUnknown
	case len(c.GetOtlp()) == 0:
		return errors.New("a trace without spans")
	}
	t := r.traces
	if err := r.charge(len(c.GetOtlp())); err != nil {
		return err
	}
	t.pieces = append(t.pieces, c.GetOtlp()...)
	if c.GetMore() {
		return nil
	}
	data := t.pieces
	t.pieces = nil
	if err := checkOTLP(data, otlpTracesData, 0, r.charge); err != nil {
		return err
	}
	var unmarshaler ptrace.ProtoUnmarshaler
	spans, err := unmarshaler.UnmarshalTraces(data)
	if err != nil {
		return errOTLP // whose text may quote data
	}
	id, err := traces.CheckReceived(r.org, spans)
	if err != nil {
		return err
	}
	most := t.asked.Limit
	if t.asked.Kind == policy.Trace {
		most = len(t.asked.IDs)
		if !slices.Contains(t.asked.IDs, id) {
			return errUnasked
		}
	}
	t.spans += spans.SpanCount()
	switch {
	case t.seen[id]:
		return errOrder
	case len(t.answer.Traces) == most:
		return errors.New("more traces than were asked for")
	case t.spans > r.limits.Spans:
		return federation.Errorf(federation.OverLimit, "the answer has more spans than are accepted of a partner; ask for less")
	}
	t.seen[id] = true
	t.answer.Traces = append(t.answer.Traces, traces.Trace{ID: id, Spans: spans})
	return nil
}

func (r *Receiver) addValues(b *federationv1.ValueBatch) error {
	if r.traces == nil || r.traces.asked.Kind != policy.LabelValues {
		return errUnasked
	}
	if hasUnknown(b) {
		return errUnknown
	}
	for _, v := range b.GetValues() {
		value := traces.Value{Type: v.GetType(), Text: v.GetText()}
		switch {
		case hasUnknown(v):
			return errUnknown
		case !slices.Contains(traces.ValueTypes, value.Type):
			return errors.New("a value of a type that there isn't")
		case !inOrder(r.traces.answer.Values, value, traces.CompareValues):
			return errOrder
		}
		if err := r.count(len(value.Type) + len(value.Text)); err != nil {
			return err
		}
		r.traces.answer.Values = append(r.traces.answer.Values, value)
	}
	return nil
}

func (r *Receiver) addOperations(b *federationv1.OperationBatch) error {
	if r.traces == nil || r.traces.asked.Kind != policy.Operations {
		return errUnasked
	}
	if hasUnknown(b) {
		return errUnknown
	}
	for _, o := range b.GetOperations() {
		operation := traces.Operation{Service: o.GetService(), Name: o.GetName(), Kind: ptrace.SpanKind(int32(o.GetKind())), Org: r.org}
		switch {
		case hasUnknown(o):
			return errUnknown
		case o.GetKind() > uint32(ptrace.SpanKindConsumer):
			return errors.New("an operation of a kind that there isn't")
		case !inOrder(r.traces.answer.Operations, operation, traces.CompareOperations):
			return errOrder
		}
		if err := r.count(len(operation.Service) + len(operation.Name)); err != nil {
			return err
		}
		r.traces.answer.Operations = append(r.traces.answer.Operations, operation)
	}
	return nil
}

func (r *Receiver) addDependencies(b *federationv1.DependencyBatch) error {
	if r.traces == nil || r.traces.asked.Kind != policy.Dependencies {
		return errUnasked
	}
	if hasUnknown(b) {
		return errUnknown
	}
	for _, d := range b.GetDependencies() {
		dependency := traces.Dependency{Parent: d.GetParent(), Child: d.GetChild(), ParentOrg: r.org, ChildOrg: r.org, Calls: d.GetCalls()}
		switch {
		case hasUnknown(d):
			return errUnknown
		case !inOrder(r.traces.answer.Dependencies, dependency, traces.CompareDependencies):
			return errOrder
		}
		if err := r.count(len(dependency.Parent) + len(dependency.Child)); err != nil {
			return err
		}
		r.traces.answer.Dependencies = append(r.traces.answer.Dependencies, dependency)
	}
	return nil
}

// inOrder says whether what comes next comes after the last.
func inOrder[T any](before []T, next T, compare func(a, b T) int) bool {
	return len(before) == 0 || compare(before[len(before)-1], next) < 0
}

// series is how many values, operations and dependencies came.
func (t *tracesReceiver) series() int {
	return len(t.answer.Values) + len(t.answer.Operations) + len(t.answer.Dependencies)
}

// finish is the answer.
func (t *tracesReceiver) finish(names []string) (*traces.Released, error) {
	if len(t.pieces) > 0 {
		return nil, errors.New("a trace that isn't whole")
	}
	t.answer.Names = names
	return traces.Received(t.answer), nil
}
