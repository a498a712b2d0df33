// Package yamlstrict reads the YAML files that people write for parley, and
// tells them everything that is wrong with a file at once, each with its line:
//
//	var a Agreement
//	doc := yamlstrict.Decode("globex.yml", data, &a, yamlstrict.Parse(ParseOrgID))
//	if !doc.Has("partner") {
//		doc.Problemf("partner", "is required")
//	}
//	err := doc.Err() // globex.yml:1: partner: is required
//
// It accepts less than YAML does: one document, no aliases, no key twice, no
// key that the struct doesn't have, no key without a value. A scalar is what
// its author typed: `version: 1.10` into a string is "1.10".
package yamlstrict

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// Document is one decoded file: where its keys are, and what is wrong with it.
// A path names a key the way messages do: "bundle.endpoint", "addresses[1]";
// the empty path is the whole document.
type Document struct {
	file string
	// places has where every key and list element is that was written.
	places map[string]place
	// failed has the paths whose value could not be decoded. What else is said
	// of them would be said of a value nobody wrote.
	failed   map[string]bool
	problems Problems
}

// Has says whether the key was written, well or badly; a misspelt one counts
// as the one it was probably meant to be.
func (d *Document) Has(path string) bool {
	_, ok := d.places[path]
	return ok
}

// Line is where the key is, or where the nearest key above it is.
func (d *Document) Line(path string) int { return d.place(path).line }

func (d *Document) place(path string) place {
	for {
		if at, ok := d.places[path]; ok {
			return at
		}
		if path == "" {
			return place{line: 1}
		}
		path = parent(path)
	}
}

// place is where something is; column is 0 where it isn't known.
type place struct{ line, column int }

func placeOf(n *yaml.Node) place { return place{n.Line, n.Column} }

// Failed says whether the value at the path, or one around it, could not be
// decoded. It then has its default, or what it had before.
func (d *Document) Failed(path string) bool {
	for ; path != ""; path = parent(path) {
		if d.failed[path] {
			return true
		}
	}
	return d.failed[""]
}

// Problemf adds a problem with the value at the path. It adds nothing when the
// value Failed: that has been reported.
func (d *Document) Problemf(path, format string, args ...any) {
	if d.Failed(path) {
		return
	}
	d.add(d.place(path), path, fmt.Sprintf(format, args...))
}

// Problems are those found so far, in the order they were found.
func (d *Document) Problems() Problems { return d.problems }

// Err returns all problems found so far as Problems, or nil.
func (d *Document) Err() error { return d.problems.Err() }

// fail reports a value that can't be decoded.
func (d *Document) fail(at place, path, format string, args ...any) {
	d.failed[path] = true
	if path == "" {
		format = "the file " + format
	}
	d.add(at, path, fmt.Sprintf(format, args...))
}

func (d *Document) add(at place, path, text string) {
	if path != "" {
		text = path + ": " + text
	}
	d.problems = append(d.problems, Problem{File: d.file, Line: at.line, Column: at.column, Text: text})
}

// parent returns the path one step up: "a.b[1]" to "a.b" to "a" to "".
func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
