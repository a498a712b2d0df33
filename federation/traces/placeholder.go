package traces

import (
	"slices"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/tenants"
)

// holders are the organizations that were asked for a trace, and what became of
// that: what is known about why a span isn't there.
type holders struct {
	parts federation.Completeness // in order
	// sampling is that which was agreed; nil: none was.
	sampling func(tenants.OrgID) tenants.SamplingProbability
}

// without lists the organizations whose part is of one of the statuses.
func (h *holders) without(statuses ...federation.Status) []tenants.OrgID {
	var out []tenants.OrgID
	for _, p := range h.parts {
		if slices.Contains(statuses, p.Status) {
			out = append(out, p.Org)
		}
	}
	return out
}

// incomplete are the organizations that may hold more than they gave.
func (h *holders) incomplete() []tenants.OrgID {
	return h.without(federation.Unreachable, federation.Timeout, federation.Denied, federation.Partial)
}

// short are the organizations whose view begins after a time.
func (h *holders) short(at int64) []tenants.OrgID {
	var out []tenants.OrgID
	for _, p := range h.parts {
		if from := p.Coverage.Start; !from.IsZero() && from.UnixNano() > at {
			out = append(out, p.Org)
		}
	}
	return out
}

// sampledAway are the organizations that don't keep a trace, by agreed sampling.
func (h *holders) sampledAway(trace pcommon.TraceID) []tenants.OrgID {
	if h.sampling == nil {
		return nil
	}
	var out []tenants.OrgID
	for _, p := range h.parts {
		if !h.sampling(p.Org).Keeps(trace) {
			out = append(out, p.Org)
		}
	}
	return out
}

// why is who could hold the parent of spans of a trace that begin at a time, and why
// it isn't there. of is whose it would be, where one is sure.
func (h *holders) why(of tenants.OrgID, trace pcommon.TraceID, at int64) ([]tenants.OrgID, MissingReason) {
	all := make([]tenants.OrgID, len(h.parts))
	for i, p := range h.parts {
		all[i] = p.Org
	}
	for _, because := range []struct {
		reason MissingReason
		orgs   []tenants.OrgID
	}{
		{MissingUnreachable, h.without(federation.Unreachable, federation.Timeout)},
		{MissingDenied, h.without(federation.Denied)},
		{MissingRetention, h.short(at)},
		{MissingSampled, h.sampledAway(trace)},
		{MissingUnknown, all},
	} {
		if of != "" && slices.Contains(because.orgs, of) {
			return []tenants.OrgID{of}, because.reason
		}
		if of == "" && len(because.orgs) > 0 {
			return because.orgs, because.reason
		}
	}
	if of != "" {
		return []tenants.OrgID{of}, MissingUnknown
	}
	return nil, MissingUnknown
}

// hold makes a placeholder for every parent that isn't there.
func (f *forest) hold(h *holders) {
	var made []int32
	for i := range len(f.nodes) {
		n := &f.nodes[i]
		id := n.span.ParentSpanID()
		if n.parent != none || id.IsEmpty() {
			continue
		}
		p, ok := f.byID[n.trace][id]
		if !ok {
			p = f.placeholder(n.trace, id)
			made = append(made, p)
		}
		if f.nodes[p].placeholder { // and not one of a circle
			f.nodes[i].parent = p
		}
	}
	f.describe(made, h)
}

// placeholder adds one, which hangs on the root.
func (f *forest) placeholder(t int32, id pcommon.SpanID) int32 {
	i := int32(len(f.nodes))
	f.nodes = append(f.nodes, knot{id: id, trace: t, org: none, clock: none, parent: f.roots[t], start: latest, placeholder: true})
	f.byID[t][id] = i
	return i
}

// describe finds out about placeholders from what hangs on them. Whose such a span
// would be is sure where one of its children is of a kind that begins within the
// same organization.
func (f *forest) describe(made []int32, h *holders) {
	if len(made) == 0 {
		return
	}
	about := make([]Missing, len(f.nodes)-int(made[0]))
	unsure := make([]bool, len(about))
	for i := range f.nodes {
		n := &f.nodes[i]
		if n.parent < made[0] {
			continue
		}
		p, at := &f.nodes[n.parent], n.parent-made[0]
		switch {
		case about[at].Children == 0:
			p.clock = n.clock
		case p.clock != n.clock:
			p.clock = none
		}
		p.start, p.end = min(p.start, n.start), max(p.end, n.end)
		about[at].Children++
		if startsInside(n.kind) && n.trace == p.trace && !unsure[at] {
			unsure[at] = p.org != none && p.org != n.org
			p.org = n.org
			if unsure[at] {
				p.org = none
			}
		}
	}
	for at, p := range made {
		f.tell(p, about[at], h)
	}
}

// startsInside says whether a span of a kind is a child of one of the same
// organization: only requests and messages come from others.
func startsInside(kind ptrace.SpanKind) bool {
	switch kind {
	case ptrace.SpanKindInternal, ptrace.SpanKindClient, ptrace.SpanKindProducer:
		return true
	}
	return false
}

// tell reports a placeholder. A span may be directly inside of another
// organization's where what is between is hidden: whose its parent is, is not sure
// while another may hold more than it gave.
func (f *forest) tell(p int32, m Missing, h *holders) {
	m.Span = f.ref(p)
	if incomplete := h.incomplete(); m.Span.Org != "" && len(incomplete) > 0 && !slices.Contains(incomplete, m.Span.Org) {
		f.nodes[p].org, m.Span.Org = none, ""
	}
	m.Orgs, m.Reason = h.why(m.Span.Org, m.Span.Trace, f.nodes[p].start)
	f.missing = append(f.missing, found[Missing]{f.nodes[p].trace, m})
}
