package peerfront

import (
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// sparing bounds what is logged where others decide how often there is to log:
// ten lines, and then one every ten seconds.
type sparing struct {
	now     func() time.Time
	limiter *rate.Limiter
	unsaid  atomic.Int64
}

func newSparing(now func() time.Time) *sparing {
	return &sparing{now: now, limiter: rate.NewLimiter(rate.Every(10*time.Second), 10)}
}

// turn says whether a line may be logged, and how many were left out before it.
func (s *sparing) turn() (leftOut int64, ok bool) {
	if !s.limiter.AllowN(s.now(), 1) {
		s.unsaid.Add(1)
		return 0, false
	}
	return s.unsaid.Swap(0), true
}
