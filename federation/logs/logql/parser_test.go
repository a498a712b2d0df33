package logql

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/prometheus/model/labels"
)

// same compares expressions; a matcher's compiled regular expression isn't
// part of it.
var same = cmp.Options{cmpopts.EquateNaNs(), cmp.Comparer(func(a, b *labels.Matcher) bool {
	return a == b || a != nil && b != nil && a.Type == b.Type && a.Name == b.Name && a.Value == b.Value
})}

// checkRoundTrip fails unless the canonical text parses to an equal expression.
func checkRoundTrip(t *testing.T, query string) Expr {
	t.Helper()
	expr, err := Parse(query)
	if err != nil {
		t.Fatalf("Parse(%q): %v", query, err)
	}
	text := expr.String()
	again, err := Parse(text)
	if err != nil {
		t.Fatalf("Parse(%q), of %q: %v", text, query, err)
	}
	if diff := cmp.Diff(expr, again, same); diff != "" {
		t.Fatalf("%q is printed as %q, which is something else:\n%s", query, text, diff)
	}
	return expr
}

func TestCanonicalText(t *testing.T) {
	for _, c := range []struct{ query, want string }{
		{`{app="x"}`, `{app="x"}`},
		{`({ app = "x",b=~"y.*" })`, `{app="x", b=~"y.*"}`},
		{"{app=`x`} # why\n|= `a\"b` or \"c\"", `{app="x"} |= "a\"b" or "c"`},
		{`{app="x"}|="a"!="b"|~"c.*"!~"d"|>"<_>e"!>"f<_>"`, `{app="x"} |= "a" != "b" |~ "c.*" !~ "d" |> "<_>e" !> "f<_>"`},
		{`{app="x"} != ip("10.0.0.0/8") or ip("::1") | addr != ip("1.2.3.4-1.2.3.9")`, `{app="x"} != ip("10.0.0.0/8") or ip("::1") | addr!=ip("1.2.3.4-1.2.3.9")`},
		{`{app="x"} | json | json a="b.c[0]", d | logfmt --strict --keep-empty e="f"`, `{app="x"} | json | json a="b.c[0]", d="d" | logfmt --strict --keep-empty e="f"`},
		{`{app="x"} | regexp "(?P<a>b)" | pattern "<a> b" | unpack | decolorize`, `{app="x"} | regexp "(?P<a>b)" | pattern "<a> b" | unpack | decolorize`},
		{`{app="x"} | a="b",c>1 and d<=1h30m or e>=20KB d2=~"x"`, `{app="x"} | a="b" and ((c > 1 and d <= 1h30m) or (e >= 20KB and d2=~"x"))`},
		{`{app="x"} | (a="b" or c != -1.5) and (d>1)`, `{app="x"} | (a="b" or c != -1.5) and d > 1`},
		{`{app="x"} | label_format a=b,c="{{.d}}" | line_format "{{.a}}" | keep a,b="c" | drop d=~"e",f`, `{app="x"} | label_format a=b, c="{{.d}}" | line_format "{{.a}}" | keep a, b="c" | drop d=~"e", f`},
		{`rate({app="x"}[5m])`, `rate({app="x"} [5m])`},
		{`count_over_time(({app="x"}|json)[90s] offset -1h)`, `count_over_time({app="x"} | json [1m30s] offset -1h)`},
		{`rate({app="x"}[5m] offset 1d |= "a" | json)`, `rate({app="x"} |= "a" | json [5m] offset 24h)`},
		{`sum_over_time({app="x"}[5m] | unwrap duration(a) | b="c" | d>1)`, `sum_over_time({app="x"} | unwrap duration(a) | b="c" | d > 1 [5m])`},
		{`quantile_over_time(0.99,{app="x"}|json|unwrap a|__error__=""[1m])by(b,c)`, `quantile_over_time(0.99, {app="x"} | json | unwrap a | __error__="" [1m]) by (b, c)`},
		{`sum(rate({app="x"}[1m]))without()`, `sum without () (rate({app="x"} [1m]))`},
		{`topk(3,sum by(a)(rate({app="x"}[1m])))`, `topk(3, sum by (a) (rate({app="x"} [1m])))`},
		{`1+2*vector(3)^4^vector(5)-6`, `(1 + (2 * (vector(3) ^ (4 ^ vector(5))))) - 6`},
		{`1+2*3^2^2 - vector(6)`, `163 - vector(6)`},
		{`vector(1) / (5 / 0) + (2 > bool 1)`, `(vector(1) / (0 / 0)) + 1`},
		{`rate({a="b"}[1m])/on(c)group_left(d)rate({a="b"}[1m])>bool 1`, `(rate({a="b"} [1m]) / on (c) group_left (d) rate({a="b"} [1m])) > bool 1`},
		{`rate({a="b"}[1m]) and rate({a="b"}[1m]) or rate({a="b"}[1m])`, `(rate({a="b"} [1m]) and rate({a="b"} [1m])) or rate({a="b"} [1m])`},
		{`label_replace(rate({a="b"}[1m]),"c","$1","d","(.*)")`, `label_replace(rate({a="b"} [1m]), "c", "$1", "d", "(.*)")`},
	} {
		if got := checkRoundTrip(t, c.query).String(); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.query, got, c.want)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct{ query, want string }{
		{``, `line 1, column 1: expected a log selector`},
		{`{}`, `at least one matcher`},
		{`{a=~".*"}`, `at least one matcher`},
		{`{a="b"`, `line 1, column 7: expected } to end the log selector, not the end`},
		{"{a=\"b\"}\n| json |", `line 2, column 9: expected a label`},
		{`{a=~"("}`, `is not a regular expression: missing closing )`},
		{`{a="b"} |= ip("10.0.0.1") or "x"`, `ip() can't be one of several`},
		{`{a="b"} | regexp "x"`, `needs a named group`},
		{`{a="b"} | pattern "x"`, `needs a named capture`},
		{`{a="b"} |= ip("x")`, `is not an address`},
		{`rate({a="b"})`, `expected a range such as [5m]`},
		{`rate({a="b"} | unwrap x [5m]) by (c)`, `can't be grouped`},
		{`sum_over_time({a="b"}[5m])`, `unwrap`},
		{`count_over_time({a="b"} | unwrap c [5m])`, `can't be of what is unwrapped`},
		{`sum({a="b"})`, `not of lines`},
		{`topk(0, rate({a="b"}[1m]))`, `whole number`},
		{`{a="b"} + 1`, `lines can't be`},
		{`1 and rate({a="b"}[1m])`, `a number can't be`},
		{`variants(rate({a="b"}[1m])) of ({a="b"}[1m])`, `variants`},
		{`nope(rate({a="b"}[1m]))`, `nope is not a function`},
		{strings.Repeat("(", 1000), `nested deeper`},
		{`1` + strings.Repeat("+1", 2000), `more than the 1000 operators`},
		{`{a="b"}` + strings.Repeat(`|~ "((x{10}){10}){10}"`, 11), `repeat too much`},
		{strings.Repeat(" ", maxText+1), `bytes, more than`},
	} {
		_, err := Parse(c.query)
		var parse *ParseError
		if !errors.As(err, &parse) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.100s: got the error %v, want %q", c.query, err, c.want)
		}
	}
}
