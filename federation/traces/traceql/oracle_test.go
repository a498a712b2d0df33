package traceql_test

import (
	"errors"
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/federation/traces/traceql/traceqltest"
)

var (
	seed    = flag.Int64("traceql.seed", 1, "seed of the random queries and traces; 0 takes one from the clock")
	queries = flag.Int("traceql.queries", 1000, "how many random queries are evaluated")
)

// TestSelectsWhatTheNaiveDo evaluates random queries over random traces twice:
// here, and as the generator says from how it made them.
func TestSelectsWhatTheNaiveDo(t *testing.T) {
	first := *seed
	if first == 0 {
		first = time.Now().UnixNano()
	}
	t.Logf("seed %d (repeat with -traceql.seed=%d)", first, first)
	r := rand.New(rand.NewPCG(uint64(first), 1))
	g := traceqltest.New(r)
	found := 0
	for range *queries {
		query := g.Query()
		expr := parseBothWays(t, query.Text)
		for range 4 {
			spans := traceqltest.Trace(r, 12)
			got, want := expr.Select(traceql.NewTrace(spans)), query.Select(spans)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("%s\nparsed as %s\nselects (- naive, + ours):\n%s", query.Text, expr, diff)
			}
			found += min(len(got), 1)
		}
	}
	if all := 4 * *queries; found < all/8 || found > all*7/8 {
		t.Errorf("%d of %d traces were found: the queries and traces are too poor", found, all)
	}
}

// parseBothWays parses a query, and what it prints, which has to be the same.
func parseBothWays(t *testing.T, query string) *traceql.Expr {
	t.Helper()
	expr, err := traceql.Parse(query)
	if err != nil {
		t.Fatalf("%s\n%v", query, err)
	}
	again, err := traceql.Parse(expr.String())
	if err != nil {
		t.Fatalf("%s\nprinted as %s\n%v", query, expr, err)
	}
	if diff := traceql.Diff(expr, again); diff != "" {
		t.Fatalf("%s\nprinted as %s\n%s", query, expr, diff)
	}
	return expr
}

// TestEqualIsTrueOfWhatMatches holds filters to what they say of values.
func TestEqualIsTrueOfWhatMatches(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	g := traceqltest.New(r)
	var attributes []traceql.Attribute
	for _, name := range []string{"name", "status", "kind", "rootName", "resource.service.name", "span.foo", ".bar", "event:name"} {
		a, err := traceql.ParseAttribute(name)
		if err != nil {
			t.Fatal(err)
		}
		attributes = append(attributes, a)
	}
	said := 0
	for range 5000 {
		filter := parseBothWays(t, g.Filter().Text).Filters()[0]
		trace := traceql.NewTrace(traceqltest.Trace(r, 8))
		for _, a := range attributes {
			values, ok := filter.Equal(a)
			if !ok {
				continue
			}
			said++
			for i := range trace.Len() {
				if filter.Matches(trace, i) && !hasOneOf(trace.Values(i, a), values) {
					t.Fatalf("%s is true of a span whose %s are %v, none of %q", filter, a, trace.Values(i, a), values)
				}
			}
		}
	}
	if said < 500 {
		t.Errorf("filters said something of values %d times only", said)
	}
}

func hasOneOf(have []traceql.Value, want []string) bool {
	for _, v := range have {
		for _, w := range want {
			if v.String() == w {
				return true
			}
		}
	}
	return false
}

// TestAttributesHaveOneName parses the names that listings print.
func TestAttributesHaveOneName(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 100 {
		trace := traceql.NewTrace(traceqltest.Trace(r, 8))
		for i := range trace.Len() {
			for _, a := range trace.Attributes(i) {
				if again, err := traceql.ParseAttribute(a.String()); err != nil || again != a {
					t.Fatalf("%+v is printed as %s, which is %+v, %v", a, a, again, err)
				}
			}
		}
	}
	for _, name := range traceql.Intrinsics() {
		a, err := traceql.ParseAttribute(name)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := traceql.ParseAttribute(a.String()); err != nil || again != a {
			t.Errorf("%s is printed as %s, which is %+v, %v", name, a, again, err)
		}
	}
}

// FuzzParse parses what may be TraceQL. What is has a canonical text that parses
// to an equal expression, and can be evaluated.
func FuzzParse(f *testing.F) {
	for _, query := range []string{
		`{ resource.service.name = "a" && span."b c" >= 1.5e3 || !(.d =~ "e.*|f") && name != nil } >> { status = error } | select(span.x, kind) | count() > 2`,
		"({ parent.a != `b` } &>> { 1h5m < duration }) && { } !~ { kind = server } || { link:traceID = \"1f\" } // why",
		`{ .a /* x */ && span:status != ok && trace:rootName !~ "b" && -1 < event.c && parent.resource.d } ~ { false }`,
		`{ .a = minInt || .b = -0.0 || ."5" = .5 || .c = 1d }`,
		`{ } | rate() by (name) with (x=true)`,
	} {
		f.Add(query)
	}
	r := rand.New(rand.NewPCG(4, 4))
	g := traceqltest.New(r)
	for range 30 {
		f.Add(g.Query().Text)
	}
	trace := traceql.NewTrace(traceqltest.Trace(r, 12))
	f.Fuzz(func(t *testing.T, query string) {
		_, err := traceql.Parse(query)
		if err != nil {
			var parse *traceql.ParseError
			if !errors.As(err, &parse) || parse.Line < 1 || parse.Column < 1 || parse.Message == "" {
				t.Fatalf("an error without a place or a message: %v", err)
			}
			return
		}
		expr := parseBothWays(t, query)
		for _, i := range expr.Select(trace) {
			if i < 0 || i >= trace.Len() {
				t.Fatalf("%s selects the span %d of %d", query, i, trace.Len())
			}
		}
	})
}
