package front

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
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

// size is how many bytes of data an answer discloses: series, names and
// metadata. The JSON around them is not counted: it is written after the
// record, and says nothing.
func size(answered federation.Released) (int, error) {
	r, ok := answered.(*metrics.Released)
	if !ok {
		return 0, fmt.Errorf("an answer of type %T, whose size nobody knows", answered)
	}
	total := r.SeriesBytes()
	for _, name := range r.Names() {
		total += len(name)
	}
	for name, entries := range r.Metadata() {
		total += len(name)
		for _, m := range entries {
			total += len(m.Type) + len(m.Help) + len(m.Unit)
		}
	}
	for _, e := range r.Exemplars() {
		total += labelBytes(e.SeriesLabels)
		for _, x := range e.Exemplars {
			total += labelBytes(x.Labels) + 16 // value and time
		}
	}
	return total, nil
}

func labelBytes(l labels.Labels) int {
	total := 0
	l.Range(func(l labels.Label) { total += len(l.Name) + len(l.Value) })
	return total
}
