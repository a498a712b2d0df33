package federation_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/parley-gateway/parley/federation"
)

func TestExchangeID(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 123e6, time.UTC)
	id := federation.NewExchangeID(at)
	if made, err := id.Time(); err != nil || !made.Equal(at) {
		t.Errorf("%s was made at %s, %v", id, made, err)
	}
	if parsed, err := federation.ParseExchangeID(string(id)); err != nil || parsed != id {
		t.Errorf("%s became %s, %v", id, parsed, err)
	}
	if id == federation.NewExchangeID(at) {
		t.Error("two exchanges have the same id")
	}
	for _, bad := range []string{
		"", "x", uuid.NewString(), uuid.Nil.String(), uuid.Max.String(),
		strings.ToUpper("019b2f3e-8a00-7c54-9d31-5f0e6c8a4b17"), "{019b2f3e-8a00-7c54-9d31-5f0e6c8a4b17}", "019b2f3e8a007c549d315f0e6c8a4b17",
		"019b2f3e-8a00-7c54-cd31-5f0e6c8a4b17", // the variant of another UUID
		"019b2f3e-8a00-7c54-9d31-5f0e6c8a4b17 ",
	} {
		if got, err := federation.ParseExchangeID(bad); err == nil {
			t.Errorf("%q was accepted as %q", bad, got)
		}
		if _, err := federation.ExchangeID(bad).Time(); err == nil {
			t.Errorf("%q has a time", bad)
		}
	}
}
