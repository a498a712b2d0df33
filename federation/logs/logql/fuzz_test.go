package logql_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/federation/logs/logql/logqltest"
)

// same compares expressions; a matcher's compiled regular expression isn't
// part of it.
var same = cmp.Options{cmpopts.EquateNaNs(), cmp.Comparer(func(a, b *labels.Matcher) bool {
	return a == b || a != nil && b != nil && a.Type == b.Type && a.Name == b.Name && a.Value == b.Value
})}

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

// FuzzPipeline sends what may be a line through a pipeline. Whatever it is, it
// comes out or not, and labels have names and are in one category.
func FuzzPipeline(f *testing.F) {
	r := rand.New(rand.NewPCG(2, 2))
	g := logqltest.New(r)
	for _, e := range logqltest.Entries(r, 50, time.Unix(0, 0), time.Second) {
		f.Add(g.Log(), e.Line)
	}
	f.Fuzz(processOne)
}

func processOne(t *testing.T, query, line string) {
	expr, err := logql.Parse(query)
	s, ok := expr.(*logql.LogSelector)
	if err != nil || !ok {
		return
	}
	p, err := logql.NewPipeline(s)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	e, ok := p.Process(1, line, labels.FromStrings("app", "shop", "env", "prod"), labels.FromStrings("app", "x", "pod", "a-1"))
	if !ok {
		return
	}
	seen := map[string]bool{}
	for _, ls := range []labels.Labels{e.Stream, e.Metadata, e.Parsed} {
		ls.Range(func(l labels.Label) {
			if l.Name == "" || seen[l.Name] {
				t.Errorf("%s of %q: the label %q is there twice or has no name: %s, %s, %s", query, line, l.Name, e.Stream, e.Metadata, e.Parsed)
			}
			seen[l.Name] = true
		})
		if dup, ok := ls.HasDuplicateLabelNames(); ok {
			t.Errorf("%s of %q: the label %q is there twice", query, line, dup)
		}
	}
}

// TestGeneratedPipelines sends generated entries through generated pipelines.
func TestGeneratedPipelines(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	g := logqltest.New(r)
	for range 300 {
		query := g.Log()
		for _, e := range logqltest.Entries(r, 50, time.Unix(0, 0), time.Second) {
			processOne(t, query, e.Line)
		}
	}
}
