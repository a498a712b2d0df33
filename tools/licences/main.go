// Command licences reads the licence of every module in go.mod, which is every
// module that something is linked from, and fails unless each is one of those
// that parley may be handed on with:
//
//	go run ./tools/licences
//
// A licence that it doesn't recognize is refused, as is a module without one.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

func main() {
	modules, err := required("go.mod")
	if err != nil {
		fmt.Fprintln(os.Stderr, "licences: listing the modules of go.mod:", err)
		os.Exit(1)
	}
	refused := 0
	for _, m := range modules {
		if err := check(os.DirFS(m.Dir)); err != nil {
			refused++
			fmt.Fprintf(os.Stderr, "licences: %s %s: %v\n", m.Path, m.Version, err)
		}
	}
	if refused > 0 {
		fmt.Fprintf(os.Stderr, "licences: %d of %d modules can't be linked into parley\n", refused, len(modules))
		os.Exit(1)
	}
	fmt.Printf("licences: %d modules, all permissive or MPL-2.0\n", len(modules))
}

// module is one of those that a go.mod requires, in the module cache.
type module struct {
	Path, Version, Dir string
}

func required(gomod string) ([]module, error) {
	printed, err := goCommand("mod", "edit", "-json", gomod)
	if err != nil {
		return nil, err
	}
	var file struct{ Require []module }
	if err := json.Unmarshal(printed, &file); err != nil {
		return nil, err
	}
	arguments := []string{"mod", "download", "-json"}
	for _, m := range file.Require {
		arguments = append(arguments, m.Path+"@"+m.Version)
	}
	if printed, err = goCommand(arguments...); err != nil {
		return nil, err
	}
	var modules []module
	for next := json.NewDecoder(bytes.NewReader(printed)); ; {
		var m module
		if err := next.Decode(&m); errors.Is(err, io.EOF) {
			return modules, nil
		} else if err != nil {
			return nil, err
		}
		modules = append(modules, m)
	}
}

func goCommand(arguments ...string) ([]byte, error) {
	cmd := exec.Command("go", arguments...)
	var failed bytes.Buffer
	cmd.Stderr = &failed
	printed, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s %s: %w\n%s%s", arguments[0], arguments[1], err, failed.Bytes(), printed)
	}
	return printed, nil
}
