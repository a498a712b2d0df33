package demo

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/parley-gateway/parley/tenants"
)

// SpanStore is what spans are written to.
type SpanStore interface {
	Append(spans ptrace.Traces) error
}

// WriteTraces has Fill and Run write the company's spans as well.
func (c Company) WriteTraces(to SpanStore) { c.model.tracer.to = to }

// tracer writes a company's spans of the journeys that there are in an interval:
// requests that go through all companies. What a journey is follows from when and
// where it is, so that each company knows of all, and writes what is its own.
type tracer struct {
	org  tenants.OrgID
	to   SpanStore // nil: nowhere
	plan map[tenants.OrgID]plan
	// users are acme's, with whom journeys begin, by region.
	users map[string][]user
	err   error // the first
}

// The kinds of journeys, of each of which a region has one in an interval at most.
const (
	answered = iota // an answer that is paid for
	ordered         // and something is ordered at the marketplace, which begins a new trace
	timedOut        // globex's agent takes too long
	retried         // globex's API is unavailable, and then isn't
	journeyKinds
)

func newTracer(org tenants.OrgID) tracer {
	w := tracer{org: org, plan: map[tenants.OrgID]plan{"acme": acme, "globex": globex, "initech": initech}, users: map[string][]user{}}
	people := newPeople(acme.seed)
	for _, r := range acme.regions {
		for _, c := range acme.customers {
			if c.region == r.name {
				w.users[r.name] = append(w.users[r.name], people.users(c)...)
			}
		}
	}
	return w
}

// write writes the spans of the journeys that end after from and not after to.
func (w *tracer) write(from, to, anchor time.Time) {
	if w.to == nil || w.err != nil {
		return
	}
	var spans []*span
	for at := from.Truncate(Interval).Add(Interval); !at.After(to); at = at.Add(Interval) {
		for _, r := range regions {
			for kind := range journeyKinds {
				if w.is(at, anchor, r.name, kind) {
					spans = append(spans, w.journey(at, anchor, r.name, kind)...)
				}
			}
		}
	}
	spans = slices.DeleteFunc(spans, func(s *span) bool { return s.org != w.org })
	if len(spans) > 0 {
		w.err = w.to.Append(otlp(spans))
	}
}

// is says whether a region has a journey of the kind.
func (w *tracer) is(at, anchor time.Time, region string, kind int) bool {
	likely := 1.0
	switch kind {
	case timedOut:
		likely = 0.05 + 8*w.state(at, anchor, "acme", region, "assistant").failing
	case retried:
		likely = 0.15 + 8*w.state(at, anchor, "globex", region, "agent-api").failing
	}
	return dice(traceID(at, region, kind), "is").Float64() < likely
}

func (w *tracer) state(at, anchor time.Time, org tenants.OrgID, region, thing string) state {
	p := w.plan[org]
	return p.state(at, anchor, region, thing)
}

// traceOf is the trace of a request that ended at t: one that ended so, if there
// is one, or of the pod.
func (w *tracer) traceOf(t, anchor time.Time, region string, pod int, status string) string {
	at := t.Truncate(Interval)
	kind := pod % timedOut
	switch {
	case status == "504" && w.is(at, anchor, region, timedOut):
		kind = timedOut
	case (status == "503" || status == "500") && w.is(at, anchor, region, retried):
		kind = retried
	}
	return traceID(at, region, kind)
}

// dice are the same for all companies.
func dice(trace, what string) chance {
	sum := sha256.Sum256([]byte(trace + " " + what))
	return chance{rand.New(rand.NewPCG(binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:])))}
}

// journey is one request of a user of acme's, as it goes through the companies.
type journey struct {
	chance
	region string
	user   user
	slower float64 // globex's agents, times
	spans  []*span
}

// span is a span by the true time.
type span struct {
	org           tenants.OrgID
	service, pod  string
	region        string
	trace         pcommon.TraceID
	id, parent    pcommon.SpanID
	kind          ptrace.SpanKind
	name          string
	start, end    time.Time
	attributes    map[string]any
	link          *span
	failed, wrong string // the status message, and what an exception said
}

