package traces

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"math"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// view is what an asker may see of a store: a trace of it is the physically
// redacted copy of the raw one. It is for one question, and not safe for
// concurrent use.
type view struct {
	org        tenants.OrgID
	rules      *rules
	pseudonyms *redact.Pseudonyms
	withheldID hash.Hash // HMAC under the asker's key for ids of withheld spans
	// oldest and newest bound when the spans of a trace begin and end, both included; resolution,
	// where it isn't 0, is what times are multiples of. Unix nanoseconds.
	oldest, newest, resolution int64
}

func newView(org tenants.OrgID, o policy.Obligations, secret []byte, by federation.Asking, now time.Time) (*view, error) {
	pseudonyms, err := redact.NewPseudonyms(secret, by, o.Epoch)
	if err != nil {
		return nil, err
	}
	v := &view{
		org: org, rules: newRules(o.Datasets), pseudonyms: pseudonyms,
		withheldID: hmac.New(sha256.New, redact.Derive(secret, "withheld span", by.Org, "")),
		oldest:     math.MinInt64, newest: math.MaxInt64,
	}
	if !o.NotBefore.IsZero() {
		v.oldest = federation.Nanoseconds(o.NotBefore)
	}
	if !o.NotAfter.IsZero() {
		v.newest = federation.Nanoseconds(o.NotAfter)
	}
	if o.Resolution > 0 {
		v.resolution = o.Resolution.Nanoseconds()
		v.newest = min(v.newest, now.UnixNano())
	}
	return v, nil
}

// trace is what the view holds of a raw trace; ok is false when that is nothing.
func (v *view) trace(raw ptrace.Traces) (_ ptrace.Traces, ok bool) {
	nodes := visible(v.nodes(raw))
	if len(nodes) == 0 {
		return ptrace.Traces{}, false
	}
	standIns := v.fold(nodes)
	if !v.holds(nodes, standIns) {
		return ptrace.Traces{}, false
	}
	out := newRedacted(v, nodes, standIns)
	for i := range nodes {
		if !nodes[i].folded {
			out.add(&nodes[i])
		}
	}
	for i := range standIns {
		out.withhold(&standIns[i])
	}
	return out.ordered()
}

// holds says whether all that is seen of a trace is within the view's time. A
// trace is there as a whole or not at all: were it cut, what stands for folded
// spans would become longer and shorter with time, and tell when each of them was.
func (v *view) holds(nodes []node, standIns []withheld) bool {
	within := func(start, end int64) bool { return start >= v.oldest && end <= v.newest }
	for i := range nodes {
		if !nodes[i].folded && !within(nodes[i].start, nodes[i].end) {
			return false
		}
	}
	return !slices.ContainsFunc(standIns, func(w withheld) bool { return !within(w.start, w.end) })
}

// nodes are the spans of a raw trace, those that aren't there without membership.
func (v *view) nodes(raw ptrace.Traces) []node {
	nodes := make([]node, 0, raw.SpanCount())
	for _, rs := range raw.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			within := v.rules.within(rs.Resource(), ss.Scope())
			for _, span := range ss.Spans().All() {
				if span.SpanID().IsEmpty() {
					continue // nothing can hang on it, and no gateway would take it
				}
				n := node{
					resource: rs.Resource(), schema: rs.SchemaUrl(), scope: ss, span: span,
					start: v.at(span.StartTimestamp()), end: v.at(span.EndTimestamp()),
				}
				n.end = max(n.end, n.start) // a span that ends before it begins
				n.membership = v.rules.membership(within, span)
				nodes = append(nodes, n)
			}
		}
	}
	return nodes
}

// at is a time as the view has it: with a resolution, the end of its interval.
func (v *view) at(t pcommon.Timestamp) int64 {
	at := int64(min(uint64(t), math.MaxInt64))
	if v.resolution == 0 {
		return at
	}
	if over := at % v.resolution; over != 0 && at <= math.MaxInt64-v.resolution {
		at += v.resolution - over
	}
	return at
}

// allFrom is from when on all spans of the view are known, when all raw ones are that
// begin at or after a time: one that begins before it may be seen to begin later, at
// the end of its interval.
func (v *view) allFrom(start int64) int64 {
	if start <= 0 {
		return start
	}
	return v.at(pcommon.Timestamp(start-1)) + 1
}

// spanID is that of what stands for the folded spans in a span. It is the same
// whenever it is asked for.
func (v *view) spanID(trace pcommon.TraceID, anchor pcommon.SpanID) (id pcommon.SpanID) {
	v.withheldID.Reset()
	v.withheldID.Write(trace[:])
	v.withheldID.Write(anchor[:])
	copy(id[:], v.withheldID.Sum(nil))
	if id.IsEmpty() {
		id[0] = 1
	}
	return id
}

