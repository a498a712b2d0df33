// Package telemetry is what the gateway says of itself: its log and the traces
// of its own work. (Its measures are prometheus collectors, made where they are
// counted; package transfer has those of the border.)
//
//	logger := telemetry.NewLogger(os.Stderr, slog.LevelInfo)
//	tracing, err := telemetry.NewTracing(ctx, telemetry.TracingConfig{Org: "acme", Endpoint: "otel:4317", SampleRatio: 0.1}, logger)
//	defer tracing.Shutdown(ctx)
//
//	ctx, span := tracing.Tracer("gateway").Start(ctx, "answer")
//	logger.InfoContext(ctx, "answered") // with trace_id and span_id
//
// Nothing is registered globally: who traces is given the provider and the
// propagator. What people ask and who they are is evidence, kept by audit alone:
// attributes with such names lose their values here, in the log and in spans.
package telemetry
