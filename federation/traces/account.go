package traces

import (
	"context"
	"slices"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Account is what becomes of raw traces: numbers, and the names of attributes. It is
// for the owner's eyes.
type Account struct {
	// Traces are in the order in which they were asked for, those that there are.
	Traces []TraceAccount `json:"traces"`
	// Attributes are the names and attributes of the spans that are left, as policy
	// calls them.
	Attributes []redact.LabelAccount `json:"attributes,omitempty"`
	// Missing are attributes by which datasets select spans, and that no span of these
	// traces has, of datasets that select none of them.
	Missing []MissingAttribute `json:"-"`
}

// TraceAccount is what becomes of a trace.
type TraceAccount struct {
	TraceID string `json:"trace_id"`
	// Spans are Shown, Folded, Hidden, Denied, Outside or Nameless.
	Spans int `json:"spans"`
	// Shown are left, by the mode in which they are. Of a trace that is Elsewhen none
	// is released.
	Shown map[string]int `json:"shown,omitempty"`
	// Folded are those for which the Withheld spans stand.
	Folded   int `json:"folded"`
	Withheld int `json:"withheld"`
	// Hidden and Denied are in a dataset that hides them, or denies, by its index in the
	// obligations.
	Hidden map[int]int `json:"hidden,omitempty"`
	Denied map[int]int `json:"denied,omitempty"`
	// Outside are in no dataset.
	Outside int `json:"outside"`
	// Nameless have no span id.
	Nameless int `json:"nameless,omitempty"`
	// Elsewhen says that something of it isn't within the time that may be seen, and so
	// nothing is.
	Elsewhen bool `json:"elsewhen,omitempty"`
}

// Account counts what becomes of the traces of these ids under a decision.
func (l *Local) Account(ctx context.Context, ids []pcommon.TraceID, o policy.Obligations, by federation.Asking) (Account, error) {
	out := Account{Traces: []TraceAccount{}}
	v, err := newView(l.config.Org, o.Of(tenants.Traces), l.config.Secret, by, l.config.Now())
	if err != nil {
		return out, federation.AsError(err)
	}
	var values redact.Values
	met := meeting{datasets: map[int]bool{}, attributes: map[string]bool{}}
	found := map[pcommon.TraceID]TraceAccount{}
	if len(ids) > 0 {
		for raw, err := range l.config.Source.tracesRaw(ctx, ids) {
			if err != nil {
				return out, federation.AsError(err)
			}
			found[idOf(raw)] = v.account(raw, &values, met)
		}
	}
	for _, id := range ids {
		if a, ok := found[id]; ok {
			out.Traces = append(out.Traces, a)
		}
	}
	out.Attributes = values.Accounts()
	if len(found) > 0 {
		out.Missing = met.missing(v.rules.datasets)
	}
	return out, nil
}

// account goes the steps of view.trace, and counts what each takes away.
func (v *view) account(raw ptrace.Traces, values *redact.Values, met meeting) TraceAccount {
	a := TraceAccount{TraceID: idOf(raw).String(), Spans: raw.SpanCount(), Shown: map[string]int{}}
	of := map[ptrace.Span][]int{} // the datasets of what is there
	nodes := v.nodes(raw)
	a.Nameless = a.Spans - len(nodes)
	for _, n := range nodes {
		datasets := v.rules.datasetsOf(n)
		of[n.span] = datasets
		met.add(n, datasets)
		if n.membership == nil {
			a.gone(v.rules.datasets, datasets)
		}
	}
	left := visible(nodes)
	if len(left) == 0 {
		return a
	}
	standIns := v.fold(left)
	a.Withheld, a.Elsewhen = len(standIns), !v.holds(left, standIns)
	out := newRedacted(v, left, standIns)
	for i := range left {
		n := &left[i]
		if n.folded {
			a.Folded++
			continue
		}
		a.Shown[n.membership.span.Mode.String()]++
		if !a.Elsewhen {
			out.account(n, of[n.span], values)
		}
	}
	return a
}

// gone counts a span that isn't there.
func (a *TraceAccount) gone(all []policy.Dataset, of []int) {
	count := func(in *map[int]int, i int) {
		if *in == nil {
			*in = map[int]int{}
		}
		(*in)[i]++
	}
	if i := slices.IndexFunc(of, func(i int) bool { return all[i].Release != policy.Row }); i >= 0 {
		count(&a.Denied, of[i])
		return
	}
	if i := slices.IndexFunc(of, func(i int) bool { return all[i].Span.Mode == policy.SpanHidden }); i >= 0 {
		count(&a.Hidden, of[i])
		return
	}
	a.Outside++
}

// datasetsOf are the datasets that a raw span is of, whatever they say of it, by
// their index.
func (r *rules) datasetsOf(n node) []int {
	var out []int
	for _, s := range r.within(n.resource, n.scope.Scope()) {
		if all(s.own, func(name string) string { return ownValue(n.span, name) }) {
			out = append(out, s.dataset)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// account notes what is seen of a span's names and attributes.
func (r *redacted) account(n *node, datasets []int, values *redact.Values) {
	text := func(name, raw string) (seen bool) {
		shown, seen := r.value(n.membership, name, raw)
		if raw != "" {
			values.See(name, raw, shown, datasets)
		}
		return seen
	}
	each := func(prefix string, attributes pcommon.Map, there bool) {
		for key, value := range attributes.All() {
			name := prefix + exported(valid(key))
			switch {
			case !there:
				values.See(name, value.AsString(), "", datasets)
			case n.rule(name).Mode == policy.Keep:
				values.See(name, value.AsString(), value.AsString(), datasets)
			default:
				text(name, value.AsString())
			}
		}
	}
	text(policy.SpanName, n.span.Name())
	text(policy.SpanStatus, traceql.StatusName(n.span.Status().Code()))
	text(policy.SpanStatusMessage, n.span.Status().Message())
	text(policy.SpanTraceState, n.span.TraceState().AsRaw())
	text(policy.SpanScopeName, n.scope.Scope().Name())
	text(policy.SpanScopeVersion, n.scope.Scope().Version())
	each(resourcePrefix, n.resource.Attributes(), true)
	each(scopePrefix, n.scope.Scope().Attributes(), true)
	each(spanPrefix, n.span.Attributes(), true)
	for _, event := range n.span.Events().All() {
		each(eventPrefix, event.Attributes(), text(policy.SpanEventName, event.Name()))
	}
	for _, link := range n.span.Links().All() {
		each(linkPrefix, link.Attributes(), true)
	}
}
