package demo

import "time"

// plan is a company on paper: what it runs, for whom, and what goes wrong.
// Rates are of the whole company at an average hour; regions share them.
type plan struct {
	seed     uint64
	regions  []region
	services []service
	agents   []agent
	reviews  []review
	// customers have their users in one region each.
	customers []customer
	reviewers []string // e-mail addresses
	staff     []employee
	flags     []string // what is tried out internally
	troubles  []trouble
	// restarts is the pod that restarts now and then.
	restarts string
}

// region is where a company has pods and users.
type region struct {
	name  string
	share float64 // of the whole company's traffic
	noon  int     // the hour, in UTC, of most traffic
}

// service answers HTTP requests.
type service struct {
	name   string
	rate   float64       // requests a second
	median time.Duration // of the latency
	pods   int           // in each region
}

// agent does work that was queued.
type agent struct {
	name, queue string
	rate        float64       // jobs a second
	median      time.Duration // of an execution
	pods        int           // in each region
}

// review is a workflow's step that waits for a person.
type review struct {
	workflow string
	rate     float64       // an hour
	capacity float64       // how many the reviewers manage in an hour
	waiting  int           // in each region, at the beginning
	median   time.Duration // of the response when nothing waits
}

// customer pays; its users send the requests.
type customer struct {
	name, domain, region string
	revenue              float64 // an hour
}

// employee is on the payroll.
type employee struct {
	name, department string
	salary           float64 // an hour
}

// trouble is something that goes wrong in one region for an hour, the first
// time some minutes before the end of what Fill writes, and then again and again.
type trouble struct {
	before  time.Duration
	region  string
	things  []string // services and agents
	slower  float64  // how many times, at its height
	failing float64  // the share of requests or jobs, at its height
	status  string   // of requests that fail
}

// How a trouble goes.
const (
	troubleRises = 3 * time.Minute
	troubleLasts = time.Hour
	troubleFalls = 10 * time.Minute
	troubleEvery = 3 * time.Hour
)

// level is how bad the trouble is at t, from 0 to 1.
func (tr trouble) level(t, anchor time.Time) float64 {
	since := t.Sub(anchor.Add(-tr.before))
	if since < 0 {
		return 0
	}
	since %= troubleEvery
	rising := float64(since) / float64(troubleRises)
	falling := float64(troubleLasts+troubleFalls-since) / float64(troubleFalls)
	return max(0, min(1, rising, falling))
}

// state is how a service or an agent is doing.
type state struct {
	slower  float64 // times, at least 1
	failing float64 // share
	status  string
}

func (p *plan) state(t, anchor time.Time, region, thing string) state {
	out := state{slower: 1}
	for _, tr := range p.troubles {
		for _, name := range tr.things {
			if tr.region != region || name != thing {
				continue
			}
			level := tr.level(t, anchor)
			out.slower += (tr.slower - 1) * level
			out.failing += tr.failing * level
			out.status = tr.status
		}
	}
	return out
}

// The pod that restarts does so in the middle of Fill's hour, and then again.
const (
	restartBefore = 35 * time.Minute
	restartEvery  = 90 * time.Minute
)

// restarted says whether the pod restarted after from and not after to.
func restarted(from, to, anchor time.Time) bool {
	first := anchor.Add(-restartBefore)
	if to.Before(first) {
		return false
	}
	at := first.Add(to.Sub(first).Truncate(restartEvery))
	return at.After(from)
}
