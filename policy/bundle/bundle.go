// Package bundle reads OPA bundles, the archives in which policies are built,
// signed and served, and fetches them:
//
//	b, err := bundle.Read(archive, keys)       // verified, in memory, bounded
//	archive, tag, err := server.Fetch(ctx, "") // from a bundle server or a registry
//
// A bundle is what `opa build` and `opa sign` make (see
// https://www.openpolicyagent.org/docs/management-bundles). Of it are taken the
// Rego, tests aside, the files named data.json, data.yaml or data.yml, and the
// questions in the folder samples that it is tried on.
package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	opa "github.com/open-policy-agent/opa/v1/bundle"
)

// The sizes that are taken.
const (
	MaxBytes     = 64 << 20  // of an archive
	MaxUnpacked  = 128 << 20 // of its files together
	MaxFileBytes = 16 << 20  // of one of them
)

// Bundle is what a gateway takes of an OPA bundle.
type Bundle struct {
	// Revision is what its manifest calls it; may be empty.
	Revision string
	Files    []File // sorted by path
}

// File is a file of a bundle. Its path is slash-separated and relative.
type File struct {
	Path string
	Text []byte
}

// Read unpacks an archive, and refuses one that none of the keys has signed;
// without keys, one that is signed. It holds no more than an archive may have.
func Read(archive []byte, keys Keys) (*Bundle, error) {
	if len(archive) > MaxBytes {
		return nil, fmt.Errorf("it is larger than %d MiB", MaxBytes>>20)
	}
	files, err := unpack(archive)
	if err != nil {
		return nil, err
	}
	checked, err := keys.verify(archive, files)
	if err != nil {
		return nil, err
	}
	switch {
	case checked.Type() != opa.SnapshotBundleType:
		return nil, errors.New("it is a delta bundle; only whole ones are taken")
	case len(checked.WasmModules) > 0 || len(checked.PlanModules) > 0:
		return nil, errors.New("it is compiled; policies are evaluated as Rego: build it without a target")
	case older(checked.Manifest):
		return nil, errors.New("it is in Rego v0, says its manifest; only Rego v1 is evaluated")
	}
	out := &Bundle{Revision: checked.Manifest.Revision}
	for _, f := range files {
		if taken(f.Path) {
			out.Files = append(out.Files, f)
		}
	}
	slices.SortFunc(out.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// unpack reads the regular files of an archive, within bounds.
func unpack(archive []byte) ([]File, error) {
	zipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, fmt.Errorf("it is no gzip archive: %w", err)
	}
	var files []File
	paths := map[string]bool{}
	left := int64(MaxUnpacked)
	unzipped := &limited{zipped, MaxUnpacked}
	for reader := tar.NewReader(unzipped); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			// The checksum comes last.
			if _, err := io.Copy(io.Discard, unzipped); err != nil {
				return nil, fmt.Errorf("it is no whole gzip archive: %w", err)
			}
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("it is no whole tar archive: %w", err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		name := strings.TrimPrefix(strings.TrimPrefix(header.Name, "./"), "/")
		switch {
		case !fs.ValidPath(name):
			return nil, fmt.Errorf("%q is no path of a file in a bundle", header.Name)
		case paths[name]:
			return nil, fmt.Errorf("%s is there twice", name)
		case header.Size > MaxFileBytes:
			return nil, fmt.Errorf("%s is larger than %d MiB", name, MaxFileBytes>>20)
		case header.Size > left:
			return nil, errUnpacked
		}
		paths[name] = true
		left -= header.Size
		text, err := io.ReadAll(reader)
		if err != nil {
			return nil, fmt.Errorf("it is no whole archive: %s: %w", name, err)
		}
		files = append(files, File{Path: name, Text: text})
	}
}

var errUnpacked = fmt.Errorf("its files are larger than %d MiB together", MaxUnpacked>>20)

// limited is a reader that fails beyond a size.
type limited struct {
	io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, errUnpacked
	}
	return n, err
}

func older(m opa.Manifest) bool {
	v0 := ast.RegoV0.Int()
	if m.RegoVersion != nil && *m.RegoVersion == v0 {
		return true
	}
	for _, version := range m.FileRegoVersions {
		if version == v0 {
			return true
		}
	}
	return false
}

// taken says whether a file is part of the policy.
func taken(name string) bool {
	if path.Ext(name) == ".rego" {
		return !strings.HasSuffix(name, "_test.rego")
	}
	return slices.Contains([]string{"data.json", "data.yaml", "data.yml"}, path.Base(name)) ||
		strings.HasPrefix(name, "samples/") && path.Ext(name) == ".json" && !strings.HasSuffix(name, opa.SignaturesFile)
}
