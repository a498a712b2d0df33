package wire

import (
	"fmt"
	"slices"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/policy"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
	"github.com/parley-gateway/parley/tenants"
)

// Ask is what an asker sends. Its organization and workload are not in it:
// they are taken from the connection.
type Ask struct {
	ExchangeID federation.ExchangeID
	Purpose    tenants.Purpose
	Case       tenants.CaseID
	User       tenants.User
	BreakGlass tenants.EmergencyReason
	// Question is a metrics.Question, a logs.Question or a traces.Question.
	Question federation.Question
}

// EncodeAsk returns the request. The error is a BadQuestion: what DecodeAsk
// would refuse is not sent.
func EncodeAsk(a Ask) (*federationv1.AskRequest, error) {
	request := &federationv1.AskRequest{
		ExchangeId: string(a.ExchangeID),
		Purpose:    string(a.Purpose),
		CaseId:     string(a.Case),
		BreakGlass: string(a.BreakGlass),
	}
	switch q := a.Question.(type) {
	case metrics.Question:
		request.Question = &federationv1.AskRequest_Metrics{Metrics: encodeMetrics(q)}
	case logs.Question:
		request.Question = &federationv1.AskRequest_Logs{Logs: encodeLogs(q)}
	case traces.Question:
		request.Question = &federationv1.AskRequest_Traces{Traces: encodeTraces(q)}
	default:
		return nil, fmt.Errorf("a question of type %T has no form on the wire", q)
	}
	if a.User != (tenants.User{}) {
		request.User = &federationv1.User{Subject: a.User.Subject, Proof: string(a.User.Proof)}
	}
	_, err := DecodeAsk(request)
	return request, err
}

func encodeMetrics(q metrics.Question) *federationv1.MetricsQuestion {
	m := &federationv1.MetricsQuestion{
		Kind:       string(q.Kind),
		Expression: q.Expression,
		StartMs:    federation.Milliseconds(q.Start),
		EndMs:      federation.Milliseconds(q.End),
		StepMs:     q.Step.Milliseconds(),
		LookbackMs: q.Lookback.Milliseconds(),
		Label:      q.Label,
		Limit:      int64(q.Limit),
		LabelsOnly: q.LabelsOnly,
	}
	for _, s := range q.Selectors {
		m.Selectors = append(m.Selectors, metrics.FormatSelector(s))
	}
	return m
}

// DecodeAsk returns what is asked. When the error, a BadQuestion, is not nil,
// the Ask holds what was understood, for the record of the refusal.
func DecodeAsk(r *federationv1.AskRequest) (Ask, error) {
	var (
		a    Ask
		errs []error
	)
	note := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	if hasUnknownWithin(r.ProtoReflect()) {
		note(bad("the request has fields that this gateway doesn't know; it may be older than yours"))
	}
	var err error
	if a.ExchangeID, err = federation.ParseExchangeID(r.GetExchangeId()); err != nil {
		note(bad("exchange_id: want a UUID of version 7 in lower case, such as 019b2f3e-8a00-7c54-9d31-5f0e6c8a4b17"))
	}
	if a.Purpose, err = tenants.ParsePurpose(r.GetPurpose()); err != nil {
		note(bad("purpose: want 1 to 63 lower-case letters, digits and hyphens, no hyphen at either end"))
	}
	if a.Case, err = tenants.ParseCaseID(r.GetCaseId()); err != nil {
		note(bad("case_id: want at most 128 printable ASCII characters without spaces"))
	}
	a.User, err = decodeUser(r.GetUser())
	note(err)
	if reason := r.GetBreakGlass(); reason != "" {
		if a.BreakGlass, err = tenants.ParseEmergencyReason(reason); err != nil {
			note(bad("break_glass: %v", err))
		}
	}
	switch question := r.GetQuestion().(type) {
	case *federationv1.AskRequest_Metrics:
		a.Question, err = decodeMetrics(question.Metrics)
		note(err)
	case *federationv1.AskRequest_Logs:
		a.Question, err = decodeLogs(question.Logs)
		note(err)
	case *federationv1.AskRequest_Traces:
		a.Question, err = decodeTraces(question.Traces)
		note(err)
	default:
		note(bad("question: none that this gateway knows"))
	}
	if len(errs) > 0 {
		return a, errs[0]
	}
	return a, nil
}

func bad(format string, args ...any) error {
	return federation.Errorf(federation.BadQuestion, format, args...)
}

func decodeUser(u *federationv1.User) (tenants.User, error) {
	user := tenants.User{Subject: u.GetSubject(), Proof: tenants.UserProof(u.GetProof())}
	switch {
	case user == tenants.User{}:
		return user, nil
	case user.Subject == "" || !plain(user.Subject, maxSubject):
		return tenants.User{}, bad("user: want a subject of 1 to %d printable characters", maxSubject)
	case !slices.Contains([]tenants.UserProof{tenants.ProvenBySVID, tenants.ProvenByJWT, tenants.StatedByProxy}, user.Proof):
		return tenants.User{}, bad("user: want a proof of svid, jwt or proxy")
	}
	return user, nil
}

