package front

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/logs/logql"
	"github.com/parley-gateway/parley/policy"
)

// What this door serves of Loki's API. It is ours: Loki's own is of another
// licence, and its routes know of backends that a gateway hasn't.

const lokiPrefix = "/loki/api/v1/"

var (
	lokiTimes = []param{one("start"), one("end"), one("since")}
	lokiQuery = param{name: "query", check: checkLogQL}
)

// lokiEndpoints are what this door serves of Loki's API.
var lokiEndpoints = under(lokiPrefix, lokiError, slices.Concat(lokiQueries, lokiSummaries, lokiDetected))

var lokiQueries = []endpoint{
	{path: "query", methods: getOrPost, params: []param{lokiQuery, one("time"), one("limit"), one("direction")}, serve: serveLokiQuery},
	{path: "query_range", methods: getOrPost, params: append([]param{lokiQuery, one("step"), one("interval"), one("limit"), one("direction")}, lokiTimes...), serve: serveLokiRange},
	{path: "labels", methods: getOrPost, params: append([]param{lokiQuery}, lokiTimes...), serve: serveLokiLabels},
	{path: "label", methods: getOrPost, params: append([]param{lokiQuery}, lokiTimes...), serve: serveLokiLabels},
	{path: "label/<name>/values", methods: getOrPost, params: append([]param{lokiQuery}, lokiTimes...), serve: serveLokiValues},
	{path: "series", methods: getOrPost, params: append([]param{{name: "match[]", many: true, check: checkLogQL}, {name: "match", many: true, check: checkLogQL}}, lokiTimes...), serve: serveLokiSeries},
	{path: "tail", methods: getOnly, params: []param{lokiQuery, one("start"), one("limit"), one("delay_for")}, serve: serveLokiTail, socket: true},
	{path: "format_query", methods: getOrPost, params: []param{lokiQuery}, serve: serveLokiFormat},
	{path: "status/buildinfo", methods: getOnly, serve: serveLokiBuildInfo},
}

// checkLogQL refuses what would take too long to read; what is wrong with the
// rest the parser says when it is asked.
func checkLogQL(value string) error {
	if len(value) > maxExpressionBytes {
		return fmt.Errorf("the expression is longer than the %d bytes accepted", maxExpressionBytes)
	}
	return nil
}

const (
	// Loki's defaults.
	defaultLokiLimit = 100
	defaultLokiSpan  = time.Hour
	// defaultLokiSteps is how many steps a range has that states none.
	defaultLokiSteps = 250
)

func serveLokiQuery(f *Front, w http.ResponseWriter, r *http.Request) {
	at, err := lokiTime(r.FormValue("time"), f.config.Now())
	if err != nil {
		writeError(w, badRequest(fmt.Errorf("invalid parameter %q: %w", "time", err)))
		return
	}
	at = at.Truncate(time.Millisecond)
	s := sessionOf(r.Context())
	released, err := s.askLogs(r.Context(), logs.Question{Kind: policy.Instant, Expression: r.FormValue("query"), Start: at, End: at})
	if err != nil {
		writeError(w, render(s.failed()))
		return
	}
	writeLokiNumbers(w, s, released, r.FormValue("query"), true)
}

func serveLokiRange(f *Front, w http.ResponseWriter, r *http.Request) {
	q, err := lokiRange(r, f.config.Now())
	if err != nil {
		writeError(w, badRequest(err))
		return
	}
	s := sessionOf(r.Context())
	released, err := s.askLogs(r.Context(), q)
	if err != nil {
		writeError(w, render(s.failed()))
		return
	}
	if released.Numbers() != nil {
		writeLokiNumbers(w, s, released, q.Expression, false)
		return
	}
	writeLokiStreams(w, s, released, categorizes(r))
}

