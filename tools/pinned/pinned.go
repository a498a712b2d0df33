// Package pinned builds programs whose versions a nested Go module pins, into
// a cache outside the tree, and only when they aren't there yet.
//
// A nested module is a folder with a go.mod, whose `tool` directives say what
// is built, and a go.sum. Further flags of `go build` stand in a file
// build.flags beside them, one a line; a program of its own is one file, main.go:
//
//	bin, err := pinned.Build(ctx, "e2e/servers/prometheus", os.Stderr)
//	exec.Command(filepath.Join(bin, "promtool"), "--version")
//
// The folder of the programs is named after everything that they are made of,
// so another branch of the tree with other versions has its own.
package pinned

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/rogpeppe/go-internal/lockedfile"
)

// Build returns the folder with the programs of the nested module in dir. What
// it builds, it first says in a line to progress. Several processes may build
// the same module at once: one does, the others wait.
func Build(ctx context.Context, dir string, progress io.Writer) (string, error) {
	m, err := read(dir)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder to cache the programs of %s in: %w; set XDG_CACHE_HOME or HOME", dir, err)
	}
	bin := filepath.Join(cache, "parley", "tools", m.key())
	if err := os.MkdirAll(filepath.Dir(bin), 0o755); err != nil {
		return "", fmt.Errorf("caching the programs of %s: %w", dir, err)
	}
	unlock, err := lockedfile.MutexAt(bin + ".lock").Lock()
	if err != nil {
		return "", fmt.Errorf("waiting to build the programs of %s: %w", dir, err)
	}
	defer unlock()
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	// A progress line that can't be shown is no reason not to build.
	_, _ = fmt.Fprintf(progress, "building %s into %s\n", dir, bin)
	if err := m.build(ctx, bin); err != nil {
		return "", fmt.Errorf("building the programs of %s: %w", dir, err)
	}
	return bin, nil
}

// module is a nested module as it stands on disk.
type module struct {
	dir   string
	mod   []byte
	sum   []byte
	flags []byte // empty when there is no build.flags
	own   []byte // the module's own program, where it has one
}

func read(dir string) (module, error) {
	m := module{dir: dir}
	var err error
	if m.mod, err = os.ReadFile(filepath.Join(dir, "go.mod")); err != nil {
		return module{}, fmt.Errorf("%s is no nested module: %w", dir, err)
	}
	if m.sum, err = os.ReadFile(filepath.Join(dir, "go.sum")); err != nil {
		return module{}, fmt.Errorf("the nested module %s has no checksums: %w", dir, err)
	}
	m.flags, err = os.ReadFile(filepath.Join(dir, "build.flags"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return module{}, fmt.Errorf("reading how %s is built: %w", dir, err)
	}
	m.own, err = os.ReadFile(filepath.Join(dir, "main.go"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return module{}, fmt.Errorf("reading the program of %s: %w", dir, err)
	}
	return m, nil
}

// key names the programs that come out of building m here: the module's
// folder, for people, and a hash of all that they are made of.
func (m module) key() string {
	h := sha256.New()
	parts := [][]byte{m.mod, m.sum, m.flags, []byte(runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH)}
	if m.own != nil {
		parts = append(parts, m.own)
	}
	for _, part := range parts {
		digest := sha256.Sum256(part)
		h.Write(digest[:])
	}
	return filepath.Base(m.dir) + "-" + hex.EncodeToString(h.Sum(nil))[:16]
}

// build puts the programs into bin, which exists afterwards only if all built.
func (m module) build(ctx context.Context, bin string) error {
	building := bin + ".building"
	if err := os.RemoveAll(building); err != nil { // what an interrupted build left
		return err
	}
	args := []string{"build", "-trimpath", "-ldflags=-s -w"}
	for line := range strings.Lines(string(m.flags)) {
		if flag := strings.TrimSpace(line); flag != "" {
			args = append(args, flag)
		}
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", building+string(filepath.Separator), "tool")...)
	cmd.Dir = m.dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return os.Rename(building, bin)
}
