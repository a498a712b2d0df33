package audit

import (
	"fmt"
	"time"
)

// Time is written as RFC 3339 with nanoseconds, in UTC. A time outside of the
// years 0 to 9999, which that format can't express and clients use for "since
// ever", is written as the nearest one inside.
type Time time.Time

var (
	earliest = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)
)

// IsZero says whether there is no time.
func (t Time) IsZero() bool { return time.Time(t).IsZero() }

func (t Time) String() string { return clamp(time.Time(t)).Format(time.RFC3339Nano) }

func clamp(t time.Time) time.Time {
	switch {
	case t.Before(earliest):
		return earliest
	case t.After(latest):
		return latest
	}
	return t.UTC()
}

// MarshalText implements encoding.TextMarshaler.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *Time) UnmarshalText(text []byte) error {
	parsed, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return fmt.Errorf("time: %w", err)
	}
	*t = Time(clamp(parsed))
	return nil
}
