package demo

import "time"

// crew is an agent in a region: jobs wait for its pods.
type crew struct {
	agent   agent
	place   *place
	waiting backlog
	length  *number         // of the queue, which several agents may share
	pods    []*distribution // of the execution time, by pod
	users   []*userJobs
}

// userJobs are what one user had an agent do. A user stays with a pod.
type userJobs struct {
	user       user
	pod        int
	ok, failed *number
}

var executionBounds = []float64{0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300}

const (
	// reserve is how much more the agents could do than they have to.
	reserve = 1.7
	// longest is what a queue takes before it turns work away.
	longest = 2000
	// failures is the usual share of jobs that fail.
	failures = 0.01
)

func (m *model) addCrew(a agent, p *place) {
	c := &crew{agent: a, place: p, waiting: backlog{most: longest}, length: m.queue(a.queue, p)}
	var pods []*target
	for i := range a.pods {
		name := podName(a.name, p.region.name, i)
		d := newDistribution(executionBounds, "agent_execution_seconds", "agent_execution_native_seconds",
			"agent", a.name, "region", p.region.name, "pod", name)
		c.pods = append(c.pods, d)
		pods = append(pods, m.addPod(name, d))
	}
	for i, u := range p.users {
		j := &userJobs{user: u, pod: i % a.pods}
		name := podName(a.name, p.region.name, j.pod)
		of := func(status string) *number {
			return newNumber("agent_executions_total", "agent", a.name, "region", p.region.name, "pod", name,
				"user", u.email, "customer", u.customer, "status", status)
		}
		j.ok, j.failed = of("ok"), of("failed")
		pods[j.pod].instruments = append(pods[j.pod].instruments, j.ok, j.failed)
		c.users = append(c.users, j)
	}
	m.crews = append(m.crews, c)
}

// queue is the length of a queue in a region.
func (m *model) queue(name string, p *place) *number {
	key := name + " " + p.region.name
	if m.queues[key] == nil {
		m.queues[key] = newNumber("agent_queue_length", "queue", name, "region", p.region.name)
		m.cluster.instruments = append(m.cluster.instruments, m.queues[key])
	}
	return m.queues[key]
}

// work has the agent do what it manages to in dt up to t.
func (c *crew) work(m *model, t time.Time, dt time.Duration) {
	now := m.plan.state(t, m.anchor, c.place.region.name, c.agent.name)
	mean := c.agent.rate * dt.Seconds()
	arrived := m.chance.count(mean * c.place.busy)
	able := m.chance.count(mean * c.place.region.share * reserve / now.slower)
	for range c.waiting.work(arrived, able) {
		u := c.users[m.chance.one(len(c.users))]
		if m.chance.Float64() < failures+now.failing {
			u.failed.value++
		} else {
			u.ok.value++
		}
		if pod := c.pods[u.pod]; pod.observe(m.chance.seconds(c.agent.median, now.slower)) {
			pod.example(t, "trace_id", m.tracer.traceOf(t, m.anchor, c.place.region.name, u.pod, ""), "user", u.user.email)
		}
	}
	// A job that doesn't wait for long is seen in the queue all the same.
	c.length.value += float64(c.waiting.waiting + m.chance.count(2*c.place.busy))
}

// backlog is what came in and wasn't done yet.
type backlog struct{ waiting, most int }

// work takes what arrived in and returns how many are done when able are at most.
func (b *backlog) work(arrived, able int) (done int) {
	done = min(b.waiting+arrived, able)
	b.waiting = min(b.waiting+arrived-done, b.most)
	return done
}
