package logs

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Account is what becomes of the streams and lines that a query's selectors match
// in the store: numbers, and the names of labels and rules. It is for the owner's
// eyes.
type Account struct {
	Selectors []SelectorAccount `json:"selectors"`
}

// SelectorAccount is what becomes of what a log selector matches.
type SelectorAccount struct {
	Selector string `json:"selector"` // without its pipeline
	// Lines are those of the time that is asked about, the last 100,000 at most; Cut
	// says that there are more.
	Lines int  `json:"lines"`
	Cut   bool `json:"cut,omitempty"`
	// Streams are those that these lines are of, as the owner would have it. They are
	// Released, Denied, Outside or Unmatched.
	Streams int `json:"streams"`
	// Released are in the view, and match there too.
	Released int `json:"released"`
	// Denied are in a dataset that denies, by its index in the obligations.
	Denied map[int]int `json:"denied,omitempty"`
	// Outside are in no dataset.
	Outside int `json:"outside"`
	// Unmatched are released, but the selector matches them by what is hidden.
	Unmatched int `json:"unmatched"`

	// Of the lines those of streams that aren't released are Withheld. The others
	// are Elsewhen, which is not in the time that may be seen, or leave Unchanged,
	// Changed or Emptied, of which nothing is left.
	Withheld  int `json:"withheld"`
	Elsewhen  int `json:"elsewhen"`
	Unchanged int `json:"unchanged"`
	Changed   int `json:"changed"`
	Emptied   int `json:"emptied"`
	// Rules are how often rules of what leaves of lines did something.
	Rules []RuleAccount `json:"rules,omitempty"`
	// Found are lines that come out of the pipeline, for the owner and, as they are
	// seen, for the partner. Both are zero where there is no pipeline.
	Found     int `json:"found,omitempty"`
	FoundSeen int `json:"found_seen,omitempty"`
	// Labels are those of released streams and their structured metadata.
	Labels []redact.LabelAccount `json:"labels,omitempty"`
}

// RuleAccount is how often a rule did something to lines, by its name in policy:
// see line.Count.
type RuleAccount struct {
	Rule  string `json:"rule"`
	Times uint64 `json:"times"`
}

// mostAccounted is how many lines of a selector are looked at.
const mostAccounted = 100_000

// Account counts what becomes of what an instant or a range query matches for its
// owner, under what is decided for a partner.
func (l *Local) Account(ctx context.Context, q Question, owners, partners policy.Obligations, by federation.Asking) (Account, error) {
	var out Account
	expr, err := q.parse()
	if err != nil {
		return out, federation.AsError(err)
	}
	ranges := logql.RangeAggregations(expr)
	for i, selector := range logql.Selectors(expr) {
		a := accounting{whole: selector, start: q.Start.UnixNano(), end: q.End.UnixNano()}
		if len(ranges) > 0 {
			r := ranges[i]
			at := func(t time.Time) int64 { return t.Add(-r.Offset).UnixNano() + 1 }
			a.start, a.end = at(q.Start.Add(-r.Range)), at(q.End)
		}
		if a.own, err = l.view(owners.Of(tenants.Logs), federation.Asking{Org: l.config.Org, ExchangeID: by.ExchangeID}); err != nil {
			return out, federation.AsError(err)
		}
		if a.seen, err = l.view(partners.Of(tenants.Logs), by); err != nil {
			return out, federation.AsError(err)
		}
		if err := a.read(ctx); err != nil {
			return out, federation.AsError(err)
		}
		out.Selectors = append(out.Selectors, a.SelectorAccount)
	}
	return out, nil
}

// accounting is a selector's account in the making.
type accounting struct {
	SelectorAccount

	whole      *logql.LogSelector
	start, end int64 // Unix nanoseconds; start is included, end isn't
	own, seen  *view
	bounds     selection // the part of that time that may be seen, ends before it starts where none may
	streams    map[*visibleStream]streamFate
	values     redact.Values
}

// streamFate is what becomes of a stream.
type streamFate struct {
	released bool
	datasets []int
}

