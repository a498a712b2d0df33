package front

import (
	"bytes"
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	v1 "github.com/prometheus/prometheus/web/api/v1"
	"pgregory.net/rapid"
)

// Whatever a range query answers, our JSON is Prometheus's, byte for byte.
func TestMatrixIsPrometheusJSON(t *testing.T) {
	numbers := rapid.OneOf(
		rapid.Float64(),
		rapid.Map(rapid.Int64(), func(i int64) float64 { return float64(i) }),
		rapid.SampledFrom([]float64{
			0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), 1e-6, 9.99e-7, 1e21, 9.99e20, 1e15,
			1<<53 - 1, 1 << 53, 1<<53 + 2, -(1 << 53), 0.1, math.MaxFloat64, math.SmallestNonzeroFloat64,
		}),
	)
	times := rapid.OneOf(rapid.Int64Range(-5000, 5000), rapid.Int64Range(-1<<53, 1<<53), rapid.SampledFrom([]int64{1_748_865_600_000, 1_748_865_600_007, 1_748_865_636_050}))
	point := rapid.Custom(func(t *rapid.T) promql.FPoint { return promql.FPoint{T: times.Draw(t, "t"), F: numbers.Draw(t, "v")} })
	name := rapid.StringN(1, 10, -1)
	series := rapid.Custom(func(t *rapid.T) promql.Series {
		return promql.Series{
			Metric: labels.FromMap(rapid.MapOfN(name, rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"eu", "Zürich", `a"b\c`, "<&>", "\u2028", "\xff", "\n", "\x7f"})), 0, 4).Draw(t, "labels")),
			Floats: rapid.SliceOf(point).Draw(t, "floats"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		resp := &v1.Response{
			Status:   "success",
			Data:     &v1.QueryData{ResultType: parser.ValueTypeMatrix, Result: promql.Matrix(rapid.SliceOf(series).Draw(t, "matrix"))},
			Warnings: rapid.SampledFrom([][]string{nil, {`"result":[]`}}).Draw(t, "warnings"),
			Infos:    rapid.SampledFrom([][]string{nil, {"redacted <by> the owner"}}).Draw(t, "infos"),
		}
		want, err := v1.JSONCodec{}.Encode(resp)
		if err != nil {
			t.Fatal(err)
		}
		got, err := codec{}.Encode(resp)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func BenchmarkMatrixJSON(b *testing.B) {
	var m promql.Matrix
	for i := range 1500 {
		s := promql.Series{Metric: labels.FromStrings("__name__", "http_requests_total", "pod", "pod-12345", "region", "eu-west", "status", "200")}
		for j := range 100 {
			s.Floats = append(s.Floats, promql.FPoint{T: 1_748_865_600_000 + int64(j)*36_000, F: float64(i * j)})
		}
		m = append(m, s)
	}
	resp := &v1.Response{Status: "success", Data: &v1.QueryData{ResultType: parser.ValueTypeMatrix, Result: m}}
	for name, encode := range map[string]func(*v1.Response) ([]byte, error){"ours": codec{}.Encode, "prometheus": v1.JSONCodec{}.Encode} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := encode(resp); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
