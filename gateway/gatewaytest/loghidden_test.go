package gatewaytest_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/gateway/gatewaytest"
	"github.com/parley-gateway/parley/policy"
)

var (
	hiddenSeed      = flag.Int64("logs.seed", 1, "seed of the random lines and attacks; 0 takes one from the clock")
	hiddenQuestions = flag.Int("logs.questions", 400, "how many random attacks are made at each door")
)

// hidingLogs is what globex shows acme of its logs: something of every way to
// hide.
const hidingLogs = `{"allow": true, "pseudonym_epoch": "8760h", "datasets": [
	{"name": "shop", "streams": ["{service=\"shop\", env=\"prod\"}"], "release": "row",
		"labels": {"service": "keep", "level": "keep", "pod": "pseudonym", "trace_id": "keep"},
		"line": [{"json": {"level": "keep", "message": "keep", "status": "keep", "took": "keep", "user_id": "pseudonym", "order.total": "keep"}}, {"mask": ["email", "ipv4"]}]},
	{"name": "auth", "streams": ["{service=\"auth\"}"], "release": "row", "labels": {"service": "keep", "level": "keep"},
		"line": [{"logfmt": {"level": "keep", "msg": "keep", "status": "keep"}}, {"mask": ["email"]}]},
	{"name": "mail", "streams": ["{service=\"mail\"}"], "release": "row", "labels": {"service": "keep", "trace_id": "pseudonym"},
		"line": [{"mask": ["email", "ipv4", {"name": "ticket", "pattern": "TCK-[0-9]+"}]}]},
	{"name": "api", "streams": ["{service=\"api\"}"], "release": "row", "labels": {"service": "keep"}, "line": [{"json": {"status": "keep", "level": "keep", "took": "keep"}}]},
	{"name": "cron", "streams": ["{service=\"cron\"}"], "release": "row", "labels": {"service": "keep"}, "line": "shape"},
	{"name": "bank", "streams": ["{service=\"bank\"}"], "release": "row", "labels": {"service": "keep", "level": "keep"}, "line": "none"},
	{"name": "denied", "streams": ["{service=\"vault\"}"], "release": "deny"}]}`

// showingLogs hides nothing.
const showingLogs = `{"allow": true, "pseudonym_epoch": "8760h", "datasets": [
	{"name": "all", "streams": ["{}"], "release": "row", "labels": {"*": "keep"}, "line": "keep"}]}`

// secrets are what one world has where another has something else.
type secrets struct {
	*rand.Rand
	names  []string // of people, and whatever else; also names of labels and fields
	unique int
}

func newSecrets(seed int64, world uint64, names ...string) *secrets {
	return &secrets{Rand: rand.New(rand.NewPCG(uint64(seed), 100+world)), names: names}
}

func (s *secrets) name() string { return s.names[s.IntN(len(s.names))] }

// email is never the same twice, so that no two lines are.
func (s *secrets) email() string {
	s.unique++
	return fmt.Sprintf("%s.%d@%s.example", s.name(), s.unique, s.name())
}

func (s *secrets) address() string {
	return fmt.Sprintf("10.%d.%d.%d", s.IntN(256), s.IntN(256), s.IntN(256))
}

func (s *secrets) json() string {
	switch s.IntN(5) {
	case 0:
		return strconv.Itoa(s.IntN(100_000))
	case 1:
		return `{"` + s.name() + `":[1,"` + s.email() + `"]}`
	case 2:
		return "null"
	}
	return strconv.Quote(s.name() + strings.Repeat("x", s.IntN(20)))
}

// space is what may stand between the parts of JSON.
func (s *secrets) space() string { return []string{"", "", " "}[s.IntN(3)] }

// more are fields of JSON that nobody should see.
func (s *secrets) more() string {
	out := ""
	for range s.IntN(4) {
		key := []string{"secret", "password", s.name(), "order.card", "message2"}[s.IntN(5)]
		out += strconv.Quote(key) + s.space() + ":" + s.json() + "," + s.space()
	}
	return out
}

