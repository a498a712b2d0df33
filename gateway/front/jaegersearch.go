package front

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/policy"
)

// jaegerSearch is what a span of a trace has to be, as Jaeger's API asks for it.
type jaegerSearch struct {
	service, operation string
	tags               []jaegerTag
	shortest, longest  time.Duration // zero: no bound
}

type jaegerTag struct{ key, value string }

// readTags adds tags from a JSON object of strings.
func (s *jaegerSearch) readTags(text string) error {
	var tags map[string]string
	if err := json.Unmarshal([]byte(text), &tags); err != nil {
		return errors.New(`want a JSON object of strings, such as {"http.route":"/pay"}`)
	}
	for key, value := range tags {
		s.tags = append(s.tags, jaegerTag{key, value})
	}
	return nil
}

// readDurations reads how long a span is at least and at most, from parameters of
// these names.
func (s *jaegerSearch) readDurations(least, shortest, most, longest string) error {
	for _, p := range []struct {
		name, text string
		to         *time.Duration
	}{{least, shortest, &s.shortest}, {most, longest, &s.longest}} {
		if p.text == "" {
			continue
		}
		d, err := time.ParseDuration(p.text)
		if err != nil || d < 0 {
			return fmt.Errorf("invalid parameter %q: want a duration such as 100ms or 1.2s", p.name)
		}
		*p.to = d
	}
	if s.longest > 0 && s.longest < s.shortest {
		return fmt.Errorf("%s is less than %s", most, least)
	}
	return nil
}

var errNoTag = errors.New("a tag without a name")

// question asks for traces with such a span that begins within a time.
func (s *jaegerSearch) question(start, end time.Time, limit string) (traces.Question, error) {
	q := traces.Question{Kind: policy.Search, Start: start, End: end, Limit: defaultJaegerLimit}
	if !start.Before(end) {
		return q, errStartAfterEnd
	}
	if limit != "" {
		n, err := strconv.ParseInt(limit, 10, 32)
		if err != nil || n <= 0 {
			return q, errors.New("the limit is not a number above 0")
		}
		q.Limit = int(n)
	}
	var err error
	q.Expression, err = s.expression()
	return q, err
}

// expression is the search in TraceQL: one spanset filter.
func (s *jaegerSearch) expression() (string, error) {
	var all []string
	if s.service != "" {
		all = append(all, "resource.service.name = "+strconv.Quote(s.service))
	}
	if s.operation != "" {
		all = append(all, "name = "+strconv.Quote(s.operation))
	}
	slices.SortFunc(s.tags, func(a, b jaegerTag) int { return strings.Compare(a.key+"\xff"+a.value, b.key+"\xff"+b.value) })
	for _, tag := range slices.Compact(s.tags) {
		if tag.key == "" {
			return "", errNoTag
		}
		all = append(all, "("+strings.Join(tag.conditions(), " || ")+")")
	}
	if s.shortest > 0 {
		all = append(all, "duration >= "+inNanoseconds(s.shortest))
	}
	if s.longest > 0 {
		all = append(all, "duration <= "+inNanoseconds(s.longest))
	}
	if len(all) == 0 {
		return "{ }", nil
	}
	return "{ " + strings.Join(all, " && ") + " }", nil
}

func inNanoseconds(d time.Duration) string { return strconv.FormatInt(d.Nanoseconds(), 10) + "ns" }

// conditions are what may be true of a span with a tag: Jaeger keeps kind, status
// and scope in tags, and compares values as texts, whatever their type is.
func (t jaegerTag) conditions() []string {
	own := map[string]string{
		"span.kind": traceql.Kind, "otel.status_code": traceql.Status, "otel.status_description": traceql.StatusMessage,
		"otel.scope.name": traceql.ScopeName, "otel.scope.version": traceql.ScopeVersion, "event": traceql.EventName,
	}
	var out []string
	switch field := own[t.key]; {
	case t.key == "error" && t.value == "true":
		out = append(out, "status = error")
	case field == traceql.Kind && slices.Contains(jaegerKinds, t.value):
		out = append(out, field+" = "+t.value)
	case field == traceql.Status && (t.value == "OK" || t.value == "ERROR"):
		out = append(out, field+" = "+strings.ToLower(t.value))
	case field == traceql.Kind || field == traceql.Status:
	case field != "":
		out = append(out, field+" = "+strconv.Quote(t.value))
	}
	for _, scope := range []traceql.Scope{traceql.ScopeSpan, traceql.ScopeResource, traceql.ScopeEvent} {
		field := traceql.Attribute{Scope: scope, Name: t.key}.String()
		for _, value := range t.values() {
			out = append(out, field+" = "+value)
		}
	}
	return out
}

// values are what a text may be of.
func (t jaegerTag) values() []string {
	out := []string{strconv.Quote(t.value)}
	if t.value == "true" || t.value == "false" {
		out = append(out, t.value)
	}
	if n, err := strconv.ParseInt(t.value, 10, 64); err == nil && strconv.FormatInt(n, 10) == t.value {
		return append(out, t.value)
	}
	if x, err := strconv.ParseFloat(t.value, 64); err == nil && strconv.FormatFloat(x, 'f', -1, 64) == t.value && strings.Trim(t.value, "-.0123456789") == "" {
		out = append(out, t.value)
	}
	return out
}
