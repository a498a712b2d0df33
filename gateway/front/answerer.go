package front

import (
	"context"
	"errors"
	"fmt"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics"
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
		return size(r)
	})
	if err != nil {
		return Result{}, err
	}
	return result, nil
}

// size is how many bytes of data an answer discloses. The JSON around them is
// not counted: it is written after the record, and says nothing.
func size(answered federation.Released) (int, error) {
	if r, ok := answered.(*logs.Released); ok {
		return r.Bytes(), nil
	}
	r, ok := answered.(*metrics.Released)
	if !ok {
		return 0, fmt.Errorf("an answer of type %T, whose size nobody knows", answered)
	}
	return r.Bytes(), nil
}
