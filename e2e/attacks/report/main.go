// Command report writes what `make attacks` got into ATTACKS.md:
//
//	make attacks
//	go run ./e2e/attacks/report bin/attacks.json
//
// It replaces what stands between the two markers and leaves the rest.
package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/parley-gateway/parley/e2e/attacks"
)

const (
	page  = "ATTACKS.md"
	begin = "<!-- measured: written by go run ./e2e/attacks/report -->\n"
	end   = "<!-- end of what was measured -->\n"
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
	text, err := os.ReadFile(page)
	if err != nil {
		return fmt.Errorf("%w; run this in the project's folder", err)
	}
	if text, err = replace(text, results.Markdown()); err != nil {
		return err
	}
	return os.WriteFile(page, text, 0o644) //nolint:gosec // a page for everybody to read
}

// replace puts section between the markers.
func replace(text []byte, section string) ([]byte, error) {
	before, rest, found := bytes.Cut(text, []byte(begin))
	_, after, ended := bytes.Cut(rest, []byte(end))
	if !found || !ended {
		return nil, fmt.Errorf("%s has no place for what was measured: the lines %q and %q", page, begin, end)
	}
	return bytes.Join([][]byte{before, []byte(begin + section + end), after}, nil), nil
}
