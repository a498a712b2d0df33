package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, d Disk, o Options) *Journal {
	t.Helper()
	j, err := Open(d, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() }) // tests that care close it themselves
	return j
}

func mustAppend(t testing.TB, j *Journal, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if err := j.Append(t.Context(), []byte(line)); err != nil {
			t.Fatalf("append %q: %v", line, err)
		}
	}
}

// eventually polls until what is true.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	poll := time.NewTicker(100 * time.Microsecond)
	defer poll.Stop()
	deadline := time.After(10 * time.Second)
	for !is() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func TestLinesAreThereAfterReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "not", "there", "yet")
	j := open(t, Dir(path), Options{})
	mustAppend(t, j, "one", "two")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, Dir(path), Options{})
	mustAppend(t, j, "three")
	if diff := cmp.Diff([]string{"one", "two", "three"}, linesOf(t, os.DirFS(path))); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(filepath.Join(path, fileName(1)))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v: others can read it", info.Mode())
	}
}

func TestASecondProcessIsKeptOut(t *testing.T) {
	path := t.TempDir()
	j := open(t, Dir(path), Options{})
	if _, err := Open(Dir(path), Options{}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("second open: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, Dir(path), Options{})
}

// stalled returns a journal whose first fsync waits for release and succeeds;
// later ones meet the fault then.
func stalled(t testing.TB, then fault) (d *fakeDisk, j *Journal, reached <-chan struct{}, release func()) {
	t.Helper()
	d = newFakeDisk()
	j = open(t, d, Options{})
	at, gate := make(chan struct{}), make(chan struct{})
	first := true
	d.setFault(func(_ int, op string) fault {
		if op != "sync" {
			return noFault
		}
		if !first {
			return then
		}
		first = false
		close(at)
		<-gate
		return noFault
	})
	release = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(release)
	return d, j, at, release
}

func TestWaitingLinesShareOneFsync(t *testing.T) {
	d, j, reached, release := stalled(t, noFault)
	const waiting = 200
	var wg sync.WaitGroup
	put := func(i int) {
		wg.Go(func() {
			if err := j.Append(t.Context(), fmt.Appendf(nil, "line %d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	put(0)
	<-reached
	for i := range waiting {
		put(i + 1)
	}
	eventually(t, "all lines wait", func() bool { return len(j.queue) == waiting })
	release()
	wg.Wait()
	if d.syncs != 2 {
		t.Errorf("%d fsyncs for %d lines, want 2: one for the first, one for all that waited", d.syncs, waiting+1)
	}
	if got := len(linesOf(t, d.fs())); got != waiting+1 {
		t.Errorf("%d lines, want %d", got, waiting+1)
	}
}

func TestEveryWaiterOfAFailedBatchIsRefused(t *testing.T) {
	d, j, reached, release := stalled(t, before)
	const waiting = 50
	first := make(chan error)
	go func() { first <- j.Append(context.Background(), []byte("first")) }()
	<-reached
	errs := make(chan error, waiting)
	for i := range waiting {
		go func() { errs <- j.Append(context.Background(), fmt.Appendf(nil, "waiter %d", i)) }()
	}
	eventually(t, "all lines wait", func() bool { return len(j.queue) == waiting })
	release()
	if err := <-first; err != nil {
		t.Errorf("the batch before: %v", err)
	}
	for range waiting {
		if err := <-errs; !errors.Is(err, errDisk) {
			t.Errorf("a waiter got %v", err)
		}
	}
	d.setFault(nil)
	mustAppend(t, j, "afterwards")
	if diff := cmp.Diff([]string{"first", "afterwards"}, linesOf(t, d.fs())); diff != "" {
		t.Error(diff)
	}
}

func TestRefusesUntilTheDiskIsBack(t *testing.T) {
	d := newFakeDisk()
	j := open(t, d, Options{})
	mustAppend(t, j, "before")
	d.setFault(func(_ int, op string) fault {
		if op == "write" { // a full disk: everything else works
			return halfway
		}
		return noFault
	})
	for range 3 {
		if err := j.Append(t.Context(), []byte("lost")); !errors.Is(err, errDisk) {
			t.Fatalf("append on a full disk: %v", err)
		}
		if err := j.Check(t.Context()); !errors.Is(err, errDisk) {
			t.Fatalf("check on a full disk: %v", err)
		}
	}
	d.setFault(nil)
	if err := j.Check(t.Context()); err != nil {
		t.Fatalf("check when there is room again: %v", err)
	}
	mustAppend(t, j, "after")
	if diff := cmp.Diff([]string{"before", "after"}, linesOf(t, d.fs())); diff != "" {
		t.Error(diff)
	}
}

func TestAFileSomebodyElseCutIsNotWrittenTo(t *testing.T) {
	d := newFakeDisk()
	j := open(t, d, Options{})
	mustAppend(t, j, "evidence")
	d.setFault(func(_ int, op string) fault {
		if op == "sync" {
			return before
		}
		return noFault
	})
	if err := j.Append(t.Context(), []byte("x")); err == nil {
		t.Fatal("no error")
	}
	d.setFault(nil)
	d.mu.Lock()
	d.files[fileName(1)].data = nil
	d.mu.Unlock()
	if err := j.Append(t.Context(), []byte("x")); err == nil || !strings.Contains(err.Error(), "something else changed it") {
		t.Errorf("append: %v", err)
	}
}

func TestACallerThatIsGoneStillLeavesItsLine(t *testing.T) {
	d, j, reached, release := stalled(t, noFault)
	gone, cancel := context.WithCancel(t.Context())
	errs := make(chan error)
	go func() { errs <- j.Append(gone, []byte("under way")) }()
	<-reached
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before fsync: %v", err)
	}
	if err := j.Append(gone, []byte("cancelled before it came")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before it came: %v", err)
	}
	release()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"under way", "cancelled before it came"}, linesOf(t, d.fs())); diff != "" {
		t.Error(diff)
	}
}

func TestAStalledDiskDoesNotHoldCallersForEver(t *testing.T) {
	_, j, reached, release := stalled(t, noFault)
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, queueLen+2)
	put := func() { errs <- j.Append(ctx, []byte("x")) }
	go put()
	<-reached
	for range queueLen + 1 {
		go put()
	}
	eventually(t, "the queue is full", func() bool { return len(j.queue) == queueLen })
	cancel()
	for range queueLen + 2 {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
	}
	release()
}

func TestCloseWritesWhatIsQueued(t *testing.T) {
	d, j, reached, release := stalled(t, noFault)
	errs := make(chan error, 11)
	put := func(i int) { errs <- j.Append(context.Background(), fmt.Appendf(nil, "%d", i)) }
	go put(0)
	<-reached
	for i := range 10 {
		go put(i + 1)
	}
	eventually(t, "the rest is queued", func() bool { return len(j.queue) == 10 })
	closed := make(chan error)
	go func() { closed <- j.Close() }()
	<-j.closing
	if err := j.Append(t.Context(), []byte("late")); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if err := j.Check(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("check after close: %v", err)
	}
	release()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	for range 11 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := len(linesOf(t, d.fs())); got != 11 {
		t.Errorf("%d lines, want 11", got)
	}
	if err := j.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestCloseAmongAppends(t *testing.T) {
	d := newFakeDisk()
	j := open(t, d, Options{})
	var mu sync.Mutex
	var accepted []string
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				line := fmt.Sprintf("%d/%d", w, i)
				err := j.Append(context.Background(), []byte(line))
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				accepted = append(accepted, line)
				mu.Unlock()
			}
		})
	}
	eventually(t, "some lines are in", func() bool { mu.Lock(); defer mu.Unlock(); return len(accepted) > 100 })
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	got := linesOf(t, d.fs())
	slices.Sort(got)
	slices.Sort(accepted)
	if diff := cmp.Diff(accepted, got); diff != "" {
		t.Error(diff)
	}
}

