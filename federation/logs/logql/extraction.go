package logql

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
)

// checkJSONPath refuses what parseJSONPath does.
func checkJSONPath(expression string) error {
	_, err := parseJSONPath(expression)
	return err
}

// parseJSONPath reads the path of a field, such as a.b[0]["c d"]. The steps
// are names and, for places in arrays, [0].
func parseJSONPath(expression string) ([]string, error) {
	var steps []string
	rest := expression
	for first := true; rest != ""; first = false {
		switch {
		case rest[0] == '[':
			step, n, err := bracketed(rest)
			if err != nil {
				return nil, err
			}
			steps, rest = append(steps, step), rest[n:]
			continue
		case rest[0] == '.' && !first:
			rest = rest[1:]
		case !first:
			return nil, errors.New("expected . or [ between the steps of a path")
		}
		n := run(rest, func(r rune) bool { return isWord(r) || r == '-' })
		if n == 0 {
			return nil, errors.New("expected the name of a field")
		}
		steps, rest = append(steps, rest[:n]), rest[n:]
	}
	if len(steps) == 0 {
		return nil, errors.New("it is empty")
	}
	return steps, nil
}

// bracketed reads ["name"] or [0] at the beginning of s.
func bracketed(s string) (step string, length int, err error) {
	if quoted, err := strconv.QuotedPrefix(s[1:]); err == nil {
		name, err := strconv.Unquote(quoted)
		if err != nil || !strings.HasPrefix(s[1+len(quoted):], "]") {
			return "", 0, errors.New("expected [\"name\"]")
		}
		return name, len(quoted) + 2, nil
	}
	inner, _, closed := strings.Cut(s[1:], "]")
	if n, err := strconv.Atoi(inner); !closed || err != nil || n < 0 {
		return "", 0, errors.New("expected [\"name\"] or a place such as [0]")
	}
	return s[:len(inner)+2], len(inner) + 2, nil
}

// checkLogfmtKey refuses what isn't one key.
func checkLogfmtKey(expression string) error {
	if expression == "" {
		return errors.New("it is empty")
	}
	if strings.ContainsAny(expression, " =\"") {
		return errors.New("a key of logfmt has no spaces, = or quotes")
	}
	return nil
}

// checkGroups refuses a regular expression that names no group, or two groups
// alike.
func checkGroups(re *regexp.Regexp) error {
	seen := map[string]bool{}
	for _, name := range re.SubexpNames() {
		switch {
		case name == "":
		case seen[name]:
			return errors.New("the group " + name + " is in the regular expression twice")
		default:
			seen[name] = true
		}
	}
	if len(seen) == 0 {
		return errors.New("the regular expression needs a named group such as (?P<name>...)")
	}
	return nil
}
