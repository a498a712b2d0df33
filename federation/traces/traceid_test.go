package traces_test

import (
	"strings"
	"testing"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/traces"
)

// FuzzTraceID reads arbitrary text as a trace id. What is taken is the number that
// its digits are, in whatever way they are written.
func FuzzTraceID(f *testing.F) {
	for _, seed := range []string{"4bf92f3577b34da6a3ce929d0e0e4736", "A3CE929D0E0E4736", "1", "0", "", "xyz", strings.Repeat("f", 33), "4bf9 2f35", "０", "+1", "0x1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := traces.ParseTraceID(text)
		if err != nil {
			if e := federation.AsError(err); e.Kind != federation.BadQuestion || len(e.Message) > 400 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		want := strings.Repeat("0", 32-len(text)) + strings.ToLower(text)
		if id.IsEmpty() || id.String() != want {
			t.Fatalf("%q became %s", text, id)
		}
	})
}
