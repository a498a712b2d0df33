package rego

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/policy"
)

// The most that an include rule may become.
const (
	maxSelectors     = 1000
	maxMatchers      = 10_000
	maxSelectorBytes = 1 << 20
	// maxUnmerged bounds what is held while selectors are being put together.
	maxUnmerged = 16 * maxSelectors
)

// condition is what has to hold of the labels of a series. A label that the
// series does not have is the empty string, and no label that it has is, so
// that a condition holds or doesn't of every series.
type condition interface {
	// not holds where the condition doesn't.
	not() condition
}

type (
	// allOf holds where all do, an empty one everywhere.
	allOf []condition
	// anyOf holds where one does, an empty one nowhere.
	anyOf []condition
	// test is of one label.
	test struct {
		label string
		values
		negated bool
	}
)

// values are a set of strings: those in oneOf, or if like is set those that
// match it.
type values struct {
	oneOf []string
	like  *labels.FastRegexMatcher
}

func (c allOf) not() condition {
	out := make(anyOf, len(c))
	for i, part := range c {
		out[i] = part.not()
	}
	return out
}

func (c anyOf) not() condition {
	out := make(allOf, len(c))
	for i, part := range c {
		out[i] = part.not()
	}
	return out
}

func (c test) not() condition {
	c.negated = !c.negated
	return c
}

var (
	always condition = allOf{}
	never  condition = anyOf{}
)

func present(label string) condition { return absent(label).not() }

func absent(label string) condition {
	return test{label: label, values: values{oneOf: []string{""}}}
}

// alternative is a conjunction of constraints on different labels, sorted by
// label. An empty one always holds.
type alternative []constraint

// constraint is everything that is asked of one label.
type constraint struct {
	label string
	// oneOf are all values it may have, sorted and at least one; then nothing
	// else is set. Nil: any.
	oneOf []string
	// noneOf are values that it may not have, sorted, and that the others allow.
	noneOf       []string
	like, unlike []*labels.FastRegexMatcher // sorted by expression
}

func (c constraint) allows(value string) bool {
	matches := func(m *labels.FastRegexMatcher) bool { return m.MatchString(value) }
	if c.oneOf != nil {
		_, found := slices.BinarySearch(c.oneOf, value)
		return found
	}
	_, excluded := slices.BinarySearch(c.noneOf, value)
	return !excluded && !slices.ContainsFunc(c.unlike, matches) &&
		!slices.ContainsFunc(c.like, func(m *labels.FastRegexMatcher) bool { return !matches(m) })
}

// and is both constraints on the same label; false if no value satisfies both
// as far as can be told.
func (c constraint) and(o constraint) (constraint, bool) {
	if c.oneOf == nil {
		c, o = o, c
	}
	if c.oneOf != nil {
		c.oneOf = slices.DeleteFunc(slices.Clone(c.oneOf), func(v string) bool { return !o.allows(v) })
		return c, len(c.oneOf) > 0
	}
	both := constraint{
		label:  c.label,
		noneOf: union(c.noneOf, o.noneOf, strings.Compare),
		like:   union(c.like, o.like, byExpression),
		unlike: union(c.unlike, o.unlike, byExpression),
	}
	rest := both
	rest.noneOf = nil
	both.noneOf = slices.DeleteFunc(both.noneOf, func(v string) bool { return !rest.allows(v) })
	return both, true
}

// implies says whether every value that c allows o allows, as far as it can be
// told.
func (c constraint) implies(o constraint) bool {
	contains := func(in []*labels.FastRegexMatcher, all []*labels.FastRegexMatcher) bool {
		return !slices.ContainsFunc(all, func(m *labels.FastRegexMatcher) bool {
			_, found := slices.BinarySearchFunc(in, m, byExpression)
			return !found
		})
	}
	switch {
	case c.oneOf != nil:
		return !slices.ContainsFunc(c.oneOf, func(v string) bool { return !o.allows(v) })
	case o.oneOf != nil:
		return false
	}
	return contains(c.like, o.like) && contains(c.unlike, o.unlike) &&
		!slices.ContainsFunc(o.noneOf, c.allows)
}

func byExpression(a, b *labels.FastRegexMatcher) int {
	return strings.Compare(a.GetRegexString(), b.GetRegexString())
}