// parts are what a kind of question consists of.
type parts struct {
	expression, step, instant, selectors, needSelector, label, needLabel bool
	// single: it has no more than one selector; needStep: the step isn't 0.
	single, needStep bool
}

// kinds are those of metrics.
var kinds = map[policy.Kind]parts{
	policy.Instant:     {expression: true, instant: true},
	policy.Range:       {expression: true, step: true},
	policy.Exemplars:   {expression: true},
	policy.Series:      {selectors: true, needSelector: true},
	policy.LabelNames:  {selectors: true},
	policy.LabelValues: {selectors: true, label: true, needLabel: true},
	policy.Metadata:    {selectors: true, label: true},
}

// logsKinds are those of logs, in addition to and instead of these.
var logsKinds = map[policy.Kind]parts{
	policy.Instant:        kinds[policy.Instant],
	policy.Range:          kinds[policy.Range],
	policy.Series:         kinds[policy.Series],
	policy.LabelNames:     kinds[policy.LabelNames],
	policy.LabelValues:    kinds[policy.LabelValues],
	policy.Tail:           {expression: true},
	policy.Stats:          {selectors: true, needSelector: true, single: true},
	policy.Volume:         {selectors: true, needSelector: true, single: true, step: true},
	policy.Patterns:       {selectors: true, needSelector: true, single: true, step: true, needStep: true},
	policy.DetectedLabels: {selectors: true},
	policy.DetectedFields: {expression: true, label: true},
}

func decodeMetrics(m *federationv1.MetricsQuestion) (metrics.Question, error) {
	kind := policy.Kind(m.GetKind())
	has, known := kinds[kind]
	if !known {
		return metrics.Question{}, bad("kind: none that this gateway knows")
	}
	q := metrics.Question{Kind: kind}
	if !validMilliseconds(m.GetStartMs()) || !validMilliseconds(m.GetEndMs()) {
		return q, bad("start_ms, end_ms: want a time in the years 1 to 9999")
	}
	q.Start, q.End = time.UnixMilli(m.GetStartMs()).UTC(), time.UnixMilli(m.GetEndMs()).UTC()

	span := m.GetEndMs() - m.GetStartMs()
	switch {
	case span < 0:
		return q, bad("end_ms: is before start_ms")
	case has.instant && span != 0:
		return q, bad("end_ms: an instant query has the same start and end")
	case has.step && m.GetStepMs() <= 0:
		return q, bad("step_ms: a range query has a step above 0")
	case !has.step && m.GetStepMs() != 0:
		return q, bad("step_ms: only a range query has a step")
	case has.step && span/m.GetStepMs() > maxIntervals:
		return q, bad("step_ms: the range has more than %d steps; widen the step or shorten the range", maxIntervals)
	case has.step && m.GetStepMs() > federation.Latest.UnixMilli():
		return q, bad("step_ms: too large")
	case m.GetLookbackMs() < 0 || m.GetLookbackMs() > maxLookback.Milliseconds():
		return q, bad("lookback_ms: want 0 to %d", maxLookback.Milliseconds())
	case m.GetLimit() < 0 || m.GetLimit() > 1<<31-1:
		return q, bad("limit: want 0, for all, to %d", 1<<31-1)
	case m.GetLabelsOnly() && kind != policy.Series:
		return q, bad("labels_only: only a series question can ask for labels alone")
	}
	q.Step = time.Duration(m.GetStepMs()) * time.Millisecond
	q.Lookback = time.Duration(m.GetLookbackMs()) * time.Millisecond
	q.Limit = int(m.GetLimit())
	q.LabelsOnly = m.GetLabelsOnly()

	switch {
	case len(m.GetExpression()) > maxExpression:
		return q, bad("expression: %d bytes, at most %d are accepted", len(m.GetExpression()), maxExpression)
	case has.expression == (m.GetExpression() == ""):
		return q, bad("expression: query, query_range and exemplars have one, the others have none")
	case len(m.GetLabel()) > maxLabel:
		return q, bad("label: %d bytes, at most %d are accepted", len(m.GetLabel()), maxLabel)
	case has.needLabel && m.GetLabel() == "":
		return q, bad("label: say of which label the values are wanted")
	case !has.label && m.GetLabel() != "":
		return q, bad("label: only label_values and metadata have one")
	}
	q.Expression, q.Label = m.GetExpression(), m.GetLabel()

	var err error
	q.Selectors, err = decodeSelectors(m.GetSelectors(), metrics.ParseSelector, has.selectors, has.needSelector)
	return q, err
}

func decodeSelectors(texts []string, parse func(string) (policy.Selector, error), allowed, needed bool) ([]policy.Selector, error) {
	size := 0
	for _, text := range texts {
		size += len(text)
	}
	switch {
	case len(texts) > maxSelectors:
		return nil, bad("selectors: %d, at most %d are accepted", len(texts), maxSelectors)
	case size > maxExpression:
		return nil, bad("selectors: %d bytes together, at most %d are accepted", size, maxExpression)
	case len(texts) > 0 && !allowed:
		return nil, bad("selectors: this kind of question has an expression instead")
	case len(texts) == 0 && needed:
		return nil, bad("selectors: a series question needs one")
	}
	var out []policy.Selector
	for _, text := range texts {
		s, err := parse(text)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}
