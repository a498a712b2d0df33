package rego

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	opa "github.com/open-policy-agent/opa/v1/rego"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/policy"
)

var includeSeed = flag.Int64("include.seed", 1, "seed of the random include rules; 0 takes one from the clock, as make fuzz does")

// OPA evaluating a rule for each series, stream or span is the oracle: the
// selectors that the rule becomes match exactly those of which it says true.
func TestSelectorsSayWhatOPASaysOfEach(t *testing.T) {
	seed := *includeSeed
	if seed == 0 {
		seed = time.Now().UnixNano()
	}
	t.Logf("seed %d (repeat with -include.seed=%d)", seed, seed)
	for i, e := range elements {
		t.Run(e.name, func(t *testing.T) {
			agreeWithOPA(t, e, rand.New(rand.NewPCG(uint64(seed), uint64(1+i))))
		})
	}
}

func agreeWithOPA(t *testing.T, e *element, r *rand.Rand) {
	rules := map[bool]int{true: 300, false: 150}[e == elements[0]]
	translated, selective := 0, 0
	for range rules {
		text := (&author{Rand: r, of: e}).policy()
		rev, err := including(t, text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		var series []map[string]string
		for range 40 {
			series = append(series, randomLabels(r, e))
		}
		got, err := exact(t, rev, series)
		if err != nil {
			continue
		}
		translated++
		if len(got) > 0 && len(got[0]) > 0 {
			selective++
		}
		if t.Failed() {
			t.Fatalf("of\n%s\nwhich became\n%s", text, strings.ReplaceAll(asText(got), "} {", "}\n{"))
		}
	}
	t.Logf("%d of %d rules translated, %d of them to selectors with matchers", translated, rules, selective)
	if translated < rules*9/10 || selective < rules/2 {
		t.Error("the rules say too little")
	}
}

// exact translates the rule include of p, and compares.
func exact(t testing.TB, rev *revision, series []map[string]string) ([]policy.Selector, error) {
	t.Helper()
	p := rev.packages["p"]
	input, err := describe(asks("globex", "p", "slo-review", "up"), noon, p.reads)
	if err != nil {
		t.Fatal(err)
	}
	value, err := parseInput(input)
	if err != nil {
		t.Fatal(err)
	}
	e := allowance{proofTimeout, maxMemory}.begin(t.Context())
	defer e.end()
	got, err := rev.include(e, p, "include", value)
	if err != nil {
		if known := (*includeError)(nil); !errors.As(err, &known) {
			t.Errorf("%T: %v", err, err)
		}
		return nil, err
	}
	query, err := opa.New(opa.Query("data.p.include"), opa.Compiler(rev.compiler), opa.Store(rev.store), opa.StrictBuiltinErrors(true)).PrepareForEval(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, ls := range series {
		results, err := query.Eval(t.Context(), opa.EvalParsedInput(p.includes["include"].of.in(value, ls)))
		selected := slices.ContainsFunc(got, func(s policy.Selector) bool {
			return !slices.ContainsFunc(s, func(m *labels.Matcher) bool { return !m.Matches(ls[m.Name]) })
		})
		if err != nil || selected != results.Allowed() {
			t.Errorf("%q: OPA says %t (%v), the selectors %t", ls, results.Allowed(), err, selected)
		}
	}
	return got, nil
}

var (
	someLabels = map[string][]string{
		"series": {"env", "team", "zone", "__name__"},
		"stream": {"env", "team", "zone", "service"},
		"span":   {"resource.env", "span.team", "name", "resource.service.name"},
	}
	someTexts = []string{"a", "b", "ab", "api", "web", "prod-eu", "K", "\u212a", "a\nb", "a.b", "x|y", "ſ"}
)

func randomLabels(r *rand.Rand, e *element) map[string]string {
	out := map[string]string{}
	for _, name := range someLabels[e.name] {
		if r.IntN(3) > 0 {
			out[name] = someTexts[r.IntN(len(someTexts))]
			if r.IntN(4) == 0 {
				out[name] += someTexts[r.IntN(len(someTexts))]
			}
		}
	}
	return out
}

// author writes policies with an include rule.
type author struct {
	*rand.Rand
	of      *element
	rules   []string
	helpers []string // rules of true
	tiers   []string // rules of text
	vars    int
}

func pick[T any](a *author, from []T) T { return from[a.IntN(len(from))] }

func (a *author) text() string {
	if a.IntN(12) == 0 {
		return `""`
	}
	return fmt.Sprintf("%q", pick(a, someTexts))
}

func (a *author) variable() string {
	a.vars++
	return fmt.Sprintf("v%d", a.vars)
}

func (a *author) label() string {
	name := a.name()
	switch a.IntN(6) {
	case 0:
		return fmt.Sprintf("%v[%q]", a.of, name)
	case 1:
		return fmt.Sprintf("itself(%v)%s", a.of, in(name))
	case 2:
		return fmt.Sprintf("value(%v, %q)", a.of, name)
	}
	return fmt.Sprintf("%v%s", a.of, in(name))
}

// name is that of a label.
func (a *author) name() string { return pick(a, someLabels[a.of.name]) }

// in is a label as a part of a reference.
func in(name string) string {
	if strings.Contains(name, ".") {
		return fmt.Sprintf("[%q]", name)
	}
	return "." + name
}

func (a *author) list() string {
	var out []string
	for range a.IntN(4) {
		out = append(out, a.text())
	}
	list := strings.Join(out, ", ")
	switch a.IntN(5) {
	case 0:
		return "data.teams"
	case 1:
		return "data.owners"
	case 2:
		return "data.blocked"
	case 3:
		if list != "" {
			return "{" + list + "}"
		}
	}
	return "[" + list + "]"
}

// test is an expression about a term that is text.
func (a *author) test(of string) string {
	switch a.IntN(11) {
	case 0, 1:
		return of + " == " + a.text()
	case 2:
		return a.text() + " == " + of
	case 3:
		return of + " != " + a.text()
	case 4:
		return of + " in " + a.list()
	case 5:
		return "startswith(" + of + ", " + a.text() + ")"
	case 6:
		return "endswith(" + of + ", " + a.text() + ")"
	case 7:
		return "contains(" + of + ", " + a.text() + ")"
	case 8:
		return fmt.Sprintf("regex.match(%q, %s)", pick(a, []string{
			"a", "^a", "b$", "^a.b$", "^(a|b)$", "(?i)k", "(?i)^k.*$", "^$", "", "x*", "^a|b$", "[a-c]+", "(?s)^a.b$", "(?m)^b$", `\bapi\b`, `\Qa.b`, "^(?:a?b)+$", "(?i)^s", `\|`, "^(?i:AB)$|web",
		}), of)
	case 9:
		return fmt.Sprintf("glob.match(%q, %s, %s)", pick(a, []string{"a*", "*b", "*a*", "**", "*", "a.**", "**.*", "prod-*"}), pick(a, []string{"[]", "null", `["."]`, `["-", "|"]`}), of)
	}
	return of + " == " + a.text()
}

// expressions are some that belong together.
func (a *author) expressions(depth int) []string {
	not := func() string { return pick(a, []string{"", "", "not "}) }
	v := a.variable()
	switch a.IntN(18) {
	case 16:
		return []string{fmt.Sprintf("%s := %v", v, a.of), not() + a.test(v+in(a.name()))}
	case 17:
		w := a.variable()
		return []string{fmt.Sprintf("%s := %v", v, a.of), w + " := " + v + in(a.name()), not() + a.test(w)}
	case 0, 1, 2:
		return []string{not() + a.test(a.label())}
	case 3:
		return []string{not() + a.label()}
	case 4:
		return []string{"some " + v + " in " + a.list(), not() + pick(a, []string{a.label() + " == " + v, "startswith(" + a.label() + ", " + v + ")", v + " != " + a.label()})}
	case 5:
		return []string{v + " := " + a.label(), not() + a.test(v)}
	case 6:
		return []string{fmt.Sprintf("%s := object.get(%v, %q, ", v, a.of, a.name()) + pick(a, []string{a.text(), a.label(), "null"}) + ")", pick(a, []string{a.text() + " == " + v, not() + v + " != " + a.text(), "not " + v + " in " + a.list()})}
	case 7:
		return []string{v + " := " + a.test(a.label()), pick(a, []string{v, "not " + v, v + " == false", v + " != true"})}
	case 8:
		return []string{fmt.Sprintf("%sdata.owners[%s]%s", not(), a.label(), pick(a, []string{"", ` == "alice"`, ` != "bob"`}))}
	case 9:
		return []string{fmt.Sprintf("some %s in [%q, %q]", v, a.name(), a.name()), not() + fmt.Sprintf("%v[%s] == ", a.of, v) + a.text()}
	case 10:
		return []string{pick(a, []string{`input.principal.purpose == "slo-review"`, `input.owner != ""`, `not input.principal.purpose == "audit"`, `count(input.selectors) == 7`, `not prefix == ""`})}
	case 11, 12:
		if depth > 0 {
			return []string{not() + a.helper(depth-1)}
		}
	case 13:
		if depth > 0 {
			if a.IntN(2) == 0 {
				return []string{not() + a.function("x"+in(a.name()), depth-1) + fmt.Sprintf("(%v)", a.of)}
			}
			return []string{not() + a.function("x", depth-1) + "(" + a.label() + ")"}
		}
	case 14:
		if depth > 0 {
			return []string{pick(a, []string{a.tier(depth-1) + " == " + a.text(), a.tier(depth-1) + " != " + a.text(), "not " + a.tier(depth-1) + " == " + a.text(), "startswith(" + a.label() + ", " + a.tier(depth-1) + ")"})}
		}
	case 15:
		return []string{not() + "startswith(" + a.label() + ", prefix)"}
	}
	return []string{a.test(a.label())}
}

func (a *author) body(depth int) string {
	var out []string
	for range 1 + a.IntN(3) {
		out = append(out, a.expressions(depth)...)
	}
	return "{\n\t" + strings.Join(out, "\n\t") + "\n}"
}

func (a *author) rule(head string, depth int) {
	a.rules = append(a.rules, head+" if "+a.body(depth))
}

// helper is a rule of true, an old one or a new one.
func (a *author) helper(depth int) string {
	if len(a.helpers) > 0 && a.IntN(3) == 0 {
		return pick(a, a.helpers)
	}
	name := "h" + a.variable()
	if a.IntN(4) == 0 {
		a.rules = append(a.rules, "default "+name+" := false")
	}
	for range 1 + a.IntN(3) {
		a.rule(name, depth)
	}
	a.helpers = append(a.helpers, name)
	return name
}

// function is one whose argument is tested as given.
func (a *author) function(of string, depth int) string {
	name := "f" + a.variable()
	for range 1 + a.IntN(2) {
		a.rules = append(a.rules, fmt.Sprintf("%s(x) if {\n\t%s%s\n\t%s\n}", name, pick(a, []string{"", "not "}), a.test(of), strings.Join(a.expressions(depth), "\n\t")))
	}
	return name
}

// tier is a rule of text.
func (a *author) tier(depth int) string {
	if len(a.tiers) > 0 && a.IntN(3) == 0 {
		return pick(a, a.tiers)
	}
	name := "t" + a.variable()
	if a.IntN(2) == 0 {
		a.rules = append(a.rules, "default "+name+" := "+a.text())
	}
	a.rule(name+" := "+pick(a, []string{a.text(), a.label()}), depth)
	a.tiers = append(a.tiers, name)
	return name
}

func (a *author) policy() string {
	a.rules = []string{`
prefix := "a" if input.kind
itself(x) := x
value(x, name) := x[name]
`}
	if a.IntN(6) == 0 {
		a.rules = append(a.rules, "default include := "+pick(a, []string{"true", "false"}))
		a.rule("include := "+pick(a, []string{"true", "false"}), 3)
	} else {
		for range 1 + a.IntN(3) {
			a.rule("include", 3)
		}
	}
	return strings.Join(a.rules, "\n")
}