// journey ends not after at.
func (w *tracer) journey(at, anchor time.Time, region string, kind int) []*span {
	id := traceID(at, region, kind)
	j := &journey{chance: dice(id, "journey"), region: region}
	j.user = w.users[region][j.one(len(w.users[region]))]
	j.slower = w.state(at, anchor, "globex", region, "researcher").slower
	root := j.root(id, at, map[int]string{answered: "support-answer", ordered: "paid-order", timedOut: "support-answer", retried: "support-answer"}[kind])
	j.account(root)
	status := 200
	switch kind {
	case timedOut:
		status = 504
		j.agentThatIsTooSlow(root)
	case retried:
		j.agentThatIsUnavailable(root)
		j.agent(root, 1)
	default:
		j.agent(root, 0)
		j.payment(root)
	}
	if kind == ordered {
		j.order(root)
	}
	j.ends(root, status)
	// Others may go on after it was answered.
	last := slices.MaxFunc(j.spans, func(a, b *span) int { return a.end.Compare(b.end) }).end
	for _, s := range j.spans {
		s.start, s.end = s.start.Add(at.Sub(last)), s.end.Add(at.Sub(last))
	}
	return j.spans
}

// between is a time from some to other milliseconds.
func (j *journey) between(least, most float64) time.Duration {
	return time.Duration((least + (most-least)*j.Float64()) * float64(time.Millisecond)).Truncate(time.Microsecond)
}

// begin makes a span that begins at a time and hasn't ended.
func (j *journey) begin(s span, parent *span, start time.Time) *span {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", j.spans[0].trace, len(j.spans)))
	s.id, s.region, s.start, s.end = pcommon.SpanID(sum[:8]), j.region, start, start
	if s.trace.IsEmpty() {
		s.trace, s.parent = parent.trace, parent.id
	}
	if s.org == "" {
		s.org, s.service, s.pod = parent.org, parent.service, parent.pod
	}
	if s.pod == "" {
		s.pod = podName(s.service, j.region, j.one(2))
	}
	if s.attributes == nil {
		s.attributes = map[string]any{}
	}
	j.spans = append(j.spans, &s)
	return &s
}

// root is the request that comes in at acme's assistant.
func (j *journey) root(id string, at time.Time, workflow string) *span {
	var trace pcommon.TraceID
	_, _ = hex.Decode(trace[:], []byte(id)) // it is ours
	s := &span{
		org: "acme", service: "assistant", pod: podName("assistant", j.region, j.one(2)), region: j.region, start: at, end: at,
		trace: trace, kind: ptrace.SpanKindServer, name: "POST /conversations/{id}/messages",
		attributes: map[string]any{
			"http.request.method": "POST", "http.route": "/conversations/{id}/messages", "user.id": j.user.email, "customer": j.user.customer, "workflow_id": workflow,
		},
	}
	sum := sha256.Sum256([]byte(id))
	s.id = pcommon.SpanID(sum[:8])
	j.spans = append(j.spans, s)
	return s
}

// within is something that a service does itself, after all it has done.
func (j *journey) within(parent *span, name string, took time.Duration, attributes map[string]any) *span {
	s := j.begin(span{kind: ptrace.SpanKindInternal, name: name, attributes: attributes}, parent, parent.end.Add(j.between(0.1, 1)))
	s.end = s.start.Add(took)
	parent.end = s.end
	return s
}

// statement is one of a database.
func (j *journey) statement(parent *span, name, text string) {
	s := j.within(parent, name, j.between(1, 9), map[string]any{"db.system": "postgresql", "db.statement": text})
	s.kind = ptrace.SpanKindClient
}

// call is a request to another service; it returns both of its ends.
func (j *journey) call(parent *span, org tenants.OrgID, service, method, route string) (client, server *span) {
	of := func() map[string]any {
		return map[string]any{"http.request.method": method, "http.route": route}
	}
	client = j.begin(span{kind: ptrace.SpanKindClient, name: method + " " + route, attributes: of()}, parent, parent.end.Add(j.between(0.2, 2)))
	client.end = client.start.Add(j.network(parent.org, org))
	server = j.begin(span{org: org, service: service, kind: ptrace.SpanKindServer, name: method + " " + route, attributes: of()}, client, client.end)
	return client, server
}

