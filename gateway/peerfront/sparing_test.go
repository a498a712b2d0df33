package peerfront

import (
	"testing"
	"time"
)

func TestSparing(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	s := newSparing(func() time.Time { return now })
	lines := func(times int) (lines, leftOut int) {
		for range times {
			n, ok := s.turn()
			if ok {
				lines++
			}
			leftOut += int(n)
		}
		return lines, leftOut
	}
	if said, leftOut := lines(25); said != 10 || leftOut != 0 {
		t.Errorf("of 25 lines at once %d, after %d that were left out", said, leftOut)
	}
	now = now.Add(10 * time.Second)
	if said, leftOut := lines(2); said != 1 || leftOut != 15 {
		t.Errorf("ten seconds later %d of 2, after %d that were left out", said, leftOut)
	}
}
