package main

import (
	"strings"
	"testing"
)

const measured = `goos: linux
goarch: amd64
pkg: github.com/parley-gateway/parley/e2e/bench
cpu: Some CPU @ 2.00GHz
BenchmarkOwn/sum
BenchmarkOwn/sum-2         	       4	 468064028 ns/op	        46.97 peak-MiB	         1.049 x-cpu	         1.053 x-direct
BenchmarkOwn/sum-2         	       4	 468064028 ns/op	        46.97 peak-MiB	         1.049 x-cpu	         1.153 x-direct
BenchmarkThree/sum-2       	       2	 878500747 ns/op	     29942 border-B	         0.8436 x-direct
BenchmarkThree/raw-2       	       2	 878500747 ns/op	    714237 border-B	         2.4 x-direct
BenchmarkCells/sum-2       	       2	 478500747 ns/op	         1.3 x-direct	         0.6 x-formula
BenchmarkCells/errors-2       	       2	 178500747 ns/op	         1.4 x-direct
BenchmarkDecide/cold-2     	   10000	   1201842 ns/op
BenchmarkDecide/cached-2   	  679423	      3706 ns/op
BenchmarkPlan/cells-2        	    4000	    300000 ns/op
BenchmarkBundle/thousand-rules-2 	       1	6100000000 ns/op
BenchmarkReplay/dashboards-2    	       1	2100000000 ns/op	        21.0 s/million
BenchmarkReplay/all-different-2 	       1	7100000000 ns/op	        71.0 s/million
BenchmarkLogs/own/rate-2       	       1	4710203866 ns/op	   5000000 lines	        78.96 peak-MiB	         0.9778 x-cpu	         1.8 x-direct
BenchmarkLogs/partner/ruled-count-2       	       1	31755527378 ns/op	   5000000 lines	        311 peak-MiB	        19.93 x-cpu	        13.00 x-direct
BenchmarkLines/keep-drop-2    	       1	11102530095 ns/op	    903704 lines/s/core	    803571 view-lines/s/core
BenchmarkLines/three-detectors-2    	       1	11102530095 ns/op	    603704 lines/s/core	    503571 view-lines/s/core
BenchmarkTraces/large-2       	       5	  36860132 ns/op	     36492 border-B	        99.62 peak-MiB	         0.6585 x-cpu	         0.7442 x-direct	         1.454 x-slowest
BenchmarkTraces/small-2       	       5	   2793589 ns/op	      1394 border-B	        63.76 peak-MiB	         2.232 x-direct	         5.678 x-slowest
BenchmarkStitch-2             	       1	 364137736 ns/op	       122.9 peak-MiB
BenchmarkSpans/shape-2        	       1	1071719710 ns/op	    172549 spans/s/core
PASS
`

func TestReport(t *testing.T) {
	r, err := parse([]byte(measured))
	if err != nil {
		t.Fatal(err)
	}
	text := r.render("go1.99", "2026-01-02")
	for _, want := range []string{
		"2026-01-02: 2 cores of Some CPU @ 2.00GHz, linux/amd64, go1.99; the median of 2 runs",
		"(rate(...[5m]))` | 1.10 | 1.2 | 468ms | 1.05 | 47 MiB |",
		"1,500 series | 2.40 | 2.5 | 879ms | not measured | not measured |",
		"(rate(...[5m]))` | 0.60 | 1.0 |", "50 series | not measured | 1.0 |",
		"(rate(...[5m]))` | **1.40** | 1.3 | 179ms |", "of the same | not measured | 1.3 |",
		"| **29.9 kB** | 15.0 kB | 20 kB |",
		"1,500 series | 714.2 kB | 357.1 kB |  |",
		"| **1.2ms** | 1ms |", "| 3.71µs | 20µs |",
		"taken apart into cells | 300µs | 1ms |", "what the store is asked | not measured | 1ms |",
		"translated to selectors and tried | **6.1s** | 5s |",
		"million lines: 5\n", "| its own organization | **1.80** | 1.5 | 4.71s | 0.98 | 79 MiB | 256 MiB |",
		"| a partner, rules on lines | 13.00 |  | 31.8s | 19.93 | **311 MiB** | 256 MiB |",
		"the others dropped | **0.90 M** | 1.0 M | 0.80 M |", "| three detectors | 0.60 M | 0.3 M | 0.50 M |", "| the template | not measured |  | not measured |",
		"3,001 spans, by its id | **1.45** | 1.3 | 0.74 | 36.9ms | 0.66 | 100 MiB |", "11 spans, by its id | 5.68 |  | 2.23 | 2.79ms | not measured | 64 MiB |",
		"| **364ms** | 300ms | 123 MiB | 500 MiB |", "| time and kind | 173 k |", "| nothing | not measured |",
		"| 21s | 60s |", "| **71s** | 60s |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if _, err := parse([]byte("PASS")); err == nil {
		t.Error("an output without benchmarks was accepted")
	}
}
