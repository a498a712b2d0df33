// Package traceqltest makes random TraceQL, and random traces that it finds
// something in, for comparing what answers it:
//
//	r := rand.New(rand.NewPCG(1, 2))
//	trace := traceqltest.Trace(r, 10)
//	query := traceqltest.New(r).Query()
//	want := query.Select(trace)
//
// The same seed makes the same. A query knows what it selects: that is worked out
// from how it was made, slowly, and shares nothing with what parses it.
package traceqltest

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Generator makes queries over the whole grammar. It is not safe for
// concurrent use.
type Generator struct{ r *rand.Rand }

// New is a Generator that draws from r.
func New(r *rand.Rand) *Generator { return &Generator{r: r} }

// Query is one with what it means.
type Query struct {
	Text    string
	selects func(all []*flat) []bool
	count   func(n int) bool // of its pipeline
}

// Select are the numbers of the spans that the query selects, ascending.
func (q Query) Select(td ptrace.Traces) []int {
	all := flatten(td)
	var out []int
	for i, selected := range q.selects(all) {
		if selected {
			out = append(out, i)
		}
	}
	if !q.count(len(out)) {
		return nil
	}
	return out
}

// Query makes one.
func (g *Generator) Query() Query {
	q := g.spansets(2)
	if g.chance(4) {
		op, n := one(g.r, comparisons), g.r.IntN(5)
		q.Text += fmt.Sprintf(" | count() %s %d", op, n)
		q.count = func(found int) bool { return ordered(op, found < n, found == n) }
	}
	if g.chance(4) {
		q.Text += "|select(" + g.field(false).text + g.space() + "," + g.field(false).text + ")"
	}
	return q
}

// Filter makes a query of a single filter.
func (g *Generator) Filter() Query {
	c := g.condition(2)
	return Query{
		Text: "{" + g.space() + c.text + g.space() + "}",
		selects: func(all []*flat) []bool {
			out := make([]bool, len(all))
			for i := range all {
				out[i] = c.holds(all, i)
			}
			return out
		},
		count: func(int) bool { return true },
	}
}

var (
	comparisons = []string{"=", "!=", "<", "<=", ">", ">="}
	structures  = []string{">", ">>", "<", "<<", "~"}
)

// spansets are filters with operators between them: those of structure first,
// then && and ||, from left to right.
func (g *Generator) spansets(depth int) Query {
	q := g.structures(depth)
	for range g.r.IntN(3) {
		op, left, right := one(g.r, []string{"&&", "||"}), q, g.structures(depth)
		q.Text += g.space() + op + g.space() + right.Text
		q.selects = func(all []*flat) []bool {
			l, r := left.selects(all), right.selects(all)
			for i := range l {
				l[i] = l[i] || r[i]
			}
			if op == "&&" && (!slices.Contains(left.selects(all), true) || !slices.Contains(r, true)) {
				return make([]bool, len(all))
			}
			return l
		}
	}
	return q
}

func (g *Generator) structures(depth int) Query {
	q := g.operand(depth)
	for range g.r.IntN(3) {
		op, left, right := one(g.r, structures), q, g.operand(depth)
		prefix := one(g.r, []string{"", "", "", "!", "&"})
		q.Text += g.space() + prefix + op + " " + right.Text
		q.selects = func(all []*flat) []bool {
			return structured(all, prefix, op, left.selects(all), right.selects(all))
		}
	}
	return q
}

func structured(all []*flat, prefix, op string, left, right []bool) []bool {
	out := make([]bool, len(all))
	for r := range all {
		found := false
		for l := range all {
			if left[l] && related(all, op, l, r) {
				found = true
				if prefix == "&" && right[r] {
					out[l] = true
				}
			}
		}
		out[r] = out[r] || right[r] && found != (prefix == "!")
	}
	return out
}

func (g *Generator) operand(depth int) Query {
	if depth > 0 && g.chance(3) {
		q := g.spansets(depth - 1)
		q.Text = "(" + q.Text + ")"
		return q
	}
	return g.Filter()
}

// condition is what stands in a filter.
type condition struct {
	text  string
	holds func(all []*flat, i int) bool
}

func (g *Generator) condition(depth int) condition {
	c := g.unary(depth)
	for range g.r.IntN(3) {
		op, left, right := one(g.r, []string{"&&", "||"}), c, g.unary(depth)
		c.text += g.space() + op + g.space() + right.text
		c.holds = func(all []*flat, i int) bool {
			if op == "&&" {
				return left.holds(all, i) && right.holds(all, i)
			}
			return left.holds(all, i) || right.holds(all, i)
		}
	}
	return c
}

func (g *Generator) unary(depth int) condition {
	switch {
	case depth > 0 && g.chance(5):
		c := g.condition(depth - 1)
		c.text = "(" + c.text + ")"
		return c
	case depth > 0 && g.chance(5):
		c := g.condition(depth - 1)
		return condition{"!" + g.space() + "(" + c.text + ")", func(all []*flat, i int) bool { return !c.holds(all, i) }}
	case g.chance(20):
		b := g.chance(2)
		return condition{strconv.FormatBool(b), func([]*flat, int) bool { return b }}
	case g.chance(12):
		f := g.field(true)
		return condition{f.text + " ", func(all []*flat, i int) bool {
			values, _ := get(all, i, f.name)
			return slices.Contains(values, any(true))
		}}
	}
	return g.comparison()
}

