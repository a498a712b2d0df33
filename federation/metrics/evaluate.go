package metrics

import (
	"context"
	"errors"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
)

// Evaluate evaluates the expression of an instant or range question over what
// another signal made series of, as its own. The error is a *federation.Error.
func Evaluate(ctx context.Context, engine promql.QueryEngine, q storage.Queryable, question Question) (promql.Matrix, error) {
	return run(ctx, engine, q, question.Expression, question)
}

// run evaluates an expression and returns the result as a matrix, whatever its
// type: an instant vector has one sample a series, a scalar is a series without
// labels.
func run(ctx context.Context, engine promql.QueryEngine, q storage.Queryable, expression string, question Question) (promql.Matrix, error) {
	opts := promql.NewPrometheusQueryOpts(false, question.Lookback)
	var query promql.Query
	var err error
	if question.Kind == policy.Instant {
		query, err = engine.NewInstantQuery(ctx, q, opts, expression, question.Start)
	} else {
		query, err = engine.NewRangeQuery(ctx, q, opts, expression, question.Start, question.End, question.Step)
	}
	if err != nil {
		return nil, evaluationError(err)
	}
	defer query.Close()
	result := query.Exec(ctx)
	if result.Err != nil {
		return nil, evaluationError(result.Err)
	}
	return asMatrix(result)
}

// asMatrix copies a result, which its query takes back on Close.
func asMatrix(result *promql.Result) (promql.Matrix, error) {
	switch value := result.Value.(type) {
	case promql.Matrix:
		out := make(promql.Matrix, len(value))
		for i, s := range value {
			out[i] = promql.Series{
				Metric:     s.Metric,
				Floats:     append([]promql.FPoint(nil), s.Floats...),
				Histograms: append([]promql.HPoint(nil), s.Histograms...),
			}
		}
		return out, nil
	case promql.Vector:
		out := make(promql.Matrix, len(value))
		for i, s := range value {
			out[i].Metric = s.Metric
			if s.H != nil {
				out[i].Histograms = []promql.HPoint{{T: s.T, H: s.H}}
			} else {
				out[i].Floats = []promql.FPoint{{T: s.T, F: s.F}}
			}
		}
		return out, nil
	case promql.Scalar:
		return promql.Matrix{{Metric: labels.EmptyLabels(), Floats: []promql.FPoint{{T: value.T, F: value.V}}}}, nil
	}
	return nil, federation.Errorf(federation.BadQuestion, "a question has to ask for series or numbers, not for a string")
}

// evaluationError gives an engine's error a kind. The engine's own text stays
// out of the message: it prints whole label sets.
func evaluationError(err error) error {
	var (
		cancelled promql.ErrQueryCanceled
		timeout   promql.ErrQueryTimeout
		tooMany   promql.ErrTooManySamples
		backend   promql.ErrStorage
		known     *federation.Error
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &tooMany):
		return &federation.Error{Kind: federation.OverLimit, Message: "the question would load too many samples at once; ask for less time or fewer series", Err: err}
	case errors.As(err, &timeout), errors.Is(err, context.DeadlineExceeded):
		return &federation.Error{Kind: federation.DeadlineExceeded, Message: "the question ran out of time", Err: err}
	case errors.As(err, &cancelled), errors.Is(err, context.Canceled):
		return &federation.Error{Kind: federation.Unavailable, Message: "the question was cancelled", Err: err}
	case errors.As(err, &backend):
		if errors.As(backend.Err, &known) {
			return known
		}
		return &federation.Error{Kind: federation.Unavailable, Message: "the metrics store can't be read now", Err: err}
	}
	return &federation.Error{Kind: federation.BadQuestion, Message: "the expression can't be evaluated: series of one side don't match one to one with the other's, two series become one, or a function's argument is out of range", Err: err}
}
