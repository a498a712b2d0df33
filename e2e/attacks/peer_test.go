package attacks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/gateway/identity"
	"github.com/parley-gateway/parley/policy"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
)

// overPeer asks an owner's peer door as the partner's gateway, without one: the
// attacker has its key. What it sends needn't be a message of the protocol, and
// what it is sent isn't checked.
type overPeer struct {
	conn    *grpc.ClientConn
	purpose string
}

// dialPeer connects to owner with the identity of asker's gateway.
func dialPeer(t testing.TB, asker, owner *org) *grpc.ClientConn {
	t.Helper()
	svid, err := asker.ca.Issue(asker.gatewayID(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	tls := identity.ClientTLS(svid, owner.ca.Bundle().X509Bundle(), nil, owner.gatewayID())
	conn, err := grpc.NewClient("passthrough:///"+owner.peer,
		grpc.WithTransportCredentials(credentials.NewTLS(tls)),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesOnly{}), grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // nothing is under way any more
	return conn
}

// bytesOnly is a codec under which messages are bytes, whatever they are.
type bytesOnly struct{}

var _ encoding.CodecV2 = bytesOnly{}

func (bytesOnly) Name() string { return "proto" }

func (bytesOnly) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil //nolint:forcetypeassert // ours alone
}

func (bytesOnly) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize() //nolint:forcetypeassert // ours alone
	return nil
}

// request is the question in the peer door's protocol.
func (o overPeer) request(q question) (*federationv1.AskRequest, error) {
	if asksTraces(q.path) {
		return o.tracesRequest(q)
	}
	m := &federationv1.MetricsQuestion{}
	form := q.form
	if q.body != "" || q.query != "" { // HTTP's ways to say it twice are none here
		form, _ = url.ParseQuery(q.query + "&" + q.body)
	}
	number := func(name string) int64 {
		seconds, _ := strconv.ParseFloat(form.Get(name), 64)
		return int64(seconds * 1000)
	}
	m.StartMs, m.EndMs = number("start"), number("end")
	m.Selectors = form["match[]"]
	label, isValues := strings.CutPrefix(q.path, "/api/v1/label/")
	switch {
	case q.read != nil:
		m.Kind, m.Selectors = string(policy.Series), []string{metrics.FormatSelector(q.read.matchers)}
		m.StartMs, m.EndMs = q.read.start.UnixMilli(), q.read.end.UnixMilli()
	case q.path == "/api/v1/query":
		m.Kind, m.Expression, m.StartMs, m.EndMs = string(policy.Instant), form.Get("query"), number("time"), number("time")
	case q.path == "/api/v1/query_range":
		m.Kind, m.Expression, m.StepMs = string(policy.Range), form.Get("query"), number("step")
	case q.path == "/api/v1/series":
		m.Kind, m.LabelsOnly = string(policy.Series), true
	case q.path == "/api/v1/labels":
		m.Kind = string(policy.LabelNames)
	case isValues:
		m.Kind, m.Label = string(policy.LabelValues), strings.TrimSuffix(label, "/values")
	case q.path == "/api/v1/metadata":
		m.Kind, m.Label = string(policy.Metadata), form.Get("metric")
		m.StartMs = time.Now().UnixMilli()
		m.EndMs = m.StartMs
	case q.path == "/api/v1/query_exemplars":
		m.Kind, m.Expression = string(policy.Exemplars), form.Get("query")
	default:
		return nil, errNoSuchKind
	}
	if lookback := form.Get("lookback_delta"); lookback != "" {
		d, err := time.ParseDuration(lookback)
		if err != nil {
			return nil, errNoSuchKind
		}
		m.LookbackMs = d.Milliseconds()
	}
	r := &federationv1.AskRequest{
		ExchangeId: string(federation.NewExchangeID(time.Now())), Purpose: o.purpose,
		Question: &federationv1.AskRequest_Metrics{Metrics: m},
	}
	if q.message != nil {
		q.message(r)
	}
	return r, nil
}

// errNoSuchKind is a question that the protocol has no words for.
var errNoSuchKind = errors.New("the peer door has no such kind of question")

