package replay

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/audit"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/tenants"
)

// decider decides on records.
type decider struct {
	Config

	// looks is by who asked at which door.
	looks map[lookKey]looks
}

// decide compares what was decided with what would be. The error is ctx's.
func (d decider) decide(ctx context.Context, record audit.Record, looks looks) (fate, error) {
	request, why := d.request(record, looks)
	if why != "" {
		return fate{outcome: Undecidable, why: why}, nil
	}
	at := time.Time(record.Time)
	after, err := d.New.Policies.DecideAt(ctx, request, at)
	if err != nil {
		return fate{}, err
	}
	before, summary := policy.Decision{}, true
	if record.Decision.Revision == d.Current.Inventory.Revision {
		if before, err = d.Current.Policies.DecideAt(ctx, request, at); err != nil {
			return fate{}, err
		}
		// The agreement may have changed since.
		summary = before.Allow != record.Decision.Allow
	}
	if summary {
		before = recorded(record.Decision, at)
		allow, reasons := after.Allow, after.Reasons
		if after.Allow {
			after = recorded(audit.Of(gateway.Exchange{Decision: after}).Decision, at)
		}
		after.Allow, after.Reasons = allow, reasons
	}
	f := fate{outcome: Unchanged, differences: inspect.Differences(before, after), summary: summary}
	switch {
	case len(f.differences) == 0:
	case !before.Allow:
		f.outcome = NewlyAllowed
	case !after.Allow:
		f.outcome = NewlyDenied
	default:
		f.outcome = Changed
	}
	return f, nil
}

// request is what policy was told, as far as policies that look at this much
// are concerned, or why that isn't known.
func (d decider) request(record audit.Record, looks looks) (r policy.Request, why string) {
	principal, why := principalOf(record)
	switch {
	case why != "":
		return r, why
	case policy.Kinds(record.Signal) == nil:
		return r, "it is about " + string(record.Signal)
	case record.QueryCut != nil && looks.text:
		return r, "its text was cut when it was recorded"
	case record.Kind == policy.LabelValues && record.Label == "" && looks.label:
		return r, "the label that was asked for was not recorded"
	}
	r.Signal, r.Kind = record.Signal, record.Kind
	if looks.text {
		text := record.Query
		if record.QueryBytes != nil {
			text = string(record.QueryBytes)
		}
		recorded := metrics.Recorded
		switch record.Signal {
		case tenants.Logs:
			recorded = logs.Recorded
		case tenants.Traces:
			recorded = traces.Recorded
		default:
		}
		var err error
		if r, err = recorded(record.Kind, text); err != nil {
			return r, "its text can't be read any more"
		}
	}
	r.Side, r.Owner, r.Principal, r.Label, r.Step = policy.Answer, record.Org, principal, record.Label, record.Step
	r.Window = policy.Window{Start: time.Time(record.Window.Start), End: time.Time(record.Window.End)}
	if record.Door == gateway.FrontDoor {
		r.Purposes = tenants.Agreement{}.Under(principal.Purpose)
		return r, ""
	}
	agreement, ok := d.New.Agreement(principal.Org)
	if !ok {
		return r, "there is no agreement with the partner any more"
	}
	under := agreement.Under(principal.Purpose)
	if !slices.ContainsFunc(under, func(p tenants.Purpose) bool { return slices.Contains(agreement.Purposes, p) }) {
		return r, "the agreement does not cover the purpose any more"
	}
	if !slices.Contains(agreement.Signals, record.Signal) {
		return r, "the agreement does not cover " + string(record.Signal) + " any more"
	}
	agreement, err := agreement.Emergency(principal)
	if err != nil {
		return r, "the agreement does not cover the emergency any more"
	}
	r.Package, r.Purposes = agreement.Policy, under
	return r, ""
}

func principalOf(record audit.Record) (p tenants.Principal, why string) {
	by := record.Principal
	p = tenants.Principal{Org: by.Org, User: tenants.User{Subject: by.User, Proof: by.Proof}, Purpose: by.Purpose, Case: by.Case}
	if record.BreakGlass != nil {
		p.BreakGlass = record.BreakGlass.Reason
	}
	if by.Workload != "" {
		id, err := spiffeid.FromString(by.Workload)
		if err != nil {
			return p, "its workload can't be read any more"
		}
		p.Workload = id
	}
	return p, ""
}

// recorded is as much as is recorded of a decision on a question that was asked
// at a time.
func recorded(d audit.Decision, at time.Time) policy.Decision {
	out := policy.Decision{Allow: d.Allow, Reasons: d.Reasons, Revision: d.Revision, Obligations: policy.Obligations{
		NotBefore: time.Time(d.NotBefore), NotAfter: time.Time(d.NotAfter), Epoch: d.Epoch, Limits: tenants.Limits(d.Limits),
		MaxAge: ageOf(time.Time(d.NotBefore), at), Delay: ageOf(time.Time(d.NotAfter), at),
	}}
	for _, ds := range d.Datasets {
		dataset := policy.Dataset{Name: ds.Name, Release: ds.Release, Labels: map[string]policy.LabelRule{}, Others: policy.LabelRule{Mode: modeOf(ds.Others)}}
		if ds.Span != "" {
			dataset.Spans, dataset.Span.Mode = []policy.Selector{}, spanModeOf(ds.Span)
		}
		for name, mode := range ds.Labels {
			dataset.Labels[name] = policy.LabelRule{Mode: modeOf(mode)}
		}
		out.Obligations.Datasets = append(out.Obligations.Datasets, dataset)
	}
	return out
}