// stream has labels that nobody should see beside those that may be seen.
func (s *secrets) stream(seen ...string) labels.Labels {
	b := labels.NewBuilder(labels.FromStrings(seen...)).Set("user", s.name())
	if s.IntN(2) == 0 {
		b.Set("extra_"+s.name(), s.name())
	}
	return b.Labels()
}

func (s *secrets) metadata(seen ...string) labels.Labels {
	b := labels.NewBuilder(labels.FromStrings(seen...))
	for _, name := range []string{"session", "user", "extra_" + s.name()} {
		if s.IntN(2) == 0 {
			b.Set(name, s.name())
		}
	}
	return b.Labels()
}

// hiddenLines are lines of a world: what is seen of them is drawn from r, and
// so the same in all worlds, what is hidden from s.
func hiddenLines(r *rand.Rand, s *secrets) []gatewaytest.Line {
	var out []gatewaytest.Line
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	for range 300 {
		l := gatewaytest.Line{Ago: r.IntN(1800)}
		level, status, trace := pick("info", "warn", "error"), pick("200", "404", "500"), "t"+strconv.Itoa(r.IntN(40))
		said, took := pick("order", "login", "refund")+" "+pick("failed", "done"), strconv.Itoa(1+r.IntN(50))
		switch r.IntN(5) {
		case 0, 1:
			user := pick("u-1", "u-2", "u-3", "u-4")
			l.Stream = s.stream("service", "shop", "env", "prod", "level", level, "pod", pick("pod-1", "pod-2"))
			l.Metadata = s.metadata("trace_id", trace)
			l.Text = `{` + s.more() + `"level":` + s.space() + `"` + level + `",` + s.more() + `"message":"` + said + ` for ` + s.email() + ` from ` + s.address() + `",` +
				s.space() + `"status":` + s.space() + status + `,"user_id":"` + user + `",` + s.more() + `"order":{"total":` + took + `,"card":` + s.json() + `},"took":"` + took + `ms","end":` + s.json() + `}`
			if r.IntN(10) == 0 {
				l.Text = `{"message":` + strconv.Quote(said) // isn't JSON: of it nothing is seen
				l.Text += s.json()
			}
		case 2:
			l.Stream = s.stream("service", "auth", "level", level)
			l.Text = "level=" + level + " user=" + s.name() + ` msg="` + said + " by " + s.email() + `" ` + s.name() + "=" + strconv.Itoa(s.IntN(1000)) + " status=" + status
		case 3:
			l.Stream, l.Metadata = s.stream("service", "mail"), s.metadata("trace_id", trace)
			l.Text = said + " to " + s.email() + " at " + s.address() + " about TCK-" + strconv.Itoa(s.IntN(1_000_000)) + " status=" + status
		case 4:
			switch r.IntN(3) {
			case 0:
				l.Stream = s.stream("service", "cron")
				l.Text = "request " + s.email() + " failed after " + strconv.Itoa(s.IntN(10_000)) + "ms"
			case 1:
				l.Stream = s.stream("service", "api")
				l.Text = `{"level":` + s.space() + `"` + level + `",` + s.more() + `"status":` + s.space() + status + `,` + s.space() + `"took":"` + took + `ms","from":"` + s.email() + `"}`
			case 2:
				l.Stream = s.stream("service", "bank", "level", level)
				l.Text = strings.Repeat(s.email()+" ", 1+s.IntN(5))
			}
		}
		out = append(out, l)
	}
	// What isn't there for acme is as much as there is.
	for range s.IntN(200) {
		l := gatewaytest.Line{Ago: s.IntN(1800), Text: `{"message":"` + s.email() + `","status":500}`, Metadata: s.metadata()}
		l.Stream = s.stream([][]string{
			{"service", "vault"}, {"service", "payroll", "level", s.name()}, {"service", "shop", "env", "staging", "level", s.name()}, {s.name(), s.name()},
		}[s.IntN(4)]...)
		out = append(out, l)
	}
	s.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// attack makes questions that look for what is hidden.
type attack struct {
	*rand.Rand
	guesses []string
}

func (a *attack) of(all ...string) string { return all[a.IntN(len(all))] }

// name is of a label or a field, rather one that is hidden.
func (a *attack) name() string {
	return a.of("user", "user", "secret", "password", "session", "pod", "trace_id", "user_id", "env", "order_card", "card", "status", "took", "order_total",
		"message", "msg", "level", "service", "extra_"+a.guess(), a.guess(), "user_extracted", "org", "end", "__error__")
}

func (a *attack) guess() string { return a.guesses[a.IntN(len(a.guesses))] }

// value is a guess, or a part of one.
func (a *attack) value() string {
	g := a.guess()
	switch a.IntN(5) {
	case 0:
		return g[:1+a.IntN(len(g))]
	case 1:
		return a.of("<email>", "<ipv4>", "<ticket>", "p-", "500", "u-1", "pod-1", "TCK-", "@", "10.", "{", "null", "x", "", "email", "ticket",
			`"status":500`, `"level": "info"`, `"took":"`)
	}
	return g
}

func (a *attack) pattern() string {
	return a.of("["+a.of("a-f", "g-m", "n-z", "0-4")+"].*", ".*"+a.value()+".*", "(?i)"+a.value(), ".+", "^.{"+strconv.Itoa(a.IntN(120))+",}$", "(?P<found>[a-z]+)@", a.of("10", "172")+`\.\d+`)
}

func (a *attack) selector() string {
	org := a.of(`org="globex"`, `org=~"g.+"`, `org!="acme"`)
	service := a.of(`service="shop"`, `service="shop"`, `service="auth"`, `service="mail"`, `service="cron"`, `service="api"`, `service="bank"`, `service="vault"`, `service="payroll"`,
		`service=~"shop|auth|mail"`, `service=~".+"`, `service!~"bank|vault"`)
	switch a.IntN(4) {
	case 0:
		return "{" + org + ", " + service + ", " + a.name() + a.of("=", "!=") + strconv.Quote(a.value()) + "}"
	case 1:
		return "{" + org + ", " + service + ", " + a.name() + a.of("=~", "!~") + strconv.Quote(a.pattern()) + "}"
	case 2:
		return "{" + org + "}"
	}
	return "{" + org + ", " + service + "}"
}

func (a *attack) stage() string {
	switch a.IntN(14) {
	case 0, 1, 2:
		return a.of("|=", "!=") + strconv.Quote(a.value())
	case 3:
		return a.of("|~", "!~") + strconv.Quote(a.pattern())
	case 4:
		return a.of("|>", "!>") + strconv.Quote("<_>"+a.value()+"<_>")
	case 5:
		return a.of(`|= ip("10.0.0.0/9")`, `!= ip("10.128.0.0/9")`, `| logfmt | msg = ip("10.0.0.0/8")`)
	case 6:
		return a.of("| json", "| json", "| logfmt", "| unpack", `| json found="`+a.of("secret", "order.card", "user_id", "end", "password", "order.total")+`"`, "| logfmt --keep-empty found="+a.name())
	case 7, 8:
		return "| json | " + a.name() + a.of("=", "!=", "=~", "!~") + strconv.Quote(a.of("bob", ".+", "", "u-1", "500"))
	case 9:
		return `| regexp "(?P<found>[a-z]+)[.@]" | found` + a.of("=", "!=", "=~") + strconv.Quote(a.guess())
	case 10:
		return "| pattern \"<found> <_>\" | label_format stolen=" + a.of("found", a.name())
	case 11:
		return "| line_format \"{{." + a.of("secret", "user_id", "user", "found", "__error__", "end") + "}} {{ len __line__ }}\""
	case 12:
		return "| " + a.of("keep ", "drop ") + a.name()
	}
	return a.of("| decolorize", `| __error__=""`, `| json | status >= 400`, `| took > 10ms`, `| json | order_total > 25`)
}

func (a *attack) lines() string {
	out := a.selector()
	if a.IntN(4) == 0 {
		// What a line has only once it is redacted, or is spelled otherwise before.
		out = "{" + a.of(`service="mail"`, `service="api"`, `service=~"api|mail|shop"`) + "} |= " + strconv.Quote(a.of("email", "ticket", "<email>", "ipv4", `"status":500`, `"level":"info"`, `,"took":"`))
	}
	for range a.IntN(4) {
		out += " " + a.stage()
	}
	return out
}

func (a *attack) numbers() string {
	over := fmt.Sprintf("%s(%s [%s])", a.of("count_over_time", "count_over_time", "rate", "bytes_over_time", "bytes_rate", "absent_over_time"), a.lines(), a.of("30m", "5m", "1m"))
	if a.IntN(3) == 0 {
		over = fmt.Sprintf("%s(%s | json | unwrap %s | __error__=\"\" [30m])", a.of("sum_over_time", "max_over_time", "min_over_time", "stdvar_over_time", "first_over_time"),
			a.lines(), a.of("status", "order_total", "duration(took)", "end", "secret", "bytes(password)", a.guess()))
	}
	switch a.IntN(7) {
	case 0:
		return "sum by (org, " + a.name() + ") (" + over + ")"
	case 1:
		return a.of("topk", "bottomk") + "(1, " + over + ")"
	case 2:
		return "count(" + over + ") " + a.of(">", "==", "> bool") + " " + strconv.Itoa(a.IntN(20))
	case 3:
		return `label_replace(` + over + `, "level", "$1", "` + a.name() + `", "(.*)")`
	case 4:
		return a.of("max", "min", "stddev", "avg") + " by (org, " + a.name() + ") (" + over + ")"
	case 5:
		return over + " " + a.of("unless", "and", "/") + " " + over
	}
	return over
}

// probe is a question at the front door.
type probe struct {
	path       string
	parameters url.Values
	header     []string
}

// probe makes one.
func (a *attack) probe() probe {
	v := lastHour(url.Values{})
	limits := func(name string) {
		if a.IntN(3) == 0 {
			v.Set(name, a.of("1", "2", "3", "50"))
		}
	}
	p := probe{parameters: v}
	if a.IntN(3) == 0 {
		p.header = []string{"X-Loki-Response-Encoding-Flags", "categorize-labels"}
	}
	switch a.IntN(14) {
	case 0, 1, 2:
		p.path = "query_range"
		v.Set("query", a.lines())
		v.Set("direction", a.of("forward", "backward"))
		v.Set("limit", a.of("1", "2", "1000"))
	case 3:
		p.path = "query_range"
		v.Set("query", a.numbers())
		v.Set("step", a.of("5m", "600"))
	case 4, 5:
		p.path = "query"
		p.parameters = url.Values{"query": {a.numbers()}, "time": {strconv.FormatInt(metricstest.End().UnixNano(), 10)}}
	case 6:
		p.path = a.of("labels", "label/"+a.name()+"/values", "label/"+a.of("user", "service", a.name())+"/values")
		if a.IntN(2) == 0 {
			v.Set("query", a.selector())
		}
	case 7:
		p.path = "series"
		v.Set("match[]", a.selector())
	case 8:
		p.path = "index/stats"
		v.Set("query", a.selector())
	case 9, 10:
		p.path = a.of("index/volume", "index/volume_range")
		v.Set("query", a.of("{}", a.selector(), a.selector()))
		if a.IntN(2) == 0 {
			v.Set("targetLabels", a.of("service", a.name(), "level,"+a.name()))
		}
		if a.IntN(3) == 0 {
			v.Set("aggregateBy", "labels")
		}
		if p.path == "index/volume_range" {
			v.Set("step", a.of("10m", "1"))
		}
		limits("limit")
	case 11:
		p.path = "patterns"
		v.Set("query", a.selector())
		v.Set("step", "10m")
		limits("limit")
	case 12:
		p.path = "detected_labels"
		v.Set("query", a.of("{}", a.selector()))
		limits("limit")
	case 13:
		p.path = a.of("detected_fields", "detected_field/"+a.of("secret", "password", "user", "end", "message", "msg", "session", a.name())+"/values")
		v.Set("query", a.of(a.selector(), a.lines()))
		v.Set("line_limit", a.of("1", "20", "1000"))
		limits("limit")
	}
	return p
}

// kind is a probe's endpoint.
func (p probe) kind() string {
	if kind, _, named := strings.Cut(p.path, "/"); named && kind != "index" {
		return kind + "/"
	}
	return p.path
}

// question makes one for the peer door: what no front door of ours would ask is
// asked as well.
func (a *attack) question() logs.Question {
	q := logs.Question{Start: metricstest.End().Add(-time.Hour), End: metricstest.End()}
	selector := func() {
		if s, err := logs.ParseSelector(a.selector()); err == nil {
			q.Selectors = []policy.Selector{s}
		}
	}
	switch a.IntN(11) {
	case 0, 1:
		q.Kind, q.Expression, q.Limit, q.Backward = policy.Range, a.lines(), []int{1, 2, 1000}[a.IntN(3)], a.IntN(2) == 0
	case 2:
		q.Kind, q.Expression, q.Step = policy.Range, a.numbers(), 10*time.Minute
	case 3:
		q.Kind, q.Expression, q.Start = policy.Instant, a.numbers(), q.End
	case 4:
		q.Kind = policy.Series
		selector()
	case 5:
		q.Kind, q.Limit = policy.LabelNames, a.IntN(3)
		selector()
	case 6:
		q.Kind, q.Label, q.Limit = policy.LabelValues, a.name(), a.IntN(3)
		selector()
	case 7:
		q.Kind = policy.Stats
		selector()
	case 8:
		q.Kind, q.By, q.ByName, q.Step = policy.Volume, []string{a.name()}, a.IntN(3) == 0, time.Duration(a.IntN(2))*10*time.Minute
		selector()
	case 9:
		q.Kind, q.Step = a.patterns()
		if selector(); q.Kind == policy.DetectedLabels {
			q.Step = 0
		}
	case 10:
		q.Kind, q.Expression, q.Limit, q.Label = policy.DetectedFields, a.lines(), 1+a.IntN(50), a.of("", "", a.name())
	}
	return q
}

func (a *attack) patterns() (policy.Kind, time.Duration) {
	return []policy.Kind{policy.Patterns, policy.DetectedLabels}[a.IntN(2)], 10 * time.Minute
}

// received is all that a partner gets.
func received(t *testing.T, c *gatewaytest.Caller, q logs.Question) string {
	t.Helper()
	released, part, err := c.AsksLogs(q)
	part.Cost.Latency = 0
	if err != nil {
		e := federation.AsError(err)
		return fmt.Sprint(e.Kind, " ", e.Message, part)
	}
	text := fmt.Sprintf("%+v %q %v %+v %+v\n", part, released.Names(), released.Streams(), released.Fields(), released.Stats())
	for _, e := range released.Entries() {
		text += fmt.Sprintf("%d %s %s %s %q\n", e.At, e.Stream, e.Metadata, e.Parsed, e.Line)
	}
	if released.Numbers() != nil {
		matrix, err := released.Numbers().Matrix()
		if err != nil {
			t.Fatal(err)
		}
		text += matrix.String()
	}
	return text
}

// TestNoLogsEndpointTellsHiddenDifferences asks two worlds the same that differ
// in what globex's policy hides from acme: not a byte of an answer differs, at
// acme's front door and at globex's peer door. Where the policy hides nothing,
// many do.
func TestNoLogsEndpointTellsHiddenDifferences(t *testing.T) {
	t.Parallel()
	seed := *hiddenSeed
	if seed == 0 {
		seed = time.Now().UnixNano()
	}
	t.Logf("seed %d (repeat with -logs.seed=%d)", seed, seed)
	names := [][]string{{"bob", "alice", "eve"}, {"alexandra", "bo", "zoe", "email"}}
	worldsUnder := func(decision string) []*gatewaytest.World {
		var worlds []*gatewaytest.World
		for i, people := range names {
			w := gatewaytest.New(t, "acme", "globex")
			globex := w.Org("globex")
			globex.Writes(hiddenLines(rand.New(rand.NewPCG(uint64(seed), 1)), newSecrets(seed, uint64(i), people...))...)
			globex.Releases("acme", decision)
			globex.Agrees("acme", func(a *gatewaytest.Agreement) { a.Limits = "{queries_per_minute: 1000000, range: 100y}" })
			w.Start()
			worlds = append(worlds, w)
		}
		return worlds
	}
	hiding, showing := worldsUnder(hidingLogs), worldsUnder(showingLogs)
	guesses := slices.Concat(names[0], names[1], []string{"alice.17@bob.example", "bo.1@zoe.example", "TCK-1", "10.1", "payroll", "staging", "vault"})

	asked, differ, answered := map[string]int{}, map[string]int{}, map[string]int{}
	a := &attack{Rand: rand.New(rand.NewPCG(uint64(seed), 2)), guesses: guesses}
	for i := range *hiddenQuestions {
		p := a.probe()
		ask := func(worlds []*gatewaytest.World) (one, other gatewaytest.Reply) {
			return worlds[0].Org("acme").Get("/loki/api/v1/"+p.path, p.parameters, p.header...), worlds[1].Org("acme").Get("/loki/api/v1/"+p.path, p.parameters, p.header...)
		}
		one, other := ask(hiding)
		if one.Code != other.Code || !bytes.Equal(one.Body, other.Body) {
			t.Errorf("%s %v\n%s", p.path, p.parameters, cmp.Diff(string(one.Body), string(other.Body)))
		}
		if a, b := shape(one.Header), shape(other.Header); a != b {
			t.Errorf("%s %v\n %s\n %s", p.path, p.parameters, a, b)
		}
		if one.Code == http.StatusOK && len(one.Body) > 300 {
			answered[p.kind()]++
		}
		if i >= *hiddenQuestions/2 {
			continue // enough to see whether these are attacks
		}
		asked[p.kind()]++
		if one, other := ask(showing); one.Code != other.Code || !bytes.Equal(one.Body, other.Body) {
			differ[p.kind()]++
		}
	}
	t.Logf("where nothing is hidden differ: %v of %v; something is in %v", differ, asked, answered)
	total := 0
	for _, kind := range slices.Sorted(maps.Keys(asked)) {
		total += differ[kind]
		if asked[kind] >= 20 && differ[kind] == 0 || answered[kind] == 0 {
			t.Errorf("%s: %d of %d attacks succeed where nothing is hidden, and %d are answered: the test is blind", kind, differ[kind], asked[kind], answered[kind])
		}
	}
	if total < *hiddenQuestions/6 {
		t.Errorf("%d attacks succeed where nothing is hidden: the test is blind", total)
	}

	var callers []*gatewaytest.Caller
	for _, w := range slices.Concat(hiding, showing) {
		callers = append(callers, w.Caller(w.Org("acme").Issue("/parley", time.Hour), "globex", ""))
	}
	differing := 0
	for range *hiddenQuestions {
		q := a.question()
		if one, other := received(t, callers[0], q), received(t, callers[1], q); one != other {
			t.Errorf("%+v\n%s", q, cmp.Diff(one, other))
		}
		if received(t, callers[2], q) != received(t, callers[3], q) {
			differing++
		}
	}
	t.Logf("at the peer door %d of %d differ where nothing is hidden", differing, *hiddenQuestions)
	if differing < *hiddenQuestions/4 {
		t.Errorf("%d attacks at the peer door succeed where nothing is hidden: the test is blind", differing)
	}
}
