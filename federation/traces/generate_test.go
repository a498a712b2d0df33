package traces

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// told is a span as it was in truth, in the one time that there is.
type told struct {
	org        int
	trace      pcommon.TraceID
	id         pcommon.SpanID
	parent     *told
	kids       []*told
	name       string
	kind       ptrace.SpanKind
	start, end int64
	failed     bool
	lost       bool
	restarted  string // "link" or the attribute by which one tells, of a span that begins another trace id
	attributes map[string]string
}

// tale is a request through several organizations, as it was.
type tale struct {
	rand   *rand.Rand
	orgs   []tenants.OrgID
	offset []func(at int64) int64 // what an organization's clock is wrong by
	spans  []*told
	ids    []pcommon.TraceID
	options
}

// options are what may happen in a tale.
type options struct {
	lost     float64 // how many spans are
	restarts float64 // how many calls begin another trace id
	async    float64
	retries  float64
	drift    int64 // nanoseconds that a clock goes wrong in a second, at most
	spans    int   // about how many
}

const correlationAttribute = "order.id"

var base = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixNano()

// tell makes up a tale.
func tell(seed uint64, o options) *tale {
	t := &tale{rand: rand.New(rand.NewPCG(seed, 0)), options: o}
	for i := range 2 + t.rand.IntN(4) {
		t.orgs = append(t.orgs, tenants.OrgID(fmt.Sprintf("org%d", i)))
		wrong, drift := t.rand.Int64N(int64(4*time.Second))-int64(2*time.Second), int64(0)
		if o.drift > 0 {
			drift = t.rand.Int64N(2*o.drift) - o.drift
		}
		t.offset = append(t.offset, func(at int64) int64 { return wrong + (at-base)*drift/int64(time.Second) })
	}
	first := t.newTrace()
	root := t.begin(nil, first, t.rand.IntN(len(t.orgs)), ptrace.SpanKindServer, base)
	root.end = t.work(root, root.start, 0)
	for _, s := range t.spans {
		if s.parent != nil && s.restarted == "" && !slices.ContainsFunc(s.kids, func(k *told) bool { return k.restarted != "" }) {
			s.lost = t.rand.Float64() < o.lost
		}
	}
	return t
}

func (t *tale) newTrace() pcommon.TraceID {
	var id pcommon.TraceID
	binary.BigEndian.PutUint64(id[:8], t.rand.Uint64()|1)
	binary.BigEndian.PutUint64(id[8:], t.rand.Uint64())
	t.ids = append(t.ids, id)
	return id
}

func (t *tale) begin(parent *told, trace pcommon.TraceID, org int, kind ptrace.SpanKind, at int64) *told {
	s := &told{org: org, trace: trace, parent: parent, kind: kind, start: at, attributes: map[string]string{}}
	binary.BigEndian.PutUint64(s.id[:], t.rand.Uint64()|1)
	s.name = fmt.Sprintf("%s %d", strings.ToLower(kind.String()), len(t.spans))
	if parent != nil {
		parent.kids = append(parent.kids, s)
	}
	t.spans = append(t.spans, s)
	return s
}

// while is some time.
func (t *tale) while() int64 { return 1 + t.rand.Int64N(int64(5*time.Millisecond)) }

// work is what a span does from a time on, and returns when it is done.
func (t *tale) work(s *told, at int64, depth int) int64 {
	at += t.while()
	for range t.rand.IntN(4) {
		if depth > 6 || len(t.spans) > t.options.spans {
			break
		}
		done := t.step(s, at, depth)
		if t.rand.IntN(3) > 0 { // else the next runs beside it
			at = done + t.while()
		}
	}
	end := at + t.while()
	for _, kid := range s.kids {
		if kid.kind != ptrace.SpanKindConsumer {
			end = max(end, kid.end+t.while())
		}
	}
	return end
}

func (t *tale) step(s *told, at int64, depth int) int64 {
	if t.rand.IntN(3) == 0 {
		inner := t.begin(s, s.trace, s.org, ptrace.SpanKindInternal, at)
		inner.end = t.work(inner, at, depth+1)
		return inner.end
	}
	if t.rand.Float64() < t.async {
		return t.send(s, at, depth)
	}
	done := t.call(s, at, depth, t.rand.Float64() < t.retries)
	return done
}

// call calls an organization; where it gives up, again.
func (t *tale) call(s *told, at int64, depth int, givesUp bool) int64 {
	client := t.begin(s, s.trace, s.org, ptrace.SpanKindClient, at)
	server := t.enter(client, at+t.while(), ptrace.SpanKindServer)
	server.end = t.work(server, server.start, depth+1)
	client.end = server.end + t.while()
	if !givesUp {
		return client.end
	}
	client.failed, client.end = true, server.start+t.while() // the server goes on
	return t.call(s, client.end+t.while(), depth, false)
}

func (t *tale) send(s *told, at int64, depth int) int64 {
	producer := t.begin(s, s.trace, s.org, ptrace.SpanKindProducer, at)
	producer.end = at + t.while()
	consumer := t.enter(producer, producer.start+10*t.while(), ptrace.SpanKindConsumer)
	consumer.end = t.work(consumer, consumer.start, depth+1)
	return producer.end
}

// enter is a span with which a request enters an organization.
func (t *tale) enter(from *told, at int64, kind ptrace.SpanKind) *told {
	org := t.rand.IntN(len(t.orgs))
	trace, how := from.trace, ""
	if org != from.org && t.rand.Float64() < t.restarts && len(t.ids) < 4 {
		trace = t.newTrace()
		how = []string{"link", Traceparent, correlationAttribute}[t.rand.IntN(3)]
	}
	s := t.begin(from, trace, org, kind, at)
	s.restarted = how
	if how != "" && how != "link" {
		value := fmt.Sprintf("%016x", t.rand.Uint64())
		if how == Traceparent {
			value = "00-" + value + value + "-" + value + "-01"
		}
		from.attributes[how], s.attributes[how] = value, value
	}
	return s
}