func (o overPeer) ask(ctx context.Context, q question) (reply, error) {
	request, err := o.request(q)
	if errors.Is(err, errNoSuchKind) {
		return reply{status: http.StatusNotFound, body: err.Error()}, nil
	}
	if err != nil {
		return reply{}, err
	}
	raw, err := proto.Marshal(request)
	if err != nil {
		return reply{}, err
	}
	if q.bytes != nil {
		raw = q.bytes(raw)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for name, values := range q.header {
		for _, v := range values {
			ctx = metadata.AppendToOutgoingContext(ctx, strings.ToLower(name), v)
		}
	}
	began := time.Now()
	out, err := o.stream(ctx, raw)
	if err != nil {
		s := status.Convert(err)
		out = envelope{Status: "error", Kind: s.Code().String(), Error: fmt.Sprint(s.Message(), " ", s.Details())}
	}
	r := reply{status: http.StatusOK, took: time.Since(began)}
	if err != nil {
		r.status = http.StatusUnprocessableEntity
	}
	text, err := json.Marshal(out)
	r.body = string(text)
	return r, err
}

// stream sends one message and reads the answer.
func (o overPeer) stream(ctx context.Context, raw []byte) (envelope, error) {
	stream, err := o.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, federationv1.Federation_Ask_FullMethodName)
	if err != nil {
		return envelope{}, err
	}
	if err := stream.SendMsg(&raw); err != nil && !errors.Is(err, io.EOF) { // what the door says is received
		return envelope{}, err
	}
	if err := stream.CloseSend(); err != nil {
		return envelope{}, err
	}
	a := &peerAnswer{}
	for {
		var raw []byte
		if err := stream.RecvMsg(&raw); errors.Is(err, io.EOF) {
			return a.envelope(), nil
		} else if err != nil {
			return envelope{}, err
		}
		var m federationv1.AskResponse
		if err := proto.Unmarshal(raw, &m); err != nil {
			return envelope{}, err
		}
		if err := a.add(&m); err != nil {
			return envelope{}, err
		}
	}
}

// peerAnswer is an answer in the making.
type peerAnswer struct {
	series []answered
	others []any // whatever isn't series
	infos  []string
	otlp   []byte // of a trace that isn't whole yet
}

func (a *peerAnswer) add(m *federationv1.AskResponse) error {
	switch m := m.GetMessage().(type) {
	case *federationv1.AskResponse_Series:
		for _, s := range m.Series.GetSeries() {
			one := answered{Metric: map[string]string{}}
			refs, symbols := s.GetLabelRefs(), m.Series.GetSymbols()
			for i := 0; i+1 < len(refs); i += 2 {
				one.Metric[symbols[refs[i]]] = symbols[refs[i+1]]
			}
			for _, c := range s.GetChunks() {
				if err := one.add(c); err != nil {
					return err
				}
			}
			a.series = append(a.series, one)
		}
	case *federationv1.AskResponse_Names:
		for _, n := range m.Names.GetNames() {
			a.others = append(a.others, n)
		}
	case *federationv1.AskResponse_Metadata:
		a.others = append(a.others, m.Metadata)
	case *federationv1.AskResponse_Exemplars:
		a.others = append(a.others, m.Exemplars)
	case *federationv1.AskResponse_Trace:
		return a.addTrace(m.Trace)
	case *federationv1.AskResponse_Values:
		for _, v := range m.Values.GetValues() {
			a.others = append(a.others, v.GetText())
		}
	case *federationv1.AskResponse_Operations:
		a.others = append(a.others, m.Operations)
	case *federationv1.AskResponse_Dependencies:
		a.others = append(a.others, m.Dependencies)
	case *federationv1.AskResponse_Part:
		a.infos = append(a.infos, append(m.Part.GetNotices(), fmt.Sprint(
			m.Part.GetStatus(), " ", m.Part.GetReason(), " ", m.Part.GetSeries(), " ", m.Part.GetSamples(), " ", m.Part.GetSpans()))...)
	}
	return nil
}

func (s *answered) add(c *federationv1.Chunk) error {
	chunk, err := chunkenc.FromData(chunkenc.Encoding(c.GetEncoding()), c.GetData())
	if err != nil {
		return err
	}
	it := chunk.Iterator(nil)
	var histograms []string
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		if kind == chunkenc.ValFloat {
			at, v := it.At()
			s.Values = append(s.Values, point{float64(at) / 1000, v})
			continue
		}
		_, h := it.AtFloatHistogram(nil)
		histograms = append(histograms, h.String())
	}
	if len(histograms) > 0 {
		if s.Histograms, err = json.Marshal(histograms); err != nil {
			return err
		}
	}
	return it.Err()
}

func (a *peerAnswer) envelope() envelope {
	out := envelope{Status: "success", Data: a.others, Infos: a.infos}
	if len(a.series) > 0 {
		out.Data = result{Type: "matrix", Result: a.series}
	}
	return out
}
