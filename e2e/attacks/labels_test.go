package attacks

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// requests is how much each of the users of a world asked for in the last
// minutes, with more matchers in MATCHERS. Only the spike's is above spike.
const (
	requests = `increase(http_requests_total{SERVICE,region="eu"MATCHERS}[5m])`
	spike    = 5000
)

// onRequests puts requests into an expression, in the place of REQUESTS, with a
// matcher on a label.
func onRequests(expression, matcher string) string {
	if matcher != "" {
		matcher = "," + matcher
	}
	return strings.NewReplacer("REQUESTS", strings.ReplaceAll(requests, "MATCHERS", matcher), "SPIKE", fmt.Sprint(spike)).Replace(expression)
}

// byHalves asks of which half of a secret's values something holds until one is
// left. The pattern matches the names of one half.
func byHalves(s *secret, holds func(a *attempt, pattern string) bool) func(*attempt) int {
	return func(a *attempt) int {
		low, high := 0, s.values
		for high-low > 1 {
			middle := (low + high) / 2
			var names []string
			for v := low; v < middle; v++ {
				names = append(names, s.name(v))
			}
			if holds(a, strings.Join(names, "|")) {
				high = middle
			} else {
				low = middle
			}
		}
		return low
	}
}

// byValue is byHalves where an expression with a matcher on users has a value
// above the spike's.
func byValue(expression string) func(*attempt) int {
	return byHalves(spiking, func(a *attempt, pattern string) bool {
		v, ok := a.asks(onRequests(expression, fmt.Sprintf("user=~%q", pattern))).value()
		return ok && v > spike
	})
}

// byPresence is byHalves where an expression has a result.
func byPresence(s *secret, expression string) func(*attempt) int {
	return byHalves(s, func(a *attempt, pattern string) bool {
		return len(a.asks(strings.ReplaceAll(expression, "PATTERN", fmt.Sprintf("%q", pattern))).series()) > 0
	})
}

// byName reads a secret's value from what is answered.
func byName(s *secret, expressions ...string) func(*attempt) int {
	return func(a *attempt) int {
		var replies []reply
		for _, e := range expressions {
			replies = append(replies, a.asks(onRequests(e, "")))
		}
		return named(s, replies...)
	}
}

// named is the one value of a secret with which a text in replies begins; -1 when
// there is none, or several are.
func named(s *secret, replies ...reply) int {
	found := -1
	for v := range s.values {
		if !slices.ContainsFunc(replies, func(r reply) bool { return strings.Contains(r.body, `"`+s.name(v)) }) {
			continue
		}
		if found >= 0 {
			return -1
		}
		found = v
	}
	return found
}

// digitByDigit finds the name of a user by what a regular expression matches.
func digitByDigit(holds func(a *attempt, pattern string) bool) func(*attempt) int {
	return func(a *attempt) int {
		found := 0
		for digit := range 4 {
			prefix := ""
			if digit > 0 {
				prefix = fmt.Sprintf("%0*x", digit, found)
			}
			low, high := 0, 16
			for high-low > 1 {
				middle := (low + high) / 2
				if holds(a, fmt.Sprintf("h%s[%s].*", prefix, "0123456789abcdef"[low:middle])) {
					high = middle
				} else {
					low = middle
				}
			}
			found = found<<4 | low
		}
		return found
	}
}

// inText is the name of a user that stands in replies: h and four digits.
func inText(replies ...reply) int {
	for _, r := range replies {
		for text := r.body; ; {
			_, after, ok := strings.Cut(text, `"h`)
			if !ok {
				break
			}
			text = after
			if raw, err := hex.DecodeString(after[:min(4, len(after))]); err == nil && len(raw) == 2 {
				return int(raw[0])<<8 | int(raw[1])
			}
		}
	}
	return -1
}

var rowsAndCells = []string{Rows, Cells}

