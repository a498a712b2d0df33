package pinned_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/parley-gateway/parley/tools/pinned"
)

func TestBuildsOnce(t *testing.T) {
	dir := nested(t, `package main; import "os"; var word = "hello"; func main() { os.Stdout.WriteString(word) }`)

	// Whoever comes first builds, the others wait for it.
	var (
		wait     sync.WaitGroup
		bins     [3]string
		progress [3]bytes.Buffer
	)
	for i := range bins {
		wait.Go(func() {
			var err error
			if bins[i], err = pinned.Build(context.Background(), dir, &progress[i]); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	said := progress[0].String() + progress[1].String() + progress[2].String()
	if strings.Count(said, "building "+dir) != 1 {
		t.Errorf("want one build, got %q", said)
	}
	if bins[0] != bins[1] || bins[1] != bins[2] {
		t.Errorf("one module, several folders: %q", bins)
	}
	if got := run(t, bins[0]); got != "hello" {
		t.Errorf("the program says %q, want hello", got)
	}

	// Other flags, another program; the first stays.
	write(t, dir, "build.flags", "-ldflags=-s -w -X main.word=goodbye\n")
	other, err := pinned.Build(context.Background(), dir, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	if got, first := run(t, other), run(t, bins[0]); got != "goodbye" || first != "hello" {
		t.Errorf("with flags the program says %q, want goodbye; without, %q, want hello", got, first)
	}
}

func TestFailedBuildLeavesNothing(t *testing.T) {
	dir := nested(t, `package main; func main() { undefined() }`)
	for range 2 {
		bin, err := pinned.Build(context.Background(), dir, &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), "undefined: undefined") {
			t.Fatalf("got %q, %v; want the compiler's error", bin, err)
		}
	}
}

func TestNoModule(t *testing.T) {
	if _, err := pinned.Build(context.Background(), t.TempDir(), &bytes.Buffer{}); err == nil {
		t.Error("built programs of a folder without a go.mod")
	}
}

// nested makes a module with one program and an empty cache.
func nested(t *testing.T, program string) string {
	t.Helper()
	// The compiler's own cache stays: it isn't what is tested.
	goCache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOCACHE", strings.TrimSpace(string(goCache)))
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	write(t, dir, "go.mod", "module example.test/nested\n\ngo 1.26\n\ntool example.test/nested/say\n")
	write(t, dir, "go.sum", "")
	write(t, dir, "say/main.go", program)
	return dir
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, bin string) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(bin, "say")).CombinedOutput()
	if err != nil {
		t.Fatalf("running the program: %v\n%s", err, out)
	}
	return string(out)
}
