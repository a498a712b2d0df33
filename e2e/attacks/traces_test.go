package attacks

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	spansAndBoundary = []string{Spans, Boundary}
	boundaryOnly     = []string{Boundary}
)

// onTraces are after what policy hides of spans.
var onTraces = ofTraces([]*attack{
	{name: "tag", of: callerOf, guess: byTraces(callerOf, `{ MINE && span.user.id =~ PATTERN }`, calledTrace)},
	{name: "tag, whatever it is of", of: callerOf, guess: byTraces(callerOf, `{ MINE && .user.id =~ PATTERN }`, calledTrace)},
	{name: "negated tag", of: callerOf, guess: byHalves(callerOf, func(a *attempt, pattern string) bool {
		return !a.finds(fmt.Sprintf(`{ MINE && name = "called" && span.user.id !~ %q }`, pattern), calledTrace)
	})},
	{name: "not a tag", of: callerOf, guess: byHalves(callerOf, func(a *attempt, pattern string) bool {
		return !a.finds(fmt.Sprintf(`{ MINE && name = "called" && !(span.user.id =~ %q) }`, pattern), calledTrace)
	})},
	{name: "tag by regular expression", of: sessionOf, long: true, guess: digitByDigit(func(a *attempt, pattern string) bool {
		return a.finds(fmt.Sprintf(`{ MINE && span.session.id =~ %q }`, pattern), calledTrace)
	})},
	{name: "tag by order", of: sessionOf, guess: func(a *attempt) int {
		low, high := 0, sessionOf.values
		for high-low > 1 {
			middle := (low + high) / 2
			if a.finds(fmt.Sprintf(`{ MINE && span.session.id < %q }`, sessionOf.name(middle)), calledTrace) {
				high = middle
			} else {
				low = middle
			}
		}
		return low
	}},
	{name: "select", of: callerOf, guess: func(a *attempt) int {
		return named(callerOf, a.searches(`{ MINE && name = "called" } | select(span.user.id)`))
	}},
	{name: "trace by its id", of: callerOf, guess: func(a *attempt) int {
		return named(callerOf, a.trace(calledTrace, 0))
	}},
	{name: "values of a tag", of: callerOf, guess: func(a *attempt) int {
		a.tagValues("span.user.id", "") // which is of all worlds
		return named(callerOf, a.tagValues("span.user.id", `{ MINE }`), a.tagValues(".user.id", `{ MINE }`))
	}},
	{name: "values of another tag", of: callerOf, guess: byHalves(callerOf, func(a *attempt, pattern string) bool {
		return strings.Contains(a.tagValues("name", fmt.Sprintf(`{ MINE && span.user.id =~ %q }`, pattern)).body, `"called"`)
	})},
	{name: "tags of a search of Tempo", of: callerOf, only: Front, guess: eachOf(callerOf, func(a *attempt, value int) bool {
		return a.holdsTrace(a.put(a.during("/tempo/api/search", url.Values{"tags": {"service.name=" + a.service + " user.id=" + callerOf.name(value)}})), calledTrace, 0)
	})},
	{name: "tags of a search of Jaeger", of: callerOf, only: Front, guess: eachOf(callerOf, func(a *attempt, value int) bool {
		return a.holdsTrace(a.put(question{path: "/jaeger/api/traces", form: url.Values{
			"service": {a.service}, "tags": {fmt.Sprintf(`{"user.id":%q}`, callerOf.name(value))},
			"start": {microseconds(a.began().Add(-time.Minute))}, "end": {microseconds(a.end)}, "limit": {"100"},
		}}), calledTrace, 0)
	})},
	{name: "services", of: vault, guess: func(a *attempt) int {
		return a.vaultIn(a.tagValues("resource.service.name", ""), a.tagValues("resource.service.name", `{ resource.service.name =~ "`+a.service+`.*" }`),
			a.tagValues("rootServiceName", `{ MINE }`))
	}},
	{name: "services of Jaeger", of: vault, only: Front, guess: func(a *attempt) int {
		return a.vaultIn(a.put(question{path: "/jaeger/api/services"}), a.put(question{path: "/jaeger/api/v3/services"}))
	}},
	{name: "operations", of: vault, guess: eachOf(vault, func(a *attempt, value int) bool {
		return strings.Contains(a.put(question{path: "/jaeger/api/services/" + a.service + "-" + vault.name(value) + "/operations"}).body, `"open"`)
	})},
	{name: "graph of who calls whom", of: vault, guess: func(a *attempt) int {
		return a.vaultIn(a.put(question{path: "/jaeger/api/dependencies", form: url.Values{
			"endTs": {strconv.FormatInt(a.end.UnixMilli(), 10)}, "lookback": {strconv.FormatInt(time.Hour.Milliseconds(), 10)}, "service": {a.service},
		}}))
	}},
	{name: "name of the root", of: vault, guess: byTraces(vault, `{ MINE && rootName =~ "root of (PATTERNS)" }`, rootedTrace)},
	{name: "service of the root", of: vault, guess: byTraces(vault, `{ MINE && rootServiceName =~ "SERVICE-(PATTERNS)" }`, rootedTrace)},
	{name: "parent of a span", of: vault, guess: byTraces(vault, `{ resource.service.name =~ "SERVICE-(PATTERNS)" } > { MINE && name = "rooted" }`, rootedTrace)},
	{name: "ancestors that there aren't", of: vault, guess: byHalves(vault, func(a *attempt, pattern string) bool {
		return !a.finds(fmt.Sprintf(`{ resource.service.name =~ %q } !>> { MINE && name = "rooted" }`, a.service+"-("+pattern+")"), rootedTrace)
	})},
	{name: "traces by id", of: deniedTrace, guess: eachOf(deniedTrace, func(a *attempt, value int) bool {
		r := a.trace(deniedTraces, value)
		return r.ok() && strings.Contains(r.body, `"denied"`)
	})},
	{name: "traces by id, in TraceQL", of: deniedTrace, guess: eachOf(deniedTrace, func(a *attempt, value int) bool {
		return a.holdsTrace(a.searches(fmt.Sprintf(`{ trace:id = %q }`, a.traceID(deniedTraces, value))), deniedTraces, value)
	})},
	{name: "keep", of: deniedTrace, guess: eachOf(deniedTrace, func(a *attempt, value int) bool {
		r := a.put(question{path: "/api/parley/v1/kept-traces/" + a.traceID(deniedTraces, value), post: true})
		return r.ok() && strings.Contains(r.body, `"`+a.traceID(deniedTraces, value)+`"`) && !strings.Contains(r.body, `"by":[]`)
	})},
	{name: "links", of: linked, guess: eachOf(linked, func(a *attempt, value int) bool {
		return a.finds(fmt.Sprintf(`{ link:traceID = %q }`, a.traceID(linkedTraces, value)), linkingTrace)
	})},
	{name: "links of a trace by its id", of: linked, guess: func(a *attempt) int { return a.linkIn(a.trace(linkingTrace, 0)) }},
	{name: "what is between", of: interposed, guess: func(a *attempt) int {
		if a.finds(`{ MINE && name = "outer" } > { MINE && name = "inner" }`, interruptedTrace) {
			return 0
		}
		return 1
	}},
	{name: "what is between, by ancestors", of: interposed, guess: func(a *attempt) int {
		if a.finds(`({ MINE && name = "outer" } >> { } >> { MINE && name = "inner" }) | count() > 0`, interruptedTrace) {
			return 1
		}
		return 0
	}},
	{name: "what is between, by id", of: interposed, guess: func(a *attempt) int {
		if strings.Contains(a.trace(interruptedTrace, 0).body, `"between"`) {
			return 1
		}
		return 0
	}},
	{name: "count of what is inside", of: inside, policies: boundaryOnly, guess: upTo(inside, func(a *attempt, more int) bool {
		return a.finds(fmt.Sprintf(`({ MINE && name = "crowded" } >> { }) | count() > %d`, more+1), crowdedTrace)
	})},
	{name: "number of children", of: inside, policies: boundaryOnly, guess: upTo(inside, func(a *attempt, more int) bool {
		return a.finds(fmt.Sprintf(`{ MINE && name = "crowded" && span:childCount > %d }`, more+1), crowdedTrace)
	})},
	{name: "siblings", of: inside, policies: boundaryOnly, guess: upTo(inside, func(a *attempt, more int) bool {
		return a.finds(fmt.Sprintf(`(({ MINE && name = "crowded" } > { }) ~ { }) | count() > %d`, more+1), crowdedTrace)
	})},
	{name: "spans of a trace by its id", of: inside, policies: boundaryOnly, guess: func(a *attempt) int {
		return len(regexp.MustCompile(`"(operationName|startTimeUnixNano)":`).FindAllString(a.trace(crowdedTrace, 0).body, -1)) - 2
	}},
	{name: "depth of what is inside", of: nesting, policies: boundaryOnly, guess: upTo(nesting, func(a *attempt, more int) bool {
		return a.finds(`{ MINE && name = "nested" }`+strings.Repeat(` > { kind = internal }`, more+2), nestedTrace)
	})},
	{name: "duration of what is inside", of: lasting, policies: boundaryOnly, guess: upTo(lasting, func(a *attempt, more int) bool {
		return a.finds(fmt.Sprintf(`{ MINE && name = "slow" } > { duration > %dms }`, 100*(more+1)), slowTrace)
	})},
	{name: "duration of a trace", of: lasting, policies: boundaryOnly, guess: upTo(lasting, func(a *attempt, more int) bool {
		return a.finds(fmt.Sprintf(`{ MINE && name = "slow" && traceDuration > %dms }`, 100*(more+1)), slowTrace)
	})},
	{name: "durations that are equal", of: lasting, policies: boundaryOnly, guess: eachOf(lasting, func(a *attempt, value int) bool {
		return a.finds(fmt.Sprintf(`{ MINE && name = "slow" } > { duration = %dms }`, 100*(value+1)), slowTrace)
	})},
	{name: "beginning of what is inside", of: begun, policies: boundaryOnly, guess: upTo(begun, func(a *attempt, more int) bool {
		return a.holdsTrace(a.put(question{path: "/tempo/api/search", form: url.Values{
			"q": {`{ kind = internal }`}, "limit": {"1000"},
			"start": {wholeSeconds(a.began().Add(time.Duration(more+1) * time.Second))}, "end": {wholeSeconds(a.began().Add(20 * time.Second))},
		}}), lateTrace, 0)
	})},
})

