package attacks

import "fmt"

// requests is how fast the requests of a world's users grow: the highest is the
// spike's.
const requestsOf = `increase(http_requests_total{SERVICE,region="eu",status="200"%s}[5m])`

// bisect asks which half of the candidates holds what is looked for, until one
// is left.
func bisect(n int, holds func(candidates []int) bool) int {
	candidates := make([]int, n)
	for i := range candidates {
		candidates[i] = i
	}
	for len(candidates) > 1 {
		half := candidates[:len(candidates)/2]
		if holds(half) {
			candidates = half
		} else {
			candidates = candidates[len(half):]
		}
	}
	return candidates[0]
}

// spike is more than any other user's requests in five minutes.
const spike = 5000

func oneOf(s *secret, candidates []int) string {
	out := ""
	for i, c := range candidates {
		if i > 0 {
			out += "|"
		}
		out += s.name(c)
	}
	return out
}

func names(s *secret) []string {
	out := make([]string, s.values)
	for i := range out {
		out[i] = s.name(i)
	}
	return out
}

var catalogue = []*attack{
	{name: "matcher", of: spiking, policies: []string{Rows, Cells}, guess: func(a *attempt) int {
		return bisect(spiking.values, func(half []int) bool {
			v, ok := a.asks(fmt.Sprintf(`sum(`+requestsOf+`)`, fmt.Sprintf(`,user=~%q`, oneOf(spiking, half)))).value()
			return ok && v > spike
		})
	}},
	{name: "topk", of: spiking, policies: []string{Rows, Cells}, guess: func(a *attempt) int {
		return a.asks(fmt.Sprintf(`topk(1, `+requestsOf+`)`, ``)).names(names(spiking))
	}},
	{name: "group by", of: spiking, policies: []string{Rows, Cells}, guess: func(a *attempt) int {
		return a.asks(fmt.Sprintf(`topk(1, sum by (user) (`+requestsOf+`))`, ``)).names(names(spiking))
	}},
	{name: "set operations", of: department, foreign: true, policies: []string{Rows, Cells}, guess: func(a *attempt) int {
		return bisect(department.values, func(half []int) bool {
			_, ok := a.asks(fmt.Sprintf(`vector(1) and on () payroll_total{SERVICE,department=~%q}`, oneOf(department, half))).value()
			return ok
		})
	}},
}
