package logs

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

func appendLine(t *testing.T, s *Store, after time.Duration, line string) {
	t.Helper()
	if err := s.Append(testStart.Add(after), line, labels.FromStrings("app", "shop", "line", line[:1]), labels.EmptyLabels()); err != nil {
		t.Fatal(err)
	}
}

func stored(t *testing.T, s *Store) string {
	t.Helper()
	var lines []string
	for _, e := range selected(t, s, all(testStart, testStart.Add(time.Hour))) {
		lines = append(lines, e.line)
	}
	return strings.Join(lines, " ")
}

func TestStoreIsBounded(t *testing.T) {
	s := NewStore(StoreConfig{MaxEntries: 3})
	for i, after := range []time.Duration{4, 1, 3, 2, 5} {
		appendLine(t, s, after, fmt.Sprint(i))
	}
	appendLine(t, s, 0, "x") // older than all of a full store
	if got := stored(t, s); got != "2 0 4" {
		t.Errorf("the store of three has %q, want those of the newest times", got)
	}
	streams, err := s.selectStreams(t.Context(), all(testStart, testStart.Add(time.Hour)))
	if err != nil || len(streams) != 3 || len(s.streams) != 3 {
		t.Errorf("three entries of as many streams, and listed are %v, kept %d: %v", streams, len(s.streams), err)
	}

	s = NewStore(StoreConfig{MaxBytes: 3000})
	for i := range 5 {
		appendLine(t, s, time.Duration(i), strings.Repeat(fmt.Sprint(i), 1000))
	}
	if got := stored(t, s); got != strings.Repeat("3", 1000)+" "+strings.Repeat("4", 1000) {
		t.Errorf("the store of 3000 bytes has %d", len(got))
	}
	if err := s.Append(testStart, strings.Repeat("x", 3000), labels.FromStrings("app", "shop"), labels.EmptyLabels()); err == nil {
		t.Error("a line was taken that the store can't hold")
	}
	if s.bytes > 3000 {
		t.Errorf("the store counts %d bytes", s.bytes)
	}
}

func TestStoreKeepsOneOfTwo(t *testing.T) {
	s := NewStore(StoreConfig{})
	for _, line := range []string{"a", "b", "a", "c", "b"} {
		appendLine(t, s, 1, line)
	}
	if got := stored(t, s); got != "a b c" {
		t.Errorf("the store has %q", got)
	}
}

func TestStoreRefusesStreams(t *testing.T) {
	s := NewStore(StoreConfig{})
	for _, stream := range []labels.Labels{
		labels.EmptyLabels(), labels.FromStrings("a.b", "x"), labels.FromStrings("", "x"), labels.FromStrings("a", ""),
	} {
		if err := s.Append(testStart, "x", stream, labels.EmptyLabels()); err == nil {
			t.Errorf("%s is a stream", stream)
		}
	}
}

func TestStoreIsReadInBatches(t *testing.T) {
	s := NewStore(StoreConfig{})
	const n = 2*selectBatch + 10
	for i := range n {
		appendLine(t, s, time.Duration(i/3), fmt.Sprint(i))
	}
	for _, backward := range []bool{false, true} {
		sel := all(testStart, testStart.Add(time.Hour))
		sel.backward = backward
		var got []rawEntry
		err := s.selectRaw(t.Context(), sel, func(e rawEntry) error {
			if got = append(got, e); len(got) == 10 { // while it is read, what goes and comes is elsewhere
				appendLine(t, s, 2*time.Hour, "later")
			}
			return nil
		})
		if err != nil || len(got) != n {
			t.Errorf("read %d of %d: %v", len(got), n, err)
		}
		seen := map[string]bool{}
		for _, e := range got {
			if seen[e.line] {
				t.Fatalf("%s came twice", e.line)
			}
			seen[e.line] = true
		}
	}
}

// errTold ends a tail that was told of what was left out.
var errTold = errors.New("entries were left out")

// tailOfStore is the one tail there is.
func tailOfStore(s *Store) *storeTail {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.tails {
		return t
	}
	return nil
}

func TestStoreTailThatIsTooSlow(t *testing.T) {
	s := NewStore(StoreConfig{})
	begun, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		first := true
		told := false
		ended <- s.tailRaw(t.Context(), selection{
			holds: func(stream labels.Labels) bool { return stream.Get("app") != "hidden" },
		}, func() {}, func() { told = true }, func(rawEntry) error {
			if told {
				return errTold
			}
			if first {
				first = false
				close(begun)
				for i := range 2 * tailBuffer { // it writes itself, and doesn't read meanwhile
					if err := s.Append(testStart.Add(time.Duration(i)), fmt.Sprint(i), labels.FromStrings("app", "hidden"), labels.EmptyLabels()); err != nil {
						return err
					}
				}
				if len(tailOfStore(s).lost) > 0 {
					return errors.New("what isn't held took room")
				}
				for i := range 2 * tailBuffer {
					if err := s.Append(testStart.Add(time.Duration(i)), fmt.Sprint(i), labels.FromStrings("app", "shop"), labels.EmptyLabels()); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}()
	for n, waiting := 0, true; waiting; n++ {
		appendLine(t, s, time.Hour+time.Duration(n), "x")
		select {
		case <-begun:
			waiting = false
		case err := <-ended:
			t.Fatalf("the tail ended: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	select {
	case err := <-ended:
		if !errors.Is(err, errTold) {
			t.Errorf("the tail ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the tail did not end")
	}
}
