package yamlstrict

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// Parser reads the scalars of one type.
type Parser struct {
	typ  reflect.Type
	read scalar
}

// scalar turns the text of a scalar into a value of its type. The error is a
// sentence without the key.
type scalar func(text string) (any, error)

// Parse returns the Parser of T that calls parse. The text is never empty.
func Parse[T any](parse func(string) (T, error)) Parser {
	return Parser{
		typ:  reflect.TypeFor[T](),
		read: func(text string) (any, error) { return parse(text) },
	}
}

// scalars are the built-in parsers and the given ones.
func scalars(parsers []Parser) map[reflect.Type]scalar {
	all := map[reflect.Type]scalar{}
	builtin := []Parser{
		Parse(func(s string) (string, error) { return s, nil }),
		Parse(parseBool), Parse(parseInt), Parse(parseInt64), Parse(parseFloat),
		Parse(parseDuration), Parse(parseTime),
	}
	for _, p := range append(builtin, parsers...) {
		all[p.typ] = p.read
	}
	return all
}

func parseBool(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("want true or false, not %q", s)
}

// wholeNumber leaves out leading zeros: YAML 1.1 reads 010 as 8, YAML 1.2 as 10.
var wholeNumber = regexp.MustCompile(`^[-+]?(0|[1-9][0-9_]*)$`)

func parseInt64(s string) (int64, error) {
	if !wholeNumber.MatchString(s) {
		return 0, fmt.Errorf("want a whole number such as 50_000, not %q", s)
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the number %s is too large", s)
	}
	return n, nil
}

func parseInt(s string) (int, error) {
	n, err := parseInt64(s)
	return int(n), err
}

var decimal = regexp.MustCompile(`^[-+]?[0-9]+(\.[0-9]+)?$`)

func parseFloat(s string) (float64, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !decimal.MatchString(s) {
		return 0, fmt.Errorf("want a number such as 0.1, not %q", s)
	}
	return f, nil
}

// parseDuration accepts what Prometheus does (31d, 1h30m) and what Go does (1.5h).
func parseDuration(s string) (time.Duration, error) {
	if d, err := model.ParseDuration(s); err == nil {
		return time.Duration(d), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("want a duration such as 30s, 5m or 31d, not %q", s)
	}
	return d, nil
}

// parseTime accepts RFC 3339, and a date for its first instant in UTC.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("want a date such as 2027-01-31 or a time such as 2027-01-31T12:00:00Z, not %q", s)
}
