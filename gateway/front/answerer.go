package front

import (
	"context"
	"errors"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway"
)

// Answerer answers one question. What it returns has been recorded and may be
// sent. The error is a *federation.Error; the result then has at most the
// completeness.
type Answerer interface {
	Ask(ctx context.Context, q gateway.Question) (Result, error)
}

// Result is an answer that may be sent.
type Result struct {
	Released     federation.Released
	Completeness federation.Completeness
}

// Answers returns an Answerer over a gateway's pipeline.
func Answers(g *gateway.Gateway) Answerer { return pipeline{g} }

type pipeline struct{ gateway *gateway.Gateway }

func (p pipeline) Ask(ctx context.Context, q gateway.Question) (Result, error) {
	answer, err := p.gateway.Answer(ctx, q)
	var unanswered *gateway.Unanswered
	if errors.As(err, &unanswered) {
		return Result{Completeness: unanswered.Completeness}, err
	}
	if err != nil {
		return Result{}, err
	}
	defer answer.Close()
	var result Result
	err = answer.Disclose(ctx, func(r federation.Released, c federation.Completeness) (int, error) {
		result = Result{Released: r, Completeness: c}
		// The JSON around the data is not counted: it is written after the record,
		// and says nothing.
		return r.Bytes(), nil
	})
	if err != nil {
		return Result{}, err
	}
	return result, nil
}
