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
// are names and, for places in arrays, [0]. Spaces between them mean nothing.
func parseJSONPath(expression string) ([]string, error) {
	var (
		steps []string
		rest  = strings.TrimSpace(expression)
		dot   bool // before what is next
	)
	for rest != "" {
		var step string
		var n int
		switch {
		case rest[0] == '[' && !dot:
			var err error
			if step, n, err = bracketed(rest); err != nil {
				return nil, err
			}
		case len(steps) > 0 && !dot:
			return nil, errors.New("expected . or [ between the steps of a path")
		default:
			if n = run(rest, isWord); n == 0 || rest[0] >= '0' && rest[0] <= '9' {
				return nil, errors.New("expected the name of a field; others than letters, digits and _ can be in [\"...\"]")
			}
			step = rest[:n]
		}
		steps, rest = append(steps, step), strings.TrimSpace(rest[n:])
		if dot = strings.HasPrefix(rest, "."); dot {
			rest = strings.TrimSpace(rest[1:])
		}
	}
	if dot || len(steps) == 0 {
		return nil, errors.New("expected the name of a field at its end")
	}
	return steps, nil
}

// bracketed reads ["name"] or [0] at the beginning of s.
func bracketed(s string) (step string, length int, err error) {
	inner, _, closed := strings.Cut(s[1:], "]")
	if rest := strings.TrimSpace(s[1:]); strings.HasPrefix(rest, `"`) {
		name, after, ok := strings.Cut(rest[1:], `"`)
		after, bracket := strings.CutPrefix(strings.TrimSpace(after), "]")
		if !ok || !bracket || strings.Contains(name, `\`) {
			return "", 0, errors.New("expected [\"name\"]")
		}
		return name, len(s) - len(after), nil
	}
	n, err := strconv.Atoi(strings.TrimSpace(inner))
	if !closed || err != nil || n < 0 {
		return "", 0, errors.New("expected [\"name\"] or a place such as [0]")
	}
	return "[" + strconv.Itoa(n) + "]", len(inner) + 2, nil
}

// checkLogfmtKey refuses what isn't one key.
func checkLogfmtKey(expression string) error {
	if n := run(expression, isWord); n == 0 || n < len(expression) || expression[0] >= '0' && expression[0] <= '9' {
		return errors.New("expected a key of letters, digits and _")
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
