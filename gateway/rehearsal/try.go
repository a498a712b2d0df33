package rehearsal

import (
	"context"
	"log/slog"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Trial is a partner's answer beside that of the owner, over the owner's data.
type Trial struct {
	Partner tenants.OrgID   `json:"partner"`
	Purpose tenants.Purpose `json:"purpose"`
	// BreakGlass says that it is asked in an emergency.
	BreakGlass bool           `json:"break_glass,omitempty"`
	Signal     tenants.Signal `json:"signal"`
	Query      string         `json:"query"`

	// Refused is set where there is no answer.
	Refused *Refusal `json:"refused,omitempty"`
	Package string   `json:"package,omitempty"`
	// Released is what the partner would get, and Notices what it is told of it.
	Released Answer   `json:"released"`
	Notices  []string `json:"notices,omitempty"`
	// Raw is what the owner's own question gives.
	Raw        Answer   `json:"raw"`
	RawRefused *Refusal `json:"raw_refused,omitempty"`
	// Account is nil where policy denies.
	Account *Account `json:"account,omitempty"`
	// Datasets are those of the decision, by the indices of Account.
	Datasets []Dataset `json:"datasets,omitempty"`
	// Labels are what becomes of the labels of the datasets that were met.
	Labels []Label `json:"labels,omitempty"`
	// Contents are what becomes of lines, or of spans, by dataset.
	Contents []Content `json:"contents,omitempty"`
	// Findings are what the decision's datasets name and the data doesn't have,
	// which was looked for in the time Looked, or in all there is; NotLooked is why it
	// couldn't be.
	Findings  []Finding     `json:"findings,omitempty"`
	Looked    policy.Window `json:"looked,omitzero"`
	NotLooked string        `json:"not_looked,omitempty"`
}

// Backend is where the owner's data is, of the question's signal at least.
type Backend struct {
	Metrics metrics.Source
	Logs    logs.Source
	Traces  traces.Source
	// Secret is that of the gateway's pseudonyms.
	Secret []byte
	// Timeout bounds a trial, both answers and what is between them.
	Timeout time.Duration
}

// Try asks a question twice: as the partner, through a gateway of our own whose
// answers go nowhere, and as ourselves. Nothing is recorded, since nothing is
// disclosed to anyone who doesn't have the data already.
func (s Stage) Try(ctx context.Context, b Backend, a Ask) (Trial, error) {
	own, err := s.own(b, a)
	if err != nil {
		return Trial{}, err
	}
	explained, err := s.Explain(ctx, a)
	if err != nil {
		return Trial{}, err
	}
	out := Trial{
		Partner: a.Partner, Purpose: a.Purpose, BreakGlass: explained.BreakGlass, Signal: explained.Signal, Query: explained.Query,
		Package: explained.Package, Labels: explained.Labels, Contents: explained.Contents,
	}
	ctx, cancel := context.WithTimeout(ctx, b.Timeout)
	defer cancel()
	question := s.question(a)
	if out.Released, out.Notices, out.Refused, err = s.asPartner(ctx, own.answer, b, question); err != nil {
		return out, err
	}
	by := federation.Asking{Org: s.Folder.Org, ExchangeID: question.ExchangeID}
	raw, _, err := own.answer(ctx, a.Question, everything, by)
	if err != nil {
		out.RawRefused = refusal(federation.AsError(err))
	} else if out.Raw, err = AnswerOf(raw); err != nil {
		return out, err
	}
	if explained.Obligations == nil {
		return out, nil
	}
	out.Datasets = explained.Obligations.Datasets
	by.Org = a.Partner
	return out, own.account(ctx, &out, explained, by)
}

// asPartner asks a gateway as the partner's gateway would.
func (s Stage) asPartner(ctx context.Context, answer answers, b Backend, question gateway.Question) (out Answer, notices []string, _ *Refusal, err error) {
	g, err := gateway.New(gateway.Config{
		Org: s.Folder.Org, Directory: agreements(s.Folder.Agreements), Decider: s.Folder.Policies,
		Signals:    map[tenants.Signal]gateway.Signal{question.Asked.Signal(): {Answer: answer}},
		BreakGlass: opening{s.Folder.Now()}, Peers: nobody{}, Auditor: nobody{}, Meter: nobody{},
		Log: slog.New(slog.DiscardHandler), Timeout: b.Timeout, Now: s.Folder.Now,
	})
	if err != nil {
		return Answer{}, nil, nil, err
	}
	answered, err := g.Answer(ctx, question)
	if err != nil {
		return Answer{}, nil, refusal(federation.AsError(err)), nil
	}
	defer answered.Close()
	for _, part := range answered.Completeness() {
		notices = append(notices, part.Notices...)
	}
	err = answered.Disclose(ctx, func(released federation.Released, _ federation.Completeness) (int, error) {
		var err error
		out, err = AnswerOf(released)
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
