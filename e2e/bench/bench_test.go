// Package bench measures what a gateway costs. `make bench` runs it;
// BENCHMARKS.md has the results and what they are compared with.
//
// A machine does other things as well, so nothing here is a time alone: a
// question to a gateway and the same question to the Prometheus servers, or the
// Loki, behind it are asked in turn, and what counts is the ratio of the two medians,
// x-direct. Both are timed from the request to the last byte of the answer,
// which is read and thrown away, uncompressed, by the same client:
//
//	BenchmarkOwn/sum       a gateway over its own Prometheus, against that Prometheus
//	BenchmarkThree/sum     three organizations through acme's gateway, against their
//	                       three Prometheus servers asked directly and at once
//	BenchmarkCells/sum     a gateway whose policy releases cells of at least five units,
//	                       against its Prometheus, which counts nothing, and against
//	                       the formula of cells, asked of that Prometheus
//	BenchmarkView/sum      in process: a view with pseudonyms, against no policy
//	BenchmarkDecide/cold   a decision of policy, with fifty partners
//	BenchmarkReplay        recorded questions, decided once more; in seconds a million
//	BenchmarkLogs/own/rate one Loki of millions of lines (-lines), through its own
//	                       organization's gateway or a partner's, against that Loki
//	BenchmarkLines/shape   in process: lines a second and core, by kind of rule
//	BenchmarkTraces/large  three organizations' traces through acme's gateway, against
//	                       their three Jaegers, at once and the slowest alone
//	BenchmarkStitch        in process: what three organizations have of one trace
//	BenchmarkSpans/shape   in process: spans a second and core, by what leaves of them
//
// The servers and the gateways are real and run as processes of their own, with
// mTLS, policy and audit, as in production. What of the servers' caches can be
// warm is warm on both sides.
package bench

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// root is the project's folder.
func root(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// binary is parley, as make build leaves it.
func binary(t testing.TB) string {
	t.Helper()
	path := filepath.Join(root(t), "bin", "parley")
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; run make build, or make bench, which does", err)
	}
	return path
}

// question is PromQL that the benchmarks ask.
type question struct {
	name, expression string
	// series is how many one organization answers with; -1 is not known.
	series int
	// merged: three organizations answer with as many series as one.
	merged bool
}

// questions are those of the benchmarks. In the first two the sums cross the
// border, in topk a sum for each of 500 pods; the raw series and those under
// quantile can't be made fewer by their owner.
var questions = []question{
	{name: "sum", expression: `sum by (region, status) (rate(http_requests_total[5m]))`, series: 20, merged: true},
	{name: "selective", expression: `sum(rate(http_requests_total{region="eu-west",service="checkout",status="500"}[5m]))`, series: 1, merged: true},
	{name: "raw", expression: `http_requests_total{region="eu-west",status!="500"}`, series: 1500},
	{name: "topk", expression: `topk(5, sum by (pod) (rate(http_requests_total[5m])))`, series: -1},
	{name: "quantile", expression: `quantile by (region) (0.9, rate(http_requests_total[5m]))`, series: 5, merged: true},
}

// Every question is about one hour, at 100 steps.
const (
	steps = 100
	step  = 36 * time.Second
)

func firstStep() time.Time { return dataStart.Add(step) }

func lastStep() time.Time { return firstStep().Add((steps - 1) * step) }