// lokiRange reads a range query: of lines, or of numbers.
func lokiRange(r *http.Request, now time.Time) (logs.Question, error) {
	q := logs.Question{Kind: policy.Range, Expression: r.FormValue("query")}
	var err error
	if q.Start, q.End, err = lokiSpan(r, now); err != nil {
		return q, err
	}
	if interval := r.FormValue("interval"); interval != "" {
		return q, errors.New("parameter \"interval\" isn't answered: leave it out, and give a limit")
	}
	if q.Entries() {
		return q, lokiLines(r, &q)
	}
	q.Start, q.End = q.Start.Truncate(time.Millisecond), q.End.Truncate(time.Millisecond)
	if q.Step, err = lokiStep(r, q.Start, q.End); err != nil {
		return q, err
	}
	// As in Loki, numbers are of multiples of the step, from at or before the
	// start to at or after the end.
	epoch := time.Unix(0, 0)
	q.Start = q.Start.Add(-(q.Start.Sub(epoch) % q.Step))
	if over := q.End.Sub(epoch) % q.Step; over != 0 {
		q.End = q.End.Add(q.Step - over)
	}
	return q, nil
}

// lokiStep reads how far apart the points of a range are, in whole milliseconds.
func lokiStep(r *http.Request, start, end time.Time) (time.Duration, error) {
	step := max(time.Second, (end.Sub(start) / defaultLokiSteps).Truncate(time.Second))
	if text := r.FormValue("step"); text != "" {
		var err error
		if step, err = lokiDuration(text); err != nil {
			return 0, fmt.Errorf("invalid parameter %q: %w", "step", err)
		}
		step = step.Truncate(time.Millisecond)
	}
	switch {
	case step <= 0:
		return 0, errors.New("invalid parameter \"step\": it must be at least a millisecond")
	case end.Sub(start)/step > maxSteps:
		return 0, fmt.Errorf("the range has more than %d steps; widen the step or shorten the range", maxSteps)
	}
	return step, nil
}

// lokiLines reads the limit and the direction of a log query.
func lokiLines(r *http.Request, q *logs.Question) error {
	q.Limit = defaultLokiLimit
	if text := r.FormValue("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n <= 0 {
			return fmt.Errorf("invalid parameter %q: want a number above 0", "limit")
		}
		q.Limit = n
	}
	switch strings.ToLower(r.FormValue("direction")) {
	case "", "backward":
		q.Backward = true
	case "forward":
	default:
		return fmt.Errorf("invalid parameter %q: want forward or backward", "direction")
	}
	return nil
}

// lokiSpan reads start, end and since.
func lokiSpan(r *http.Request, now time.Time) (start, end time.Time, err error) {
	if end, err = lokiTime(r.FormValue("end"), now); err != nil {
		return start, end, fmt.Errorf("invalid parameter %q: %w", "end", err)
	}
	span := defaultLokiSpan
	if text := r.FormValue("since"); text != "" {
		if span, err = lokiDuration(text); err != nil {
			return start, end, fmt.Errorf("invalid parameter %q: %w", "since", err)
		}
	}
	until := end
	if until.After(now) {
		until = now // of an end in the future, as Loki has it
	}
	if start, err = lokiTime(r.FormValue("start"), until.Add(-span)); err != nil {
		return start, end, fmt.Errorf("invalid parameter %q: %w", "start", err)
	}
	if start.After(end) {
		return start, end, errors.New("start is after end")
	}
	return start, end, nil
}

