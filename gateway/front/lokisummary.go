package front

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/policy"
)

// What Loki answers from its index, and its pattern ingester, this door answers
// from what every owner lets be seen of its lines: counted, not estimated.

// noStep is a step that Loki takes too where there is none.
var noStep = param{name: "step", ignore: true}

var volumeParams = append([]param{lokiQuery, one("limit"), one("targetLabels"), one("aggregateBy")}, lokiTimes...)

// lokiSummaries say how much there is, and of what.
var lokiSummaries = []endpoint{
	{path: "index/stats", methods: getOrPost, params: append([]param{lokiQuery, noStep}, lokiTimes...), serve: serveLokiStats},
	{path: "index/volume", methods: getOrPost, params: append([]param{noStep}, volumeParams...), serve: serveLokiVolume},
	{path: "index/volume_range", methods: getOrPost, params: append([]param{one("step")}, volumeParams...), serve: serveLokiVolumeRange},
	{path: "patterns", methods: getOrPost, params: append([]param{lokiQuery, one("step"), one("limit")}, lokiTimes...), serve: serveLokiPatterns},
	{path: "drilldown-limits", methods: getOnly, serve: serveLokiLimits},
}

// everything is what {} means where Loki takes it: all that anyone shows.
var everything = policy.Selector{labels.MustNewMatcher(labels.MatchRegexp, federation.OrgLabel, ".+")}

// selectorOf reads a selector, of which there has to be one.
func selectorOf(text string) (policy.Selector, error) {
	if text == "{}" {
		return everything, nil
	}
	return logs.ParseSelector(text)
}

// lokiSummary reads what these questions have in common, and asks. ok is false
// when the client has been told what is wrong.
func (f *Front) lokiSummary(w http.ResponseWriter, r *http.Request, q logs.Question, read func(*logs.Question) error) (logs.Question, *logs.Released, bool) {
	var err error
	if q.Start, q.End, err = lokiSpan(r, f.config.Now()); err != nil {
		writeError(w, badRequest(err))
		return q, nil, false
	}
	selector, err := selectorOf(r.FormValue("query"))
	if err != nil {
		writeError(w, render(federation.AsError(err)))
		return q, nil, false
	}
	q.Selectors = []policy.Selector{selector}
	if read != nil {
		if err := read(&q); err != nil {
			writeError(w, badRequest(err))
			return q, nil, false
		}
	}
	s := sessionOf(r.Context())
	released, err := s.askLogs(r.Context(), q)
	if err != nil {
		writeError(w, render(s.failed()))
		return q, nil, false
	}
	return q, released, true
}

// lokiStats is what index/stats answers. There are no chunks here.
type lokiStats struct {
	Streams uint64 `json:"streams"`
	Chunks  uint64 `json:"chunks"`
	Bytes   uint64 `json:"bytes"`
	Entries uint64 `json:"entries"`
	noted
}

func serveLokiStats(f *Front, w http.ResponseWriter, r *http.Request) {
	_, released, ok := f.lokiSummary(w, r, logs.Question{Kind: policy.Stats}, nil)
	if !ok {
		return
	}
	stats := released.Stats()
	writeJSON(w, lokiStats{Streams: stats.Streams, Bytes: stats.Bytes, Entries: stats.Entries, noted: notedOf(sessionOf(r.Context()))})
}

func serveLokiVolume(f *Front, w http.ResponseWriter, r *http.Request) {
	q, released, ok := f.lokiSummary(w, r, logs.Question{Kind: policy.Volume}, func(q *logs.Question) error { return readVolume(r, q) })
	if ok {
		writeVolume(w, r, q, released)
	}
}

func serveLokiVolumeRange(f *Front, w http.ResponseWriter, r *http.Request) {
	q, released, ok := f.lokiSummary(w, r, logs.Question{Kind: policy.Volume}, func(q *logs.Question) error {
		if err := readInterval(r, q); err != nil {
			return err
		}
		return readVolume(r, q)
	})
	if ok {
		writeVolume(w, r, q, released)
	}
}

// readInterval reads the step of a question whose answer is sums by intervals.
func readInterval(r *http.Request, q *logs.Question) error {
	var err error
	q.Step, err = lokiStep(r, q.Start, q.End)
	return err
}

// readVolume reads by what a volume is told. Loki takes a limit of zero for none.
func readVolume(r *http.Request, q *logs.Question) error {
	switch r.FormValue("aggregateBy") {
	case "", "series":
	case "labels":
		q.ByName = true
	default:
		return fmt.Errorf("invalid parameter %q: want series or labels", "aggregateBy")
	}
	if text := r.FormValue("targetLabels"); text != "" {
		q.By = strings.Split(text, ",")
		if slices.Contains(q.By, "") {
			return fmt.Errorf("invalid parameter %q: want names of labels, with commas between", "targetLabels")
		}
	}
	_, err := volumeLimit(r)
	return err
}

func volumeLimit(r *http.Request) (int, error) {
	limit, err := positive(r, "limit", defaultLokiLimit)
	if r.FormValue("limit") == "0" {
		return defaultLokiLimit, nil
	}
	return limit, err
}

