package telemetry

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel/attribute"
)

// redacted stands where a value was.
const redacted = "[redacted]"

// private names what is never logged nor traced. It is a guard for the case that
// somebody tries; it can't see into messages, nor into the text of errors.
func private(key string) bool {
	// Span attributes are dotted: enduser.token, db.query.
	key = key[strings.LastIndexByte(key, '.')+1:]
	switch strings.ToLower(key) {
	case "query", "expression", "user", "subject", "token", "authorization", "cookie", "password", "secret":
		return true
	}
	return false
}

// redactLog is a slog ReplaceAttr.
func redactLog(groups []string, a slog.Attr) slog.Attr {
	if private(a.Key) {
		return slog.String(a.Key, redacted)
	}
	for _, g := range groups {
		if private(g) {
			return slog.String(a.Key, redacted)
		}
	}
	if a.Value.Kind() == slog.KindAny {
		a.Value = redactAny(a.Value)
	}
	return a
}

// redactAny looks into values that are logged as JSON objects or lists.
func redactAny(v slog.Value) slog.Value {
	switch v.Any().(type) {
	case nil, error, *slog.Source:
		return v
	}
	text, err := json.Marshal(v.Any())
	if err != nil || !bytes.ContainsAny(text, "{") {
		return v
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var decoded any
	if err := decoder.Decode(&decoded); err != nil {
		return slog.StringValue(redacted)
	}
	return slog.AnyValue(redactJSON(decoded))
}

func redactJSON(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if private(key) {
				v[key] = redacted
			} else {
				v[key] = redactJSON(value)
			}
		}
	case []any:
		for i, value := range v {
			v[i] = redactJSON(value)
		}
	}
	return v
}

// redactSpan returns the attributes without private values; the same slice when
// there are none.
func redactSpan(attributes []attribute.KeyValue) []attribute.KeyValue {
	out := attributes
	for i, a := range attributes {
		if !private(string(a.Key)) {
			continue
		}
		if &out[0] == &attributes[0] {
			out = append([]attribute.KeyValue(nil), attributes...)
		}
		out[i] = a.Key.String(redacted)
	}
	return out
}
