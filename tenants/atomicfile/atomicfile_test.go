package atomicfile_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/parley-gateway/parley/tenants/atomicfile"
)

// What can't be written leaves the old file, and nothing beside it.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "kept")
	for _, text := range []string{"first", "second"} {
		if err := atomicfile.Write(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text || info.Mode().Perm() != 0o640 {
			t.Errorf("%q, %v, %v", got, info.Mode(), err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "folder", "in use"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, there := range []string{"folder", filepath.Join("nowhere", "file")} {
		if err := atomicfile.Write(filepath.Join(dir, there), nil, 0o600); err == nil {
			t.Errorf("%s was replaced", there)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("left over: %v, %v", entries, err)
	}
}