// positive reads a number above zero.
func positive(r *http.Request, name string, absent int) (int, error) {
	text := r.FormValue(name)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 || n > math.MaxInt32 {
		return 0, fmt.Errorf("invalid parameter %q: want a number above 0", name)
	}
	return n, nil
}

// writeVolume writes sums as Loki does: those of an interval at its end, most
// first, and as many as the limit says, of each interval. Where no series has
// two points the result is called a vector.
func writeVolume(w http.ResponseWriter, r *http.Request, q logs.Question, released *logs.Released) {
	matrix, err := released.Numbers().Matrix()
	if err != nil {
		writeError(w, render(federation.AsError(err)))
		return
	}
	limit, err := volumeLimit(r)
	if err != nil {
		writeError(w, badRequest(err))
		return
	}
	matrix = mostOf(matrix, limit)
	slices.SortStableFunc(matrix, func(a, b promql.Series) int { return cmp.Compare(b.Floats[0].F, a.Floats[0].F) })
	data, result := lokiData{ResultType: "vector"}, []lokiSeries{}
	for _, series := range matrix {
		if len(series.Floats) > 1 {
			data.ResultType = "matrix"
		}
	}
	for _, series := range matrix {
		out := lokiSeries{Metric: series.Metric.Map()}
		if q.ByName {
			out.Metric = map[string]string{series.Metric.Get(logs.VolumeName): ""}
		}
		for _, p := range series.Floats {
			out.Values = append(out.Values, sampleOf(intervalEnd(q, p.T), p.F))
		}
		if data.ResultType == "vector" {
			out.Value, out.Values = &out.Values[0], nil
		}
		result = append(result, out)
	}
	data.Result = result
	writeLoki(w, sessionOf(r.Context()), data)
}

// intervalEnd is the last millisecond of the interval that begins at a time, or
// the end of the question.
func intervalEnd(q logs.Question, begin int64) int64 {
	end := q.End.UnixMilli()
	if q.Step == 0 {
		return end
	}
	if last := begin + q.Step.Milliseconds(); last < end {
		return last - 1
	}
	return end
}

// mostOf leaves of each moment as many points as are wanted, those with the
// highest values. Of equal ones the first by labels are left.
func mostOf(m promql.Matrix, limit int) promql.Matrix {
	type point struct {
		series int
		value  float64
	}
	moments := map[int64][]point{}
	for i, series := range m {
		for _, p := range series.Floats {
			moments[p.T] = append(moments[p.T], point{i, p.F})
		}
	}
	left := make([]promql.Series, len(m))
	for at, points := range moments {
		slices.SortStableFunc(points, func(a, b point) int { return cmp.Compare(b.value, a.value) })
		for _, p := range points[:min(limit, len(points))] {
			left[p.series].Floats = append(left[p.series].Floats, promql.FPoint{T: at, F: p.value})
		}
	}
	var out promql.Matrix
	for i, series := range left {
		if len(series.Floats) > 0 {
			slices.SortFunc(series.Floats, func(a, b promql.FPoint) int { return cmp.Compare(a.T, b.T) })
			out = append(out, promql.Series{Metric: m[i].Metric, Floats: series.Floats})
		}
	}
	return out
}

// lokiPattern is a pattern and how many lines of it there are: times in seconds.
type lokiPattern struct {
	Pattern string     `json:"pattern"`
	Level   string     `json:"level"`
	Samples [][2]int64 `json:"samples"`
}

// defaultPatterns is how many patterns Loki tells, those of most lines.
const defaultPatterns = 300

func serveLokiPatterns(f *Front, w http.ResponseWriter, r *http.Request) {
	limit, err := positive(r, "limit", defaultPatterns)
	if err != nil {
		writeError(w, badRequest(err))
		return
	}
	_, released, ok := f.lokiSummary(w, r, logs.Question{Kind: policy.Patterns}, func(q *logs.Question) error { return readInterval(r, q) })
	if !ok {
		return
	}
	matrix, err := released.Numbers().Matrix()
	if err != nil {
		writeError(w, render(federation.AsError(err)))
		return
	}
	total := func(s promql.Series) (n float64) {
		for _, p := range s.Floats {
			n += p.F
		}
		return n
	}
	slices.SortStableFunc(matrix, func(a, b promql.Series) int { return cmp.Compare(total(b), total(a)) })
	out := []lokiPattern{}
	for _, series := range matrix[:min(limit, len(matrix))] {
		p := lokiPattern{Pattern: series.Metric.Get(logs.PatternLabel)}
		for _, point := range series.Floats {
			p.Samples = append(p.Samples, [2]int64{point.T / int64(time.Second/time.Millisecond), int64(point.F)})
		}
		out = append(out, p)
	}
	writeLoki(w, sessionOf(r.Context()), out)
}

// serveLokiLimits tells Grafana what it can ask for.
func serveLokiLimits(f *Front, w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{
		"limits":                   map[string]any{"volume_enabled": true, "max_entries_limit_per_query": logs.MaxLinesDetected},
		"pattern_ingester_enabled": true, "version": lokiVersion,
	})
}
