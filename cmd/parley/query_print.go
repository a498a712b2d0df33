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
	"unicode/utf8"

	"github.com/prometheus/common/model"
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
	rows := table(metrics, []string{"MIN", "AVG", "MAX", "LAST"}, func(i int) []string {
		if h := m[i].Histograms; len(h) > 0 {
			return []string{"", "", "", summary(h[len(h)-1].Histogram)}
		}
		return overTime(m[i].Values)
	})
	if len(rows) == 0 {
		return nil
	}
	// What a terminal leaves, as the last column.
	width := min(max(lineWidth-lineLength(rows)-2, leastSparkline), mostSparkline)
	rows[0] = append(rows[0], "OVER TIME")
	for i, s := range m {
		shape := sparkline(s.Values, width)
		if n := len(s.Histograms); n > 0 {
			shape = count(n, "histogram")
		}
		rows[i+1] = append(rows[i+1], shape)
	}
	return rows
}

// count is a number of things, of which there may be one.
func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return strconv.Itoa(n) + " " + thing
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

// overTime is a series in numbers: least, mean, greatest and last value. NaN is
// no value, unless there is nothing else.
func overTime(values []model.SamplePair) []string {
	least, greatest := extremes(values)
	sum, n := 0.0, 0
	last := math.NaN()
	for _, p := range values {
		last = float64(p.Value)
		if !math.IsNaN(last) {
			sum += last
			n++
		}
	}
	return []string{short(least), short(sum / float64(n)), short(greatest), short(last)}
}

// extremes are the least and the greatest value, NaN if there is none.
func extremes(values []model.SamplePair) (least, greatest float64) {
	least, greatest = math.NaN(), math.NaN()
	for _, p := range values {
		v := float64(p.Value)
		switch {
		case math.IsNaN(v):
		case math.IsNaN(least):
			least, greatest = v, v
		default:
			least, greatest = min(least, v), max(greatest, v)
		}
	}
	return least, greatest
}

// short is a number for reading: four digits, or those before the point. -o
// json has every digit.
func short(v float64) string {
	if a := math.Abs(v); a >= 1000 && a < 1e15 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

const (
	lineWidth      = 80 // of the narrowest usual terminal
	leastSparkline = 12
	mostSparkline  = 40
)

// sparkline draws values in at most so many columns, each the mean of its share
// of the points and a blank where there are none.
func sparkline(values []model.SamplePair, width int) string {
	bars := []rune("▁▂▃▄▅▆▇█")
	least, greatest := extremes(values)
	width = min(len(values), width)
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

// columns are how wide those of rows are.
func columns(rows [][]string) []int {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

// lineLength is how long the longest of the lines that align makes can be.
func lineLength(rows [][]string) int {
	length := 0
	for i, width := range columns(rows) {
		if i > 0 {
			length += 2
		}
		length += width
	}
	return length
}

// align puts rows in columns two spaces apart, without spaces at the end.
func align(rows [][]string) string {
	widths := columns(rows)
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
