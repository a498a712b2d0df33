package gatewaytest

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/audit"
)

// Auditor is an audit log that fails when the story says so.
type Auditor struct {
	log  *audit.Log
	fail atomic.Int32
}

// When an Auditor fails.
const (
	Never int32 = iota
	// Before the record is written: it is lost.
	Before
	// After the record is written: it is there, and nobody knows.
	After
)

var errDiskFull = errors.New("no space left on device")

// FailingAuditor makes the organization's audit log one that can fail.
func (o *Org) FailingAuditor() *Auditor {
	o.world.t.Helper()
	log, err := audit.Open(audit.Config{Dir: o.AuditDir(), Logger: o.logger()})
	if err != nil {
		o.world.t.Fatal(err)
	}
	o.world.t.Cleanup(func() {
		if err := log.Close(); err != nil {
			o.world.t.Error(err)
		}
	})
	a := &Auditor{log: log}
	o.Auditor = a
	return a
}

// Fails makes it fail from now on.
func (a *Auditor) Fails(when int32) { a.fail.Store(when) }

// Record implements gateway.Auditor.
func (a *Auditor) Record(ctx context.Context, x gateway.Exchange) error {
	if a.fail.Load() == Before {
		return errDiskFull
	}
	if err := a.log.Record(ctx, x); err != nil {
		return err
	}
	if a.fail.Load() == After {
		return errDiskFull
	}
	return nil
}

// Check is for readiness, as that of audit.Log.
func (a *Auditor) Check(ctx context.Context) error {
	if a.fail.Load() != Never {
		return errDiskFull
	}
	return a.log.Check(ctx)
}
