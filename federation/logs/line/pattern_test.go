package line

import (
	"testing"
)

func TestPattern(t *testing.T) {
	for text, want := range map[string]string{
		``:                                    ``,
		`request failed`:                      `request failed`,
		`request 17 of ada failed after 30ms`: `request <_> of <_> failed after <_>`,
		`2026-01-02T03:04:05Z error: timeout`: `<_> error: timeout`,
		`{"level":"error","user_id":"u-17"}`:  `{"level":"error","user_id":"<_>"}`,
		`level=info user=ada@example.com`:     `level=info user=<_>`,
		`sent to <email> failed`:              `sent to <_> failed`,
		`request for <_> failed`:              `request for <_> failed`,
		`17 18 ada`:                           `<_>`,
		"request\tfailed":                     "request<_>failed",
	} {
		if got := string(AppendPattern(nil, text)); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