// network is how long a message takes.
func (j *journey) network(from, to tenants.OrgID) time.Duration {
	if from == to {
		return j.between(0.2, 1)
	}
	return j.between(5, 30)
}

// ends is where a service's span has its end.
func (j *journey) ends(server *span, status int) {
	server.end = server.end.Add(j.between(0.5, 4))
	server.attributes["http.response.status_code"] = status
	if status >= 500 {
		server.failed = fmt.Sprint("status ", status)
	}
}

// answers ends both ends of a call, and has the caller go on.
func (j *journey) answers(parent, client, server *span, status int) {
	j.ends(server, status)
	client.end = server.end.Add(j.network(client.org, server.org))
	client.attributes["http.response.status_code"] = status
	if status >= 500 {
		client.failed = fmt.Sprint("status ", status)
	}
	parent.end = client.end
}

// account looks up who asks.
func (j *journey) account(root *span) {
	client, server := j.call(root, "acme", "accounts", "GET", "/accounts/{id}")
	j.statement(server, "SELECT accounts", "SELECT * FROM accounts WHERE email = '"+j.user.email+"'")
	server.attributes["user.id"] = j.user.email
	j.answers(root, client, server, 200)
	j.within(root, "plan answer", j.between(5, 25), nil)
}

// agent has one of globex's agents work, over a queue.
func (j *journey) agent(root *span, resend int) {
	client, server := j.call(root, "globex", "agent-api", "POST", "/v1/jobs")
	if resend > 0 {
		client.attributes["http.request.resend_count"] = resend
	}
	j.within(server, "authorize", j.between(1, 4), map[string]any{"customer": "acme"})
	consumer := j.queued(server, "interactive", "researcher", j.between(2, 12)+time.Duration(j.slower-1)*j.between(50, 200))
	j.research(consumer)
	j.within(consumer, "summarize", time.Duration(j.seconds(120*time.Millisecond, j.slower)*float64(time.Second)), map[string]any{"agent.name": "researcher"})
	server.end = consumer.end.Add(j.between(1, 5))
	j.answers(root, client, server, 200)
}

// queued publishes work that an agent begins with after waiting.
func (j *journey) queued(parent *span, queue, agent string, waiting time.Duration) (consumer *span) {
	of := func() map[string]any {
		return map[string]any{"messaging.system": "queue", "messaging.destination.name": queue}
	}
	producer := j.within(parent, "publish "+queue, j.between(0.5, 3), of())
	producer.kind = ptrace.SpanKindProducer
	consumer = j.begin(span{org: parent.org, service: agent, kind: ptrace.SpanKindConsumer, name: "process " + queue, attributes: of()}, producer, producer.end.Add(waiting))
	consumer.attributes["agent.name"] = agent
	return consumer
}

// research asks one of globex's tools.
func (j *journey) research(consumer *span) {
	client, server := j.call(consumer, "globex", "tools", "POST", "/tools/search")
	j.statement(server, "SELECT documents", "SELECT body FROM documents WHERE tenant = 'acme' AND topic = '"+j.user.customer+"'")
	j.answers(consumer, client, server, 200)
}

// deadline is when acme's assistant gives up.
const deadline = 5 * time.Second

// agentThatIsTooSlow goes on after nobody waits for it any more.
func (j *journey) agentThatIsTooSlow(root *span) {
	client, server := j.call(root, "globex", "agent-api", "POST", "/v1/jobs")
	consumer := j.queued(server, "interactive", "researcher", j.between(800, 2500))
	j.research(consumer)
	j.within(consumer, "summarize", deadline+j.between(500, 4000), map[string]any{"agent.name": "researcher"})
	server.end = client.start.Add(deadline)
	j.answers(root, client, server, 504)
	client.wrong = "gave up waiting for the answer to " + j.user.email
}

// agentThatIsUnavailable refuses at once.
func (j *journey) agentThatIsUnavailable(root *span) {
	client, server := j.call(root, "globex", "agent-api", "POST", "/v1/jobs")
	j.within(server, "authorize", j.between(1, 4), map[string]any{"customer": "acme"}).failed = "no worker is free"
	j.answers(root, client, server, 503)
	server.wrong = "no worker is free for " + j.user.customer
	j.within(root, "back off", j.between(50, 120), nil)
}

