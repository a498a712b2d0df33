package inspect

import (
	"regexp"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"pgregory.net/rapid"

	"github.com/parley-gateway/parley/policy"
)

func selector(t testing.TB, text string) policy.Selector {
	t.Helper()
	if text == "{}" {
		return policy.Selector{}
	}
	s, err := parser.ParseMetricSelector(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func matches(s policy.Selector, ls labels.Labels) bool {
	for _, m := range s {
		if !m.Matches(ls.Get(m.Name)) {
			return false
		}
	}
	return true
}

func TestMeeting(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want answer
	}{
		{`up`, `up`, yes},
		{`up`, `down`, no},
		{`{}`, `up{job="a"}`, yes},
		{`{__name__=~"http_.*"}`, `{__name__=~".*_total"}`, yes},
		{`{__name__=~"http_.*"}`, `{__name__=~"agent_.*|workflow_active"}`, no},
		{`{__name__=~"a|b"}`, `{__name__!~"a|b"}`, no},
		{`{__name__=~"a|b|c"}`, `{__name__!~"a|b"}`, yes},
		{`up{env="prod"}`, `up{env!="prod"}`, no},
		{`up{env=~"(?i)PROD"}`, `up{env="prod"}`, yes},
		{`up{env=~"(?i)prod",env!="prod"}`, `up`, yes},
		{`up{env=""}`, `up{env=~".+"}`, no},
		{`up{env=~".*"}`, `up{env=~"[^a]"}`, yes},
		{`up{env=~"a{3}"}`, `up{env=~"(aa)*"}`, no},
		{`up{env=~"a{4}"}`, `up{env=~"(aa)*"}`, yes},
		{`up{env=~"a\\b.*"}`, `up{env=~"ab.*"}`, no},
		{`up{env=~"a\\b.*"}`, `up{env=~"a-.*"}`, yes},
		{`up{env=~"a.b"}`, `up{env=~"a\nb"}`, yes},
		{`up{env=~"é+"}`, `up{env=~"[^a-z]*"}`, yes},
	} {
		a, b := selector(t, c.a), selector(t, c.b)
		example, got := meeting(a, b)
		if got != c.want {
			t.Errorf("%s and %s: %v, want %v", c.a, c.b, got, c.want)
		}
		if got == yes && (!matches(a, example) || !matches(b, example)) {
			t.Errorf("%s and %s: %s doesn't match both", c.a, c.b, example)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		of     string
		others []string
		want   answer
	}{
		{`up`, []string{`{}`}, yes},
		{`{}`, []string{`up`}, no},
		{`up{env="prod"}`, []string{`up`}, yes},
		{`up`, []string{`up{env="prod"}`}, no},
		{`up`, []string{`up{env="prod"}`, `up{env!="prod"}`}, yes},
		{`up`, []string{`up{env="prod"}`, `up{env=~"prod|"}`}, no},
		{`{__name__=~"http_requests_.*"}`, []string{`{__name__=~"http_.*"}`}, yes},
		{`{__name__=~"http_.*"}`, []string{`{__name__=~"http_requests_.*"}`}, no},
		{`{__name__=~"a|b"}`, []string{`a`, `b`}, yes},
		{`{__name__=~"a|b"}`, []string{`a`}, no},
		{`{__name__=~"a|b"}`, nil, no},
	} {
		var others []policy.Selector
		for _, o := range c.others {
			others = append(others, selector(t, o))
		}
		if got := covers(others, selector(t, c.of)); got != c.want {
			t.Errorf("%s by %s: %v, want %v", c.of, c.others, got, c.want)
		}
	}
}

// What takes too long is said not to be known, and doesn't take long.
func TestTooMuchToWorkOut(t *testing.T) {
	if _, got := meeting(selector(t, `up{a=~"(.*x.{40})",a=~".*(.*y.{41})"}`), selector(t, `up{a=~".{10,30}[^xy]"}`)); got != unknown {
		t.Errorf("got %v", got)
	}
}

// What is found matches, and where nothing is found none of many values does.
func TestValueOf(t *testing.T) {
	pieces := []string{"a", "b", "ab", ".", ".*", ".+", "[a-c]", "[^b]", "a|b", "(a|bb)*", "", "\\b", "a?", "(?i)A", "_"}
	rapid.Check(t, func(t *rapid.T) {
		var matchers []*labels.Matcher
		for range rapid.IntRange(1, 3).Draw(t, "matchers") {
			expression := ""
			for _, p := range rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 4).Draw(t, "pieces") {
				expression += "(?:" + p + ")"
			}
			kind := rapid.SampledFrom([]labels.MatchType{labels.MatchRegexp, labels.MatchNotRegexp, labels.MatchNotEqual, labels.MatchEqual}).Draw(t, "kind")
			if kind == labels.MatchEqual || kind == labels.MatchNotEqual {
				expression = rapid.StringMatching("[ab]{0,3}").Draw(t, "value")
			}
			matchers = append(matchers, labels.MustNewMatcher(kind, "l", expression))
		}
		value, found, known := valueOf(matchers)
		if !known {
			t.Fatalf("%v: not known", matchers)
		}
		if found && !matches(matchers, labels.FromStrings("l", value)) {
			t.Fatalf("%v: %q doesn't match", matchers, value)
		}
		other := rapid.StringMatching("[abcA_ \n]{0,6}").Draw(t, "other")
		if !found && matches(matchers, labels.FromStrings("l", other)) {
			t.Fatalf("%v: nothing found, and %q matches", matchers, other)
		}
	})
}

func TestAlphabetTellsRunesApart(t *testing.T) {
	s := search{}
	if got := string(s.alphabet()[0]); !regexp.MustCompile("[a-z]").MatchString(got) {
		t.Errorf("the first rune is %q; want a letter", got)
	}
}
