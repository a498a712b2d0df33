package policy

import (
	"math"
	"testing"
	"time"
)

func TestUnion(t *testing.T) {
	at := func(second int64) time.Time { return time.Unix(second, 0).UTC() }
	one, two := Window{at(10), at(20)}, Window{at(15), at(30)}
	for _, test := range []struct{ a, b, want Window }{
		{Window{}, Window{}, Window{}},
		{one, Window{}, one},
		{Window{}, one, one},
		{one, two, Window{at(10), at(30)}},
		{two, one, Window{at(10), at(30)}},
		{Window{at(0), at(40)}, one, Window{at(0), at(40)}},
	} {
		if got := test.a.Union(test.b); got != test.want {
			t.Errorf("%v and %v: %v, want %v", test.a, test.b, got, test.want)
		}
	}
}

func TestModeString(t *testing.T) {
	for mode, want := range map[Mode]string{Drop: "drop", Generalize: "generalize", Pseudonym: "pseudonym", Keep: "keep", 77: "mode-77"} {
		if got := mode.String(); got != want {
			t.Errorf("mode %d is %q, want %q", uint8(mode), got, want)
		}
	}
}

func TestRounding(t *testing.T) {
	for _, test := range []struct {
		rounding Rounding
		v, want  float64
	}{
		{Rounding{}, 1234.5678, 1234.5678},
		{Rounding{Digits: 2}, 1234.5678, 1200},
		{Rounding{Digits: 3}, -0.0012345, -0.00123},
		{Rounding{Base: 10}, 1234, 1230},
		{Rounding{Base: 10}, 4, 0},
		{Rounding{Base: 0.5}, 1.3, 1.5},
		{Rounding{Digits: 2, Base: 7}, 1234, 1197},
		{Rounding{Digits: 2}, 0, 0},
		{Rounding{Base: 1e-300}, 1e300, 1e300},
		{Rounding{Digits: 1}, math.Inf(1), math.Inf(1)},
	} {
		if got := test.rounding.Round(test.v); got != test.want {
			t.Errorf("%+v of %v: %v, want %v", test.rounding, test.v, got, test.want)
		}
	}
	stale := math.Float64frombits(0x7ff0000000000002)
	if got := (Rounding{Digits: 1, Base: 10}).Round(stale); math.Float64bits(got) != math.Float64bits(stale) {
		t.Errorf("a stale marker became %x", math.Float64bits(got))
	}
}

func TestCoarser(t *testing.T) {
	for _, test := range []struct{ a, b, want Rounding }{
		{Rounding{}, Rounding{Digits: 3}, Rounding{Digits: 3}},
		{Rounding{Digits: 3}, Rounding{Digits: 2, Base: 5}, Rounding{Digits: 2, Base: 5}},
		{Rounding{Base: 10}, Rounding{Base: 5}, Rounding{Base: 10}},
		{Rounding{}, Rounding{}, Rounding{}},
	} {
		if got := test.a.Coarser(test.b); got != test.want {
			t.Errorf("%+v and %+v: %+v, want %+v", test.a, test.b, got, test.want)
		}
		if got := test.b.Coarser(test.a); got != test.want {
			t.Errorf("%+v and %+v: %+v, want %+v", test.b, test.a, got, test.want)
		}
	}
}