// recorded is what an organization has of a trace id, and whether anything.
func (t *tale) recorded(org int, id pcommon.TraceID) (ptrace.Traces, bool) {
	out := ptrace.NewTraces()
	rs := out.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr(OrgAttribute, string(t.orgs[org]))
	rs.Resource().Attributes().PutStr(serviceName, "service of "+string(t.orgs[org]))
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	for _, s := range t.spans {
		if s.org == org && s.trace == id && !s.lost {
			t.record(spans.AppendEmpty(), s)
		}
	}
	spans.Sort(func(a, b ptrace.Span) bool { return a.StartTimestamp() < b.StartTimestamp() })
	return out, spans.Len() > 0
}

func (t *tale) record(span ptrace.Span, s *told) {
	span.SetTraceID(s.trace)
	span.SetSpanID(s.id)
	span.SetName(s.name)
	span.SetKind(s.kind)
	span.SetStartTimestamp(t.clock(s.org, s.start))
	span.SetEndTimestamp(t.clock(s.org, s.end))
	if s.failed {
		span.Status().SetCode(ptrace.StatusCodeError)
	}
	for name, value := range s.attributes {
		span.Attributes().PutStr(name, value)
	}
	event := span.Events().AppendEmpty()
	event.SetTimestamp(t.clock(s.org, s.start))
	switch {
	case s.restarted == "link":
		link := span.Links().AppendEmpty()
		link.SetTraceID(s.parent.trace)
		link.SetSpanID(s.parent.id)
	case s.restarted == "" && s.parent != nil:
		span.SetParentSpanID(s.parent.id)
	}
}

// clock is what an organization's clock shows at a time.
func (t *tale) clock(org int, at int64) pcommon.Timestamp {
	return pcommon.Timestamp(at + t.offset[org](at))
}

// members are the organizations of the tale.
func (t *tale) members() []Member {
	members := make([]Member, len(t.orgs))
	for org := range t.orgs {
		members[org] = Member{Org: t.orgs[org], Own: org == 0, Ask: func(_ context.Context, q Question) (*Released, federation.Part, error) {
			out := &Released{}
			for _, id := range t.ids {
				if spans, ok := t.recorded(org, id); ok && asksFor(q, id, spans) {
					out.traces = append(out.traces, Trace{ID: id, Spans: spans})
				}
			}
			return out, federation.Part{Org: t.orgs[org], Status: federation.Complete}, nil
		}}
	}
	t.rand.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	return members
}

// asksFor says whether a question is for a trace: by id, or by TraceQL.
func asksFor(q Question, id pcommon.TraceID, spans ptrace.Traces) bool {
	if q.Kind == policy.Trace {
		return slices.Contains(q.IDs, id)
	}
	_, ok := keyOf(spans, q)
	return ok
}

// spent is who spent the time of a tale, as it was: the definition of
// criticalpath.go, in the fewest words, of the spans that weren't lost.
type spent struct {
	tale  *tale
	times map[string]time.Duration
}

// whole is the surviving part of a tale: spans whose parent was lost hang on a
// placeholder, and that on the first span of its trace id.
func (t *tale) whole() (root *told) {
	missing := map[pcommon.SpanID]*told{}
	copies := map[pcommon.SpanID]*told{}
	for _, s := range t.spans {
		c := *s
		c.kids = nil
		copies[s.id] = &c
	}
	firstOf := map[pcommon.TraceID]*told{}
	for _, s := range t.spans {
		c := copies[s.id]
		switch {
		case s.lost:
			continue
		case s.parent == nil:
			root = c
		case s.parent.lost:
			m := missing[s.parent.id]
			if m == nil {
				m = &told{org: none, id: s.parent.id, trace: s.trace, start: c.start, end: c.end, lost: true}
				missing[s.parent.id] = m
			}
			if startsInside(c.kind) {
				m.org = c.org // within one organization
			}
			m.kids = append(m.kids, c)
			m.start, m.end = min(m.start, c.start), max(m.end, c.end)
		default:
			c.parent = copies[s.parent.id]
			c.parent.kids = append(c.parent.kids, c)
		}
		if s.parent == nil || s.restarted != "" {
			firstOf[s.trace] = c
		}
	}
	for _, m := range missing {
		m.parent = firstOf[m.trace]
		m.parent.kids = append(m.parent.kids, m)
	}
	return root
}

// spend is the critical path, and who was on it.
func (x *spent) spend(s *told, from, to int64) {
	kids := slices.DeleteFunc(slices.Clone(s.kids), func(k *told) bool { return k.kind == ptrace.SpanKindConsumer })
	slices.SortFunc(kids, func(a, b *told) int {
		return cmp.Or(-cmp.Compare(min(a.end, to), min(b.end, to)), cmp.Compare(max(a.start, from), max(b.start, from)), cmp.Compare(a.start, b.start), bytes.Compare(a.id[:], b.id[:]))
	})
	now, own := to, to-from
	for _, k := range kids {
		start, end := max(k.start, from), min(k.end, to)
		if end > now || start >= end {
			continue
		}
		x.spend(k, start, end)
		own -= end - start
		now = start
	}
	x.times[x.whose(s)] += time.Duration(own)
}

func (x *spent) whose(s *told) string {
	if s.org == none {
		return ">"
	}
	org := string(x.tale.orgs[s.org])
	if s.kind == ptrace.SpanKindClient {
		for _, k := range s.kids {
			if k.org != s.org && k.org != none {
				return org + ">" + string(x.tale.orgs[k.org])
			}
		}
	}
	return org + ">"
}
