package demo

import (
	"time"
)

// endpoint is a service in a region.
type endpoint struct {
	service service
	place   *place
	pods    []*distribution // of the latency, by pod
	users   []*userRequests
}

// userRequests are what one user asked of an endpoint. A user stays with a pod.
type userRequests struct {
	user     user
	pod      int
	byStatus map[string]*number
}

var latencyBounds = []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}

// usual are the ends of requests that occur when all is well.
var usual = []struct {
	status string
	share  float64
}{{"404", 0.012}, {"429", 0.006}, {"500", 0.002}, {"503", 0.0005}, {"504", 0.0005}}

// timeout is how long a caller waits; a 504 took that long.
const timeout = 30 * time.Second

func (m *model) addEndpoint(s service, p *place) {
	e := &endpoint{service: s, place: p}
	var pods []*target
	for i := range s.pods {
		name := podName(s.name, p.region.name, i)
		d := newDistribution(latencyBounds, "http_request_duration_seconds", "http_request_duration_native_seconds",
			"service", s.name, "region", p.region.name, "pod", name)
		e.pods = append(e.pods, d)
		pods = append(pods, m.addPod(name, d))
	}
	for i, u := range p.users {
		r := &userRequests{user: u, pod: i % s.pods, byStatus: map[string]*number{}}
		e.users = append(e.users, r)
		for _, status := range []string{"200", "404", "429", "500", "503", "504"} {
			n := newNumber("http_requests_total", "service", s.name, "region", p.region.name, "status", status,
				"pod", podName(s.name, p.region.name, r.pod), "user", u.email, "customer", u.customer)
			r.byStatus[status] = n
			pods[r.pod].instruments = append(pods[r.pod].instruments, n)
		}
	}
	m.endpoints = append(m.endpoints, e)
}

// serve has the endpoint answer what comes in dt up to t.
func (e *endpoint) serve(m *model, t time.Time, dt time.Duration) {
	now := m.plan.state(t, m.anchor, e.place.region.name, e.service.name)
	for range m.chance.count(e.service.rate * e.place.busy * dt.Seconds()) {
		u := e.users[m.chance.one(len(e.users))]
		status := m.status(now)
		took := min(m.chance.seconds(e.service.median, now.slower), timeout.Seconds())
		if status == "504" {
			took = timeout.Seconds()
		}
		u.byStatus[status].value++
		trace := m.tracer.traceOf(t, m.anchor, e.place.region.name, u.pod, status)
		m.lines.request(t, e, u, status, took, trace)
		if pod := e.pods[u.pod]; pod.observe(took) {
			pod.example(t, "trace_id", trace, "user", u.user.email)
		}
	}
}

func (m *model) status(now state) string {
	chance := m.chance.Float64()
	if chance -= now.failing; chance < 0 {
		return now.status
	}
	for _, u := range usual {
		if chance -= u.share; chance < 0 {
			return u.status
		}
	}
	return "200"
}
