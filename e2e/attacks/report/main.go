// Command report writes what `make attacks` got into ATTACKS.md:
//
//	make attacks
//	go run ./e2e/attacks/report bin/attacks.json
package main

import (
	"fmt"
	"os"

	"github.com/parley-gateway/parley/e2e/attacks"
	"github.com/parley-gateway/parley/e2e/page"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./e2e/attacks/report bin/attacks.json, in the project's folder")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(file string) error {
	results, err := attacks.Load(file)
	if err != nil {
		return err
	}
	return page.Page{File: "ATTACKS.md", Command: "go run ./e2e/attacks/report"}.Write(results.Markdown())
}