// redacted is a trace of the view in the making.
type redacted struct {
	*view
	standIns map[pcommon.SpanID]pcommon.SpanID // by the ids of what they stand for
	left     map[pcommon.SpanID]bool
	trace    pcommon.TraceID
	spans    []redactedSpan
	nodes    []node
	shared   map[sharedKey]sharedSeen
}

// redactedSpan is a span with what it belongs to, in a form that can be compared.
type redactedSpan struct {
	shared sharedSeen
	span   ptrace.Span
}

// sharedKey is what decides what is seen of resource and scope.
type sharedKey struct {
	scope ptrace.ScopeSpans
	of    *membership
}

// sharedSeen is what is seen of them.
type sharedSeen struct {
	// ofResource and ofScope are the same for what is the same.
	ofResource, ofScope string
	resource            ptrace.ResourceSpans // without scopes
	scope               ptrace.ScopeSpans    // without spans
}

func newRedacted(v *view, nodes []node, standIns []withheld) *redacted {
	r := &redacted{
		view: v, nodes: nodes, trace: nodes[0].span.TraceID(),
		standIns: map[pcommon.SpanID]pcommon.SpanID{}, left: map[pcommon.SpanID]bool{}, shared: map[sharedKey]sharedSeen{},
	}
	of := map[int]pcommon.SpanID{}
	for _, w := range standIns {
		of[w.anchor] = w.id
	}
	for i := range nodes {
		if n := &nodes[i]; n.folded {
			r.standIns[n.span.SpanID()] = of[n.anchor]
		} else {
			r.left[n.span.SpanID()] = true
		}
	}
	return r
}

// add redacts a span that is left.
func (r *redacted) add(n *node) {
	span := ptrace.NewSpan()
	full := n.membership.span.Mode == policy.SpanFull
	span.SetTraceID(n.span.TraceID())
	span.SetSpanID(n.span.SpanID())
	span.SetParentSpanID(n.parent)
	if kind := n.span.Kind(); traceql.KindName(kind) != traceql.KindName(ptrace.SpanKindUnspecified) {
		span.SetKind(kind) // any other number means nothing, and could be any
	}
	span.SetStartTimestamp(pcommon.Timestamp(n.start))
	span.SetEndTimestamp(pcommon.Timestamp(n.end))
	if full {
		span.SetFlags(n.flags)
		span.SetDroppedAttributesCount(n.span.DroppedAttributesCount())
		span.SetDroppedEventsCount(n.span.DroppedEventsCount())
		span.SetDroppedLinksCount(n.span.DroppedLinksCount())
	}
	if name, shown := r.value(n.membership, policy.SpanName, n.span.Name()); shown {
		span.SetName(name)
	} else {
		span.SetName(WithheldName)
	}
	if state, shown := r.value(n.membership, policy.SpanTraceState, n.span.TraceState().AsRaw()); shown {
		span.TraceState().FromRaw(state)
	}
	r.status(n, span.Status())
	r.attributes(n.membership, spanPrefix, n.span.Attributes(), span.Attributes())
	if how := n.redaction(); how != "" {
		span.Attributes().PutStr(RedactionAttribute, string(how))
	}
	if n.rule(policy.SpanStatus).Mode != policy.Keep {
		span.Attributes().PutStr(StatusAttribute, StatusWithheld)
	}
	r.events(n, span.Events())
	r.links(n, span.Links())
	r.spans = append(r.spans, redactedSpan{shared: r.sharedOf(n), span: span})
}

// status redacts a span's status: its code and its message.
func (r *redacted) status(n *node, to ptrace.Status) {
	from := n.span.Status()
	switch seen, shown := r.value(n.membership, policy.SpanStatus, traceql.StatusName(from.Code())); {
	case !shown:
	case seen == "ok":
		to.SetCode(ptrace.StatusCodeOk)
	case seen == "error":
		to.SetCode(ptrace.StatusCodeError)
	}
	if message, shown := r.value(n.membership, policy.SpanStatusMessage, from.Message()); shown {
		to.SetMessage(message)
	}
}

// events redacts a span's events.
func (r *redacted) events(n *node, to ptrace.SpanEventSlice) {
	for _, event := range n.span.Events().All() {
		name, shown := r.value(n.membership, policy.SpanEventName, event.Name())
		if !shown {
			continue
		}
		at := r.at(event.Timestamp())
		if at < r.oldest || at > r.newest {
			continue
		}
		e := to.AppendEmpty()
		e.SetName(name)
		e.SetTimestamp(pcommon.Timestamp(at))
		r.attributes(n.membership, eventPrefix, event.Attributes(), e.Attributes())
		if n.membership.span.Mode == policy.SpanFull {
			e.SetDroppedAttributesCount(event.DroppedAttributesCount())
		}
	}
}

