package traceql

import (
	"errors"
	"strings"
	"testing"
)

func TestCanonicalText(t *testing.T) {
	for _, c := range []struct{ query, want string }{
		{`{}`, `{ }`},
		{`{.foo="bar"}`, `{ .foo = "bar" }`},
		{"{ span:name=`a\"b` } // why", `{ name = "a\"b" }`},
		{`{ /* all */ resource.service.name =~ "a|b" && span.x!~"c" }`, `{ resource.service.name =~ "a|b" && span.x !~ "c" }`},
		{`{ .a = 1 || .b = 2 && .c = 3 }`, `{ (.a = 1 || .b = 2) && .c = 3 }`},
		{`{ .a = 1 || (.b = 2 && .c = 3) }`, `{ .a = 1 || (.b = 2 && .c = 3) }`},
		{`{ (.a = 1) || ((.b = 2)) || .c = 3 }`, `{ .a = 1 || .b = 2 || .c = 3 }`},
		{`{ !(.a = 1) && !.b && !true }`, `{ !(.a = 1) && !(.b) && !(true) }`},
		{`{ .a }`, `{ .a }`},
		{`{ 100ms < duration && 5 = .a }`, `{ duration > 100ms && .a = 5 }`},
		{
			`{ .a = -1 && .b = -1.50 && .c = -1h30m && .d = 1e3 && .e = .5 && .f = 1d && .g = maxInt && .h = minInt }`,
			`{ .a = -1 && .b = -1.5 && .c = -1h30m0s && .d = 1000.0 && .e = 0.5 && .f = 24h0m0s && .g = 9223372036854775807 && .h = minInt }`,
		},
		{`{ span.a != nil && nil = resource.b }`, `{ span.a != nil && resource.b = nil }`},
		{`{ status = error && span:status != ok && kind = server && span:kind != unspecified }`, `{ status = error && status != ok && kind = server && kind != unspecified }`},
		{
			`{ trace:rootService = "a" && trace:rootName = "b" && trace:duration > 1s && span:duration < 1s && span:statusMessage = "c" }`,
			`{ rootServiceName = "a" && rootName = "b" && traceDuration > 1s && duration < 1s && statusMessage = "c" }`,
		},
		{
			`{ trace:id = "4BF92F" && span:parentID != "1" && span:id = "" && link:traceID = "x" }`,
			`{ trace:id = "000000000000000000000000004bf92f" && span:parentID != "0000000000000001" && span:id = "" && link:traceID = "x" }`,
		},
		{
			`{ span."a b" = 1 && span.a."b c".d = 2 && ."5" = 3 && ."a\"b\\" = 4 && span."plain" = 5 && parent."span.x" = 6 && ."" = 7 }`,
			`{ span."a b" = 1 && span."a.b c.d" = 2 && ."5" = 3 && ."a\"b\\" = 4 && span.plain = 5 && parent."span.x" = 6 && ."" = 7 }`,
		},
		{`{ parent.a = 1 && parent.span.b = parent.resource.c && instrumentation.d = event.e }`, `{ parent.a = 1 && parent.span.b = parent.resource.c && instrumentation.d = event.e }`},
		{`{ .http.request.header.x-y+z = "a" }`, `{ .http.request.header.x-y+z = "a" }`},
		{`{.a=1}>{.b=2}>>{.c=3}`, `({ .a = 1 } > { .b = 2 }) >> { .c = 3 }`},
		{`{.a=1}&&{.b=2}||{.c=3}&>>{.d=4}`, `({ .a = 1 } && { .b = 2 }) || ({ .c = 3 } &>> { .d = 4 })`},
		{`(({.a=1}))!<({.b=2}~{.c=3})`, `{ .a = 1 } !< ({ .b = 2 } ~ { .c = 3 })`},
		{`{} | select(span.a,name) | count()>=3`, `{ } | select(span.a, name) | count() >= 3`},
	} {
		expr, err := Parse(c.query)
		if err != nil {
			t.Errorf("%s: %v", c.query, err)
			continue
		}
		if got := expr.String(); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.query, got, c.want)
		}
		again, err := Parse(expr.String())
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		if diff := Diff(expr, again); diff != "" {
			t.Errorf("%s is printed as something else:\n%s", c.query, diff)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct{ query, want string }{
		{``, `line 1, column 1: expected a filter`},
		{`{ .a = 1`, `line 1, column 9: expected } to end the filter, not the end`},
		{"{ .a = 1 }\n  {}", `line 2, column 3: expected an operator`},
		{`name = "a"`, `expected a filter, such as { status = error }, not name`},
		{`{ foo = 1 }`, `foo is no intrinsic; attributes have a dot before their name, such as .foo or span.foo`},
		{`{ db.system = "x" }`, `db is no scope`},
		{`{ . = 1 }`, `expected the name`},
		{`{ span."a = 1 }`, `the name isn't closed`},
		{`{ span."a\n" = 1 }`, `escapes of an attribute's name`},
		{`{ .a = "b }`, `the string isn't closed`},
		{`{ .a = "\q" }`, `an escape that isn't one`},
		{`{ .a = 1x }`, `1x is not a number or a duration`},
		{`{ .a = 1 /* }`, `the comment isn't closed`},
		{`{ .a =~ "(" }`, `"(" is not a regular expression: missing closing )`},
		{`{ .a =~ 5 }`, `a regular expression on its right, as a string, not 5`},
		{`{ .a =~ nil }`, `a regular expression on its right`},
		{`{ "a" =~ .a }`, `has an attribute on its left`},
		{`{ duration =~ "1s" }`, `duration is of type duration, and regular expressions are of strings`},
		{`{ name = 5 }`, `name is of type string and 5 of type int: they can't be compared`},
		{`{ status = "error" }`, `status is of type status and "error" of type string`},
		{`{ name = status }`, `name is of type string and status of type status`},
		{`{ status > ok }`, `orders strings, numbers and durations only`},
		{`{ .a > true }`, `orders strings, numbers and durations only`},
		{`{ .a = error }`, `no attribute is one`},
		{`{ .a > nil }`, `nil is compared with = and != only`},
		{`{ 1 = 1 }`, `1 = 1 has none`},
		{`{ .a = .b = .c }`, `not another =`},
		{`{ (.a) = 1 }`, `what stands in parentheses`},
		{`{ !.a = 1 }`, `! binds more strongly than = does: write !(...)`},
		{`{ name }`, `expected a comparison of name`},
		{`{ 5 }`, `expected a comparison of 5`},
		{`{ .a + 1 > 2 }`, `arithmetic, as with +, isn't supported`},
		{`{ .a > 10 * 1024 }`, `arithmetic, as with *, isn't supported`},
		{`{ -.a > 2 }`, `arithmetic, as with -, isn't supported`},
		{`{ nestedSetParent < 0 }`, `nestedSetParent isn't supported`},
		{`{ span:nestedSetLeft > 1 }`, `span:nestedSetLeft isn't supported`},
		{`{ parent = nil }`, `the intrinsic parent isn't supported`},
		{`{} | rate()`, `rate() isn't supported: no metrics are made of traces`},
		{`{} | quantile_over_time(duration, .9) by (name)`, `quantile_over_time() isn't supported`},
		{`{} | by(name)`, `by() isn't supported`},
		{`{} | coalesce()`, `coalesce() isn't supported`},
		{`{} | avg(duration) > 1s`, `avg() isn't supported: spans can be counted only`},
		{`{} | {.a = 1}`, `a filter after | isn't supported`},
		{`{} | foo()`, `foo is no stage of a pipeline; supported are | select(...) and | count() compared with a number`},
		{`{} | count()`, `expected a comparison of count()`},
		{`{} | count() > 1.5`, `count() is compared with a whole number, not 1.5`},
		{`{} | select()`, `expected an attribute or an intrinsic`},
		{`({} | count() > 1) && {}`, `a pipeline in parentheses isn't supported`},
		{`count() > 2`, `count has to stand after a filter`},
		{`rate()`, `rate() isn't supported`},
		{`{} with (most_recent=true)`, `hints, as in with (...), aren't supported`},
		{`{} + {}`, `expected an operator`},
		{`{ .a = 1 & .b = 2 }`, `has no meaning here`},
		{`{ ` + strings.Repeat("(", 600), `nested deeper`},
		{`{ ` + strings.Repeat("!", 600), `nested deeper`},
		{strings.Repeat("(", 600), `nested deeper`},
		{`{}` + strings.Repeat("&&{}", 1001), `more than the 1000 operators`},
		{`{ true` + strings.Repeat("&&true", 1001), `more than the 1000 operators`},
		{`{ true` + strings.Repeat(`&& .a =~ "((x{10}){10}){10}"`, 11) + `}`, `repeat too much`},
		{strings.Repeat(" ", maxText+1), `bytes, more than`},
		{"{ .a = \"\xff\" }", `isn't UTF-8`},
	} {
		_, err := Parse(c.query)
		var parse *ParseError
		if !errors.As(err, &parse) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.100s\n got the error %v\nwant %s", c.query, err, c.want)
		}
	}
}