// ofTraces are attacks on traces: on both policies unless they say which.
func ofTraces(attacks []*attack) []*attack {
	for _, k := range attacks {
		k.traces = true
		if k.policies == nil {
			k.policies = spansAndBoundary
		}
	}
	return attacks
}

// byTraces is byHalves where a search finds a trace of the world.
func byTraces(s *secret, expression string, which int) func(*attempt) int {
	return byHalves(s, func(a *attempt, pattern string) bool {
		expression := strings.NewReplacer("PATTERNS", pattern, "PATTERN", strconv.Quote(pattern)).Replace(expression)
		return a.finds(expression, which)
	})
}

// eachOf tries all values of a secret, and is right if one alone holds.
func eachOf(s *secret, holds func(a *attempt, value int) bool) func(*attempt) int {
	return func(a *attempt) int {
		found := -1
		for v := range s.values {
			switch {
			case !holds(a, v):
			case found >= 0:
				return -1
			default:
				found = v
			}
		}
		return found
	}
}

// upTo finds by halves of how many more than the first is true.
func upTo(s *secret, more func(a *attempt, than int) bool) func(*attempt) int {
	return func(a *attempt) int {
		low, high := 0, s.values-1
		for low < high {
			if middle := (low + high) / 2; more(a, middle) {
				low = middle + 1
			} else {
				high = middle
			}
		}
		return low
	}
}

