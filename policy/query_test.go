package policy

import (
	"regexp"
	"strings"
	"testing"
)

func TestQueriesAreChecked(t *testing.T) {
	text := Parameter{Type: Text, Pattern: regexp.MustCompile("^[a-z]+$")}
	window := Parameter{Type: Duration, Least: 60, Most: 3600}
	for name, test := range map[string]struct {
		query   Query
		because string // empty: it is right
	}{
		"without parameters":  {Query{Name: "q", Expression: "sum(up)"}, ""},
		"with parameters":     {Query{Name: "q", Expression: `rate(x{a="$a"}[$w])`, Parameters: map[string]Parameter{"a": text, "w": window}}, ""},
		"a $ that is none":    {Query{Name: "q", Expression: `label_replace(up, "a", "$1", "b", "(.*)$")`}, ""},
		"not a parameter":     {Query{Name: "q", Expression: `x{a="$b"}`, Parameters: map[string]Parameter{"a": text}}, "$b, which is not one of its parameters: a"},
		"not PromQL":          {Query{Name: "q", Expression: `sum(`}, "parse error"},
		"a range":             {Query{Name: "q", Expression: `up[5m]`}, "it gives a matrix"},
		"a default too large": {Query{Name: "q", Expression: `rate(x[$w])`, Parameters: map[string]Parameter{"w": {Type: Duration, Least: 60, Most: 3600, Default: "2h"}}}, "the default of parameter w: it is out of bounds"},
		"a value that is none": {
			Query{Name: "q", Expression: `rate(x[$w])`, Parameters: map[string]Parameter{"w": {Type: Duration, Values: []string{"5m", "long"}}}},
			"a value of parameter w: want a duration",
		},
		"a value with a quote":   {Query{Name: "q", Expression: `x{a="$a"}`, Parameters: map[string]Parameter{"a": {Type: Text, Values: []string{`"`}}}}, "a value of parameter a"},
		"text outside of quotes": {Query{Name: "q", Expression: `sum by ($a) (x)`, Parameters: map[string]Parameter{"a": text}}, "parameter a has a pattern, so it has to stand within quotes"},
		"text that is a metric":  {Query{Name: "q", Expression: `x{a="$a"} / $a`, Parameters: map[string]Parameter{"a": text}}, "has to stand within quotes"},
		"text in a comment":      {Query{Name: "q", Expression: "x # $a", Parameters: map[string]Parameter{"a": text}}, "has to stand within quotes"},
		"values outside of quotes": {
			Query{Name: "q", Expression: `sum by ($a) (x{a="b $c",d=~'$b'})`, Parameters: map[string]Parameter{"a": {Type: Text, Values: []string{"region, status", "org"}}, "b": text, "c": text}}, "",
		},
	} {
		err := test.query.Check()
		if test.because == "" && err != nil || test.because != "" && (err == nil || !strings.Contains(err.Error(), test.because)) {
			t.Errorf("%s: %v, want %q", name, err, test.because)
		}
	}
}

func FuzzInstantiate(f *testing.F) {
	f.Add("checkout", "5m", "1")
	f.Add(`a"} or vector(1`, "5m])", "NaN")
	q := Query{Name: "q", Expression: `sum(rate(x{a="$a"}[$w])) > $n`, Parameters: map[string]Parameter{
		"a": {Type: Text, Pattern: anything}, "w": {Type: Duration, Least: 1, Most: 3600}, "n": {Type: Number, Least: -maxNumber, Most: maxNumber},
	}}
	shape := regexp.MustCompile(`^sum\(rate\(x\{a="[^"\\` + "`" + `\n']+"\}\[[0-9a-z]+\]\)\) > [-+0-9.eExXa-fA-FpP_]+$`)
	f.Fuzz(func(t *testing.T, a, w, n string) {
		text, err := q.Instantiate(map[string]string{"a": a, "w": w, "n": n})
		if err == nil && !shape.MatchString(text) {
			t.Errorf("%q %q %q became %s", a, w, n, text)
		}
	})
}
