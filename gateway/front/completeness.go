package front

import (
	"slices"
	"strings"

	"github.com/parley-gateway/parley/federation"
)

// severity orders statuses for a request with several questions: the worst is
// what the request gets. An organization that one question didn't need and
// another did has been asked.
var severity = map[federation.Status]int{
	federation.NotAsked:    0,
	federation.Complete:    1,
	federation.Partial:     2,
	federation.Timeout:     3,
	federation.Unreachable: 4,
	federation.Denied:      5,
}

// together is the completeness of two questions of one request: by
// organization the worst status with its reason, coverage and notices of both,
// and what both cost.
func together(a, b federation.Completeness) federation.Completeness {
	if len(a) == 0 {
		return b
	}
	out := slices.Clone(a)
	for _, p := range b {
		i := slices.IndexFunc(out, func(q federation.Part) bool { return q.Org == p.Org })
		if i < 0 {
			out = append(out, p)
			continue
		}
		out[i] = both(out[i], p)
	}
	out.Sort()
	return out
}

func both(a, b federation.Part) federation.Part {
	worst := a
	if severity[b.Status] > severity[a.Status] {
		worst = b
	}
	worst.Coverage = a.Coverage.Union(b.Coverage)
	worst.Cost = federation.Cost{
		Series:  a.Cost.Series + b.Cost.Series,
		Samples: a.Cost.Samples + b.Cost.Samples,
		Lines:   a.Cost.Lines + b.Cost.Lines,
		Spans:   a.Cost.Spans + b.Cost.Spans,
		Bytes:   a.Cost.Bytes + b.Cost.Bytes,
		Latency: max(a.Cost.Latency, b.Cost.Latency),
	}
	worst.Notices = slices.Concat(a.Notices, b.Notices)
	slices.Sort(worst.Notices)
	worst.Notices = slices.Compact(worst.Notices)
	return worst
}

// missing says in words what an answer lacks; empty when nothing.
func missing(c federation.Completeness) string {
	if c.Whole() {
		return ""
	}
	return "This answer is incomplete: " + c.Missing() + "."
}

// redacted says in words what owners redacted; empty when nothing.
func redacted(c federation.Completeness) string {
	out := ""
	for _, p := range c {
		if len(p.Notices) > 0 {
			out += " " + string(p.Org) + ": " + strings.Join(p.Notices, ", ") + "."
		}
	}
	if out == "" {
		return ""
	}
	return "Redacted by the owner." + out
}
