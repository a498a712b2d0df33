package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"go.opentelemetry.io/otel/trace"
)

var aSpan = trace.NewSpanContext(trace.SpanContextConfig{
	TraceID: trace.TraceID{0x4b, 0xf9, 15: 0x36}, SpanID: trace.SpanID{0x00, 0xf0, 7: 0xb7}, TraceFlags: trace.FlagsSampled,
})

func inSpan(ctx context.Context) context.Context { return trace.ContextWithSpanContext(ctx, aSpan) }

// logged is the object of the one line that log writes.
func logged(t *testing.T, log func(*slog.Logger)) map[string]any {
	t.Helper()
	var buf bytes.Buffer
	log(NewLogger(&buf, slog.LevelInfo))
	var out map[string]any
	if err := json.Unmarshal(buf.Bytes(), &out); err != nil {
		t.Fatalf("%v: %q", err, buf.String())
	}
	return out
}

func TestLoggerIsASlogHandler(t *testing.T) {
	var buf bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		buf.Reset()
		return NewLogger(&buf, slog.LevelInfo).Handler()
	}, func(t *testing.T) map[string]any {
		var out map[string]any
		if err := json.Unmarshal(buf.Bytes(), &out); err != nil {
			t.Fatal(err)
		}
		return out
	})
}

func TestRecordsOfASpanNameIt(t *testing.T) {
	for name, log := range map[string]func(*slog.Logger){
		"plain":      func(l *slog.Logger) { l.InfoContext(inSpan(t.Context()), "m", "k", "v") },
		"attributes": func(l *slog.Logger) { l.With("k", "v").InfoContext(inSpan(t.Context()), "m") },
		"in a group": func(l *slog.Logger) {
			l.With("k", "v").WithGroup("g").With("a", 1).InfoContext(inSpan(t.Context()), "m", "b", 2)
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := logged(t, log)
			if got["trace_id"] != aSpan.TraceID().String() || got["span_id"] != aSpan.SpanID().String() || got["k"] != "v" {
				t.Errorf("logged %v", got)
			}
			if group, ok := got["g"].(map[string]any); ok && (group["a"] != 1.0 || group["b"] != 2.0 || len(group) != 2) {
				t.Errorf("group %v", group)
			}
		})
	}
	without := logged(t, func(l *slog.Logger) { l.InfoContext(t.Context(), "m") })
	if without["trace_id"] != nil {
		t.Errorf("logged %v", without)
	}
	if at, _ := without["time"].(string); !strings.HasSuffix(at, "Z") {
		t.Errorf("time %q is not UTC", at)
	}
}

func TestSiblingLoggersDoNotMix(t *testing.T) {
	got := logged(t, func(l *slog.Logger) {
		l = l.WithGroup("g").With("a", 1)
		one, _ := l.With("b", 1), l.With("c", 2)
		one.InfoContext(inSpan(t.Context()), "m")
	})
	if want := "map[a:1 b:1]"; fmt.Sprint(got["g"]) != want {
		t.Errorf("group %v, want %s", got["g"], want)
	}
}

func TestLevel(t *testing.T) {
	var level slog.LevelVar
	var buf bytes.Buffer
	l := NewLogger(&buf, &level)
	l.Debug("hidden")
	level.Set(slog.LevelDebug)
	l.Debug("seen")
	if got := buf.String(); strings.Contains(got, "hidden") || !strings.Contains(got, "seen") {
		t.Error(got)
	}
}

type question struct {
	Query  string
	Series int
	Nested []map[string]string
}

type principal struct{ name string }

func (p principal) LogValue() slog.Value {
	return slog.GroupValue(slog.String("org", "globex"), slog.String("user", p.name))
}

