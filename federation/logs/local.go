package logs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/differencing"
	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// LocalConfig is what a Local is made of.
type LocalConfig struct {
	// Org is the organization whose store this is.
	Org    tenants.OrgID
	Source Source
	// Secret is what pseudonyms are derived from: at least 32 random bytes,
	// the same on all replicas of a gateway, never shown to anyone.
	Secret []byte
	// MaxSamples bounds the samples one evaluation may hold; zero is 50 million.
	MaxSamples int
	// Now is the clock; nil is time.Now.
	Now    func() time.Time
	Logger *slog.Logger
	// Registerer gets the metrics of what policy says of questions; nil: none.
	Registerer prometheus.Registerer
}

// Local answers from our own store, through the view that a decision allows.
type Local struct {
	config       LocalConfig
	engine       *promql.Engine
	differencing *differencing.Memory
}

const minSecret = 32

// NewLocal returns a Local. The error says what is missing in the config.
func NewLocal(c LocalConfig) (*Local, error) {
	if c.Org == "" || c.Source == nil {
		return nil, errors.New("a local logs store needs an organization and a source")
	}
	if len(c.Secret) < minSecret {
		return nil, fmt.Errorf("the pseudonym secret has %d bytes, at least %d are needed", len(c.Secret), minSecret)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	remembered, err := differencing.New(c.Registerer, "logs")
	if err != nil {
		return nil, err
	}
	return &Local{config: c, engine: newEngine(c.MaxSamples), differencing: remembered}, nil
}

// Answer answers a question from the view that the decision allows. A decision
// that doesn't allow is refused. The error is a *federation.Error, and the Part
// then says the same.
func (l *Local) Answer(ctx context.Context, q Question, d policy.Decision, by federation.Asking) (released *Released, part federation.Part, err error) {
	// A defect that one question meets is not an outage for all others.
	defer func() {
		if cause := recover(); cause != nil {
			released = nil
			part, err = l.failed(ctx, by, fmt.Errorf("panic: %v\n%s", cause, debug.Stack()))
		}
	}()
	start := l.config.Now()
	if !d.Allow {
		part, err = l.failed(ctx, by, federation.Errorf(federation.Refused, federation.NotAllowed))
		return nil, part, err
	}
	o := d.Obligations.Of(tenants.Logs)
	v, err := l.view(o, by)
	if err == nil {
		err = l.allowed(ctx, q, o, by)
	}
	if err == nil {
		released, err = l.answer(ctx, q, v, o.Limits.OrDefault())
	}
	if err == nil {
		err = withinLimits(by.Org, released, o.Limits)
	}
	if err != nil {
		part, err = l.failed(ctx, by, err)
		return nil, part, err
	}
	for _, c := range v.fired.Counts() {
		if released.redactions == nil {
			released.redactions = map[string]uint64{}
		}
		released.redactions[c.Rule] = c.Times
	}
	cost := released.Disclosed()
	cost.Latency = l.config.Now().Sub(start)
	return released, federation.Part{
		Org: l.config.Org, Status: federation.Complete, Cost: cost, Coverage: v.coverage(q), Notices: v.notices(q),
	}, nil
}

// allowed refuses what obligations don't let be asked, by the question's text and
// those that were asked before.
func (l *Local) allowed(ctx context.Context, q Question, o policy.Obligations, by federation.Asking) error {
	if err := checkFloors(q, o); err != nil {
		return err
	}
	asked, err := q.identity()
	if err != nil {
		return err
	}
	asked.By, asked.ExchangeID = by.Org, by.ExchangeID
	return l.differencing.Check(ctx, l.config.Logger, asked, o.Differencing, l.config.Now())
}

// failed gives an error its kind, and logs what the operator has to see to.
func (l *Local) failed(ctx context.Context, by federation.Asking, err error) (federation.Part, error) {
	e := federation.AsError(err)
	e.Org = l.config.Org
	if e.Kind == federation.Internal || e.Kind == federation.Unavailable && ctx.Err() == nil {
		l.config.Logger.ErrorContext(ctx, "our own logs can't answer", "exchange", by.ExchangeID, "kind", e.Kind, "error", e.Err)
	}
	return federation.Part{Org: l.config.Org, Status: federation.StatusOf(e), Reason: e.Message}, e
}

func (l *Local) view(o policy.Obligations, by federation.Asking) (*view, error) {
	pseudonyms, err := redact.NewPseudonyms(l.config.Secret, by, o.Epoch)
	if err != nil {
		return nil, err
	}
	v := &view{
		source: l.config.Source, datasets: o.Datasets, pseudonyms: pseudonyms,
		labels: redact.New(l.config.Org, o.Datasets, pseudonyms),
		oldest: math.MinInt64, newest: math.MaxInt64,
	}
	if !o.NotBefore.IsZero() {
		v.oldest = federation.Nanoseconds(o.NotBefore)
	}
	if !o.NotAfter.IsZero() {
		v.newest = federation.Nanoseconds(o.NotAfter)
	}
	if o.Resolution > 0 {
		v.resolution = o.Resolution.Nanoseconds()
		v.newest = min(v.newest, l.config.Now().UnixNano())
	}
	return v, nil
}

func (l *Local) answer(ctx context.Context, q Question, v *view, limits tenants.Limits) (*Released, error) {
	switch q.Kind {
	case policy.Instant, policy.Range:
		expr, err := q.parse()
		if err != nil {
			return nil, err
		}
		if selector, ok := expr.(*logql.LogSelector); ok {
			return l.lines(ctx, q, selector, v, limits)
		}
		return l.numbers(ctx, q, expr, v, limits)
	case policy.Series, policy.LabelNames, policy.LabelValues:
		return l.list(ctx, q, v)
	case policy.Stats:
		return v.stats(ctx, q, entriesRead(limits))
	case policy.Volume:
		return v.volume(ctx, q, entriesRead(limits))
	case policy.Patterns:
		return v.patterns(ctx, q, entriesRead(limits))
	case policy.DetectedLabels:
		return v.detectLabels(ctx, q)
	case policy.DetectedFields:
		return v.detectFields(ctx, q)
	}
	return nil, federation.Errorf(federation.BadQuestion, "%q is not a kind of question about logs", q.Kind)
}

// pipelineOf is what the lines of a log query go through. The error says why none
// of them leave.
func (v *view) pipelineOf(q Question, selector *logql.LogSelector, limits tenants.Limits) (*logql.Pipeline, error) {
	if err := v.refuseLines(selector); err != nil {
		return nil, err
	}
	if q.Limit > limits.Lines {
		return nil, federation.Errorf(federation.OverLimit, "at most %d lines are answered at once, and %d were asked for; give a lower limit", limits.Lines, q.Limit)
	}
	pipeline, err := logql.NewPipeline(selector)
	if err != nil {
		return nil, federation.Errorf(federation.BadQuestion, "%v", err)
	}
	return pipeline, nil
}

// lines answers a log query.
func (l *Local) lines(ctx context.Context, q Question, selector *logql.LogSelector, v *view, limits tenants.Limits) (*Released, error) {
	pipeline, err := v.pipelineOf(q, selector, limits)
	if err != nil {
		return nil, err
	}
	out := &Released{}
	sel := selectionOf(selector, q.Start.UnixNano(), q.End.UnixNano())
	sel.backward = q.Backward
	sel.wanted = q.Limit
	size := 0
	err = v.entries(ctx, sel, func(e visibleEntry) error {
		entry, ok := pipeline.Process(e.at, e.line, e.stream, e.metadata)
		if !ok {
			return nil
		}
		made := Entry{At: e.at, Entry: entry}
		if size += made.bytes(); size > maxHeld {
			return federation.Errorf(federation.OverLimit, "the lines and their labels are larger than a gateway holds at once; give a lower limit")
		}
		out.entries = append(out.entries, made)
		if len(out.entries) == q.Limit {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return out, nil
}

// errEnough ends a selection that has all that is wanted.
var errEnough = errors.New("enough")

// maxHeld is how many bytes of lines, or of labels, one answer may hold.
const maxHeld = 64 << 20

// refuseLines refuses lines of which policy lets none leave: by what the
// question and policy say alone.
func (v *view) refuseLines(selector *logql.LogSelector) error {
	pushed, possible := v.labels.OnKept(selector.Matchers)
	if !possible {
		return nil
	}
	for _, c := range v.labels.Candidates(pushed) {
		if c.Dataset.Line.Mode == policy.LineNone {
			return federation.Errorf(federation.NeedsAggregation,
				"no lines of this are released, only how many there are: ask for numbers, for example sum by (org) (count_over_time(%s [5m]))",
				FormatSelector(policy.Selector(selector.Matchers)))
		}
	}
	return nil
}

// selectionOf selects what a log selector reads between two times.
func selectionOf(s *logql.LogSelector, start, end int64) selection {
	sel := selection{start: start, end: end, matchers: s.Matchers}
	for _, stage := range s.Stages {
		f, ok := stage.(*logql.LineFilter)
		if !ok {
			break // later ones may look at another line
		}
		sel.filters = append(sel.filters, f)
		if f.Op == logql.Contains && len(f.Alternatives) == 1 && !f.Alternatives[0].IP && f.Alternatives[0].Text != "" {
			sel.contains = append(sel.contains, f.Alternatives[0].Text)
		}
	}
	return sel
}

// list answers what streams, names and values there are.
func (l *Local) list(ctx context.Context, q Question, v *view) (*Released, error) {
	streams, err := v.streamsOf(ctx, q)
	if err != nil {
		return nil, err
	}
	if q.Kind == policy.Series {
		return &Released{streams: limited(streams, q.Limit)}, nil
	}
	var names []string
	for _, s := range streams {
		s.Range(func(l labels.Label) {
			switch {
			case q.Kind == policy.LabelNames:
				names = append(names, l.Name)
			case l.Name == q.Label:
				names = append(names, l.Value)
			}
		})
		names = compacted(names)
	}
	return &Released{names: limited(names, q.Limit)}, nil
}

// streamsOf are the streams that a listing's selectors choose, in order of their
// labels.
func (v *view) streamsOf(ctx context.Context, q Question) ([]labels.Labels, error) {
	selectors := q.Selectors
	if len(selectors) == 0 {
		if q.Kind == policy.Series {
			return nil, federation.Errorf(federation.BadQuestion, "a question for streams has a selector")
		}
		selectors = []policy.Selector{nil}
	}
	var streams []labels.Labels
	for _, s := range selectors {
		found, err := v.listStreams(ctx, selection{start: q.Start.UnixNano(), end: q.End.UnixNano(), matchers: s})
		if err != nil {
			return nil, err
		}
		streams = append(streams, found...)
	}
	slices.SortFunc(streams, labels.Compare)
	return slices.CompactFunc(streams, labels.Equal), nil
}

func compacted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

func limited[T any](all []T, limit int) []T {
	if limit > 0 && len(all) > limit {
		return all[:limit]
	}
	return all
}

// withinLimits checks an answer against what may leave at once.
func withinLimits(by tenants.OrgID, r *Released, limits tenants.Limits) error {
	most := limits.OrDefault()
	cost := r.Disclosed()
	if err := limits.CheckSeries(by, cost.Series+len(r.names)+len(r.fields)+streamsOf(r.entries)); err != nil {
		return &federation.Error{Kind: federation.OverLimit, Err: err, Message: fmt.Sprintf("the answer has more than %d series, streams, names or fields; select fewer, or aggregate", most.Series)}
	}
	if err := limits.CheckBytes(by, r.Bytes()); err != nil {
		return &federation.Error{Kind: federation.OverLimit, Err: err, Message: fmt.Sprintf("the answer has more than %d bytes; ask for less time, or a lower limit", most.Bytes)}
	}
	if err := limits.CheckSamples(by, cost.Samples); err != nil {
		return &federation.Error{Kind: federation.OverLimit, Err: err, Message: fmt.Sprintf("the answer has more than %d samples; ask for less time, a larger step or fewer series", most.Samples)}
	}
	return nil
}

// streamsOf is how many streams entries are of.
func streamsOf(entries []Entry) int {
	found := map[string]bool{}
	var key []byte
	for _, e := range entries {
		key = e.Stream.Bytes(key)
		found[string(key)] = true
	}
	return len(found)
}

// coverage is the part of the question's time that the view holds; zero when
// they don't meet.
func (v *view) coverage(q Question) policy.Window {
	start, end := max(q.Start.UnixNano(), v.oldest), min(q.End.UnixNano(), v.newest)
	if start > end {
		return policy.Window{}
	}
	return policy.Window{Start: time.Unix(0, start).UTC(), End: time.Unix(0, end).UTC()}
}

// notices say in words what policy redacts of the answer to a question: policy
// and the question decide, whatever the store holds.
func (v *view) notices(q Question) []string {
	asked, err := q.Request()
	if err != nil {
		return nil
	}
	selectors := asked.Selectors
	if len(selectors) == 0 {
		selectors = []policy.Selector{nil}
	}
	var said []string
	for _, s := range selectors {
		pushed, possible := v.labels.OnKept(s)
		if !possible {
			continue // it asks for another organization's
		}
		candidates := v.labels.Candidates(pushed)
		if len(candidates) == 0 {
			said = append(said, "policy says: nothing of "+brief(FormatSelector(s))+" is released")
		}
		for _, c := range candidates {
			if words := redactions(c.Dataset); words != "" {
				said = append(said, "policy says: "+words)
			}
		}
	}
	slices.Sort(said)
	return slices.Compact(said)
}

func brief(text string) string {
	const most = 100
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return text
}

// redactions say in words what becomes of a dataset's labels and lines; empty
// is nothing.
func redactions(d *policy.Dataset) string {
	var said []string
	for _, m := range []policy.Mode{policy.Keep, policy.Pseudonym, policy.Generalize, policy.Drop} {
		var names []string
		for name, rule := range d.Labels {
			if rule.Mode == m {
				names = append(names, name)
			}
		}
		if len(names) > 0 {
			slices.Sort(names)
			said = append(said, m.String()+" "+strings.Join(names, ", "))
		}
	}
	if d.Others.Mode == policy.Keep && len(said) == 0 && d.Line.Mode == policy.LineKeep {
		return ""
	}
	said = append(said, d.Others.Mode.String()+" all other labels")
	switch d.Line.Mode {
	case policy.LineNone:
		said = append(said, "no lines, so that filters and parsers see empty ones")
	case policy.LineShape:
		said = append(said, "the templates of lines")
	case policy.LineByRules:
		said = append(said, "redacted lines")
	case policy.LineKeep:
		said = append(said, "lines as they are")
	}
	return strings.Join(said, "; ")
}
