package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/tenants"
)

// model is a company at work, as its instruments show it. Everything in it is
// drawn from one source of chance in one order, so that the same steps make
// the same samples.
type model struct {
	plan   plan
	chance chance
	// anchor is the moment troubles are told from: the end of what Fill wrote.
	anchor time.Time
	// last is the time of the last step; zero before the first.
	last time.Time

	places    []*place
	endpoints []*endpoint
	crews     []*crew
	desks     []*desk
	ledger    ledger
	lines     writer
	tracer    tracer
	queues    map[string]*number // by queue and region

	targets []*target // in the order of their making
	byPod   map[string]*target
	cluster *target // what is not of one pod
}

// place is a region with who is there.
type place struct {
	region    region
	wave      wave
	busy      float64 // the share of the company's traffic, at this step
	users     []user
	customers []customer
	reviewers []string
}

// user sends requests for a customer.
type user struct{ email, customer string }

func newModel(org tenants.OrgID, p plan) *model {
	m := &model{plan: p, tracer: newTracer(org), chance: newChance(p.seed), queues: map[string]*number{}, byPod: map[string]*target{}}
	m.cluster = m.addPod("exporter-0")
	people := newPeople(p.seed)
	for i, r := range p.regions {
		at := &place{region: r, wave: wave{region: r}}
		for _, c := range p.customers {
			if c.region == r.name {
				at.customers = append(at.customers, c)
				at.users = append(at.users, people.users(c)...)
			}
		}
		for j, email := range p.reviewers {
			if j%len(p.regions) == i {
				at.reviewers = append(at.reviewers, email)
			}
		}
		m.places = append(m.places, at)
		for _, s := range p.services {
			m.addEndpoint(s, at)
		}
		for _, a := range p.agents {
			m.addCrew(a, at)
		}
		for _, r := range p.reviews {
			m.addDesk(r, at)
		}
	}
	m.addLedger()
	return m
}

// podName is as a StatefulSet names pods: it stays over a restart.
func podName(of, region string, i int) string { return fmt.Sprintf("%s-%s-%d", of, region, i) }

// addPod returns the pod's target, with these instruments added.
func (m *model) addPod(name string, instruments ...instrument) *target {
	t := m.byPod[name]
	if t == nil {
		job := name[:strings.LastIndexByte(name, '-')]
		t = &target{up: newNumber("up", "job", job, "pod", name)}
		m.byPod[name] = t
		m.targets = append(m.targets, t)
	}
	t.instruments = append(t.instruments, instruments...)
	return t
}

// asleep is the most time that a step makes up for: whoever closed the lid of
// a notebook doesn't want to wait for a day of traffic.
const asleep = time.Hour

// step goes on to t.
func (m *model) step(t time.Time) {
	dt := min(t.Sub(m.last), asleep)
	m.tracer.write(t.Add(-dt), t, m.anchor)
	for _, p := range m.places {
		p.busy = p.wave.next(t, m.chance)
	}
	for _, q := range m.queues {
		q.value = 0
	}
	for _, e := range m.endpoints {
		e.serve(m, t, dt)
	}
	for _, c := range m.crews {
		c.work(m, t, dt)
	}
	for _, d := range m.desks {
		d.respond(m, dt)
	}
	m.ledger.book(m.chance, dt)
	if pod := m.byPod[m.plan.restarts]; pod != nil && restarted(t.Add(-dt), t, m.anchor) {
		pod.missing = restartScrapes
	}
	m.last = t
}

// scrape writes what the instruments show.
func (m *model) scrape(ctx context.Context, store *metrics.TSDB) error {
	s := &scrape{to: store.Appender(ctx), at: m.last.UnixMilli()}
	for _, t := range m.targets {
		t.write(s)
	}
	if s.err != nil {
		return fmt.Errorf("write samples of %s: %w", m.last.Format(time.RFC3339), errors.Join(s.err, s.to.Rollback()))
	}
	if err := s.to.Commit(); err != nil {
		return fmt.Errorf("write samples of %s: %w", m.last.Format(time.RFC3339), err)
	}
	return nil
}
