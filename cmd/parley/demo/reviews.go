package demo

import "time"

// desk is where, in a region, a workflow's steps wait for a person.
type desk struct {
	review    review
	place     *place
	waiting   backlog
	pending   *number
	reviewers []*distribution // of the response time
	// active are workflows under way, by customer.
	active []*number
}

var responseBounds = []float64{5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600}

const (
	// patience is how many can wait at a desk before callers give up.
	patience = 120
	// slowdown is how many have to wait for a response to take twice as long.
	slowdown = 8
	// perWorkflow is how many workflows of a customer are under way, usually.
	perWorkflow = 12
)

func (m *model) addDesk(r review, p *place) {
	region := p.region.name
	d := &desk{
		review: r, place: p, waiting: backlog{waiting: r.waiting, most: patience},
		pending: newNumber("human_response_pending", "workflow", r.workflow, "region", region),
	}
	m.cluster.instruments = append(m.cluster.instruments, d.pending)
	for _, email := range p.reviewers {
		of := newDistribution(responseBounds, "human_response_seconds", "", "workflow", r.workflow, "region", region, "reviewer", email)
		d.reviewers = append(d.reviewers, of)
		m.cluster.instruments = append(m.cluster.instruments, of)
	}
	for _, c := range p.customers {
		n := newNumber("workflow_active", "workflow", r.workflow, "region", region, "customer", c.name)
		d.active = append(d.active, n)
		m.cluster.instruments = append(m.cluster.instruments, n)
	}
	m.desks = append(m.desks, d)
}

// respond has the people respond to what they manage to in dt.
func (d *desk) respond(m *model, dt time.Duration) {
	arrived := m.chance.count(d.review.rate * d.place.busy * dt.Hours())
	able := m.chance.count(d.review.capacity * d.place.region.share * dt.Hours())
	times := 1 + float64(d.waiting.waiting)/slowdown
	for range d.waiting.work(arrived, able) {
		by := d.reviewers[m.chance.one(len(d.reviewers))]
		by.observe(m.chance.seconds(d.review.median, times))
	}
	d.pending.value = float64(d.waiting.waiting)
	for i, n := range d.active {
		// What waits for a person is under way too.
		waiting := (d.waiting.waiting + i) / len(d.active)
		n.value = float64(waiting + m.chance.count(perWorkflow*d.place.busy))
	}
}