// onLabels are after labels that policy drops, renames or generalizes.
var onLabels = []*attack{
	{name: "matcher", of: spiking, guess: byValue(`sum(REQUESTS)`)},
	{name: "negated matcher", of: spiking, long: true, guess: byHalves(spiking, func(a *attempt, pattern string) bool {
		all, allOK := a.asks(onRequests(`sum(REQUESTS)`, "")).value()
		others, othersOK := a.asks(onRequests(`sum(REQUESTS)`, fmt.Sprintf("user!~%q", pattern))).value()
		return allOK && othersOK && all-others > spike
	})},
	{name: "matcher with a quoted name", of: spiking, guess: byHalves(spiking, func(a *attempt, pattern string) bool {
		v, ok := a.asks(fmt.Sprintf(`sum(increase({"http_requests_total", SERVICE, "region"="eu", "us\u0065r"=~%q}[5m]))`, pattern)).value()
		return ok && v > spike
	})},
	{name: "tracker of two large groups", of: spiking, guess: byHalves(spiking, func(a *attempt, pattern string) bool {
		const padded = `sum(increase(http_requests_total{SERVICE,user=~%q}[5m])) - sum(increase(http_requests_total{SERVICE,user=~"other.*"}[5m]))`
		v, ok := a.asks(fmt.Sprintf(padded, pattern+"|other.*")).value()
		return ok && v > spike
	})},
	{name: "group by", of: spiking, guess: byName(spiking, `sum by (user) (REQUESTS) > SPIKE`)},
	{name: "without", of: spiking, guess: byName(spiking, `sum without (pod, customer, tenant) (REQUESTS) > SPIKE`)},
	{name: "label_replace", of: spiking, guess: byName(spiking,
		`sum by (region) (label_replace(REQUESTS, "region", "$1", "user", "(.*)")) > SPIKE`,
		`topk(1, label_replace(sum by (user) (REQUESTS), "region", "$1", "user", "(.*)"))`)},
	{name: "label_join", of: spiking, guess: byName(spiking, `sum by (region) (label_join(REQUESTS, "region", "-", "user", "region")) > SPIKE`)},
	{name: "count_values", of: spiking, guess: byName(spiking, `count_values by (user) ("value", REQUESTS > SPIKE)`, `count_values("user", REQUESTS > SPIKE)`)},
	{name: "group_left", of: spiking, guess: byName(spiking,
		`group by (service) (REQUESTS) * on (service) group_left (user) (REQUESTS > SPIKE)`,
		`group by (service) (REQUESTS) * on (service) group_left (user) (sum by (service, user) (REQUESTS) > SPIKE)`)},
	{name: "topk and bottomk", of: spiking, guess: byName(spiking, `topk(1, REQUESTS)`, `bottomk(1, -REQUESTS)`)},
	{name: "limitk and limit_ratio", of: spiking, unserved: true, guess: byName(spiking, `limitk(1, REQUESTS > SPIKE)`, `limit_ratio(1, REQUESTS > SPIKE)`)},
	{name: "quantile, max and min", of: spiking, guess: byName(spiking,
		`quantile by (user) (1, REQUESTS) > SPIKE`, `max by (user) (REQUESTS) > SPIKE`, `-min by (user) (-REQUESTS) > SPIKE`)},
	{name: "sorting", of: spiking, guess: func(a *attempt) int {
		series := a.asks(onRequests(`sort_desc(REQUESTS)`, "")).series()
		if len(series) == 0 {
			return -1
		}
		most := slices.MaxFunc(series, func(x, y answered) int { return cmp.Compare(x.Values[0].value, y.Values[0].value) })
		return slices.Index(allNames(spiking), most.Metric["user"])
	}},
	{name: "and", of: spiking, guess: byPresence(spiking, onRequests(`vector(1) and on () (REQUESTS > SPIKE)`, `user=~PATTERN`))},
	{name: "or", of: spiking, guess: byHalves(spiking, func(a *attempt, pattern string) bool {
		v, ok := a.asks(onRequests(`(sum(REQUESTS > SPIKE) or vector(0)) > bool 0`, fmt.Sprintf(`user=~%q`, pattern))).value()
		return ok && v == 1
	})},
	{name: "unless", of: spiking, guess: byHalves(spiking, func(a *attempt, pattern string) bool {
		r := a.asks(onRequests(`vector(1) unless on () (REQUESTS > SPIKE)`, fmt.Sprintf(`user=~%q`, pattern)))
		return r.ok() && len(r.series()) == 0
	})},
	{name: "absent", of: spiking, guess: byHalves(spiking, func(a *attempt, pattern string) bool {
		r := a.asks(onRequests(`absent(REQUESTS > SPIKE)`, fmt.Sprintf(`user=~%q`, pattern)))
		return r.ok() && len(r.series()) == 0
	})},
	{name: "scalar", of: spiking, guess: byValue(`vector(scalar(sum(REQUESTS)))`)},
	{name: "> bool", of: spiking, guess: byHalves(spiking, func(a *attempt, pattern string) bool {
		v, ok := a.asks(onRequests(`sum(REQUESTS > bool SPIKE)`, fmt.Sprintf(`user=~%q`, pattern))).value()
		return ok && v > 0
	})},
	{name: "join with a made-up label", of: spiking, guess: byHalves(spiking, func(a *attempt, pattern string) bool {
		var made []string
		for name := range strings.SplitSeq(pattern, "|") {
			made = append(made, fmt.Sprintf(`label_replace(vector(1), "user", %q, "", "")`, name))
		}
		v, ok := a.asks(onRequests(`sum(REQUESTS * on (user) group_left () (`+strings.Join(made, " or ")+`))`, "")).value()
		return ok && v > spike
	})},
	{name: "subquery", of: spiking, guess: byName(spiking, `max_over_time((sum by (user) (REQUESTS))[10m:1m]) > SPIKE`, `topk(1, max_over_time(REQUESTS[10m:1m]))`)},
	{name: "names that only a gateway has", of: spiking, unserved: true, guess: byName(spiking,
		`topk(1, sum by (user, __parley_surrogate__) (REQUESTS))`,
		`topk(1, label_replace(sum by (__parley_surrogate__, user) (REQUESTS), "region", "$1", "__parley_surrogate__", "(.*)"))`)},
	{name: "regular expression by halves", of: userName, long: true, guess: digitByDigit(func(a *attempt, pattern string) bool {
		return len(a.asks(fmt.Sprintf(`count(agent_sessions{SERVICE,user=~%q})`, pattern)).series()) > 0
	})},
	{name: "absent by halves", of: userName, long: true, guess: digitByDigit(func(a *attempt, pattern string) bool {
		r := a.asks(fmt.Sprintf(`absent(agent_sessions{SERVICE,user=~%q})`, pattern))
		return r.ok() && len(r.series()) == 0
	})},
	{name: "text of an error", of: userName, unserved: true, guess: func(a *attempt) int {
		return inQuotes(
			a.asks(`agent_sessions{SERVICE} / on (service) agent_sessions{SERVICE}`),
			a.asks(`label_replace(agent_sessions{SERVICE}, "user", "", "", "")`),
			a.asks(`agent_sessions{SERVICE} * on (service) group_left (user) agent_sessions{SERVICE}`),
			a.asks(`sum by (user) (agent_sessions{SERVICE}) + on () group_right () sum by (user) (agent_sessions{SERVICE})`))
	}},
	{name: "matcher on what has a pseudonym", of: spikingPod, guess: byHalves(spikingPod, func(a *attempt, pattern string) bool {
		v, ok := a.asks(onRequests(`sum(REQUESTS)`, fmt.Sprintf("pod=~%q", pattern))).value()
		return ok && v > spike
	})},
	{name: "pseudonym by dictionary", of: spikingPod, guess: func(a *attempt) int {
		for _, s := range a.asks(onRequests(`topk(1, sum by (pod) (REQUESTS))`, "")).series() {
			return slices.IndexFunc(allNames(spikingPod), func(name string) bool {
				return s.Metric["pod"] != "" && slices.Contains(wordsFor(name), s.Metric["pod"])
			})
		}
		return -1
	}},
	{name: "pseudonym by label_replace", of: spikingPod, guess: byName(spikingPod,
		`topk(1, sum by (region) (label_replace(REQUESTS, "region", "$1", "pod", "(pod-.*)")))`,
		`topk(1, label_replace(sum by (pod) (REQUESTS), "region", "$1", "pod", "(.*)"))`)},
	{name: "matcher on a class", of: statusCode, guess: byPresence(statusCode, `count(http_requests_total{SERVICE,region="eu",status=~PATTERN})`)},
	{name: "class by label_replace", of: statusCode, guess: byName(statusCode,
		`sum by (region) (label_replace(http_requests_total{SERVICE,region="eu",status!="200"}, "region", "$1", "status", "(.*)"))`,
		`group by (status) (http_requests_total{SERVICE,region="eu"})`)},
	{name: "class by label values", of: statusCode, guess: func(a *attempt) int {
		return named(statusCode, a.lists("/api/v1/label/status/values", `http_requests_total{SERVICE}`),
			a.lists("/api/v1/series", `http_requests_total{SERVICE,status=~"40.|41."}`))
	}},
	{name: "order of ties", of: tied, policies: rowsOnly, guess: func(a *attempt) int {
		// Both have the same value. Where the label that is first in order is
		// dropped, its order must not be seen.
		for _, s := range a.asks(`topk(1, http_retries{SERVICE})`).series() {
			return slices.Index([]string{"eu", "us"}, s.Metric["region"])
		}
		return -1
	}},
	{name: "order of a listing", of: tied, policies: rowsOnly, guess: func(a *attempt) int {
		for _, s := range a.asks(`http_retries{SERVICE}`).series() {
			return slices.Index([]string{"eu", "us"}, s.Metric["region"])
		}
		return -1
	}},
}

// inQuotes is inText, where quotes are escaped.
func inQuotes(replies ...reply) int {
	for i := range replies {
		replies[i].body = strings.ReplaceAll(replies[i].body, `\"`, `"`)
	}
	return inText(replies...)
}

func allNames(s *secret) []string {
	out := make([]string, s.values)
	for v := range out {
		out[v] = s.name(v)
	}
	return out
}

// wordsFor are what a value could have become without a key, or with one that
// everybody knows.
func wordsFor(value string) []string {
	out := []string{value}
	add := func(sum []byte) {
		lower := base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
		out = append(out, "p-"+lower.EncodeToString(sum)[:20], "p-"+hex.EncodeToString(sum)[:20])
	}
	plain := sha256.Sum256([]byte(value))
	add(plain[:])
	for _, key := range []string{"", "acme", "globex", "pseudonym", "pod", "parley"} {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(value))
		add(mac.Sum(nil))
	}
	return out
}
