package policy

import (
	"regexp"
	"strconv"
	"unicode/utf8"
)

// Mapping turns a label value into a more general one. Exactly one of Regexp,
// Prefix and Buckets is set. The empty value maps to itself, since an empty
// label is an absent one.
type Mapping struct {
	// Regexp is RE2, anchored at both ends. A value that matches becomes
	// Replacement with $1 and ${name} expanded; one that doesn't becomes Else.
	Regexp            *regexp.Regexp
	Replacement, Else string
	// Prefix keeps that many leading characters (runes).
	Prefix int
	// Buckets are upper bounds, ascending. A value that parses as a number
	// becomes "<=b" with b the smallest bound that is not below it, or ">b" with
	// b the last; any other value becomes Else.
	Buckets []float64
}

// Apply returns what the view holds instead of value.
func (m *Mapping) Apply(value string) string {
	if value == "" {
		return ""
	}
	switch {
	case m.Regexp != nil:
		match := m.Regexp.FindStringSubmatchIndex(value)
		if match == nil {
			return m.Else
		}
		return string(m.Regexp.ExpandString(nil, m.Replacement, value, match))
	case m.Prefix > 0:
		end := 0
		for range m.Prefix {
			if end == len(value) {
				break
			}
			_, size := utf8.DecodeRuneInString(value[end:])
			end += size
		}
		return value[:end]
	case len(m.Buckets) > 0:
		return m.bucket(value)
	}
	return ""
}

func (m *Mapping) bucket(value string) string {
	v, err := strconv.ParseFloat(value, 64)
	if err != nil || v != v {
		return m.Else
	}
	for _, bound := range m.Buckets {
		if v <= bound {
			return "<=" + formatBound(bound)
		}
	}
	return ">" + formatBound(m.Buckets[len(m.Buckets)-1])
}

// Classes are what Buckets make of numbers, ascending.
func (m *Mapping) Classes() []string {
	var out []string
	for _, bound := range m.Buckets {
		out = append(out, "<="+formatBound(bound))
	}
	if len(out) > 0 {
		out = append(out, ">"+formatBound(m.Buckets[len(m.Buckets)-1]))
	}
	return out
}

func formatBound(b float64) string { return strconv.FormatFloat(b, 'g', -1, 64) }
