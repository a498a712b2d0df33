package gateway

import (
	"context"

	"github.com/parley-gateway/parley/federation"
)

// Answer is an answer that has not left yet. What it holds can be had only
// through Disclose, which records it first.
type Answer struct {
	released federation.Released
	exchange Exchange
	gateway  *Gateway
	release  func()
}

// Close ends the question: until then it counts as one of those the partner
// has under way, so that answers nobody reads are bounded too. The door calls
// it when the answer has left, or can't.
func (a *Answer) Close() { a.release() }

// Completeness is what is in the answer and what is missing.
func (a *Answer) Completeness() federation.Completeness { return a.exchange.Completeness }

// ExchangeID is the id under which the exchange is recorded.
func (a *Answer) ExchangeID() federation.ExchangeID { return a.exchange.ID }

// Disclose makes the record of the exchange durable and then hands out the
// answer. encode turns it into what the door will send and returns its size in
// bytes; it must not send anything. When Disclose returns an error nothing may
// be sent.
func (a *Answer) Disclose(ctx context.Context, encode func(federation.Released, federation.Completeness) (bytes int, err error)) error {
	bytes, err := encode(a.released, a.exchange.Completeness)
	if err != nil {
		return a.gateway.fail(ctx, &a.exchange, err)
	}
	a.exchange.Bytes = bytes
	a.exchange.Outcome = Answered
	if !a.exchange.Completeness.Whole() {
		a.exchange.Outcome = Partially
	}
	return a.gateway.record(ctx, &a.exchange)
}

// Unanswered is the error of a question that was asked and has no answer, with
// what became of it at each organization.
type Unanswered struct {
	Completeness federation.Completeness
	Err          error
}

func (u *Unanswered) Error() string { return u.Err.Error() }

func (u *Unanswered) Unwrap() error { return u.Err }
