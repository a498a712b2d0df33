package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/gateway/rehearsal"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/tenants"
)

// partnerQuestion is a question as a partner would ask it.
type partnerQuestion struct {
	As      string `required:"" placeholder:"PARTNER" help:"The partner that would ask."`
	Purpose string `required:"" placeholder:"P" help:"What it would ask for, such as incident-response."`
	Case    string `placeholder:"C" help:"The case it would name."`
	User    string `placeholder:"U" help:"The user for whom it would ask, proven by a token."`

	BreakGlass string `placeholder:"REASON" help:"Ask in an emergency, for this reason, as --user for --case."`

	Signal *tenants.Signal `enum:"metrics,logs,traces" placeholder:"S" help:"What it is about, metrics, logs or traces, where the question could be about several; without it the first of them whose language it is in."`
	Range  *model.Duration `placeholder:"1h" help:"For how long up to --time, instead of for one moment; of lines and searches without it an hour."`
	Step   *model.Duration `placeholder:"30s" help:"Resolution of numbers over --range; without it a hundredth of the range."`
	Time   string          `placeholder:"T" help:"The moment asked for, as RFC 3339 or Unix seconds; without it now."`
	Limit  *int            `placeholder:"N" help:"The most lines, the newest, or traces, the latest; without it 100 lines or 20 traces."`

	Expression string `arg:"" name:"query" help:"The question: PromQL about metrics, LogQL about logs, TraceQL or a trace id about traces."`
}

func (q *partnerQuestion) ask(f *inspect.Folder) (rehearsal.Ask, error) {
	var a rehearsal.Ask
	var err error
	if a.Partner, err = tenants.ParseOrgID(q.As); err != nil {
		return a, usage("--as: %w", err)
	}
	if _, ok := f.Agreement(a.Partner); !ok {
		return a, usage("--as: there is no agreement with %s; %s", a.Partner, partnersOf(f))
	}
	if a.Purpose, err = tenants.ParsePurpose(q.Purpose); err != nil {
		return a, usage("--purpose: %w", err)
	}
	if a.Case, err = tenants.ParseCaseID(q.Case); err != nil {
		return a, usage("--case: %w", err)
	}
	if q.User != "" {
		a.User = tenants.User{Subject: q.User, Proof: tenants.ProvenByJWT}
	}
	if q.BreakGlass != "" {
		if a.BreakGlass, err = tenants.ParseEmergencyReason(q.BreakGlass); err != nil {
			return a, usage("--break-glass: %w", err)
		}
		if q.Case == "" || q.User == "" {
			return a, usage("--break-glass: needs --case and --user, to which a grant is bound")
		}
	}
	if a.Question, err = q.question(f.Now()); err != nil {
		return a, err
	}
	f.Assume(a.Partner, a.Purpose)
	return a, nil
}

// question is what is asked.
func (q *partnerQuestion) question(now time.Time) (federation.Question, error) {
	at, err := moment(q.Time, now)
	if err != nil {
		return nil, err
	}
	var about tenants.Signal
	if q.Signal != nil {
		about = *q.Signal
	} else {
		all := languages(q.Expression)
		if len(all) == 0 {
			_, err := parser.ParseExpr(q.Expression)
			return nil, usage("not PromQL: %w; nor is it LogQL, TraceQL or a trace id, of which --signal logs and --signal traces say what is wrong", err)
		}
		about = all[0].signal
	}
	switch about {
	case tenants.Logs:
		return q.aboutLogs(at)
	case tenants.Traces:
		return q.aboutTraces(at)
	}
	return q.aboutMetrics(at)
}

func (q *partnerQuestion) aboutMetrics(at time.Time) (federation.Question, error) {
	if _, err := parser.ParseExpr(q.Expression); err != nil {
		return nil, usage("not PromQL: %w", err)
	}
	if q.Limit != nil {
		return nil, errLimitOfNumbers
	}
	out := metrics.Question{Kind: policy.Instant, Expression: q.Expression, Start: at, End: at}
	if q.Range == nil {
		return out, q.alone()
	}
	length, step, err := q.span()
	out.Kind, out.Start, out.Step = policy.Range, at.Add(-length), step
	return out, err
}

func (q *partnerQuestion) aboutLogs(at time.Time) (federation.Question, error) {
	expr, err := logql.Parse(q.Expression)
	if err != nil {
		return nil, usage("not LogQL: %w", err)
	}
	out := logs.Question{Kind: policy.Range, Expression: q.Expression, Start: at, End: at}
	if _, lines := expr.(*logql.LogSelector); lines {
		if q.Step != nil {
			return nil, errStepOfEvents
		}
		length, err := q.back()
		if err != nil {
			return nil, err
		}
		out.Start, out.Backward = at.Add(-length), true
		out.Limit, err = q.most(defaultLines)
		return out, err
	}
	if q.Limit != nil {
		return nil, errLimitOfNumbers
	}
	at = at.Truncate(time.Millisecond) // as numbers are
	out.Start, out.End = at, at
	if q.Range == nil {
		out.Kind = policy.Instant
		return out, q.alone()
	}
	length, step, err := q.span()
	out.Start, out.Step = at.Add(-length), step
	return out, err
}

