package tenants

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/tenants/yamlstrict"
)

// ReadAgreements reads the agreements in a folder, one to a file, sorted by
// partner: its files that end in .yml or .yaml and don't begin with a dot.
// Other files, such as bundles, and folders within are left alone.
//
// When the folder can be read, the error is yamlstrict.Problems: all that is
// wrong with all of the files.
func ReadAgreements(dir string, self Self) ([]Agreement, error) {
	files, err := readFolder(dir)
	if err != nil {
		return nil, err
	}
	return parseAgreements(files, self)
}

// agreementFile is the content of a file, or why it can't be had.
type agreementFile struct {
	path string
	data []byte
	err  error
}

func readFolder(dir string) ([]agreementFile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the folder of agreements: %w", err)
	}
	var files []agreementFile
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") || (ext != ".yml" && ext != ".yaml") {
			continue
		}
		f := agreementFile{path: filepath.Join(dir, e.Name())}
		f.data, f.err = readRegular(f.path)
		if errors.Is(f.err, fs.ErrNotExist) && e.Type()&fs.ModeSymlink == 0 {
			continue // removed since the folder was listed
		}
		files = append(files, f)
	}
	return files, nil
}

func readRegular(path string) ([]byte, error) {
	info, err := os.Stat(path) // a pipe would keep us waiting
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is not a regular file")
	}
	if info.Size() > yamlstrict.MaxBytes {
		return nil, fmt.Errorf("has %d bytes, at most %d are read", info.Size(), yamlstrict.MaxBytes)
	}
	return os.ReadFile(path)
}

// fingerprint is the same for two readings of a folder that found the same.
func fingerprint(files []agreementFile) [sha256.Size]byte {
	h := sha256.New()
	for _, f := range files {
		h.Write(fmt.Appendf(nil, "%q %q %v\n", f.path, f.data, f.err))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func parseAgreements(files []agreementFile, self Self) ([]Agreement, error) {
	var (
		all      []Agreement
		problems yamlstrict.Problems
		partners = firstUse[OrgID]{key: "partner"}
		domains  = firstUse[spiffeid.TrustDomain]{key: "trust_domain"}
	)
	for _, f := range files {
		if f.err != nil {
			problems = append(problems, yamlstrict.Problem{File: f.path, Text: "the file can't be read: " + f.err.Error()})
			continue
		}
		a, doc := parseAgreement(f.path, f.data, self)
		partners.check(doc, f.path, a.Partner)
		domains.check(doc, f.path, a.TrustDomain)
		problems = append(problems, doc.Problems()...)
		all = append(all, a)
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Agreement) int { return cmp.Compare(a.Partner, b.Partner) })
	return all, nil
}

// firstUse remembers which file used a value first: no two agreements may share it.
type firstUse[T comparable] struct {
	key  string
	file map[T]string
}

func (u *firstUse[T]) check(doc *yamlstrict.Document, file string, value T) {
	var zero T
	if value == zero {
		return
	}
	if first, taken := u.file[value]; taken {
		doc.Problemf(u.key, "%v has an agreement already, in %s", value, first)
		return
	}
	if u.file == nil {
		u.file = map[T]string{}
	}
	u.file[value] = file
}
