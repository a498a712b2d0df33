package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestATornTailIsMovedAside(t *testing.T) {
	for name, tc := range map[string]struct{ whole, torn string }{
		"nothing torn":         {"one\ntwo\n", ""},
		"half a line":          {"one\ntwo\n", "thr"},
		"nothing but a tear":   {"", "on"},
		"a gap of NUL bytes":   {"one\n", "\x00\x00\x00"},
		"lines after a gap":    {"one\n", "t\x00\x00o\nthree\n"},
		"an abandoned probe":   {"one\n", string(probe)},
		"longer than a buffer": {strings.Repeat("one\n", 50_000), strings.Repeat("x", 100_000)},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			file := filepath.Join(path, fileName(7))
			if err := os.WriteFile(file, []byte(tc.whole+tc.torn), 0o600); err != nil {
				t.Fatal(err)
			}
			// An earlier tear must not be overwritten by this one.
			if err := os.WriteFile(file+".torn-1", []byte("earlier"), 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			j := open(t, Dir(path), Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			mustAppend(t, j, "next")
			got, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tc.whole+"next\n" {
				t.Errorf("the file holds %d bytes, want %d", len(got), len(tc.whole)+5)
			}
			aside, err := os.ReadFile(file + ".torn-2")
			if tc.torn == "" {
				if !errors.Is(err, os.ErrNotExist) || log.Len() > 0 {
					t.Errorf("moved aside %q (%v), logged %q", aside, err, log.String())
				}
				return
			}
			if err != nil || string(aside) != tc.torn {
				t.Errorf("moved aside %d bytes (%v), want %d", len(aside), err, len(tc.torn))
			}
			if !strings.Contains(log.String(), "torn") || strings.Contains(log.String(), "thr") {
				t.Errorf("log: %s", log.String())
			}
		})
	}
}

// A file whose creation seemed to fail can be there nonetheless; the one before
// it goes on growing, and a crash tears that one.
func TestATearBeforeAnEmptyFile(t *testing.T) {
	d := newFakeDisk()
	for name, content := range map[string]string{fileName(1): "one\n", fileName(2): "two\ntor", fileName(3): "", fileName(4): ""} {
		d.files[name] = &fakeContent{data: []byte(content), durable: []byte(content), named: true}
	}
	if diff := cmp.Diff([]string{"one", "two"}, linesOf(t, d.fs())); diff != "" {
		t.Error(diff)
	}
	j := open(t, d, Options{})
	mustAppend(t, j, "three")
	fsys := d.fs()
	if diff := cmp.Diff([]string{"one", "two", "three"}, linesOf(t, fsys)); diff != "" {
		t.Error(diff)
	}
	if got := fsys[fileName(2)+".torn-1"]; got == nil || string(got.Data) != "tor" {
		t.Errorf("moved aside: %v", got)
	}
	if got := fsys[fileName(4)]; string(got.Data) != "three\n" {
		t.Errorf("the last file holds %q", got.Data)
	}
}

// story appends numbered lines one after the other and returns those that were
// accepted. It opens the journal again once in the middle.
func story(d *fakeDisk) (accepted []string) {
	const lines = 8
	for part := range 2 {
		j, err := Open(d, Options{MaxFileSize: 20})
		if err != nil {
			continue
		}
		for i := range lines {
			line := fmt.Sprintf("line %d.%d", part, i)
			if j.Append(context.Background(), []byte(line)) == nil {
				accepted = append(accepted, line)
			}
		}
		_ = j.Close() // may well fail; what counts is what was accepted
	}
	return accepted
}

// TestEveryFaultEverywhere fails each operation of a story in each way, once or
// for good, then cuts the power.
func TestEveryFaultEverywhere(t *testing.T) {
	sound := newFakeDisk()
	if got := len(story(sound)); got != 16 {
		t.Fatalf("%d lines accepted without any fault", got)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := 1; n <= sound.ops; n++ {
		for f := before; f < numFaults; f++ {
			for _, times := range []int{1, 3, 1 << 30} {
				d := newFakeDisk()
				d.fault = func(op int, _ string) fault {
					if op >= n && op-n < times {
						return f
					}
					return noFault
				}
				accepted := story(d)
				name := fmt.Sprintf("operation %d, fault %d, %d times", n, f, times)
				opened := n > 3 || times == 1
				if opened && times <= 3 && len(accepted) < 4 {
					t.Errorf("%s: only %d lines accepted; it did not recover", name, len(accepted))
				}
				d.setFault(nil)
				crashed := d.crash(rnd)
				checkHolds(t, name, d, accepted)
				checkHolds(t, name+", then a power cut", crashed, accepted)
			}
		}
	}
}

// checkHolds opens the journal once more and checks that every accepted line is
// there, in order, once; that there is room for more; and that nothing else
// came up but lines that were refused.
func checkHolds(t testing.TB, name string, d *fakeDisk, accepted []string) {
	t.Helper()
	d.locked = false // the process that held it is gone
	j, err := Open(d, Options{})
	if err != nil {
		t.Fatalf("%s: open: %v", name, err)
	}
	mustAppend(t, j, "line after all")
	if err := j.Close(); err != nil {
		t.Fatalf("%s: close: %v", name, err)
	}
	got := linesOf(t, d.fs())
	rest := append(slices.Clone(accepted), "line after all")
	seen := map[string]bool{}
	for _, line := range got {
		if !strings.HasPrefix(line, "line ") || seen[line] {
			t.Errorf("%s: read %q: garbage, or for the second time", name, line)
		}
		seen[line] = true
		if len(rest) > 0 && rest[0] == line {
			rest = rest[1:]
		}
	}
	if len(rest) > 0 {
		t.Errorf("%s: accepted but not there, or out of order: %q\nread: %q", name, rest, got)
	}
}

// TestWhatWasAcceptedSurvives is the promise of the package: many callers, a
// disk that fails at random, and a power cut at a random moment.
func TestWhatWasAcceptedSurvives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		rate := rapid.IntRange(0, 30).Draw(t, "faults in 100 operations")
		maxSize := rapid.Int64Range(1, 400).Draw(t, "file size")
		callers := rapid.IntRange(1, 6).Draw(t, "callers")
		lines := rapid.IntRange(1, 20).Draw(t, "lines each")

		rnd := rand.New(rand.NewPCG(seed, 0))
		d := newFakeDisk()
		j, err := Open(d, Options{MaxFileSize: maxSize})
		if err != nil {
			t.Fatal(err)
		}
		d.setFault(func(int, string) fault {
			if rnd.IntN(100) < rate {
				return fault(1 + rnd.IntN(numFaults-1))
			}
			return noFault
		})
		accepted := make([][]string, callers)
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				for i := range lines {
					line := fmt.Sprintf("line %d.%d", c, i)
					if j.Append(context.Background(), []byte(line)) == nil {
						accepted[c] = append(accepted[c], line)
					}
				}
			})
		}
		wg.Wait()
		crashed := d.crash(rnd)
		_ = j.Close()
		reopened, err := Open(crashed, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := reopened.Close(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for line, err := range Lines(crashed.fs()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(line.Text))
		}
		for c := range accepted {
			var mine []string
			for _, line := range got {
				if slices.Contains(accepted[c], line) {
					mine = append(mine, line)
				}
			}
			if diff := cmp.Diff(accepted[c], mine); diff != "" {
				t.Fatalf("caller %d: %s", c, diff)
			}
		}
	})
}

