package traces

import (
	"context"
	"iter"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Source is a store of raw traces: a real Jaeger, a Tempo or an embedded store.
// Its methods are for this package alone, so that raw data can't be had outside.
//
// A trace comes whole, as one Traces with all spans of one trace id and at least
// one; whoever takes it may keep and change it. An error ends the sequence: what
// came before it is not all there is.
type Source interface {
	// tracesRaw yields those of the traces that there are, in any order, each once.
	tracesRaw(ctx context.Context, ids []pcommon.TraceID) iter.Seq2[ptrace.Traces, error]
	// searchRaw yields the traces with a span of the selection. Others may come as
	// well, and no trace comes twice. They come by windows of time, the latest
	// first: when seen(t) is called, all traces have come with a span of the
	// selection that begins at or after t, and of the traces with earlier ones
	// alone none. It is called with ever earlier times, with start at the end, and
	// says whether to go on. After an error it isn't called.
	searchRaw(ctx context.Context, s selection, seen func(start int64) (goOn bool)) iter.Seq2[ptrace.Traces, error]
}

// selection is what a Source is asked for: traces with a span that begins within
// and is of one of the services.
type selection struct {
	start, end int64 // Unix nanoseconds; start is included, end isn't
	// services are the service.name of resources, any of them; none is all.
	services []string
	// operation is the name of the span; empty is any.
	operation string
	// wanted is about how many traces are wanted, for how many to ask for at first;
	// zero is all.
	wanted int
}
