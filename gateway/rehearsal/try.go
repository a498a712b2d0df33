package rehearsal

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Trial is a partner's answer beside that of the owner, over the owner's data.
type Trial struct {
	Partner tenants.OrgID   `json:"partner"`
	Purpose tenants.Purpose `json:"purpose"`
	// BreakGlass says that it is asked in an emergency.
	BreakGlass bool   `json:"break_glass,omitempty"`
	Query      string `json:"query"`

	// Refused is set where there is no answer.
	Refused *Refusal `json:"refused,omitempty"`
	Package string   `json:"package,omitempty"`
	// Released is what the partner would get, and Notices what it is told of it.
	Released []Series `json:"released"`
	Notices  []string `json:"notices,omitempty"`
	// Raw is what the owner's own question gives.
	Raw        []Series `json:"raw"`
	RawRefused *Refusal `json:"raw_refused,omitempty"`
	// Account is nil where policy denies.
	Account *metrics.Account `json:"account,omitempty"`
	// Datasets are those of the decision, by the indices of Account.
	Datasets []Dataset `json:"datasets,omitempty"`
	// Labels are what becomes of the labels of the datasets that were met.
	Labels []Label `json:"labels,omitempty"`
	// Findings are what the decision's datasets name and the data doesn't have,
	// which was looked for in the time Looked; NotLooked is why it couldn't be.
	Findings  []Finding     `json:"findings,omitempty"`
	Looked    policy.Window `json:"looked,omitzero"`
	NotLooked string        `json:"not_looked,omitempty"`
}

// Series is a series of an answer; one without a range has one sample.
type Series struct {
	Labels model.Metric       `json:"labels"`
	Values []model.SamplePair `json:"values,omitempty"`
	// Histograms is how many native histograms it has besides.
	Histograms int `json:"histograms,omitempty"`
}

// Backend is where the owner's data is.
type Backend struct {
	Source  metrics.Source
	Secret  []byte
	Timeout time.Duration
}

// Try asks a question twice: as the partner, through a gateway of our own whose
// answers go nowhere, and as ourselves. Nothing is recorded, since nothing is
// disclosed to anyone who doesn't have the data already.
func (s Stage) Try(ctx context.Context, b Backend, a Ask) (Trial, error) {
	local, err := metrics.NewLocal(metrics.LocalConfig{
		Org: s.Folder.Org, Source: b.Source, Secret: b.Secret, Lookback: s.Lookback, MaxSamples: s.MaxSamples, Now: s.Folder.Now,
	})
	if err != nil {
		return Trial{}, err
	}
	explained, err := s.Explain(ctx, a)
	if err != nil {
		return Trial{}, err
	}
	out := Trial{
		Partner: a.Partner, Purpose: a.Purpose, BreakGlass: explained.BreakGlass, Query: explained.Query, Package: explained.Package,
		Released: []Series{}, Raw: []Series{}, Labels: explained.Labels,
	}
	ctx, cancel := context.WithTimeout(ctx, b.Timeout)
	defer cancel()
	if out.Released, out.Notices, out.Refused, err = s.asPartner(ctx, local, b, a); err != nil {
		return out, err
	}
	question := s.question(a)
	by := metrics.Asking{Org: s.Folder.Org, ExchangeID: question.ExchangeID}
	raw, _, err := local.Answer(ctx, a.Question, everything, by)
	if err != nil {
		out.RawRefused = refusal(federation.AsError(err))
	} else if out.Raw, err = seriesOf(raw); err != nil {
		return out, err
	}
	if explained.Obligations == nil {
		return out, nil
	}
	out.Datasets = explained.Obligations.Datasets
	by.Org = a.Partner
	account, err := local.Account(ctx, a.Question, explained.decision.Obligations, by)
	if err != nil {
		return out, err
	}
	out.Account = &account
	missing, looked, err := local.Missing(ctx, a.Question, explained.decision.Obligations, by)
	if err != nil { // all else is known
		out.NotLooked = federation.AsError(err).Message
	}
	out.Looked = looked
	for _, m := range missing {
		out.Findings = append(out.Findings, finding(explained.decision.Obligations.Datasets[m.Dataset], explained.written[m.Dataset], m))
	}
	return out, nil
}

