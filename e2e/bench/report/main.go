// Command report writes what `make bench` measured into BENCHMARKS.md:
//
//	make bench
//	go run ./e2e/bench/report bin/bench.out
package main

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/parley-gateway/parley/e2e/page"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./e2e/bench/report bin/bench.out, in the project's folder")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(output string) error {
	measured, err := os.ReadFile(output) //nolint:gosec // whoever runs this names a file of theirs
	if err != nil {
		return fmt.Errorf("%w; make bench writes it", err)
	}
	info, err := os.Stat(output) //nolint:gosec // as above
	if err != nil {
		return err
	}
	results, err := parse(measured)
	if err != nil {
		return fmt.Errorf("%s: %w", output, err)
	}
	section := results.render(runtime.Version(), info.ModTime().UTC().Format(time.DateOnly))
	return page.Page{File: "BENCHMARKS.md", Command: "go run ./e2e/bench/report"}.Write(section)
}
