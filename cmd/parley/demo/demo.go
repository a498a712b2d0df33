// Package demo is what `parley demo` shows: three companies that run services
// for AI agents, with an hour of metrics that keep growing, their agreements
// and their policies, and the words that say what to try.
//
//	for _, c := range demo.Companies() {
//		err := c.Fill(ctx, store, now, time.Hour)
//		...
//		err = c.Run(ctx, store, ticker.C)
//	}
//
// There is something to find in the metrics: globex's agents in eu have been
// slow for twenty minutes and their queues grow, acme's errors follow, and at
// initech one workflow waits for people. And there is something to hide:
// users' e-mail addresses, customers, revenue, the payroll.
package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/tenants"
)

// Interval is how far the samples that Fill writes are apart.
const Interval = 15 * time.Second

// Company is one of the demo's organizations. Its methods may not be called at
// the same time.
type Company struct {
	Org tenants.OrgID
	// Title is in a few words what the company does.
	Title string
	model *model
}

// WriteLogs has Fill and Run write the company's logs as well.
func (c Company) WriteLogs(to *logs.Store) { c.model.lines.to = to }

// Companies returns acme, globex and initech, each at its beginning.
func Companies() []Company {
	return []Company{
		{Org: "acme", Title: "a backend that globex's agents work for", model: newModel("acme", acme)},
		{Org: "globex", Title: "agent workers in three regions", model: newModel("globex", globex)},
		{Org: "initech", Title: "an agent marketplace, with people in the loop", model: newModel("initech", initech)},
	}
}

// Fill writes samples of span, Interval apart, the last one at until, and the
// metrics' metadata. What a store has already of that time stays. Troubles are
// told from until, which is the same for all companies if their stories are to
// fit together. Fill is called once, before Run.
func (c Company) Fill(ctx context.Context, store *metrics.TSDB, until time.Time, span time.Duration) error {
	describe(store)
	c.model.anchor = until
	samples := int(span / Interval)
	c.model.last = until.Add(-time.Duration(samples) * Interval)
	for range samples {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%s: write the first %s of samples: %w", c.Org, span, err)
		}
		if err := c.next(ctx, store, c.model.last.Add(Interval)); err != nil {
			return err
		}
	}
	return nil
}

// Run goes on from where Fill or an earlier Run ended: at every tick it writes
// a sample of everything, of the tick's time. It ends without an error when
// ctx does or ticks is closed.
func (c Company) Run(ctx context.Context, store *metrics.TSDB, ticks <-chan time.Time) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case t, open := <-ticks:
			if !open {
				return nil
			}
			if !t.After(c.model.last) {
				continue
			}
			if err := c.next(ctx, store, t); err != nil {
				return err
			}
		}
	}
}

func (c Company) next(ctx context.Context, store *metrics.TSDB, t time.Time) error {
	c.model.step(t)
	if err := c.model.lines.err; err != nil {
		return fmt.Errorf("%s: write logs: %w", c.Org, err)
	}
	if err := c.model.tracer.err; err != nil {
		return fmt.Errorf("%s: write traces: %w", c.Org, err)
	}
	if err := c.model.scrape(ctx, store); err != nil {
		return fmt.Errorf("%s: %w", c.Org, err)
	}
	return nil
}