// TestAFullDisk runs into a real limit of the file system: no file may grow
// over 8 KiB.
func TestAFullDisk(t *testing.T) {
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	path := t.TempDir()
	j := open(t, Dir(path), Options{})
	limited := old
	limited.Cur = 8 << 10
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limited); err != nil {
		t.Fatal(err)
	}
	restore := sync.OnceFunc(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Error(err)
		}
	})
	defer restore()
	var accepted []string
	var refused error
	for i := 0; refused == nil; i++ {
		line := fmt.Sprintf("%d %s", i, strings.Repeat("x", 1000))
		if refused = j.Append(t.Context(), []byte(line)); refused == nil {
			accepted = append(accepted, line)
		}
	}
	if !errors.Is(refused, syscall.EFBIG) || len(accepted) != 8 {
		t.Errorf("after %d lines: %v", len(accepted), refused)
	}
	if err := j.Check(t.Context()); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("check: %v", err)
	}
	restore()
	mustAppend(t, j, "room again")
	if diff := cmp.Diff(append(accepted, "room again"), linesOf(t, os.DirFS(path))); diff != "" {
		t.Error(diff)
	}
}

func TestATearInTheMiddleIsReported(t *testing.T) {
	fsys := fstest.MapFS{
		fileName(1): {Data: []byte("one\ntorn")},
		fileName(2): {Data: []byte("two\ngrowing")},
		"lock":      {},
	}
	var got []string
	for line, err := range Lines(fsys) {
		got = append(got, fmt.Sprintf("%s:%d %s %v", line.File, line.Number, line.Text, err))
	}
	want := []string{
		"audit-00000001.jsonl:1 one <nil>",
		"audit-00000001.jsonl:2  journal: audit-00000001.jsonl, line 2: the file ends in a torn line",
		"audit-00000002.jsonl:1 two <nil>",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFilesAreReadInOrderOfTheirNumbers(t *testing.T) {
	fsys := fstest.MapFS{}
	var want []string
	for _, seq := range []int{1, 9, 10, 99_999_999, 100_000_000} {
		fsys[fileName(seq)] = &fstest.MapFile{Data: fmt.Appendf(nil, "%d\n", seq)}
		want = append(want, fmt.Sprint(seq))
	}
	for _, name := range []string{"audit-1.jsonl", "audit-00000000.jsonl", "audit-00000001.jsonl.torn-1", "audit-x.jsonl", "other"} {
		fsys[name] = &fstest.MapFile{Data: []byte("not of the journal\n")}
	}
	if diff := cmp.Diff(want, linesOf(t, fsys)); diff != "" {
		t.Error(diff)
	}
}

// FuzzOpen opens a journal whose last file holds anything at all: nothing of it
// may get lost, and what is appended must be readable.
func FuzzOpen(f *testing.F) {
	for _, s := range []string{"", "one\n", "one\ntwo", "\n\n", "a\x00b\nc\n", "\x00", strings.Repeat("x", 70_000) + "\ny"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		d := newFakeDisk()
		d.files[fileName(1)] = &fakeContent{data: slices.Clone(content), durable: slices.Clone(content), named: true}
		j := open(t, d, Options{})
		mustAppend(t, j, "appended")
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		fsys := d.fs()
		kept, _ := bytes.CutSuffix(fsys[fileName(1)].Data, []byte("appended\n"))
		if aside := fsys[fileName(1)+".torn-1"]; aside != nil {
			kept = append(slices.Clone(kept), aside.Data...)
		}
		if !bytes.Equal(kept, content) {
			t.Errorf("of %q only %q is left", content, kept)
		}
		if got := linesOf(t, fsys); got[len(got)-1] != "appended" {
			t.Errorf("the last line is %q", got[len(got)-1])
		}
	})
}