func TestNamesOfAttributes(t *testing.T) {
	for _, c := range []struct {
		text string
		want Attribute
	}{
		{"resource.service.name", Attribute{Scope: ScopeResource, Name: "service.name"}},
		{"span.http.route", Attribute{Scope: ScopeSpan, Name: "http.route"}},
		{".foo", Attribute{Name: "foo"}},
		{`span."a b"`, Attribute{Scope: ScopeSpan, Name: "a b"}},
		{"name", Attribute{Scope: ScopeIntrinsic, Name: Name}},
		{"span:name", Attribute{Scope: ScopeIntrinsic, Name: Name}},
		{"trace:rootService", Attribute{Scope: ScopeIntrinsic, Name: RootService}},
		{"parent.resource.x", Attribute{Scope: ScopeResource, Name: "x", Parent: true}},
	} {
		if got, err := ParseAttribute(c.text); err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", c.text, got, err, c.want)
		}
	}
	for text, want := range map[string]string{
		"":          "expected an attribute or an intrinsic, such as resource.service.name, .http.route or name, not the end",
		"foo":       "foo is no intrinsic",
		"a.b":       "a is no scope",
		"span.a b":  "names with spaces and the like are quoted",
		"name, .b":  "expected the end of the attribute's name",
		"nestedSet": "isn't supported",
	} {
		if _, err := ParseAttribute(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got the error %v, want %s", text, err, want)
		}
	}
}