// payment has initech book what the answer costs.
func (j *journey) payment(root *span) {
	client, server := j.call(root, "initech", "payments", "POST", "/payments")
	consumer := j.queued(server, "checks", "fraud-check", j.between(1, 10))
	j.statement(consumer, "SELECT payments", "SELECT count(*) FROM payments WHERE payer = '"+j.user.customer+"'")
	server.end = consumer.end
	j.statement(server, "INSERT payments", "INSERT INTO payments (payer, payee) VALUES ('"+j.user.customer+"', 'globex')")
	j.answers(root, client, server, 201)
}

// order goes to initech's marketplace, which doesn't trust ids of others: it
// begins a trace of its own, with a link.
func (j *journey) order(root *span) {
	client, server := j.call(root, "initech", "marketplace", "POST", "/listings/{id}/orders")
	sum := sha256.Sum256([]byte(root.trace.String() + " restarted"))
	server.trace, server.parent, server.link = pcommon.TraceID(sum[:16]), pcommon.SpanID{}, client
	server.attributes["workflow_id"] = "listing-order"
	j.within(server, "match seller", j.between(10, 60), map[string]any{"agent.name": "matchmaker"})
	j.statement(server, "INSERT orders", "INSERT INTO orders (buyer) VALUES ('"+j.user.email+"')")
	j.answers(root, client, server, 201)
}

// ahead is by how much a company's clock is ahead of the true time: never the
// same for long.
func ahead(org tenants.OrgID, t time.Time) time.Duration {
	drift := time.Duration(20 * math.Sin(2*math.Pi*float64(t.Unix()%21600)/21600) * float64(time.Millisecond))
	switch org {
	case "globex":
		return 1370*time.Millisecond + drift
	case "initech":
		return -840*time.Millisecond - drift
	}
	return 0
}

// otlp are spans as they are exported: by pod, and by the company's clock.
func otlp(spans []*span) ptrace.Traces {
	slices.SortStableFunc(spans, func(a, b *span) int { return cmp.Compare(a.pod, b.pod) })
	out := ptrace.NewTraces()
	var to ptrace.SpanSlice
	for i, s := range spans {
		if i == 0 || s.pod != spans[i-1].pod {
			resource := out.ResourceSpans().AppendEmpty()
			of := resource.Resource().Attributes()
			of.PutStr("service.name", s.service)
			of.PutStr("k8s.pod.name", s.pod)
			of.PutStr("region", s.region)
			scope := resource.ScopeSpans().AppendEmpty()
			scope.Scope().SetName("parley-demo")
			to = scope.Spans()
		}
		s.export(to.AppendEmpty())
	}
	return out
}

func (s *span) export(to ptrace.Span) {
	skew := ahead(s.org, s.start)
	to.SetTraceID(s.trace)
	to.SetSpanID(s.id)
	to.SetParentSpanID(s.parent)
	to.SetKind(s.kind)
	to.SetName(s.name)
	to.SetStartTimestamp(pcommon.NewTimestampFromTime(s.start.Add(skew)))
	to.SetEndTimestamp(pcommon.NewTimestampFromTime(s.end.Add(skew)))
	for _, name := range slices.Sorted(maps.Keys(s.attributes)) { // the same each time
		switch value := s.attributes[name].(type) {
		case string:
			to.Attributes().PutStr(name, value)
		case int:
			to.Attributes().PutInt(name, int64(value))
		}
	}
	if s.link != nil {
		link := to.Links().AppendEmpty()
		link.SetTraceID(s.link.trace)
		link.SetSpanID(s.link.id)
	}
	if s.failed != "" {
		to.Status().SetCode(ptrace.StatusCodeError)
		to.Status().SetMessage(s.failed)
	}
	if s.wrong != "" {
		event := to.Events().AppendEmpty()
		event.SetName("exception")
		event.SetTimestamp(to.EndTimestamp())
		event.Attributes().PutStr("exception.type", "RequestFailed")
		event.Attributes().PutStr("exception.message", s.wrong)
	}
}
