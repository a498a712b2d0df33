package rego

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	opa "github.com/open-policy-agent/opa/v1/rego"
)

// allowance is what one evaluation may take, with all that it includes.
type allowance struct {
	time time.Duration
	// memory is by how many bytes the gateway may grow meanwhile.
	memory uint64
}

// maxMemory is about what one question may hold of its data.
const maxMemory = 512 << 20

// Most evaluations take less than a millisecond. Those that take longer than
// lookAfter are watched, and looked at every lookEvery.
const (
	lookAfter = 20 * time.Millisecond
	lookEvery = 5 * time.Millisecond
)

// evaluation is one that goes on. It is a topdown.Cancel, which OPA asks between
// all steps.
type evaluation struct {
	allowance

	// ctx ends where it takes longer, or while it goes on the memory grows by more,
	// and has as its cause which, a tooSlow or a tooLarge.
	ctx context.Context //nolint:containedctx // it is the evaluation's own
	// end ends it.
	end func()
	// held is closed when it may go on, nil while it may.
	held atomic.Pointer[chan struct{}]
}

// begin begins an evaluation, which its caller ends.
//
// OPA doesn't count what it allocates, nor does Go by goroutine: what grows is the
// whole gateway.
func (a allowance) begin(ctx context.Context) *evaluation {
	ctx, cancel := context.WithCancelCause(ctx)
	e := &evaluation{allowance: a, ctx: ctx}
	unwatched := min(lookAfter, a.time)
	look := time.AfterFunc(unwatched, func() { e.watch(cancel, a.time-unwatched) })
	e.end = func() {
		look.Stop()
		cancel(nil)
	}
	return e
}

// Cancelled implements topdown.Cancel.
func (e *evaluation) Cancelled() bool {
	if held := e.held.Load(); held != nil {
		<-*held
	}
	return e.ctx.Err() != nil
}

// Cancel implements topdown.Cancel.
func (e *evaluation) Cancel() { e.end() }

// watch ends the evaluation at the first bound that is met.
func (e *evaluation) watch(cancel context.CancelCauseFunc, left time.Duration) {
	over := time.NewTimer(left)
	defer over.Stop()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	least := inUse() // what others let go meanwhile is no room for this one
	for enough := uint64(0); ; {
		select {
		case <-e.ctx.Done():
			return
		case <-over.C:
			cancel(tooSlow(e.time))
			return
		case <-tick.C:
		}
		now := inUse()
		if least = min(least, now); now-least <= e.memory || now < enough {
			continue
		}
		// Much of it may be garbage. Meanwhile there is no other step.
		held := make(chan struct{})
		e.held.Store(&held)
		runtime.GC()
		now = inUse()
		if least = min(least, now); now-least > e.memory {
			cancel(tooLarge(e.memory))
		}
		e.held.Store(nil)
		close(held)
		enough = now + e.memory/2 // to collect it again
	}
}

// bounded evaluates within an allowance. Where the memory grew it may be others who took
// it, so that it is done once more, with no other such evaluation beside it.
func (rev *revision) bounded(ctx context.Context, within allowance, evaluate func(*evaluation) error) error {
	once := func() error {
		e := within.begin(ctx)
		defer e.end()
		return evaluate(e)
	}
	err := once()
	if !errors.As(err, new(tooLarge)) {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, within.time)
	defer cancel()
	select {
	case rev.again <- struct{}{}:
		defer func() { <-rev.again }()
		runtime.GC() // or what it held is taken for what was held before
		return once()
	case <-wait.Done():
		return err
	}
}

// inUse is how many bytes there are on the heap, with garbage that wasn't collected
// yet.
func inUse() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// tooSlow is an evaluation that took longer.
type tooSlow time.Duration

func (t tooSlow) Error() string { return "it took longer than " + time.Duration(t).String() }

// tooLarge is an evaluation that held more.
type tooLarge uint64

func (t tooLarge) Error() string {
	return fmt.Sprintf("it was ended: memory grew by more than %d MiB while it was evaluated; let it put together shorter lists, ranges and texts", t>>20)
}

// Bounds of what a policy gives: some thousand datasets.
const (
	maxValues     = 100_000
	maxValueBytes = 8 << 20 // of names and texts
	// valueBytes is about what a value takes beside its text.
	valueBytes = 100
)

// errLarge is a policy that gives more.
var errLarge = fmt.Errorf("what it gives is larger than %d values or %d MiB together; give what this question needs alone", maxValues, maxValueBytes>>20)

// options are those of a query that is evaluated. What it gives is read as OPA does,
// if it isn't larger: what takes little room in memory can have one part many
// times. size becomes about how many bytes it takes.
func (e *evaluation) options(size *int) []opa.EvalOption {
	return []opa.EvalOption{opa.EvalExternalCancel(e), opa.EvalGenerateJSON(func(term *ast.Term, _ *opa.EvalContext) (any, error) {
		if err := context.Cause(e.ctx); err != nil {
			return nil, err
		}
		r := room{maxValues, maxValueBytes}
		if !r.holds(term) {
			return nil, errLarge
		}
		*size = (maxValues-r.values)*valueBytes + maxValueBytes - r.bytes
		return ast.JSON(term.Value)
	})}
}

// room is for values.
type room struct{ values, bytes int }

func (r *room) holds(t *ast.Term) bool {
	if r.values--; r.values < 0 {
		return false
	}
	switch v := t.Value.(type) {
	case ast.String:
		r.bytes -= len(v)
	case ast.Number:
		r.bytes -= len(v)
	case *ast.Array:
		return !v.Until(func(t *ast.Term) bool { return !r.holds(t) })
	case ast.Set:
		return !v.Until(func(t *ast.Term) bool { return !r.holds(t) })
	case ast.Object:
		return !v.Until(func(k, t *ast.Term) bool { return !r.holds(k) || !r.holds(t) })
	}
	return r.bytes >= 0
}
