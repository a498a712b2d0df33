package attacks

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// onSeries are after series that policy denies, and names and routes by which
// more than an answer could be told.
var onSeries = []*attack{
	{name: "denied series by name", of: department, foreign: true, guess: byName(department,
		`payroll_total{SERVICE}`, `sum by (department) (payroll_total{SERVICE})`, `count by (department) ({__name__=~"payroll.*",SERVICE})`)},
	{name: "denied series by any name", of: department, long: true, foreign: true, guess: byName(department,
		`{SERVICE}`, `{__name__=~".+",SERVICE}`, `count by (department) ({SERVICE})`, `group by (department) ({SERVICE,department!=""})`)},
	{name: "and, on denied series", of: department, foreign: true, guess: byPresence(department, `vector(1) and on () payroll_total{SERVICE,department=~PATTERN}`)},
	{name: "sum and, on denied series", of: department, foreign: true, guess: byPresence(department,
		`sum(http_requests_total{SERVICE}) and on () count(payroll_total{SERVICE,department=~PATTERN})`)},
	{name: "absent, on denied series", of: department, foreign: true, guess: byHalves(department, func(a *attempt, pattern string) bool {
		r := a.asks(fmt.Sprintf(`absent(payroll_total{SERVICE,department=~%q})`, pattern))
		return r.ok() && len(r.series()) == 0
	})},
	{name: "scalar, on denied series", of: department, foreign: true, guess: byHalves(department, func(a *attempt, pattern string) bool {
		v, ok := a.asks(fmt.Sprintf(`vector(scalar(sum(payroll_total{SERVICE,department=~%q})) > bool 0)`, pattern)).value()
		return ok && v == 1
	})},
	{name: "matchers against the policy's", of: department, foreign: true, guess: byName(department,
		`payroll_total{SERVICE,tenant="internal"}`, `payroll_total{SERVICE,tenant=~"internal|shared"}`, `payroll_total{SERVICE,tenant!="shared"}`,
		`http_requests_total{SERVICE} or payroll_total{SERVICE}`, `{SERVICE,tenant="shared",tenant="internal"}`, `{__name__="payroll_total",org=~".*",SERVICE}`)},
	{name: "series", of: department, foreign: true, guess: func(a *attempt) int {
		return named(department, a.lists("/api/v1/series", `payroll_total{SERVICE}`), a.lists("/api/v1/series", `{SERVICE}`))
	}},
	{name: "match[] again", of: department, foreign: true, guess: func(a *attempt) int {
		return named(department,
			a.lists("/api/v1/series", `http_requests_total{SERVICE}`, `payroll_total{SERVICE}`),
			a.lists("/api/v1/series", `payroll_total{SERVICE}`, `http_requests_total{SERVICE}`),
			a.lists("/api/v1/label/department/values", `http_requests_total{SERVICE}`, `payroll_total{SERVICE}`, `{SERVICE}`),
			a.lists("/api/v1/series", `http_requests_total{SERVICE}`, `payroll_total{SERVICE,tenant="internal"}`))
	}},
	{name: "label values", of: department, foreign: true, guess: func(a *attempt) int {
		return named(department, a.lists("/api/v1/label/department/values", `{SERVICE}`), a.lists("/api/v1/label/department/values", `payroll_total{SERVICE}`))
	}},
	{name: "denied series of a released metric", of: admitted, long: true, foreign: true, guess: byName(admitted,
		`http_logins_total{SERVICE}`, `sum by (region) (rate(http_logins_total{SERVICE}[5m]))`, `count by (region) (http_logins_total{SERVICE})`,
		`http_logins_total{SERVICE,realm="staff"}`, `group by (region) ({SERVICE,realm!="public"})`, `topk(2, http_logins_total{SERVICE})`)},
	{name: "denied series in a listing", of: admitted, foreign: true, guess: func(a *attempt) int {
		return named(admitted, a.lists("/api/v1/label/region/values", `http_logins_total{SERVICE}`), a.lists("/api/v1/series", `http_logins_total{SERVICE}`),
			a.lists("/api/v1/label/region/values", `{SERVICE}`))
	}},
	{name: "denied series in a count", of: admitted, foreign: true, guess: byHalves(admitted, func(a *attempt, pattern string) bool {
		v, ok := a.asks(fmt.Sprintf(`count(http_logins_total{SERVICE,region=~%q}) or vector(0)`, pattern+"|site-eu")).value()
		return ok && v > 1
	})},
	{name: "names of metrics", of: level, long: true, foreign: true, guess: func(a *attempt) int {
		return named(level, a.lists("/api/v1/label/__name__/values", `{SERVICE}`), a.lists("/api/v1/label/__name__/values", `{__name__=~"internal_.*_level",SERVICE}`),
			a.asks(`count by (__name__) ({SERVICE})`), a.asks(`group by (__name__) ({__name__=~"internal_.*_level",SERVICE})`))
	}},
	{name: "text of a warning", of: level, foreign: true, unserved: true, guess: func(a *attempt) int {
		return named(level, a.asks(`sum(rate({__name__=~"internal_.*_level",SERVICE}[5m]))`),
			a.asks(`histogram_quantile(0.9, {__name__=~"internal_.*_level",SERVICE})`), a.asks(`count(rate({__name__=~".*_level",SERVICE}[5m]))`))
	}},
	{name: "label values of a dropped label", of: userName, guess: func(a *attempt) int {
		return inText(a.lists("/api/v1/label/user/values", `agent_sessions{SERVICE}`), a.lists("/api/v1/label/user/values", `{SERVICE,user=~"h.*"}`),
			a.lists("/api/v1/series", `agent_sessions{SERVICE}`))
	}},
	{name: "label values by halves", of: userName, long: true, guess: digitByDigit(func(a *attempt, pattern string) bool {
		r := a.lists("/api/v1/label/service/values", fmt.Sprintf(`agent_sessions{SERVICE,user=~%q}`, pattern))
		return r.ok() && regexp.MustCompile(`"`+a.service+`"`).MatchString(r.body)
	})},
	{name: "remote read", of: userName, guess: func(a *attempt) int {
		return inText(a.reads("agent_sessions"))
	}},
	{name: "remote read of denied series", of: department, foreign: true, guess: func(a *attempt) int {
		return named(department, a.reads("payroll_total"))
	}},
	{name: "exemplars", of: traced, guess: func(a *attempt) int {
		var replies []reply
		for _, expression := range []string{`http_requests_total{SERVICE}`, `sum by (user) (rate(http_requests_total{SERVICE,user=~".+"}[5m]))`, `{SERVICE}`} {
			replies = append(replies, a.put(question{path: "/api/v1/query_exemplars", form: url.Values{
				"query": {a.of(expression)}, "start": {seconds(a.end.Add(-time.Hour))}, "end": {seconds(a.end)},
			}}))
		}
		return named(traced, replies...)
	}},
	{name: "metadata", of: helped, long: true, foreign: true, guess: func(a *attempt) int {
		one := a.put(question{path: "/api/v1/metadata", form: url.Values{"metric": {helpedMetric(a.world)}}})
		if found := named(helped, one); found >= 0 {
			return found
		}
		all := a.put(question{path: "/api/v1/metadata"})
		return inRecord(helped, all.body, `"`+helpedMetric(a.world)+`":\[[^\]]*"help":"([^"]*)"`)
	}},
	{name: "targets", of: targeted, foreign: true, guess: func(a *attempt) int {
		if found := named(targeted, a.asksAt(`up{SERVICE}`, time.Now()), a.asksAt(`scrape_samples_scraped{SERVICE}`, time.Now())); found >= 0 {
			return found
		}
		return inRecord(targeted, a.put(question{path: "/api/v1/targets"}).body, `"pod":"([^"]*)","service":"`+a.service+`"`)
	}},
	{name: "rules", of: owning, foreign: true, unserved: true, guess: func(a *attempt) int {
		return inRecord(owning, a.put(question{path: "/api/v1/rules"}).body, `"owner":"([^"]*)","service":"`+a.service+`"`)
	}},
	{name: "alerts", of: owning, foreign: true, guess: func(a *attempt) int {
		if found := named(owning, a.asksAt(`ALERTS{SERVICE}`, time.Now()), a.asksAt(`ALERTS_FOR_STATE{SERVICE}`, time.Now())); found >= 0 {
			return found
		}
		return inRecord(owning, a.put(question{path: "/api/v1/alerts"}).body, `"owner":"([^"]*)","service":"`+a.service+`"`)
	}},
	{name: "federation endpoint", of: department, foreign: true, unserved: true, guess: func(a *attempt) int {
		return named(department, a.put(question{path: "/federate", form: url.Values{"match[]": {a.of(`{SERVICE}`)}}}))
	}},
	{name: "cardinality", of: burdened, foreign: true, unserved: true, guess: func(a *attempt) int {
		for _, path := range []string{"/api/v1/status/tsdb", "/api/v1/status/tsdb?limit=10000", "/tsdb-status", "/metrics"} {
			path, query, _ := cut(path)
			r := a.put(question{path: path, query: query})
			if match := regexp.MustCompile(`"service=` + a.service + `","value":(\d+)`).FindStringSubmatch(r.body); match != nil {
				n, err := strconv.Atoi(match[1])
				if err == nil && n > 500 { // there are some 250 others
					return 1
				}
				return 0
			}
		}
		return -1
	}},
}

func cut(path string) (before, query string, found bool) {
	u, err := url.Parse(path)
	if err != nil {
		return path, "", false
	}
	return u.Path, u.RawQuery, u.RawQuery != ""
}

// inRecord is the value of a secret that a pattern finds.
func inRecord(s *secret, body, pattern string) int {
	match := regexp.MustCompile(pattern).FindStringSubmatch(body)
	if match == nil {
		return -1
	}
	return slices.Index(allNames(s), match[1])
}

// reads reads a metric's series by remote read; at the peer door, asks for them
// whole.
func (a *attempt) reads(metric string, more ...*labels.Matcher) reply {
	return a.put(question{path: "/api/v1/read", read: &selection{
		matchers: append([]*labels.Matcher{is("__name__", metric), is("service", a.service)}, more...),
		start:    a.end.Add(-3 * time.Hour), end: a.end,
	}})
}

func is(name, value string) *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchEqual, name, value)
}
