package policy

import (
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
