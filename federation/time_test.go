package federation_test

import (
	"math"
	"testing"
	"time"

	"github.com/parley-gateway/parley/federation"
)

func TestMilliseconds(t *testing.T) {
	for at, want := range map[time.Time]string{
		time.Unix(1_700_000_000, 0):           "2023-11-14T22:13:20Z",
		time.Unix(0, 999):                     "1970-01-01T00:00:00Z",
		{}:                                    "0001-01-01T00:00:00Z",
		time.Unix(math.MinInt64/1000, 0):      "0001-01-01T00:00:00Z",
		time.Unix(math.MaxInt64/1000, 0):      "9999-12-31T23:59:59.999Z",
		time.UnixMilli(math.MaxInt64):         "9999-12-31T23:59:59.999Z",
		time.UnixMilli(math.MinInt64):         "0001-01-01T00:00:00Z",
		federation.Latest.Add(-time.Second):   "9999-12-31T23:59:58.999Z",
		federation.Earliest.Add(-time.Second): "0001-01-01T00:00:00Z",
	} {
		if got := time.UnixMilli(federation.Milliseconds(at)).UTC().Format(time.RFC3339Nano); got != want {
			t.Errorf("%s became %s, want %s", at, got, want)
		}
	}
}

func TestNanoseconds(t *testing.T) {
	now := time.Unix(1_700_000_000, 7)
	for at, want := range map[time.Time]int64{
		now: 1_700_000_000_000_000_007, {}: math.MinInt64, federation.Latest: math.MaxInt64,
		time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC): math.MaxInt64, time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC): math.MinInt64,
	} {
		if got := federation.Nanoseconds(at); got != want {
			t.Errorf("%s became %d, want %d", at, got, want)
		}
	}
}