// ageOf is how long before a question a bound of time was, if that seems to be
// what was said: policy decides a moment after a question has come.
func ageOf(bound, asked time.Time) time.Duration {
	if bound.IsZero() {
		return 0
	}
	if age := asked.Sub(bound).Round(time.Minute); age > 0 && (asked.Sub(bound)-age).Abs() <= time.Second {
		return age
	}
	return 0
}

func spanModeOf(name string) policy.SpanMode {
	for m := policy.SpanFull; m > policy.SpanHidden; m-- {
		if m.String() == name {
			return m
		}
	}
	return policy.SpanHidden
}

func modeOf(name string) policy.Mode {
	for _, m := range []policy.Mode{policy.Generalize, policy.Pseudonym, policy.Keep} {
		if m.String() == name {
			return m
		}
	}
	return policy.Drop
}

// looks are the parts of a question that policies look at besides who asks why.
type looks struct {
	// text is the query or anything read from it.
	text, kind, label               bool
	workload, user, proof, incident bool // of the principal
	window, step, now               bool
}

// looksAt is what either of the policies that decide on a record looks at.
func (d decider) looksAt(record audit.Record) looks {
	key := lookKey{record.Door, record.Principal.Org, record.BreakGlass != nil}
	if known, ok := d.looks[key]; ok {
		return known
	}
	var out looks
	for _, f := range []*inspect.Folder{d.Current, d.New} {
		name := own(f)
		if record.Door != gateway.FrontDoor {
			a, _ := f.Agreement(record.Principal.Org)
			name = a.Policy
			if record.BreakGlass != nil && a.BreakGlass != nil {
				name = a.BreakGlass.Policy
			}
		}
		p, _ := f.Inventory.Package(name)
		for at, parts := range map[*bool][]string{
			&out.text: {"query", "selectors", "metrics", "functions", "stages", "line_filters"}, &out.kind: {"kind"}, &out.label: {"label"},
			&out.workload: {"principal.workload"}, &out.user: {"principal.user"}, &out.proof: {"principal.proof"}, &out.incident: {"principal.case"},
			&out.window: {"window"}, &out.step: {"step_seconds"}, &out.now: {"now"},
		} {
			*at = *at || p.DependsOn(parts...)
		}
	}
	if len(d.looks) < maxRemembered { // whoever knocks has a record
		d.looks[key] = out
	}
	return out
}

type lookKey struct {
	door      gateway.Door
	by        tenants.OrgID
	emergency bool
}

// signature is all that a question's fate depends on, given what is looked at.
func (d decider) signature(record audit.Record, looks looks) string {
	var b strings.Builder
	add := func(parts ...string) {
		for _, p := range parts {
			b.WriteString(p)
			b.WriteByte(0xff) // not in UTF-8
		}
	}
	addIf := func(looked bool, parts ...string) {
		if looked {
			add(parts...)
		}
	}
	by := record.Principal
	add(string(record.Door), string(record.Org), string(by.Org), string(by.Purpose), string(record.Signal),
		string(record.Decision.Revision), strconv.FormatBool(record.Decision.Allow), strconv.FormatBool(record.BreakGlass != nil))
	addIf(looks.text, string(record.Kind), record.Query, string(record.QueryBytes), strconv.FormatBool(record.QueryCut != nil))
	addIf(looks.kind || looks.label, string(record.Kind))
	addIf(looks.label, record.Label)
	addIf(looks.workload, by.Workload)
	addIf(looks.user, by.User)
	addIf(looks.proof, string(by.Proof))
	// Without a case or a proven user there is no emergency.
	addIf(looks.incident || record.BreakGlass != nil, string(by.Case), string(by.Proof))
	addIf(looks.window, record.Window.Start.String(), record.Window.End.String())
	addIf(looks.step, record.Step.String())
	addIf(looks.now, record.Time.String())
	if record.Decision.Revision != d.Current.Inventory.Revision {
		d.addSummary(add, record)
	}
	return b.String()
}

// own is the package that decides for our own users.
func own(f *inspect.Folder) string {
	if _, ok := f.Inventory.Package("parley.own"); ok {
		return "parley.own"
	}
	return "parley.default.own"
}

// addSummary adds what was recorded of a decision, with its times as they are
// seen from when the question was asked.
func (d decider) addSummary(add func(...string), record audit.Record) {
	at := time.Time(record.Time)
	was := record.Decision
	for _, t := range []audit.Time{was.NotBefore, was.NotAfter} {
		if t.IsZero() {
			add("")
			continue
		}
		add(at.Sub(time.Time(t)).Round(time.Second).String())
	}
	add(was.Epoch.String(), fmt.Sprint(was.Limits))
	for _, ds := range was.Datasets {
		add(ds.Name, string(ds.Release), ds.Others, ds.Span)
		for _, name := range slices.Sorted(maps.Keys(ds.Labels)) {
			add(name, ds.Labels[name])
		}
	}
}
