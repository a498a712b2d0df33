package logs

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

func TestAStoreOnDiskIsThereAgain(t *testing.T) {
	dir := t.TempDir()
	stream := labels.FromStrings("service", "a")
	metadata := labels.FromStrings("pod", "p\xff", "service", "b")
	at := time.Unix(1_000_000, 5)
	s := openStore(t, dir, StoreConfig{})
	appendTo(t, s, at, "one \xfe", stream, metadata)
	appendTo(t, s, at.Add(-time.Second), "earlier", stream, labels.EmptyLabels())
	want := allOf(t, s)
	if _, err := OpenStore(dir, StoreConfig{}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("opened twice: %v", err)
	}
	closeStore(t, s)

	// What was being written when a process ended isn't there.
	path := filepath.Join(dir, entriesFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, text[:20]...), 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, StoreConfig{})
	if got := allOf(t, s); got != want {
		t.Errorf("again:\n%s\nwant\n%s", got, want)
	}
	appendTo(t, s, at, "two", stream, labels.EmptyLabels())
	appendTo(t, s, at, "two", stream, labels.EmptyLabels())
	want = allOf(t, s)
	closeStore(t, s)
	s = openStore(t, dir, StoreConfig{})
	if got := allOf(t, s); got != want || strings.Count(got, "two") != 1 {
		t.Errorf("after a torn end:\n%s\nwant\n%s", got, want)
	}
	closeStore(t, s)

	if err := os.WriteFile(path, []byte("{\"at\":\n"+string(text)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(dir, StoreConfig{}); err == nil || !strings.Contains(err.Error(), entriesFile+", line 1") {
		t.Errorf("a file that isn't one: %v", err)
	}
}

// A disk that is full for a while leaves part of an entry, which is in nobody's
// way.
func TestAStoreOnDiskSurvivesAFullDisk(t *testing.T) {
	dir := t.TempDir()
	stream, at := labels.FromStrings("service", "a"), time.Unix(1_000_000, 0)
	s := openStore(t, dir, StoreConfig{})
	appendTo(t, s, at, "one", stream, labels.EmptyLabels())
	if _, err := s.file.file.Seek(0, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	if _, err := s.file.file.WriteString(`{"at":12,"line":"` + strings.Repeat("x", 1000)); err != nil {
		t.Fatal(err)
	}
	appendTo(t, s, at, "two", stream, labels.EmptyLabels())
	want := allOf(t, s)
	closeStore(t, s)
	s = openStore(t, dir, StoreConfig{})
	if got := allOf(t, s); got != want || strings.Count(got, "\n") != 2 {
		t.Errorf("again:\n%s\nwant\n%s", got, want)
	}
	closeStore(t, s)
}

// However much is written, what isn't kept goes from the disk as well.
func TestAStoreOnDiskIsBounded(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, StoreConfig{MaxEntries: 100})
	line := strings.Repeat("x", 1000)
	largest := int64(0)
	for i := range 5000 {
		appendTo(t, s, time.Unix(int64(i), 0), fmt.Sprint(line, i), labels.FromStrings("service", "a"), labels.EmptyLabels())
		info, err := os.Stat(filepath.Join(dir, entriesFile))
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, info.Size())
	}
	if largest > leastCompacted+4096 {
		t.Errorf("the file had %d bytes", largest)
	}
	want := allOf(t, s)
	closeStore(t, s)
	s = openStore(t, dir, StoreConfig{MaxEntries: 100})
	if got := allOf(t, s); got != want || strings.Count(got, "\n") != 100 {
		t.Errorf("%d entries after it was opened again, or others", strings.Count(got, "\n"))
	}
	closeStore(t, s)
}

func openStore(t *testing.T, dir string, c StoreConfig) *Store {
	t.Helper()
	s, err := OpenStore(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func appendTo(t *testing.T, s *Store, at time.Time, line string, stream, metadata labels.Labels) {
	t.Helper()
	if err := s.Append(at, line, stream, metadata); err != nil {
		t.Fatal(err)
	}
}

func allOf(t *testing.T, s *Store) string {
	t.Helper()
	var b strings.Builder
	err := s.selectRaw(t.Context(), selection{start: 0, end: time.Unix(1<<32, 0).UnixNano()}, func(e rawEntry) error {
		fmt.Fprintf(&b, "%d %q %s %s\n", e.at, e.line, e.stream, e.metadata)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
