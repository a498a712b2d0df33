package logs

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Member is an organization that can be asked, our own among them.
type Member = federation.Member[Question, *Released]

// Federated answers one question from several organizations.
type Federated struct {
	// numbers evaluates what is above range aggregations, asking the owners as
	// much of it as they can do; engine what they can't.
	numbers    *metrics.Federated
	engine     *promql.Engine
	maxSamples int
}

// NewFederated returns a Federated. maxSamples bounds an evaluation; zero is 50
// million.
func NewFederated(maxSamples int, now func() time.Time) *Federated {
	if maxSamples == 0 {
		maxSamples = defaultMaxSamples
	}
	return &Federated{numbers: metrics.NewFederated(maxSamples, lookback, now), engine: newEngine(maxSamples), maxSamples: maxSamples}
}

// Answer asks the members what it takes and returns one answer with a part for
// each of them. An organization that fails is left out of the answer as a
// whole and stands in the completeness; the error is for when there is no
// answer at all.
func (f *Federated) Answer(ctx context.Context, q Question, members []Member) (*Released, federation.Completeness, error) {
	if merge := mergers[q.Kind]; merge != nil {
		return fanOut(ctx, q, members, merge)
	}
	expr, err := q.parse()
	if err != nil {
		return nil, nil, err
	}
	if _, entries := expr.(*logql.LogSelector); entries {
		return fanOut(ctx, q, members, mergeEntries)
	}
	return f.answerNumbers(ctx, q, expr, members)
}

// merger makes one answer of the members', in order of organization.
type merger func(Question, []*Released) (*Released, error)

// mergers are those of questions that every member is asked as they are, whatever
// their text.
var mergers = map[policy.Kind]merger{
	policy.Series: mergeLists, policy.LabelNames: mergeLists, policy.LabelValues: mergeLists,
	policy.Stats: mergeStats, policy.Volume: mergeVolumes, policy.Patterns: mergePatterns,
	policy.DetectedLabels: mergeFields, policy.DetectedFields: mergeFields,
}

// part is what one member answered.
type part struct {
	member   *Member
	released *Released
	part     federation.Part
	err      error
}

// fanOut asks all members that the question concerns the same, and merges what
// they answer.
func fanOut(ctx context.Context, q Question, members []Member, merge merger) (*Released, federation.Completeness, error) {
	request, err := q.Request()
	if err != nil {
		return nil, nil, err
	}
	parts := make([]part, len(members))
	var running sync.WaitGroup
	for i := range members {
		p := &parts[i]
		p.member = &members[i]
		if !concerns(p.member.Org, request.Selectors) {
			p.part = federation.Part{Org: p.member.Org, Status: federation.NotAsked, Reason: "the question does not concern it"}
			continue
		}
		running.Go(func() {
			p.released, p.part, p.err = p.member.Ask(ctx, q)
			p.part.Org = p.member.Org
			if p.err != nil {
				e := federation.AsError(p.err)
				p.part.Status, p.part.Reason = federation.StatusOf(e), e.Message
			}
		})
	}
	running.Wait()
	slices.SortFunc(parts, func(a, b part) int { return strings.Compare(string(a.member.Org), string(b.member.Org)) })

	var answers []*Released
	var completeness federation.Completeness
	var failed error
	for _, p := range parts {
		completeness = append(completeness, p.part)
		switch {
		case p.err != nil:
			failed = cmp.Or(failed, p.err)
		case p.released != nil:
			answers = append(answers, p.released)
		}
	}
	if len(answers) == 0 && failed != nil {
		return nil, completeness, failed
	}
	released, err := merge(q, answers)
	return released, completeness, err
}

// concerns says whether one of the selectors can match at an organization; no
// selectors are all.
func concerns(org tenants.OrgID, selectors []policy.Selector) bool {
	return len(selectors) == 0 || slices.ContainsFunc(selectors, func(s policy.Selector) bool {
		return !slices.ContainsFunc(s, func(x *labels.Matcher) bool { return x.Name == federation.OrgLabel && !x.Matches(string(org)) })
	})
}

