package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/model"

	"github.com/parley-gateway/parley/federation"
)

// printAnswer prints a result as a table.
func printAnswer(w io.Writer, a queryAnswer) error {
	var rows [][]string
	var err error
	switch a.Data.ResultType {
	case "vector":
		var v model.Vector
		err = json.Unmarshal(a.Data.Result, &v)
		rows = vectorRows(v)
	case "matrix":
		var m model.Matrix
		err = json.Unmarshal(a.Data.Result, &m)
		rows = matrixRows(m)
	case "scalar":
		var s model.Scalar
		err = json.Unmarshal(a.Data.Result, &s)
		rows = [][]string{{s.Value.String()}}
	case "string":
		var s model.String
		err = json.Unmarshal(a.Data.Result, &s)
		rows = [][]string{{printable(s.Value)}}
	default:
		err = errors.New("its type isn't known")
	}
	if err != nil {
		return fmt.Errorf("the answer is of type %q and can't be printed; try -o json: %w", a.Data.ResultType, err)
	}
	if len(rows) == 0 {
		rows = [][]string{{"no series"}}
	}
	if _, err := io.WriteString(w, align(rows)); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

func vectorRows(v model.Vector) [][]string {
	metrics := make([]model.Metric, 0, len(v))
	for _, s := range v {
		metrics = append(metrics, s.Metric)
	}
	return table(metrics, []string{"VALUE"}, func(i int) []string {
		if h := v[i].Histogram; h != nil {
			return []string{summary(h)}
		}
		return []string{v[i].Value.String()}
	})
}

func matrixRows(m model.Matrix) [][]string {
	metrics := make([]model.Metric, 0, len(m))
	for _, s := range m {
		metrics = append(metrics, s.Metric)
	}
	return table(metrics, []string{"MIN", "AVG", "MAX", "LAST", "OVER TIME"}, func(i int) []string {
		if h := m[i].Histograms; len(h) > 0 {
			return []string{"", "", "", summary(h[len(h)-1].Histogram), fmt.Sprintf("%d histograms", len(h))}
		}
		return overTime(m[i].Values)
	})
}

// summary is a native histogram in few words.
func summary(h *model.SampleHistogram) string {
	return fmt.Sprintf("histogram of %s, sum %s", h.Count, h.Sum)
}

// table has a column for each label that occurs and then the values.
func table(metrics []model.Metric, titles []string, values func(i int) []string) [][]string {
	if len(metrics) == 0 {
		return nil
	}
	seen := map[model.LabelName]bool{}
	for _, metric := range metrics {
		for name := range metric {
			seen[name] = true
		}
	}
	names := make([]model.LabelName, 0, len(seen))
	for name := range seen {
		names = append(names, name)
	}
	slices.Sort(names)
	if i := slices.Index(names, model.MetricNameLabel); i > 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, model.MetricNameLabel)
	}
	head := make([]string, 0, len(names)+len(titles))
	for _, name := range names {
		head = append(head, strings.ToUpper(strings.ReplaceAll(string(name), "__name__", "metric")))
	}
	rows := [][]string{append(head, titles...)}
	for i, metric := range metrics {
		row := make([]string, 0, len(head)+len(titles))
		for _, name := range names {
			row = append(row, printable(string(metric[name])))
		}
		rows = append(rows, append(row, values(i)...))
	}
	return rows
}

// printable keeps what a partner wrote from moving the cursor.
func printable(s string) string {
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// overTime is a series in one line: least, mean, greatest and last value, and
// its shape. NaN is no value, unless there is nothing else.
func overTime(values []model.SamplePair) []string {
	least, greatest, sum, n := math.Inf(1), math.Inf(-1), 0.0, 0
	for _, p := range values {
		v := float64(p.Value)
		if math.IsNaN(v) {
			continue
		}
		least, greatest = min(least, v), max(greatest, v)
		sum += v
		n++
	}
	if n == 0 {
		least, greatest, sum, n = math.NaN(), math.NaN(), math.NaN(), 1
	}
	last := math.NaN()
	if len(values) > 0 {
		last = float64(values[len(values)-1].Value)
	}
	return []string{short(least), short(sum / float64(n)), short(greatest), short(last), sparkline(values, least, greatest)}
}

// short is a number for reading; -o json has every digit.
func short(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

const sparklineWidth = 40

// sparkline draws values between least and greatest, each column the mean of
// its share of the points and a blank where there are none.
func sparkline(values []model.SamplePair, least, greatest float64) string {
	bars := []rune("▁▂▃▄▅▆▇█")
	width := min(len(values), sparklineWidth)
	var out strings.Builder
	for column := range width {
		share := values[column*len(values)/width : (column+1)*len(values)/width]
		sum, n := 0.0, 0
		for _, p := range share {
			if v := float64(p.Value); !math.IsNaN(v) && !math.IsInf(v, 0) {
				sum += v
				n++
			}
		}
		if n == 0 {
			out.WriteRune(' ')
			continue
		}
		height := (sum/float64(n) - least) / (greatest - least) * float64(len(bars)-1)
		if math.IsNaN(height) || math.IsInf(height, 0) {
			height = 0 // all values equal, or an infinite one among them
		}
		out.WriteRune(bars[min(max(int(math.Round(height)), 0), len(bars)-1)])
	}
	return strings.TrimRight(out.String(), " ")
}

// printParts prints, for each organization, its status, why, and what it gave.
func printParts(w io.Writer, parts federation.Completeness, colour bool) error {
	rows := make([][]string, 0, len(parts))
	for _, p := range parts {
		rows = append(rows, []string{string(p.Org), string(p.Status), printable(describePart(p))})
	}
	lines := strings.SplitAfter(align(rows), "\n")
	for i, p := range parts {
		line := lines[i]
		if colour {
			line = strings.Replace(line, string(p.Status), paint(p.Status), 1)
		}
		if _, err := io.WriteString(w, line); err != nil {
			return fmt.Errorf("writing completeness: %w", err)
		}
	}
	return nil
}

func describePart(p federation.Part) string {
	var says []string
	if p.Reason != "" {
		says = append(says, p.Reason)
	}
	if p.Status == federation.Complete || p.Status == federation.Partial {
		took := p.Cost.Latency.Round(100 * time.Microsecond)
		says = append(says, fmt.Sprintf("%d series, %d samples, %s", p.Cost.Series, p.Cost.Samples, took))
	}
	if len(p.Notices) > 0 {
		says = append(says, "redacted: "+strings.Join(p.Notices, ", "))
	}
	return strings.Join(says, "; ")
}

// paint colours a status: green for all of it, yellow for some, red for none.
func paint(s federation.Status) string {
	code := "31"
	switch s {
	case federation.Complete:
		code = "32"
	case federation.Partial, federation.NotAsked:
		code = "33"
	case federation.Denied, federation.Unreachable, federation.Timeout:
	}
	return "\x1b[" + code + "m" + string(s) + "\x1b[0m"
}

// align puts rows in columns two spaces apart, without spaces at the end.
func align(rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var out strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		out.WriteString(strings.TrimRight(line.String(), " "))
		out.WriteByte('\n')
	}
	return out.String()
}
