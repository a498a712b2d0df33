package rego

import (
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"strconv"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

var (
	labelInText  = regexp.MustCompile(`(?:series|stream|span)(?:\.(\w+)|\["([^"]+)"\])`)
	stringInText = regexp.MustCompile(`"(?:[^"\\\n]|\\.)*"`)
)

// FuzzIncludeRule gives whatever Rego someone may write to the translation: it
// never panics, and what it makes of a rule is what OPA says of each series.
func FuzzIncludeRule(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		rev, err := including(t, text)
		if err != nil {
			return
		}
		rev.within.time = DefaultTimeout
		names, values := []string{"env"}, []string{"", "a", "any"}
		for _, m := range labelInText.FindAllStringSubmatch(text, 6) {
			names = append(names, m[1]+m[2])
		}
		for _, quoted := range stringInText.FindAllString(text, 20) {
			if s, err := strconv.Unquote(quoted); err == nil {
				values = append(values, s, s+"a", "a"+s)
			}
		}
		hash := fnv.New64()
		hash.Write([]byte(text))
		r := rand.New(rand.NewPCG(hash.Sum64(), 1))
		series := []map[string]string{{}}
		for range 40 {
			ls := map[string]string{}
			for _, name := range names {
				// An empty label isn't there.
				if v := values[r.IntN(len(values))]; v != "" && name != "" {
					ls[name] = v
				}
			}
			series = append(series, ls)
		}
		_, _ = exact(t, rev, series)
	})
}

// FuzzPattern compares what an expression and a glob say of a value in OPA and
// in the terms of Prometheus.
func FuzzPattern(f *testing.F) {
	f.Fuzz(func(t *testing.T, pattern, delimiter, value string) {
		compare := func(operator string, translated values, operands ...ast.Value) {
			t.Helper()
			args := make([]*ast.Term, len(operands))
			for i, v := range operands {
				args[i] = ast.NewTerm(v)
			}
			var want bool
			err := topdown.GetBuiltin(operator)(topdown.BuiltinContext{}, args, func(result *ast.Term) error {
				want = result.Value.Compare(ast.Boolean(true)) == 0
				return nil
			})
			if err != nil {
				return // such a rule has no value at all
			}
			got := test{label: "l", values: translated}.alternatives()
			if holds := len(got) > 0 && got[0].holds(map[string]string{"l": value}); holds != want {
				t.Errorf("%s %q of %q: OPA says %t, %+v says %t", operator, operands, value, want, translated, holds)
			}
		}
		if v, err := finding(pattern); err == nil {
			compare("regex.match", v, ast.String(pattern), ast.String(value))
		}
		if v, err := globbed(pattern, nil); err == nil {
			compare("glob.match", v, ast.String(pattern), ast.Null{}, ast.String(value))
		}
		if runes := []rune(delimiter); len(runes) == 1 {
			if v, err := globbed(pattern, runes); err == nil {
				compare("glob.match", v, ast.String(pattern), ast.NewArray(ast.StringTerm(delimiter)), ast.String(value))
			}
		}
		for operator, f := range map[string]func(string) (values, error){"startswith": startingWith, "endswith": endingWith, "contains": containing} {
			if v, err := f(pattern); err == nil {
				compare(operator, v, ast.String(value), ast.String(pattern))
			}
		}
	})
}
