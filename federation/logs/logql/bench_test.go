package logql_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation/logs/logql"
)

const (
	benchedJSON = `{"timestamp":"2026-01-02T03:03:20.123Z","level":"info","service":"checkout","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736",` +
		`"user_id":"u-1234","message":"workflow finished","workflow_id":"w-99","agent_count":3,"duration_ms":412}`
	benchedLogfmt = `ts=2026-01-02T03:03:20.123Z level=info service=checkout trace_id=4bf92f3577b34da6a3ce929d0e0e4736 user_id=u-1234 ` +
		`msg="workflow finished" workflow_id=w-99 agent_count=3 duration_ms=412`
)

var benchedStream = labels.FromStrings("app", "shop", "env", "prod", "service", "checkout")

// BenchmarkPipeline processes one line.
func BenchmarkPipeline(b *testing.B) {
	for _, c := range []struct{ stages, line string }{
		{``, benchedJSON},
		{`|= "nowhere"`, benchedJSON},
		{`|= "finished"`, benchedJSON},
		{`|~ "work.*done"`, benchedJSON},
		{`| json`, benchedJSON},
		{`| json | duration_ms > 500`, benchedJSON},
		{`| json duration_ms="duration_ms", level="level"`, benchedJSON},
		{`| logfmt`, benchedLogfmt},
		{`| logfmt | level="error"`, benchedLogfmt},
		{`| pattern "ts=<ts> level=<level> <_>"`, benchedLogfmt},
		{`| logfmt | line_format "{{.level}} {{.msg}}"`, benchedLogfmt},
		{`| logfmt | line_format "{{.level | upper}} {{.msg}}"`, benchedLogfmt},
	} {
		b.Run(c.stages, func(b *testing.B) {
			expr, err := logql.Parse(`{app="shop"} ` + c.stages)
			if err != nil {
				b.Fatal(err)
			}
			p, err := logql.NewPipeline(expr.(*logql.LogSelector))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				p.Process(0, c.line, benchedStream, labels.EmptyLabels())
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}

// BenchmarkRange adds one line to a range aggregation.
func BenchmarkRange(b *testing.B) {
	for _, query := range []string{
		`count_over_time({app="shop"}[5m])`,
		`sum by (level) (rate({app="shop"} | json [5m]))`,
		`sum_over_time({app="shop"} | json | unwrap duration_ms [5m]) `,
	} {
		b.Run(query, func(b *testing.B) {
			expr, err := logql.Parse(query)
			if err != nil {
				b.Fatal(err)
			}
			e, err := logql.NewRange(expr, 0, int64(1000*time.Hour), time.Minute)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e.Add(b.Context(), int64(i)*int64(time.Millisecond), benchedJSON, benchedStream, labels.EmptyLabels())
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}

func ExampleParse() {
	expr, err := logql.Parse(`sum by(level)(rate({service="checkout"}|="timeout"|json[5m]))`)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(expr)
	fmt.Println(logql.Functions(expr), logql.StageNames(expr), logql.LineFilters(expr))
	// Output:
	// sum by (level) (rate({service="checkout"} |= "timeout" | json [5m]))
	// [rate sum] [json] [|= "timeout"]
}