// links redacts a span's links. Their ids stay, which hold nothing, so that a
// trace that goes on under another id can be followed; but for those of spans of
// this trace that aren't there.
func (r *redacted) links(n *node, to ptrace.SpanLinkSlice) {
	for _, link := range n.span.Links().All() {
		id := link.SpanID()
		if link.TraceID() == r.trace {
			if standIn, folded := r.standIns[id]; folded {
				id = standIn
			} else if !r.left[id] {
				continue
			}
		}
		l := to.AppendEmpty()
		l.SetTraceID(link.TraceID())
		l.SetSpanID(id)
		if state, shown := r.value(n.membership, policy.SpanTraceState, link.TraceState().AsRaw()); shown {
			l.TraceState().FromRaw(state)
		}
		r.attributes(n.membership, linkPrefix, link.Attributes(), l.Attributes())
		if n.membership.span.Mode == policy.SpanFull {
			l.SetFlags(link.Flags())
			l.SetDroppedAttributesCount(link.DroppedAttributesCount())
		}
	}
}

// value is what is seen of a text, under the name policy has for it.
func (r *redacted) value(m *membership, name, value string) (_ string, shown bool) {
	rule := m.rule(name)
	value = valid(value)
	switch {
	case value == "":
		return "", rule.Mode != policy.Drop
	case rule.Mode == policy.Keep:
		return value, true
	}
	switch rule.Mode {
	case policy.Pseudonym:
		return r.pseudonyms.Of(value), true
	case policy.Generalize:
		out := rule.Mapping.Apply(value)
		return out, out != ""
	}
	return "", false
}

// attributes copies what is seen of attributes, in order of their names. OTLP may
// have one twice: the first counts, which is the one that selectors look at.
func (r *redacted) attributes(m *membership, prefix string, from, to pcommon.Map) {
	for key, value := range from.All() {
		if first, _ := from.Get(key); first == value {
			r.attribute(m, prefix, key, value, to)
		}
	}
	sortAttributes(to)
}

func (r *redacted) attribute(m *membership, prefix, key string, value pcommon.Value, to pcommon.Map) {
	key = exported(valid(key))
	if m.rule(prefix+key).Mode == policy.Keep {
		kept := to.PutEmpty(key)
		value.CopyTo(kept)
		validate(kept, maxShownNesting)
		return
	}
	if seen, shown := r.value(m, prefix+key, value.AsString()); shown {
		to.PutStr(key, seen)
	}
}

// exported is what the view calls an attribute. What begins with parley. is said
// by gateways alone, so that the store's own is called exported_parley...., and
// what is there under that name exported_exported_parley....
func exported(key string) string {
	const prefix = "exported_"
	rest := key
	for strings.HasPrefix(rest, prefix) {
		rest = rest[len(prefix):]
	}
	if strings.HasPrefix(rest, attributePrefix) {
		return prefix + key
	}
	return key
}

// sortAttributes puts attributes in order of their names.
func sortAttributes(m pcommon.Map) {
	if m.Len() < 2 {
		return
	}
	keys := make([]string, 0, m.Len())
	sorted := true
	for key := range m.All() {
		if n := len(keys); n > 0 && keys[n-1] > key {
			sorted = false
		}
		keys = append(keys, key)
	}
	if sorted {
		return
	}
	slices.Sort(keys)
	out := pcommon.NewMap()
	out.EnsureCapacity(len(keys))
	for _, key := range keys {
		if value, ok := m.Get(key); ok {
			value.MoveTo(out.PutEmpty(key))
		}
	}
	out.MoveTo(m)
}

// idOf is the id of a trace, which has at least one span.
func idOf(t ptrace.Traces) pcommon.TraceID {
	return t.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).TraceID()
}

// valid is text as it can be carried: a store may hold bytes that are none.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// maxShownNesting is how deep a value is nested at most that leaves as it is: no
// gateway takes what is much deeper.
const maxShownNesting = 16

// validate makes of a value one that can be carried: all text in it is valid. What
// has parts that can't be is its JSON, which is what selectors look at.
func validate(value pcommon.Value, left int) {
	switch value.Type() {
	case pcommon.ValueTypeStr:
		if text := valid(value.Str()); text != value.Str() {
			value.SetStr(text)
		}
	case pcommon.ValueTypeSlice:
		if left == 0 {
			value.SetStr(valid(value.AsString()))
			return
		}
		for _, item := range value.Slice().All() {
			validate(item, left-1)
		}
	case pcommon.ValueTypeMap:
		if left == 0 || !carriesKeys(value.Map()) {
			value.SetStr(valid(value.AsString()))
			return
		}
		for _, item := range value.Map().All() {
			validate(item, left-1)
		}
	}
}

// carriesKeys says whether the keys of a map are valid text and each is there once.
func carriesKeys(m pcommon.Map) bool {
	known := make(map[string]struct{}, m.Len())
	for key := range m.All() {
		if _, twice := known[key]; twice || key != valid(key) {
			return false
		}
		known[key] = struct{}{}
	}
	return true
}