func (a *accounting) read(ctx context.Context) error {
	a.Selector, a.streams = FormatSelector(policy.Selector(a.whole.Matchers)), map[*visibleStream]streamFate{}
	owners, err := logql.NewPipeline(a.whole)
	if err != nil {
		return federation.Errorf(federation.BadQuestion, "%v", err)
	}
	partners, err := logql.NewPipeline(a.whole)
	if err != nil {
		return federation.Errorf(federation.BadQuestion, "%v", err)
	}
	sel := selection{start: a.start, end: a.end, backward: true}
	a.bounds, _ = a.seen.narrow(sel)
	var possible bool
	if sel.matchers, possible = a.own.labels.Narrow(a.whole.Matchers); !possible {
		return nil
	}
	err = a.own.source.selectRaw(ctx, sel, func(raw rawEntry) error {
		mine, ok, err := a.own.see(raw, raw.at, a.whole.Matchers)
		if err != nil || !ok {
			return err
		}
		if a.Lines == mostAccounted {
			a.Cut = true
			return errEnough
		}
		a.Lines++
		if _, found := owners.Process(mine.at, mine.line, mine.stream, mine.metadata); found {
			a.Found++
		}
		theirs, ok, err := a.entry(raw)
		if err != nil || !ok {
			return err
		}
		if _, found := partners.Process(theirs.at, theirs.line, theirs.stream, theirs.metadata); found {
			a.FoundSeen++
		}
		return ctx.Err()
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if len(a.whole.Stages) == 0 {
		a.Found, a.FoundSeen = 0, 0
	}
	for _, c := range a.seen.fired.Counts() {
		a.Rules = append(a.Rules, RuleAccount{c.Rule, c.Times})
	}
	a.Labels = a.values.Accounts()
	return nil
}

// entry counts what becomes of an entry; ok is false where the view doesn't hold it.
func (a *accounting) entry(raw rawEntry) (e visibleEntry, ok bool, err error) {
	s, err := a.seen.stream(raw.stream)
	if err != nil {
		return e, false, err
	}
	fate, known := a.streams[s]
	if !known {
		fate = a.stream(s)
		a.streams[s] = fate
	}
	if !fate.released {
		a.Withheld++
		return e, false, nil
	}
	at, seen := a.seen.moment(raw.at)
	if !seen || raw.at < a.bounds.start || raw.at >= a.bounds.end || at < a.start || at >= a.end {
		a.Elsewhen++
		return e, false, nil
	}
	if e, ok, err = a.seen.see(raw, at, a.whole.Matchers); err != nil || !ok {
		return e, ok, err
	}
	switch e.line {
	case raw.line:
		a.Unchanged++
	case "":
		a.Emptied++
	default:
		a.Changed++
	}
	raw.metadata.Range(func(l labels.Label) { a.values.See(l.Name, l.Value, e.metadata.Get(l.Name), fate.datasets) })
	return e, true, nil
}

// stream counts what becomes of a stream.
func (a *accounting) stream(s *visibleStream) streamFate {
	a.Streams++
	raw := a.seen.labels.WithOrg(s.raw)
	var fate streamFate
	for i, d := range a.seen.datasets {
		if !slices.ContainsFunc(d.Streams, func(of policy.Selector) bool { return redact.Matches(of, raw) }) {
			continue
		}
		if d.Release != policy.Row {
			if a.Denied == nil {
				a.Denied = map[int]int{}
			}
			a.Denied[i]++
			return streamFate{}
		}
		fate.datasets = append(fate.datasets, i)
	}
	switch {
	case len(s.member) == 0:
		a.Outside++
	case !redact.Matches(a.whole.Matchers, s.visible):
		a.Unmatched++
	default:
		a.Released++
		fate.released = true
		raw.Range(func(l labels.Label) {
			if l.Name != federation.OrgLabel {
				a.values.See(l.Name, l.Value, s.visible.Get(l.Name), fate.datasets)
			}
		})
	}
	return fate
}