// TestPrivateValuesAreNotLogged tries every way to log one.
func TestPrivateValuesAreNotLogged(t *testing.T) {
	const secret = "hush-hush"
	for name, log := range map[string]func(*slog.Logger){
		"query":           func(l *slog.Logger) { l.Info("m", "query", secret, "kept", 1) },
		"user":            func(l *slog.Logger) { l.Info("m", "user", secret, "kept", 1) },
		"token":           func(l *slog.Logger) { l.Info("m", "token", secret, "kept", 1) },
		"authorization":   func(l *slog.Logger) { l.Info("m", "authorization", secret, "kept", 1) },
		"upper case":      func(l *slog.Logger) { l.Info("m", "Authorization", secret, "kept", 1) },
		"dotted":          func(l *slog.Logger) { l.Info("m", "http.request.header.authorization", secret, "kept", 1) },
		"With":            func(l *slog.Logger) { l.With("query", secret).Info("m", "kept", 1) },
		"With in a span":  func(l *slog.Logger) { l.With("query", secret).InfoContext(inSpan(t.Context()), "m", "kept", 1) },
		"in a group":      func(l *slog.Logger) { l.Info("m", slog.Group("g", "user", secret, "kept", 1)) },
		"a private group": func(l *slog.Logger) { l.Info("m", slog.Group("user", "name", secret), "kept", 1) },
		"WithGroup":       func(l *slog.Logger) { l.With("kept", 1).WithGroup("user").Info("m", "name", secret) },
		"WithGroup, a span": func(l *slog.Logger) {
			l.With("kept", 1).WithGroup("user").InfoContext(inSpan(t.Context()), "m", "name", secret)
		},
		"a LogValuer": func(l *slog.Logger) { l.Info("m", "by", principal{secret}, "kept", 1) },
		"a struct":    func(l *slog.Logger) { l.Info("m", "q", question{Query: secret, Series: 3}, "kept", 1) },
		"a pointer":   func(l *slog.Logger) { l.Info("m", "q", &question{Query: secret, Series: 3}, "kept", 1) },
		"deep in a struct": func(l *slog.Logger) {
			l.Info("m", "q", question{Nested: []map[string]string{{"token": secret}}}, "kept", 1)
		},
		"a map":              func(l *slog.Logger) { l.Info("m", "q", map[string]any{"user": secret}, "kept", 1) },
		"a private struct":   func(l *slog.Logger) { l.Info("m", "user", struct{ Name string }{secret}, "kept", 1) },
		"HTTP headers":       func(l *slog.Logger) { l.Info("m", "h", http.Header{"Authorization": {secret}}, "kept", 1) },
		"bytes":              func(l *slog.Logger) { l.Info("m", "token", []byte(secret), "kept", 1) },
		"JSON":               func(l *slog.Logger) { l.Info("m", "q", json.RawMessage(`[{"user":"`+secret+`"}]`), "kept", 1) },
		"an error by a name": func(l *slog.Logger) { l.Info("m", "token", errors.New(secret), "kept", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			got := logged(t, log)
			if text := fmt.Sprint(got); strings.Contains(text, secret) || !strings.Contains(text, redacted) || !strings.Contains(text, "kept:1") {
				t.Errorf("logged %v", got)
			}
		})
	}
}

func TestOtherValuesAreLoggedAsTheyAre(t *testing.T) {
	got := logged(t, func(l *slog.Logger) {
		l.Info("m", "error", io.ErrUnexpectedEOF, "q", question{Series: 9_007_199_254_740_993}, "list", []string{"a", "b"},
			"nothing", nil, "users", 3, "bad", func() {}, "took", 1500*time.Microsecond)
	})
	for key, want := range map[string]string{
		"error": "unexpected EOF", "list": "[a b]", "nothing": "<nil>", "users": "3", "took": "1.5ms",
	} {
		if fmt.Sprint(got[key]) != want {
			t.Errorf("%s is %v, want %s", key, got[key], want)
		}
	}
	var buf bytes.Buffer
	NewLogger(&buf, slog.LevelInfo).Info("m", "q", question{Series: 9_007_199_254_740_993})
	if !strings.Contains(buf.String(), `"Series":9007199254740993`) {
		t.Errorf("a number changed: %s", buf.String())
	}
}
