package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/federation/metrics"
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

	Range *model.Duration `placeholder:"1h" help:"For how long up to --time, instead of for one moment."`
	Step  *model.Duration `placeholder:"30s" help:"Resolution of --range; without it a hundredth of the range."`
	Time  string          `placeholder:"T" help:"The moment asked for, as RFC 3339 or Unix seconds; without it now."`

	Expression string `arg:"" name:"query" help:"The question in PromQL, which is about metrics."`
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
	at, err := moment(q.Time, f.Now())
	if err != nil {
		return a, err
	}
	if _, err := parser.ParseExpr(q.Expression); err != nil {
		for _, language := range []struct {
			name string
			is   bool
		}{{"LogQL", isLogQL(q.Expression)}, {"TraceQL", isTraceQL(q.Expression)}} {
			if language.is {
				return a, usage("this is %s, and explain and try are for questions about metrics; check, lint, catalog, diff and replay are for logs and traces as well", language.name)
			}
		}
		return a, usage("not PromQL: %w", err)
	}
	f.Assume(a.Partner, a.Purpose)
	a.Question = metrics.Question{Kind: policy.Instant, Expression: q.Expression, Start: at, End: at}
	if q.Range == nil {
		if q.Step != nil {
			return a, errStepAlone
		}
		return a, nil
	}
	length, step, err := (&queryCommand{Range: q.Range, Step: q.Step}).span()
	a.Question.Kind, a.Question.Start, a.Question.Step = policy.Range, at.Add(-length), step
	return a, err
}

// note says which of two languages a text that is of both was taken for.
func (q *partnerQuestion) note(w io.Writer) error {
	if !isLogQL(q.Expression) {
		return nil
	}
	var out strings.Builder
	out.WriteString(paragraph("", "parley: asked in PromQL, about metrics; it is LogQL as well, and explain and try don't ask about logs"))
	return write(w, &out)
}

func isLogQL(text string) bool {
	_, err := logql.Parse(text)
	return err == nil
}

func isTraceQL(text string) bool {
	_, err := traceql.Parse(text)
	return err == nil
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