// everything is what the owner sees of its own data.
var everything = policy.Decision{Allow: true, Obligations: policy.Obligations{
	Datasets: []policy.Dataset{{
		Name: "everything", Series: []policy.Selector{{}}, Release: policy.Row, Others: policy.LabelRule{Mode: policy.Keep},
	}},
	Limits: tenants.Limits{Series: 1_000_000, Samples: 50_000_000, Bytes: 1 << 30},
}}

// asPartner asks a gateway as the partner's gateway would.
func (s Stage) asPartner(ctx context.Context, local *metrics.Local, b Backend, a Ask) ([]Series, []string, *Refusal, error) {
	g, err := gateway.New(gateway.Config{
		Org: s.Folder.Org, Directory: agreements(s.Folder.Agreements), Decider: s.Folder.Policies,
		Signals: map[tenants.Signal]gateway.Signal{tenants.Metrics: {
			Answer: gateway.AnswerFrom(local), Federate: gateway.FederateWith(metrics.NewFederated(s.MaxSamples, s.Lookback, nil)),
		}},
		BreakGlass: opening{s.Folder.Now()}, Peers: nobody{}, Auditor: nobody{}, Meter: nobody{},
		Log: slog.New(slog.DiscardHandler), Timeout: b.Timeout, Now: s.Folder.Now,
	})
	if err != nil {
		return nil, nil, nil, err
	}
	answer, err := g.Answer(ctx, s.question(a))
	if err != nil {
		return []Series{}, nil, refusal(federation.AsError(err)), nil
	}
	defer answer.Close()
	var notices []string
	for _, part := range answer.Completeness() {
		notices = append(notices, part.Notices...)
	}
	var out []Series
	err = answer.Disclose(ctx, func(answered federation.Released, _ federation.Completeness) (int, error) {
		released, ok := answered.(*metrics.Released)
		if !ok {
			return 0, fmt.Errorf("an answer of type %T to a question about metrics", answered)
		}
		var err error
		out, err = seriesOf(released)
		return released.Bytes(), err
	})
	return out, notices, nil, err
}

// nobody is asked, told and counted.
type nobody struct{}

func (nobody) Record(context.Context, gateway.Exchange) error { return nil }

func (nobody) Observe(gateway.Exchange) {}

func (nobody) Ask(_ context.Context, a tenants.Agreement, _ federation.ExchangeID, _ tenants.Principal, _ federation.Question) (federation.Released, federation.Part, error) {
	return nil, federation.Part{Org: a.Partner}, federation.Errorf(federation.Refused, "no partner is asked in a rehearsal")
}

func (nobody) Tail(context.Context, tenants.Agreement, federation.ExchangeID, tenants.Principal, federation.Question, federation.Give) error {
	return federation.Errorf(federation.Refused, "no partner is asked in a rehearsal")
}

// opening gives a grant that is opened now, and keeps none.
type opening struct{ at time.Time }

func (o opening) Grant(_ context.Context, a tenants.Agreement, by tenants.Principal, _ federation.ExchangeID) (gateway.Grant, error) {
	return gateway.Grant{
		Partner: by.Org, Case: by.Case, Person: by.User.Subject, Proof: by.User.Proof, Purpose: by.Purpose, Reason: by.BreakGlass,
		Opened: o.at, Ends: o.at.Add(a.BreakGlass.Longest),
	}, nil
}

func seriesOf(r *metrics.Released) ([]Series, error) {
	matrix, err := r.Matrix()
	if err != nil {
		return nil, err
	}
	out := make([]Series, 0, len(matrix))
	for _, s := range matrix {
		out = append(out, asSeries(s))
	}
	return out, nil
}

func asSeries(s promql.Series) Series {
	out := Series{Labels: model.Metric{}, Histograms: len(s.Histograms)}
	for name, value := range s.Metric.Map() {
		out.Labels[model.LabelName(name)] = model.LabelValue(value)
	}
	for _, p := range s.Floats {
		out.Values = append(out.Values, model.SamplePair{Timestamp: model.Time(p.T), Value: model.SampleValue(p.F)})
	}
	return out
}