func (g *Generator) comparison() condition {
	f := g.field(false)
	switch {
	case g.chance(8):
		isNil := g.chance(2)
		return condition{f.text + map[bool]string{true: " = nil", false: " != nil"}[isNil], func(all []*flat, i int) bool {
			_, has := get(all, i, f.name)
			return has != isNil
		}}
	case (f.sort == "" || f.sort == "string") && g.chance(4):
		return g.regexp(f)
	case f.sort == "" && g.chance(8):
		other, op := g.field(true), one(g.r, comparisons)
		return condition{f.text + " " + op + " " + other.text + " ", func(all []*flat, i int) bool {
			l, _ := get(all, i, f.name)
			r, _ := get(all, i, other.name)
			return compareAll(l, op, r)
		}}
	}
	v := g.value(f.sort)
	op := one(g.r, comparisons)
	if v.sort == "bool" || v.sort == "status" || v.sort == "kind" {
		op = one(g.r, comparisons[:2])
	}
	holds := func(all []*flat, i int) bool {
		values, _ := get(all, i, f.name)
		return compareAll(values, op, []any{v.value})
	}
	if g.chance(6) {
		turned := strings.NewReplacer("<", ">", ">", "<").Replace(op)
		return condition{v.text + " " + turned + " " + f.text + " ", holds}
	}
	return condition{f.text + " " + op + " " + v.text, holds}
}

func (g *Generator) regexp(f field) condition {
	re := one(g.r, []string{"a.*", "a|b", "GET /.*|checkout", ".*", ".+", "(?i)AB", "[0-9]", ""})
	compiled := regexp.MustCompile(`\A(?s:` + re + `)\z`)
	not := g.chance(3)
	op := "=~"
	if not {
		op = "!~"
	}
	return condition{f.text + op + g.quoted(re), func(all []*flat, i int) bool {
		values, _ := get(all, i, f.name)
		some, found := false, false
		for _, v := range values {
			if s, ok := v.(string); ok {
				some = true
				found = found || compiled.MatchString(s)
			}
		}
		return some && found != not
	}}
}

// field is an attribute or an intrinsic: what is written, what it is called, and
// of what sort its values are; empty is any.
type field struct{ text, name, sort string }

var intrinsics = []struct {
	name, sort string
	spelled    []string
}{
	{"name", "string", []string{"name", "span:name"}},
	{"status", "status", []string{"status", "span:status"}},
	{"statusMessage", "string", []string{"statusMessage", "span:statusMessage"}},
	{"kind", "kind", []string{"kind", "span:kind"}},
	{"duration", "number", []string{"duration", "span:duration"}},
	{"span:id", "span id", []string{"span:id"}},
	{"span:parentID", "span id", []string{"span:parentID"}},
	{"span:childCount", "number", []string{"span:childCount"}},
	{"trace:id", "trace id", []string{"trace:id"}},
	{"traceDuration", "number", []string{"traceDuration", "trace:duration"}},
	{"rootName", "string", []string{"rootName", "trace:rootName"}},
	{"rootServiceName", "string", []string{"rootServiceName", "trace:rootService"}},
	{"event:name", "string", []string{"event:name"}},
	{"event:timeSinceStart", "number", []string{"event:timeSinceStart"}},
	{"link:traceID", "trace id", []string{"link:traceID"}},
	{"link:spanID", "span id", []string{"link:spanID"}},
	{"instrumentation:name", "string", []string{"instrumentation:name"}},
	{"instrumentation:version", "string", []string{"instrumentation:version"}},
}

func (g *Generator) field(attribute bool) field {
	if !attribute && g.chance(2) {
		i := one(g.r, intrinsics)
		return field{one(g.r, i.spelled), i.name, i.sort}
	}
	scope := one(g.r, []string{".", ".", "span.", "resource.", "event.", "link.", "instrumentation.", "parent.", "parent.span.", "parent.resource."})
	name := one(g.r, attributeNames)
	text := scope + name
	if strings.ContainsAny(name, ` "5`) || g.chance(8) {
		text = scope + `"` + strings.ReplaceAll(name, `"`, `\"`) + `"`
	}
	return field{text + g.space(), scope + name, ""}
}

type value struct {
	text  string
	value any
	sort  string
}

// value makes one of a sort; "number" is any that compares with numbers, and
// nothing any that an attribute can have.
func (g *Generator) value(sort string) value {
	switch sort {
	case "":
		return g.value(one(g.r, []string{"string", "string", "number", "bool"}))
	case "string":
		s := one(g.r, texts)
		return value{g.quoted(s), s, sort}
	case "bool":
		b := g.chance(2)
		return value{strconv.FormatBool(b), b, sort}
	case "status":
		s := one(g.r, []string{"ok", "error", "unset"})
		return value{s, status(s), sort}
	case "kind":
		k := one(g.r, []string{"unspecified", "internal", "server", "client", "producer", "consumer"})
		return value{k, kind(k), sort}
	case "span id":
		id := hexOf([]byte{0, 0, 0, 0, 0, 0, 0xab, byte(g.r.IntN(4))})
		return value{g.quoted(id), id, sort}
	case "trace id":
		id := strings.Repeat("0", 31) + strconv.Itoa(g.r.IntN(3))
		return value{g.quoted(id), id, sort}
	}
	switch g.r.IntN(3) {
	case 0:
		n := one(g.r, ints)
		return value{strconv.FormatInt(n, 10), n, sort}
	case 1:
		f := one(g.r, floats)
		return value{strconv.FormatFloat(f, 'f', 2, 64), f, sort}
	default:
		d := one(g.r, []time.Duration{0, 5, 7, 100, -1, 1500})
		return value{d.String(), d, sort}
	}
}

func (g *Generator) quoted(s string) string {
	if g.chance(3) {
		return "`" + s + "`"
	}
	return strconv.Quote(s)
}

func (g *Generator) space() string { return one(g.r, []string{"", " ", " ", "\n", " /* x */ "}) }

func (g *Generator) chance(of int) bool { return g.r.IntN(of) == 0 }