func union[T any](a, b []T, compare func(T, T) int) []T {
	both := slices.SortedFunc(slices.Values(slices.Concat(a, b)), compare)
	return slices.CompactFunc(both, func(a, b T) bool { return compare(a, b) == 0 })
}

// key tells constraints on one label apart.
func (c constraint) key() string {
	var b strings.Builder
	b.WriteString(strconv.Quote(c.label))
	for _, v := range c.oneOf {
		b.WriteString("=" + strconv.Quote(v))
	}
	for _, v := range c.noneOf {
		b.WriteString("!" + strconv.Quote(v))
	}
	for _, m := range c.like {
		b.WriteString("~" + strconv.Quote(m.GetRegexString()))
	}
	for _, m := range c.unlike {
		b.WriteString("^" + strconv.Quote(m.GetRegexString()))
	}
	return b.String()
}

func (a alternative) key() string { return a.keyWithout("") }

func (a alternative) keyWithout(label string) string {
	var b strings.Builder
	for _, c := range a {
		if c.label != label {
			b.WriteString(c.key())
		}
	}
	return b.String()
}

func (a alternative) of(label string) (constraint, bool) {
	for _, c := range a {
		if c.label == label {
			return c, true
		}
	}
	return constraint{}, false
}

// and is both; false if they contradict each other.
func (a alternative) and(b alternative) (alternative, bool) {
	out := make(alternative, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch order := cmp.Compare(a[0].label, b[0].label); {
		case order < 0:
			out, a = append(out, a[0]), a[1:]
		case order > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			both, ok := a[0].and(b[0])
			if !ok {
				return nil, false
			}
			out, a, b = append(out, both), a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...), true
}

func (a alternative) implies(b alternative) bool {
	for _, asked := range b {
		given, ok := a.of(asked.label)
		if !ok || !given.implies(asked) {
			return false
		}
	}
	return true
}

var errTooLarge = fmt.Errorf("it is larger than %d selectors of %d matchers and %d KiB together, or takes more to work out", maxSelectors, maxMatchers, maxSelectorBytes>>10)

// alternatives is c in disjunctive normal form: sorted, each once, none that
// another one implies. It is a function of what c says and its order.
func alternatives(c condition) ([]alternative, error) {
	switch c := c.(type) {
	case test:
		return c.alternatives(), nil
	case anyOf:
		var out []alternative
		for _, part := range c {
			list, err := alternatives(part)
			if err != nil {
				return nil, err
			}
			if out = append(out, list...); len(out) > maxUnmerged {
				return nil, errTooLarge
			}
		}
		return tidy(out)
	case allOf:
		out := []alternative{{}}
		for _, part := range c {
			list, err := alternatives(part)
			if err != nil {
				return nil, err
			}
			if out, err = product(out, list); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("a %T is no condition", c)
}

func (c test) alternatives() []alternative {
	constrained := constraint{label: c.label}
	switch {
	case c.like != nil && c.negated:
		constrained.unlike = []*labels.FastRegexMatcher{c.like}
	case c.like != nil:
		constrained.like = []*labels.FastRegexMatcher{c.like}
	case len(c.oneOf) == 0 && c.negated:
		return []alternative{{}}
	case len(c.oneOf) == 0:
		return nil
	case c.negated:
		constrained.noneOf = union(c.oneOf, nil, strings.Compare)
	default:
		constrained.oneOf = union(c.oneOf, nil, strings.Compare)
	}
	return []alternative{{constrained}}
}

func product(a, b []alternative) ([]alternative, error) {
	if len(a)*len(b) > maxUnmerged {
		return nil, errTooLarge
	}
	out := make([]alternative, 0, len(a)*len(b))
	for _, left := range a {
		for _, right := range b {
			if both, ok := left.and(right); ok {
				out = append(out, both)
			}
		}
	}
	return tidy(out)
}

// tidy sorts alternatives, makes one of those that differ only in the values
// of one label, and removes those that another one implies.
func tidy(list []alternative) ([]alternative, error) {
	list = byKey(list)
	for merged := true; merged; {
		before := len(list)
		for _, label := range labelsWithValues(list) {
			list = byKey(mergeValues(list, label))
		}
		merged = len(list) < before
	}
	if len(list) > maxSelectors {
		return nil, errTooLarge
	}
	// Those with fewer constraints come first: one implies only what isn't longer.
	slices.SortStableFunc(list, func(a, b alternative) int { return cmp.Compare(len(a), len(b)) })
	var out []alternative
	for i, a := range list {
		implied := slices.ContainsFunc(out, a.implies) ||
			slices.ContainsFunc(list[i+1:], func(b alternative) bool { return len(b) == len(a) && a.implies(b) })
		if !implied {
			out = append(out, a)
		}
	}
	return byKey(out), nil
}

func byKey(list []alternative) []alternative {
	type keyed struct {
		key string
		alternative
	}
	all := make([]keyed, len(list))
	for i, a := range list {
		all[i] = keyed{a.key(), a}
	}
	slices.SortFunc(all, func(a, b keyed) int { return strings.Compare(a.key, b.key) })
	all = slices.CompactFunc(all, func(a, b keyed) bool { return a.key == b.key })
	out := make([]alternative, len(all))
	for i, k := range all {
		out[i] = k.alternative
	}
	return out
}

// labelsWithValues are the labels of which an alternative lists the values.
func labelsWithValues(list []alternative) []string {
	var out []string
	for _, a := range list {
		for _, c := range a {
			if c.oneOf != nil {
				out = append(out, c.label)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// mergeValues makes one alternative of those that are the same but for the
// values of a label.
func mergeValues(list []alternative, label string) []alternative {
	var out []alternative
	at := map[string]int{} // in out, by what else is constrained
	values := map[int][]string{}
	for _, a := range list {
		c, ok := a.of(label)
		if !ok || c.oneOf == nil {
			out = append(out, a)
			continue
		}
		key := a.keyWithout(label)
		i, known := at[key]
		if !known {
			i = len(out)
			at[key], out = i, append(out, slices.Clone(a))
		}
		values[i] = append(values[i], c.oneOf...)
	}
	for i, v := range values {
		for j := range out[i] {
			if out[i][j].label == label {
				out[i][j].oneOf = union(v, nil, strings.Compare)
			}
		}
	}
	return out
}

// selectors are alternatives as Prometheus writes them.
func selectors(list []alternative) ([]policy.Selector, error) {
	out := make([]policy.Selector, 0, len(list))
	matchers, bytes := 0, 0
	for _, a := range list {
		selector, err := a.selector()
		if err != nil {
			return nil, err
		}
		matchers += len(selector)
		for _, m := range selector {
			bytes += len(m.Name) + len(m.Value)
		}
		if matchers > maxMatchers || bytes > maxSelectorBytes {
			return nil, errTooLarge
		}
		out = append(out, selector)
	}
	return out, nil
}

func (a alternative) selector() (policy.Selector, error) {
	out := policy.Selector{}
	var errs []error
	add := func(kind labels.MatchType, name, value string) {
		m, err := labels.NewMatcher(kind, name, value)
		if err != nil {
			errs = append(errs, fmt.Errorf("matcher on %q: %w", name, err))
			return
		}
		out = append(out, m)
	}
	for _, c := range a {
		switch {
		case len(c.oneOf) == 1:
			add(labels.MatchEqual, c.label, c.oneOf[0])
		case len(c.oneOf) > 1:
			add(labels.MatchRegexp, c.label, alternation(c.oneOf))
		}
		excluded := c.noneOf
		if len(excluded) > 0 && excluded[0] == "" {
			add(labels.MatchNotEqual, c.label, "")
			excluded = excluded[1:]
		}
		switch {
		case len(excluded) == 1:
			add(labels.MatchNotEqual, c.label, excluded[0])
		case len(excluded) > 1:
			add(labels.MatchNotRegexp, c.label, alternation(excluded))
		}
		for _, m := range c.like {
			add(labels.MatchRegexp, c.label, m.GetRegexString())
		}
		for _, m := range c.unlike {
			add(labels.MatchNotRegexp, c.label, m.GetRegexString())
		}
	}
	slices.SortFunc(out, func(a, b *labels.Matcher) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type), strings.Compare(a.Value, b.Value))
	})
	return out, errors.Join(errs...)
}

// alternation is the expression that matches these values and no others.
func alternation(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = regexp.QuoteMeta(v)
	}
	return strings.Join(quoted, "|")
}
