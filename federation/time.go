package federation

import (
	"math"
	"time"
)

// Earliest and Latest are the first and last times that can be asked about:
// those of the years that text formats of time can write. Who asks for all there
// is may ask for more, and gets that.
var (
	Earliest = time.Time{}
	Latest   = time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)
)

// Milliseconds is t in Unix milliseconds, moved to the nearest time that can be
// asked about.
func Milliseconds(t time.Time) int64 {
	switch {
	case t.Before(Earliest):
		t = Earliest
	case t.After(Latest):
		t = Latest
	}
	return t.UnixMilli()
}

// Nanoseconds is t in Unix nanoseconds, moved to the nearest time that has some:
// there are none before 1677 and after 2262.
func Nanoseconds(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, math.MinInt64)):
		return math.MinInt64
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return t.UnixNano()
}