// lokiTime reads a time as Loki does: whole numbers of up to ten digits are
// seconds and of more are nanoseconds, others are seconds, and what isn't a
// number is RFC 3339.
func lokiTime(text string, absent time.Time) (time.Time, error) {
	if text == "" {
		return absent, nil
	}
	if strings.Contains(text, ".") {
		if seconds, err := strconv.ParseFloat(text, 64); err == nil {
			whole, part := math.Modf(seconds)
			if math.Abs(whole) > math.MaxInt64/float64(time.Second) {
				return absent, fmt.Errorf("%q is not a time", text)
			}
			return time.Unix(int64(whole), int64(math.Round(part*1000))*int64(time.Millisecond)).UTC(), nil
		}
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if len(text) > 10 {
			return time.Unix(0, n).UTC(), nil
		}
		if n > math.MaxInt64/int64(time.Second) {
			return absent, fmt.Errorf("%q is not a time", text)
		}
		return time.Unix(n, 0).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() < 1678 || t.Year() > 2261 {
		return absent, fmt.Errorf("%q is neither nanoseconds or seconds since 1970 nor RFC 3339", text)
	}
	return t.UTC(), nil
}

// lokiDuration reads a number of seconds or a duration such as 15000ms or 5m.
func lokiDuration(text string) (time.Duration, error) {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		if math.IsNaN(seconds) || math.Abs(seconds) > math.MaxInt64/float64(time.Second) {
			return 0, fmt.Errorf("%q is not a duration", text)
		}
		return time.Duration(seconds * float64(time.Second)), nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return d, nil
	}
	d, err := model.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is neither a number of seconds nor a duration such as 5m", text)
	}
	return time.Duration(d), nil
}

func serveLokiLabels(f *Front, w http.ResponseWriter, r *http.Request) {
	f.lokiNames(w, r, logs.Question{Kind: policy.LabelNames})
}

func serveLokiValues(f *Front, w http.ResponseWriter, r *http.Request) {
	name := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, lokiPrefix+"label/"), "/values")
	f.lokiNames(w, r, logs.Question{Kind: policy.LabelValues, Label: name})
}

func (f *Front) lokiNames(w http.ResponseWriter, r *http.Request, q logs.Question) {
	var err error
	if q.Start, q.End, err = lokiSpan(r, f.config.Now()); err != nil {
		writeError(w, badRequest(err))
		return
	}
	if text := r.FormValue("query"); text != "" {
		selector, err := logs.ParseSelector(text)
		if err != nil {
			writeError(w, render(federation.AsError(err)))
			return
		}
		q.Selectors = []policy.Selector{selector}
	}
	s := sessionOf(r.Context())
	released, err := s.askLogs(r.Context(), q)
	if err != nil {
		writeError(w, render(s.failed()))
		return
	}
	writeLoki(w, s, nonNil(released.Names()))
}

func serveLokiSeries(f *Front, w http.ResponseWriter, r *http.Request) {
	q := logs.Question{Kind: policy.Series}
	var err error
	if q.Start, q.End, err = lokiSpan(r, f.config.Now()); err != nil {
		writeError(w, badRequest(err))
		return
	}
	for _, text := range slices.Concat(r.Form["match[]"], r.Form["match"]) {
		selector, err := logs.ParseSelector(text)
		if err != nil {
			writeError(w, render(federation.AsError(err)))
			return
		}
		q.Selectors = append(q.Selectors, selector)
	}
	if len(q.Selectors) == 0 {
		writeError(w, badRequest(errors.New("give a selector as match[], such as {org=~\".+\"}")))
		return
	}
	s := sessionOf(r.Context())
	released, err := s.askLogs(r.Context(), q)
	if err != nil {
		writeError(w, render(s.failed()))
		return
	}
	out := make([]map[string]string, 0, len(released.Streams()))
	for _, stream := range released.Streams() {
		out = append(out, stream.Map())
	}
	writeLoki(w, s, out)
}

func serveLokiFormat(_ *Front, w http.ResponseWriter, r *http.Request) {
	expr, err := logql.Parse(r.FormValue("query"))
	if err != nil {
		writeError(w, badRequest(err))
		return
	}
	writeLoki(w, sessionOf(r.Context()), expr.String())
}

// lokiVersion is the release whose API this is: clients choose by it what to send.
const lokiVersion = "3.7.8"

func serveLokiBuildInfo(f *Front, w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]string{"version": lokiVersion, "revision": f.config.Version, "branch": "parley", "buildUser": "", "buildDate": "", "goVersion": ""})
}

func nonNil(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}
