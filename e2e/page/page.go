// Package page writes what was measured into the project's pages.
package page

import (
	"bytes"
	"fmt"
	"os"
)

// Page is a page of which a command writes a part: what stands between two
// markers. The rest is left.
type Page struct {
	// File is its name in the project's folder, where the command is run.
	File string
	// Command is what the first marker says.
	Command string
}

const end = "<!-- end of what was measured -->\n"

func (p Page) begin() string { return "<!-- measured: written by " + p.Command + " -->\n" }

// Write puts a section into the page.
func (p Page) Write(section string) error {
	text, err := os.ReadFile(p.File)
	if err != nil {
		return fmt.Errorf("%w; run this in the project's folder", err)
	}
	if text, err = p.replace(text, section); err != nil {
		return err
	}
	return os.WriteFile(p.File, text, 0o644) //nolint:gosec // a page for everybody to read
}

func (p Page) replace(text []byte, section string) ([]byte, error) {
	before, rest, found := bytes.Cut(text, []byte(p.begin()))
	_, after, ended := bytes.Cut(rest, []byte(end))
	if !found || !ended {
		return nil, fmt.Errorf("%s has no place for what was measured: the lines %q and %q", p.File, p.begin(), end)
	}
	return bytes.Join([][]byte{before, []byte(p.begin() + section + end), after}, nil), nil
}