// mergeLists makes one list of the members', in order of organization.
func mergeLists(q Question, parts []*Released) (*Released, error) {
	out := &Released{}
	for _, p := range parts {
		out.names = append(out.names, p.names...)
		out.streams = append(out.streams, p.streams...)
	}
	out.names = limited(compacted(out.names), q.Limit)
	slices.SortFunc(out.streams, labels.Compare)
	out.streams = limited(out.streams, q.Limit)
	return out, nil
}

// mergeEntries puts the members' entries, each in order already, in order of
// time and then of organization, and takes as many as are wanted.
func mergeEntries(q Question, parts []*Released) (*Released, error) {
	var all []Entry
	if q.Backward {
		slices.Reverse(parts) // the exact reverse of forward
	}
	for _, p := range parts {
		all = append(all, p.entries...)
	}
	slices.SortStableFunc(all, func(a, b Entry) int {
		if q.Backward {
			a, b = b, a
		}
		return cmp.Compare(a.At, b.At)
	})
	return &Released{entries: limited(all, q.Limit)}, nil
}

// answerNumbers evaluates a query that yields numbers: each owner its range
// aggregations and as much above them as can be pushed to it, the engine of
// metrics the rest.
func (f *Federated) answerNumbers(ctx context.Context, q Question, expr logql.Expr, members []Member) (*Released, federation.Completeness, error) {
	in, err := forAsking(across(expr, members))
	if err != nil {
		return nil, nil, err
	}
	if slices.ContainsFunc(in.leaves, func(leaf logql.Expr) bool { return merges(rangeOf(leaf), members) }) {
		return f.gather(ctx, q, in, members)
	}
	asked := make([]metrics.Member, len(members))
	for i, m := range members {
		asked[i] = metrics.Member{Org: m.Org, Own: m.Own, Ask: func(ctx context.Context, mq metrics.Question) (*metrics.Released, federation.Part, error) {
			return in.ask(ctx, q, mq, m)
		}}
	}
	released, completeness, err := f.numbers.Answer(ctx, asMetrics(q, in), asked)
	if err != nil {
		return nil, completeness, err
	}
	matrix, err := released.Matrix()
	if err != nil {
		return nil, completeness, err
	}
	return &Released{numbers: metrics.ReceivedMatrix(withoutName(matrix))}, completeness, nil
}

// ask puts to a member, in LogQL, what the engine asks in PromQL.
func (s *standIn) ask(ctx context.Context, q Question, mq metrics.Question, m Member) (*metrics.Released, federation.Part, error) {
	var text, name string
	switch mq.Kind {
	case policy.Instant, policy.Range:
		expr, err := parser.ParseExpr(mq.Expression)
		if err != nil {
			return nil, federation.Part{}, err
		}
		var ok bool
		if text, ok = s.logQL(expr); !ok {
			return nil, federation.Part{}, federation.Errorf(federation.BadQuestion, "this can't be asked of a partner")
		}
	case policy.Series:
		// The series of one range aggregation, at the times of the question.
		for i, leaf := range s.leaves {
			if len(mq.Selectors) == 1 && named(mq.Selectors[0], leafName(i)) {
				text, name = leaf.String(), leafName(i)
			}
		}
		if text == "" {
			return nil, federation.Part{}, errors.New("a selector that stands in for nothing")
		}
		mq.Kind, mq.Start, mq.End, mq.Step = q.Kind, q.Start, q.End, q.Step
	default:
		return nil, federation.Part{}, errors.New("an engine asks for series and numbers alone")
	}
	released, part, err := m.Ask(ctx, Question{Kind: mq.Kind, Expression: text, Start: mq.Start, End: mq.End, Step: mq.Step})
	if err != nil {
		return nil, part, err
	}
	if released.numbers == nil {
		return nil, part, errors.New("an answer without numbers to a question for them")
	}
	if name == "" {
		return released.numbers, part, nil
	}
	matrix, err := released.numbers.Matrix()
	if err != nil {
		return nil, part, err
	}
	for i := range matrix {
		matrix[i].Metric = labels.NewBuilder(matrix[i].Metric).Set(labels.MetricName, name).Labels()
	}
	return metrics.ReceivedMatrix(matrix), part, nil
}
