package logql_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/federation/logs/logql/logqltest"
)

// same compares expressions; a matcher's compiled regular expression isn't
// part of it.
var same = cmp.Comparer(func(a, b *labels.Matcher) bool {
	return a == b || a != nil && b != nil && a.Type == b.Type && a.Name == b.Name && a.Value == b.Value
})

// FuzzParse parses what may be LogQL. What is has a canonical text that parses
// to an equal expression, and a pipeline.
func FuzzParse(f *testing.F) {
	for _, query := range []string{
		`{app="x"} |= "a" or ip("10.0.0.0/8") | json a="b.c[0]" | a > 5 and (b="c" or d <= 1h30m, e < 20KB) | line_format "{{.a}}"`,
		`sum by (a) (rate({app=~"x.+"} |> "<_>b" | logfmt --strict [5m] offset -1m)) / on (a) group_left (b) vector(1.5e3) > bool 2 ^ 3 # why`,
		"quantile_over_time(0.99, {a=`b`} | pattern \"<x> <_>\" | unwrap duration(x) | __error__=\"\" [1m]) without (c)",
		`label_replace(topk(3, count_over_time({a="b"}[1d] | regexp "(?P<c>.)" | keep c, d=~"e" | drop f)), "a", "$1", "b", "(.*)")`,
	} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		expr, err := logql.Parse(query)
		if err != nil {
			var parse *logql.ParseError
			if !errors.As(err, &parse) || parse.Line < 1 || parse.Column < 1 || parse.Message == "" {
				t.Fatalf("an error without a place or a message: %v", err)
			}
			return
		}
		text := expr.String()
		again, err := logql.Parse(text)
		if err != nil {
			t.Fatalf("the canonical text %q doesn't parse: %v", text, err)
		}
		if diff := cmp.Diff(expr, again, same); diff != "" {
			t.Fatalf("the canonical text %q is something else:\n%s", text, diff)
		}
		for _, s := range logql.Selectors(expr) {
			if _, err := logql.NewPipeline(s); err != nil {
				t.Fatalf("no pipeline of %q: %v", s, err)
			}
		}
	})
}

// TestGenerated parses what the generator makes, all of which is LogQL.
func TestGenerated(t *testing.T) {
	g := logqltest.New(rand.New(rand.NewPCG(1, 1)))
	for range 5000 {
		for _, query := range []string{g.Log(), g.Range(), g.SumOfRange(), g.Metric()} {
			expr, err := logql.Parse(query)
			if err != nil {
				t.Fatalf("%s\n%v", query, err)
			}
			again, err := logql.Parse(expr.String())
			if err != nil {
				t.Fatalf("%s\nprinted as %s\n%v", query, expr, err)
			}
			if diff := cmp.Diff(expr, again, same); diff != "" {
				t.Fatalf("%s\nprinted as %s\n%s", query, expr, diff)
			}
		}
	}
}
