package tracestest

import (
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/policy"
)

// Attacker makes questions that look for what is hidden.
type Attacker struct{ r *rand.Rand }

// NewAttacker draws from r.
func NewAttacker(r *rand.Rand) *Attacker { return &Attacker{r} }

func (a *Attacker) of(all ...string) string { return all[a.r.IntN(len(all))] }

func (a *Attacker) attribute() string {
	return a.of("span.http.route", "span.user.id", "span.db.statement", ".db.system", "span.http.status", "span.count", "resource.service.name", "resource.k8s.pod.name", ".parley.redaction",
		"span.exported_parley.redaction", "resource.parley.org", "name", "statusMessage", "event:name", "event.exception.stacktrace", "instrumentation:name", "link.why", "rootName", "rootServiceName",
		"parent.user.id", "parent.name")
}

func (a *Attacker) value() string {
	if a.r.IntN(4) == 0 {
		return a.of("withheld", "globex", "exception", Web, Open, Core, Vault, Batch, Secret, "2xx", "boundary", "shape", "lib")
	}
	return Word(a.r)
}

func (a *Attacker) condition() string {
	switch a.r.IntN(9) {
	case 0:
		return "duration " + a.of(">", "<", ">=", "=") + " " + a.of("10ms", "500ms", "1s", "0s")
	case 1:
		return "kind = " + a.of("server", "client", "internal", "consumer")
	case 2:
		return "status = " + a.of("error", "unset", "ok")
	case 3:
		return "traceDuration " + a.of(">", "<") + " " + a.of("300ms", "1s")
	case 4:
		return "span:childCount " + a.of(">", "=", "<") + " " + a.of("0", "1", "2")
	case 5:
		return a.attribute() + a.of(" = ", " != ") + "nil"
	case 6:
		return a.attribute() + a.of(" =~ ", " !~ ") + strconv.Quote(a.of("[a-c].*", ".*o.*", ".+", "p-.*", "[^a]*"))
	}
	return a.attribute() + a.of(" = ", " != ") + strconv.Quote(a.value())
}

func (a *Attacker) filter() string {
	out := a.condition()
	for range a.r.IntN(3) {
		out += a.of(" && ", " || ") + a.condition()
	}
	if a.r.IntN(5) == 0 {
		out = "!(" + out + ")"
	}
	return "{ " + a.of(out, out, out, "") + " }"
}

// Search makes one of TraceQL.
func (a *Attacker) Search() traces.Question {
	expression := a.filter()
	for range a.r.IntN(3) {
		expression += a.of(" && ", " || ", " > ", " >> ", " < ") + a.filter()
	}
	return a.window(traces.Question{Kind: policy.Search, Expression: expression, Limit: 1 + a.r.IntN(5)})
}

// window gives a question a time, mostly that of all the world.
func (a *Attacker) window(q traces.Question) traces.Question {
	q.Start, q.End = Start, Start.Add(Length+time.Minute)
	if a.r.IntN(3) == 0 {
		q.Start = q.Start.Add(time.Duration(a.r.Int64N(int64(Length))))
		q.End = q.Start.Add(time.Duration(a.r.Int64N(int64(Length))))
	}
	return q
}

// Listing makes one for what there is.
func (a *Attacker) Listing(kind policy.Kind) traces.Question {
	q := traces.Question{Kind: kind}
	if a.r.IntN(2) == 0 {
		q.Expression = a.filter()
	}
	switch kind {
	case policy.LabelNames:
		q.Label = a.of("", "span", "resource", "event")
	case policy.LabelValues:
		q.Label = a.attribute()
	case policy.Operations:
		q.Label = a.of("", Web, Core, "globex", Secret)
	}
	if kind != policy.Dependencies {
		q.Limit = a.r.IntN(4)
	}
	return a.window(q)
}
