package rego

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/version"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/bundle"
	"github.com/parley-gateway/parley/tenants"
)

//go:embed library/*.rego
var library embed.FS

// sources are everything a revision is made of, read once: what is hashed is
// what is compiled.
type sources struct {
	org        tenants.OrgID
	agreements []tenants.Agreement
	// files are the library's and the folder's, sorted by name.
	files []file
	// tests says that the folder's tests are among them.
	tests bool
}

// file is one source file.
type file struct {
	// name is for messages: the path as the operator knows it.
	name string
	// path is slash-separated and relative to the folder; it roots data.
	path    string
	text    []byte
	library bool
}

// Bounds of what a folder may have, as those of bundles. What is made of it in
// memory is larger by a factor.
const (
	maxFileBytes = bundle.MaxFileBytes
	maxBytes     = bundle.MaxUnpacked // of all its files
)

func readSources(dir string, org tenants.OrgID, agreements []tenants.Agreement) (*sources, error) {
	s := &sources{org: org, agreements: slices.Clone(agreements)}
	return s, s.read(dir)
}

func (s *sources) read(dir string) error {
	slices.SortFunc(s.agreements, func(a, b tenants.Agreement) int { return strings.Compare(string(a.Partner), string(b.Partner)) })
	lib, err := fs.Sub(library, "library")
	if err != nil {
		return fmt.Errorf("embedded policy library: %w", err)
	}
	if err := s.readFolder(lib, func(p string) string { return "parley's library/" + p }, true); err != nil {
		return err
	}
	if dir == "" {
		return nil
	}
	name := func(p string) string { return filepath.Join(dir, filepath.FromSlash(p)) }
	return s.readFolder(os.DirFS(dir), name, false)
}

func (s *sources) readFolder(fsys fs.FS, name func(string) string, library bool) error {
	var found problems
	size := 0
	err := fs.WalkDir(fsys, ".", func(p string, entry fs.DirEntry, err error) error {
		if err == nil && p != "." && strings.HasPrefix(entry.Name(), ".") {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if err == nil && !entry.IsDir() && (isSource(p) || s.tests && !library && isTest(p)) {
			var f file
			if f, err = readFile(fsys, p); err == nil {
				f.name, f.library = name(p), library
				s.files = append(s.files, f)
				if size += len(f.text); size > maxBytes {
					return fmt.Errorf("%s: the policy folder's files are larger than %d MiB together", name("."), maxBytes>>20)
				}
			}
		}
		if err != nil {
			found = append(found, Problem{File: name(p), Text: "can't be read: " + cause(err)})
		}
		return nil
	})
	return errors.Join(err, found.orNil())
}

// cause is the text of a file's error without its path, which the problem has.
func cause(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return err.Error()
}

func isTest(p string) bool { return strings.HasSuffix(p, "_test.rego") }

func isSource(p string) bool {
	if isTest(p) {
		return false
	}
	return slices.Contains([]string{".rego", ".json", ".yaml", ".yml"}, path.Ext(p))
}

func readFile(fsys fs.FS, p string) (file, error) {
	f, err := fsys.Open(p)
	if err != nil {
		return file{}, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return file{}, err
	}
	if len(text) > maxFileBytes {
		return file{}, fmt.Errorf("larger than %d MiB", maxFileBytes>>20)
	}
	return file{path: p, text: text}, nil
}

// agreed is what policies are told of an agreement.
type agreed struct {
	Signals  []tenants.Signal  `json:"signals"`
	Purposes []tenants.Purpose `json:"purposes"`
	Policy   string            `json:"policy"`
	// Emergency is the policy of its break_glass.
	Emergency string `json:"emergency,omitempty"`
}

func (s *sources) agreed() map[tenants.OrgID]agreed {
	out := make(map[tenants.OrgID]agreed, len(s.agreements))
	for _, a := range s.agreements {
		told := agreed{Signals: a.Signals, Purposes: a.Purposes, Policy: a.Policy}
		if a.BreakGlass != nil {
			told.Emergency = a.BreakGlass.Policy
		}
		out[a.Partner] = told
	}
	return out
}

// sum is the revision these sources are: a hash of the files, of what policies
// are told of the agreements, of the published shapes and of OPA's version.
func (s *sources) sum() policy.Revision {
	hash := sha256.New()
	add := func(name string, text []byte) {
		hash.Write(fmt.Appendf(nil, "%d %s %d ", len(name), name, len(text)))
		hash.Write(text)
	}
	for _, f := range s.files {
		add(fmt.Sprint(f.library)+" "+f.path, f.text)
	}
	// Strings and lists of them always marshal.
	agreements, _ := json.Marshal(s.agreed())
	add("agreements of "+string(s.org), agreements)
	add("decision", decisionSchemaText)
	add("input", inputSchemaText)
	add("opa", []byte(version.Version))
	return policy.Revision(hex.EncodeToString(hash.Sum(nil)))
}
