package logs

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
)

func (l *Loki) evaluateRaw(ctx context.Context, query string, start, end time.Time, step time.Duration) (promql.Matrix, error) {
	if l.config.NoPushDown {
		return nil, errors.New("nothing is pushed down")
	}
	endpoint, form := "query", url.Values{"query": {query}, "time": {timestamp(start)}}
	if step > 0 {
		endpoint = "query_range"
		form = url.Values{"query": {query}, "start": {timestamp(start)}, "end": {timestamp(end)}, "step": {step.String()}}
	}
	var read matrixReader
	if err := l.get(ctx, endpoint, form, read.data); err != nil {
		return nil, err
	}
	slices.SortFunc(read.matrix, func(a, b promql.Series) int { return labels.Compare(a.Metric, b.Metric) })
	for i := 1; i < len(read.matrix); i++ {
		if labels.Equal(read.matrix[i-1].Metric, read.matrix[i].Metric) {
			// One of them has a label that is empty, which isn't there for us.
			return nil, errors.New("an answer with two series that are one")
		}
	}
	return read.matrix, nil
}

// matrixReader reads series, or samples of one time, which are series of one.
type matrixReader struct{ matrix promql.Matrix }

func (r *matrixReader) data(d *json.Decoder) error {
	return fields(d, func(name string) error {
		switch name {
		case "resultType":
			var kind string
			if err := d.Decode(&kind); err != nil {
				return err
			}
			if kind != "matrix" && kind != "vector" {
				return errors.New("an answer that isn't series")
			}
			return nil
		case "result":
			return each(d, func() error { return r.series(d) })
		}
		return d.Decode(&json.RawMessage{})
	})
}

func (r *matrixReader) series(d *json.Decoder) error {
	var s promql.Series
	err := fields(d, func(name string) error {
		switch name {
		case "metric":
			var set map[string]string
			err := d.Decode(&set)
			s.Metric = labels.FromMap(set).WithoutEmpty()
			return err
		case "value":
			return point(d, &s)
		case "values":
			return each(d, func() error { return point(d, &s) })
		}
		return errors.New("an answer with something unknown beside a series' values")
	})
	r.matrix = append(r.matrix, s)
	return err
}

// point reads [seconds, "value"].
func point(d *json.Decoder, s *promql.Series) error {
	var (
		seconds float64
		value   string
		parts   = []any{&seconds, &value}
	)
	n := 0
	err := each(d, func() error {
		if n == len(parts) {
			return errors.New("an answer with a sample of more parts than are known")
		}
		n++
		return d.Decode(parts[n-1])
	})
	if err != nil {
		return err
	}
	f, err := strconv.ParseFloat(value, 64)
	if err != nil || n < len(parts) {
		return errors.New("an answer with a sample that isn't one")
	}
	s.Floats = append(s.Floats, promql.FPoint{T: int64(math.Round(seconds * 1000)), F: f})
	return nil
}