func TestEachCallersLinesKeepTheirOrder(t *testing.T) {
	d := newFakeDisk()
	j := open(t, d, Options{MaxFileSize: 500})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 100 {
				mustAppend(t, j, fmt.Sprintf("%d %d", w, i))
			}
		})
	}
	wg.Wait()
	next := make([]int, 8)
	for _, line := range linesOf(t, d.fs()) {
		var w, i int
		if _, err := fmt.Sscan(line, &w, &i); err != nil {
			t.Fatal(err)
		}
		if i != next[w] {
			t.Fatalf("caller %d: line %d where %d is due", w, i, next[w])
		}
		next[w]++
	}
	for w, n := range next {
		if n != 100 {
			t.Errorf("caller %d: %d lines, want 100", w, n)
		}
	}
}

func TestNewFilesNeverReplaceOldOnes(t *testing.T) {
	path := t.TempDir()
	foreign := filepath.Join(path, fileName(3))
	j := open(t, Dir(path), Options{MaxFileSize: 10})
	if err := os.WriteFile(foreign, []byte("put here\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := []string{"aaaa", "bbbb", "cccc", "a line longer than a whole file", "dddd"}
	mustAppend(t, j, lines...)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	var sizes []string
	for _, seq := range []int{1, 2, 3, 4, 5} {
		info, err := os.Stat(filepath.Join(path, fileName(seq)))
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, fmt.Sprint(seq, ":", info.Size()))
	}
	if diff := cmp.Diff([]string{"1:10", "2:5", "3:9", "4:32", "5:5"}, sizes); diff != "" {
		t.Error(diff)
	}
	want := []string{"aaaa", "bbbb", "cccc", "put here", "a line longer than a whole file", "dddd"}
	if diff := cmp.Diff(want, linesOf(t, os.DirFS(path))); diff != "" {
		t.Error(diff)
	}
}

func TestLinesThatCannotBeLines(t *testing.T) {
	d := newFakeDisk()
	j := open(t, d, Options{})
	for _, line := range []string{"", "two\nlines", "nul\x00", strings.Repeat("x", MaxLine+1)} {
		if err := j.Append(t.Context(), []byte(line)); err == nil {
			t.Errorf("%.20q was accepted", line)
		}
	}
	longest := strings.Repeat("x", MaxLine)
	mustAppend(t, j, longest)
	if got := linesOf(t, d.fs()); len(got) != 1 || got[0] != longest {
		t.Error("the longest line is not read back")
	}
}
