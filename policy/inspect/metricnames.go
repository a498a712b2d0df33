package inspect

import (
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// alternativesOf takes a matcher for names apart into those of which one has to
// match: the names themselves where it is a list of them, the alternatives of an
// expression otherwise.
func alternativesOf(m *labels.Matcher) []*labels.Matcher {
	if m.Type != labels.MatchRegexp {
		return []*labels.Matcher{m}
	}
	var out []*labels.Matcher
	if list := m.SetMatches(); len(list) > 0 {
		for _, name := range list {
			out = append(out, labels.MustNewMatcher(labels.MatchEqual, m.Name, name))
		}
		return out
	}
	for _, part := range topLevel(m.Value) {
		one, err := labels.NewMatcher(labels.MatchRegexp, m.Name, part)
		if err != nil {
			return []*labels.Matcher{m}
		}
		out = append(out, one)
	}
	return out
}

// topLevel are the alternatives of an expression, as they are written. One in
// whose text brackets can't simply be counted is left whole.
func topLevel(expression string) []string {
	if strings.ContainsAny(expression, `\[`) {
		return []string{expression}
	}
	var out []string
	depth, begin := 0, 0
	for i, r := range expression {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		case '|':
			if depth == 0 {
				out, begin = append(out, expression[begin:i]), i+1
			}
		}
	}
	return append(out, expression[begin:])
}

// compound says whether an expression names several things, of which some may
// be hidden.
func compound(expression string) bool {
	re, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return true
	}
	var walk func(*syntax.Regexp) bool
	walk = func(re *syntax.Regexp) bool {
		if re.Op == syntax.OpAlternate || re.Op == syntax.OpCharClass || re.Op == syntax.OpQuest {
			return true
		}
		for _, sub := range re.Sub {
			if walk(sub) {
				return true
			}
		}
		return false
	}
	return walk(re)
}

// prefixOf is an expression for what begins as this one does; empty where
// nothing is known of that.
func prefixOf(expression string) string {
	re, err := regexp.Compile(expression)
	if err != nil {
		return ""
	}
	prefix, whole := re.LiteralPrefix()
	if prefix == "" || whole {
		return ""
	}
	return regexp.QuoteMeta(prefix) + ".*"
}

// format writes metrics with conditions; "" are any.
func format(name string, matchers []*labels.Matcher) string {
	var parts []string
	for _, m := range matchers {
		parts = append(parts, m.String())
	}
	if len(parts) == 0 && name != "" {
		return name
	}
	return name + "{" + strings.Join(parts, ", ") + "}"
}
