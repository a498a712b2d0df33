package main

import (
	"testing"

	"github.com/parley-gateway/parley/gateway/audit/review"
)

func TestWhatLeftIsSaidBySignal(t *testing.T) {
	for want, d := range map[string]review.Disclosed{
		"0 series, 0 samples, 0 bytes":                   {},
		"2 series, 1 sample, 30 bytes":                   {Series: 2, Samples: 1, Bytes: 30},
		"1 line, 30 bytes":                               {Lines: 1, Bytes: 30},
		"12 spans, 1 byte":                               {Spans: 12, Bytes: 1},
		"2 series, 3 samples, 4 lines, 5 spans, 6 bytes": {Series: 2, Samples: 3, Lines: 4, Spans: 5, Bytes: 6},
	} {
		if got := disclosed(d); got != want {
			t.Errorf("%+v: %s, want %s", d, got, want)
		}
	}
}