func (q *partnerQuestion) aboutTraces(at time.Time) (federation.Question, error) {
	if q.Step != nil {
		return nil, errStepOfEvents
	}
	id, notID := traces.ParseTraceID(q.Expression)
	if notID == nil {
		out := traces.Question{Kind: policy.Trace, IDs: []pcommon.TraceID{id}}
		if q.Limit != nil {
			return nil, usage("--limit: a trace id is one trace")
		}
		if q.Range == nil {
			return out, nil
		}
		length, err := q.back()
		out.Start, out.End = at.Add(-length), at
		return out, err
	}
	if _, err := traceql.Parse(q.Expression); err != nil {
		return nil, usage("neither a trace id nor TraceQL: %w", err)
	}
	length, err := q.back()
	if err != nil {
		return nil, err
	}
	out := traces.Question{Kind: policy.Search, Expression: q.Expression, Start: at.Add(-length), End: at}
	out.Limit, err = q.most(defaultTraces)
	return out, err
}

// What is wanted of lines and of searches where nobody says how much, as parley logs
// and parley trace search have it.
const (
	defaultLines  = 100
	defaultTraces = 20
	defaultSince  = time.Hour
)

var (
	errLimitOfNumbers = usage("--limit: is of lines and of traces, and this asks for numbers; --signal logs asks for lines where PromQL would do as well")
	errStepOfEvents   = usage("--step is the resolution of numbers, and this asks for lines or traces")
)

// alone refuses a step of one moment.
func (q *partnerQuestion) alone() error {
	if q.Step != nil {
		return errStepAlone
	}
	return nil
}

// span is that of numbers, and their resolution.
func (q *partnerQuestion) span() (length, step time.Duration, err error) {
	return (&queryCommand{Range: q.Range, Step: q.Step}).span()
}

// back is for how long lines or traces are asked for.
func (q *partnerQuestion) back() (time.Duration, error) {
	if q.Range == nil {
		return defaultSince, nil
	}
	if *q.Range <= 0 {
		return 0, usage("--range 0s is no time at all; give one such as 1h")
	}
	return time.Duration(*q.Range), nil
}

// most is how many are wanted.
func (q *partnerQuestion) most(otherwise int) (int, error) {
	switch {
	case q.Limit == nil:
		return otherwise, nil
	case *q.Limit <= 0:
		return 0, usage("--limit must be above 0")
	}
	return *q.Limit, nil
}

// note says which of several languages a text that is of all was taken for.
func (q *partnerQuestion) note(w io.Writer) error {
	all := languages(q.Expression)
	if q.Signal != nil || len(all) < 2 {
		return nil
	}
	var others []string
	for _, l := range all[1:] {
		others = append(others, fmt.Sprintf("%s (--signal %s)", l.name, l.signal))
	}
	var out strings.Builder
	out.WriteString(paragraph("", fmt.Sprintf("parley: asked in %s, about %s; it is %s as well", all[0].name, all[0].signal, strings.Join(others, " and "))))
	return write(w, &out)
}

// language is one in which a signal is asked about.
type language struct {
	signal tenants.Signal
	name   string
}

// languages are those that a text is in. A trace id is nothing else, although it
// could be the name of a metric.
func languages(text string) []language {
	if isTraceID(text) {
		return []language{{tenants.Traces, "trace ids"}}
	}
	var out []language
	if _, err := parser.ParseExpr(text); err == nil {
		out = append(out, language{tenants.Metrics, "PromQL"})
	}
	if _, err := logql.Parse(text); err == nil {
		out = append(out, language{tenants.Logs, "LogQL"})
	}
	if _, err := traceql.Parse(text); err == nil {
		out = append(out, language{tenants.Traces, "TraceQL"})
	}
	return out
}

// isTraceID says whether a text looks like one: of as many digits as trace ids have,
// of 128 bits or of 64.
func isTraceID(text string) bool {
	_, err := traces.ParseTraceID(text)
	return err == nil && (len(text) == 2*len(pcommon.TraceID{}) || len(text) == len(pcommon.TraceID{}))
}

// asks is who asks why, for people.
func asks(partner tenants.OrgID, purpose tenants.Purpose, breakGlass bool) string {
	text := fmt.Sprintf("%s for %s", partner, purpose)
	if breakGlass {
		text += " in an emergency"
	}
	return text
}

// partnersOf lists those with whom there are agreements.
func partnersOf(f *inspect.Folder) string {
	if len(f.Agreements) == 0 {
		return "there are none"
	}
	var names []string
	for _, a := range f.Agreements {
		names = append(names, string(a.Partner))
	}
	if f.Assumed {
		return "by the packages there could be one with " + strings.Join(names, ", ")
	}
	return "there is one with " + strings.Join(names, ", ")
}

// stamp is a time for people.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
