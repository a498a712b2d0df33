package front

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/policy"
)

const (
	// Tempo's defaults.
	defaultTempoLimit    = 20
	defaultTempoSpansets = 3
)

// tempoSearch is what /api/search answers. Grafana refuses fields that it doesn't
// know, so what is missing stands in the header alone.
type tempoSearch struct {
	Traces  []tempoFoundTrace `json:"traces"`
	Metrics struct{}          `json:"metrics"`
}

type tempoFoundTrace struct {
	TraceID           string         `json:"traceID"`
	RootServiceName   string         `json:"rootServiceName,omitempty"`
	RootTraceName     string         `json:"rootTraceName,omitempty"`
	StartTimeUnixNano string         `json:"startTimeUnixNano"`
	DurationMs        uint32         `json:"durationMs,omitempty"`
	SpanSet           *tempoSpanSet  `json:"spanSet,omitempty"` // the first, for older clients
	SpanSets          []tempoSpanSet `json:"spanSets,omitempty"`
}

type tempoSpanSet struct {
	Spans   []tempoFoundSpan `json:"spans"`
	Matched int              `json:"matched"`
}

type tempoFoundSpan struct {
	SpanID            string          `json:"spanID"`
	Name              string          `json:"name,omitempty"`
	StartTimeUnixNano string          `json:"startTimeUnixNano"`
	DurationNanos     string          `json:"durationNanos"`
	Attributes        []tempoKeyValue `json:"attributes,omitempty"`
}

func serveTempoSearch(f *Front, w http.ResponseWriter, r *http.Request) {
	q := traces.Question{Kind: policy.Search}
	expr, err := tempoQuery(r)
	if err == nil {
		q.Limit, err = positive(r, "limit", defaultTempoLimit)
	}
	spansPerSet := 0
	if err == nil {
		spansPerSet, err = positive(r, "spss", defaultTempoSpansets)
	}
	if err == nil {
		now := f.config.Now()
		q.Start, q.End, err = tempoSpan(r, now, now.Add(-defaultTracesSpan))
	}
	if err != nil {
		writeError(w, badRequest(err))
		return
	}
	q.Expression = expr.String()
	s := sessionOf(r.Context())
	released, err := s.askTraces(r.Context(), q)
	if err != nil {
		writeError(w, render(s.failed()))
		return
	}
	out := tempoSearch{Traces: []tempoFoundTrace{}}
	for _, t := range released.Traces() {
		out.Traces = append(out.Traces, tempoFoundIn(t, expr, spansPerSet))
	}
	writeJSON(w, out)
}

// tempoQuery is what is searched for: TraceQL, or tags and durations, which
// become TraceQL.
func tempoQuery(r *http.Request) (*traceql.Expr, error) {
	text, parameter := r.FormValue("q"), "q"
	byTags := r.FormValue("tags") + r.FormValue("minDuration") + r.FormValue("maxDuration")
	if text != "" && byTags != "" {
		return nil, errors.New("give either q, in TraceQL, or tags, minDuration and maxDuration")
	}
	if text == "" {
		conditions, err := tempoTagConditions(r.FormValue("tags"))
		if err != nil {
			return nil, fmt.Errorf("invalid parameter %q: %w", "tags", err)
		}
		durations, err := tempoDurations(r)
		if err != nil {
			return nil, err
		}
		text, parameter = "{ "+strings.Join(append(conditions, durations...), " && ")+" }", "tags"
	}
	expr, err := traceql.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("invalid parameter %q: %w", parameter, err)
	}
	return expr, nil
}

// tempoDurations are conditions of how long a trace lasts.
func tempoDurations(r *http.Request) ([]string, error) {
	var out []string
	for _, bound := range []struct{ name, op string }{{"minDuration", ">="}, {"maxDuration", "<="}} {
		text := r.FormValue(bound.name)
		if text == "" {
			continue
		}
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return nil, fmt.Errorf("invalid parameter %q: %q is not a duration such as 100ms", bound.name, text)
		}
		out = append(out, traceql.TraceDuration+" "+bound.op+" "+d.String())
	}
	return out, nil
}

// tempoTagConditions are conditions of a span: as in Tempo each value is looked
// for in the attribute's, in upper or lower case.
func tempoTagConditions(text string) ([]string, error) {
	pairs, err := logfmtPairs(text)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range pairs {
		name, ok := tempoTagNames[p.key]
		if !ok {
			name = traceql.Attribute{Name: p.key}.String()
		}
		condition := name + " =~ " + strconv.Quote("(?i).*"+regexp.QuoteMeta(p.value)+".*")
		switch {
		case name == traceql.Status:
			condition = name + " = " + p.value
		case !ok && isBareLiteral(p.value):
			condition = "(" + condition + " || " + name + " = " + p.value + ")"
		}
		out = append(out, condition)
	}
	return out, nil
}

