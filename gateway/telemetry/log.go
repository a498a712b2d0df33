package telemetry

import (
	"context"
	"io"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

// NewLogger returns a logger of one JSON object per line, times in UTC. A record
// that is logged with the context of a span has its trace_id and span_id at the
// top, whatever group the logger is in. Values of attributes with private names
// are left out.
func NewLogger(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(newHandler(slog.NewJSONHandler(w, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
				return slog.Time(a.Key, a.Value.Time().UTC())
			}
			if a.Value.Kind() == slog.KindDuration {
				a.Value = slog.StringValue(a.Value.Duration().String()) // JSON's would be a number without its unit
			}
			return redactLog(groups, a)
		},
	})))
}

// handler adds the ids of the context's span to records.
type handler struct {
	// root is the handler before the first group, where the ids belong.
	root slog.Handler
	// since are the groups and attributes from the first group on, to be put
	// over root again; empty outside of groups.
	since []func(slog.Handler) slog.Handler
	// next is root with all of since.
	next slog.Handler
}

func newHandler(next slog.Handler) slog.Handler { return handler{root: next, next: next} }

func (h handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() {
		return h.next.Handle(ctx, r)
	}
	next := h.root.WithAttrs([]slog.Attr{
		slog.String("trace_id", span.TraceID().String()),
		slog.String("span_id", span.SpanID().String()),
	})
	for _, put := range h.since {
		next = put(next)
	}
	return next.Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(h.since) == 0 {
		return newHandler(h.root.WithAttrs(attrs))
	}
	return h.over(func(next slog.Handler) slog.Handler { return next.WithAttrs(attrs) })
}

func (h handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.over(func(next slog.Handler) slog.Handler { return next.WithGroup(name) })
}

func (h handler) over(put func(slog.Handler) slog.Handler) slog.Handler {
	return handler{
		root:  h.root,
		since: append(h.since[:len(h.since):len(h.since)], put),
		next:  put(h.next),
	}
}
