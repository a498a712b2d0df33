// Package rehearsal shows an owner what a partner's question comes to, before
// the partner asks it: Explain without looking at data, Try with the owner's
// own. It is for the owner's eyes, and tells what a partner is never told.
//
//	stage := rehearsal.Stage{Folder: folder}
//	e, err := stage.Explain(ctx, rehearsal.Ask{Partner: "globex", Purpose: "slo-review", Question: question})
//
// Questions take the way of gateway.Gateway.Answer, through the same code.
package rehearsal

import (
	"context"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
)

// Stage is where questions are rehearsed.
type Stage struct {
	// Folder has the policies and the agreements.
	Folder *inspect.Folder
	// Lookback is the gateway's; zero is metrics.DefaultLookback.
	Lookback time.Duration
	// MaxSamples is the gateway's; zero is the default.
	MaxSamples int
}

// Ask is a partner's question.
type Ask struct {
	Partner tenants.OrgID
	Purpose tenants.Purpose
	Case    tenants.CaseID
	User    tenants.User
	// BreakGlass is the reason in an emergency: it is asked as under a grant that
	// has just been opened.
	BreakGlass tenants.EmergencyReason
	// Question is an instant or a range query of metrics.Question or logs.Question, or
	// a traces.Question for traces by id or a search.
	Question federation.Question
}

// agreements are a gateway.Directory.
type agreements []tenants.Agreement

func (as agreements) Partner(org tenants.OrgID) (tenants.Agreement, bool) {
	for _, a := range as {
		if a.Partner == org {
			return a, true
		}
	}
	return tenants.Agreement{}, false
}

func (as agreements) Partners() []tenants.Agreement { return as }

// principal is who asks, as the peer door would know it.
func (s Stage) principal(a Ask) tenants.Principal {
	agreement, _ := s.Folder.Agreement(a.Partner)
	return tenants.Principal{
		Org: a.Partner, Workload: agreement.GatewayID, User: a.User, Purpose: a.Purpose, Case: a.Case, BreakGlass: a.BreakGlass,
	}
}

func (s Stage) question(a Ask) gateway.Question {
	return gateway.Question{
		Door: gateway.PeerDoor, Principal: s.principal(a), Asked: a.Question,
		ExchangeID: federation.NewExchangeID(s.Folder.Now()),
	}
}

// explainer decides and remembers why.
type explainer struct {
	policies *rego.Policies
	why      rego.Explanation
}

func (e *explainer) Decide(ctx context.Context, r policy.Request) (policy.Decision, error) {
	var err error
	e.why, err = e.policies.Explain(ctx, r)
	return e.why.Decision, err
}

// Refusal is what a partner is told instead of an answer.
type Refusal struct {
	Kind federation.Kind `json:"kind"`
	Told string          `json:"told"`
	// Reason is for the owner alone; empty where it says no more.
	Reason string `json:"reason,omitempty"`
}

func refusal(e *federation.Error) *Refusal {
	if e == nil {
		return nil
	}
	out := &Refusal{Kind: e.Kind, Told: e.Message}
	if e.Err != nil {
		out.Reason = e.Err.Error()
	}
	return out
}