// tempoTagNames are tags that are no attributes.
var tempoTagNames = map[string]string{
	"name": traceql.Name, "status.code": traceql.Status, "root.name": traceql.RootName, "root.service.name": traceql.RootService,
}

// isBareLiteral says whether a value is a number or a boolean, which an attribute
// may be too.
func isBareLiteral(value string) bool {
	if value == "true" || value == "false" {
		return true
	}
	f, err := strconv.ParseFloat(value, 64)
	return err == nil && f-f == 0 && strings.Trim(value, "-0123456789.") == ""
}

// pair is a key and a value in logfmt.
type pair struct{ key, value string }

// logfmtPairs reads key=value pairs between spaces; a value with spaces is in
// quotes.
func logfmtPairs(text string) ([]pair, error) {
	var out []pair
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		key, rest, ok := strings.Cut(text, "=")
		if !ok || key == "" || strings.ContainsAny(key, " \t\"") {
			return nil, fmt.Errorf("want key=value pairs with spaces between them, not %q", text)
		}
		value, after, _ := strings.Cut(rest, " ")
		if strings.HasPrefix(rest, `"`) {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return nil, fmt.Errorf("the quotes of the value of %q don't close", key)
			}
			if value, err = strconv.Unquote(quoted); err != nil {
				return nil, fmt.Errorf("the value of %q can't be read: %w", key, err)
			}
			after = rest[len(quoted):]
		}
		out, text = append(out, pair{key, value}), after
	}
	return out, nil
}

// tempoFoundIn is what a search tells of a trace: where it begins, and the first
// of the spans that the query selects.
func tempoFoundIn(found traces.Trace, expr *traceql.Expr, spans int) tempoFoundTrace {
	t := traceql.NewTrace(found.Spans)
	out := tempoFoundTrace{
		TraceID:           found.ID.String(),
		StartTimeUnixNano: strconv.FormatInt(t.Start().UnixNano(), 10),
		DurationMs:        uint32(min(t.Duration().Milliseconds(), math.MaxUint32)),
	}
	if root := t.Root(); root >= 0 {
		out.RootTraceName = t.Span(root).Span.Name()
		out.RootServiceName = textOf(t.Values(root, traceql.Attribute{Scope: traceql.ScopeIntrinsic, Name: traceql.RootService}))
	}
	selected := expr.Select(t)
	if len(selected) == 0 {
		return out
	}
	set := tempoSpanSet{Matched: len(selected)}
	slices.SortStableFunc(selected, func(a, b int) int {
		return cmp.Compare(t.Span(a).Span.StartTimestamp(), t.Span(b).Span.StartTimestamp())
	})
	looked := traceql.Attributes(expr)
	for _, i := range selected[:min(spans, len(selected))] {
		set.Spans = append(set.Spans, tempoFoundSpanOf(t, i, looked))
	}
	out.SpanSet, out.SpanSets = &set, []tempoSpanSet{set}
	return out
}

func textOf(values []traceql.Value) string {
	if len(values) == 0 {
		return ""
	}
	return values[0].String()
}

func tempoFoundSpanOf(t *traceql.Trace, i int, looked []traceql.Attribute) tempoFoundSpan {
	span := t.Span(i).Span
	out := tempoFoundSpan{
		SpanID: span.SpanID().String(), Name: span.Name(), StartTimeUnixNano: nanoseconds(span.StartTimestamp()),
		DurationNanos: strconv.FormatInt(max(0, span.EndTimestamp().AsTime().Sub(span.StartTimestamp().AsTime()).Nanoseconds()), 10),
	}
	for _, a := range looked {
		values := t.Values(i, a)
		if len(values) == 0 || toldAnyway(a) || slices.ContainsFunc(out.Attributes, func(kv tempoKeyValue) bool { return kv.Key == a.Name }) {
			continue
		}
		out.Attributes = append(out.Attributes, tempoKeyValue{Key: a.Name, Value: tempoFound(values)})
	}
	return out
}

// toldAnyway are intrinsics that stand beside a span's attributes, or its trace's.
func toldAnyway(a traceql.Attribute) bool {
	if a.Scope != traceql.ScopeIntrinsic {
		return false
	}
	switch a.Name {
	case traceql.Name, traceql.Duration, traceql.SpanID, traceql.TraceID, traceql.RootName, traceql.RootService, traceql.TraceDuration:
		return true
	}
	return false
}