// during is a question of the time of all traces.
func (a *attempt) during(path string, form url.Values) question {
	form.Set("start", wholeSeconds(a.began().Add(-time.Minute)))
	form.Set("end", wholeSeconds(a.end))
	return question{path: path, form: form}
}

func wholeSeconds(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

func microseconds(t time.Time) string { return strconv.FormatInt(t.UnixMicro(), 10) }

// mine puts the world's service into TraceQL.
func (a *attempt) mine(expression string) string {
	return strings.NewReplacer("MINE", fmt.Sprintf("resource.service.name = %q", a.service), "SERVICE", a.service).Replace(expression)
}

func (a *attempt) searches(expression string) reply {
	return a.put(a.during("/tempo/api/search", url.Values{"q": {a.mine(expression)}, "limit": {"1000"}}))
}

// finds says whether a search finds a trace of the world.
func (a *attempt) finds(expression string, which int) bool {
	return a.holdsTrace(a.searches(expression), which, 0)
}

func (a *attempt) holdsTrace(r reply, which, of int) bool {
	return r.ok() && strings.Contains(r.body, `"`+a.traceID(which, of)+`"`)
}

// trace asks for a trace by its id.
func (a *attempt) trace(which, of int) reply {
	return a.put(question{path: "/jaeger/api/traces/" + a.traceID(which, of)})
}

func (a *attempt) tagValues(tag, expression string) reply {
	form := url.Values{}
	if expression != "" {
		form.Set("q", a.mine(expression))
	}
	return a.put(a.during("/tempo/api/v2/search/tag/"+tag+"/values", form))
}

// vaultIn is the world's vault that stands in replies.
func (a *attempt) vaultIn(replies ...reply) int {
	return slices.IndexFunc(allNames(vault), func(name string) bool {
		return slices.ContainsFunc(replies, func(r reply) bool { return r.ok() && strings.Contains(r.body, `"`+a.service+"-"+name+`"`) })
	})
}

// linkIn is to which trace something links in a reply.
func (a *attempt) linkIn(r reply) int {
	for v := range linked.values {
		if r.ok() && strings.Contains(r.body, a.traceID(linkedTraces, v)) {
			return v
		}
	}
	return -1
}

// asksTraces says whether a path is of the signal traces.
func asksTraces(path string) bool {
	return strings.HasPrefix(path, "/tempo/") || strings.HasPrefix(path, "/jaeger/") || strings.HasPrefix(path, "/api/parley/v1/")
}

// What differs from world to world in traces whatever the secret is.
var (
	worldsService = regexp.MustCompile(`w\d{3}`)
	worldsTrace   = regexp.MustCompile(tracePrefix + `\d{3}`)
	someSpan      = regexp.MustCompile(`"[0-9a-f]{16}"`)
)

// ofAnyWorld is what was seen of traces, without what differs anyway: the ids of
// withheld spans are made of those of their traces.
func ofAnyWorld(seen string) string {
	seen = worldsTrace.ReplaceAllString(worldsService.ReplaceAllString(seen, "world"), tracePrefix)
	return someSpan.ReplaceAllStringFunc(seen, func(id string) string {
		if strings.HasPrefix(id, `"`+spanPrefix) {
			return id
		}
		return `"withheld"`
	})
}
