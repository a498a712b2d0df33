package repetition

import (
	"strings"
	"testing"
)

func TestAdded(t *testing.T) {
	for re, want := range map[string]struct{ least, most int }{
		"abc.*":              {0, 0},
		"a{3}":               {1, 10},
		"(abcdefghij){1000}": {9_000, 12_000},
		strings.Repeat("(abcdefghij){1000}", 1000): {tooLarge, tooLarge},
		"(": {0, 0},
	} {
		if got := Added(re); got < want.least || got > want.most {
			t.Errorf("%.30s: %d, want %d to %d", re, got, want.least, want.most)
		}
	}
}
