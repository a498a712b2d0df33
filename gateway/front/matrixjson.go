package front

import (
	"bytes"
	"math"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	v1 "github.com/prometheus/prometheus/web/api/v1"
)

// encodeMatrix is Prometheus's JSON of a range query's result, byte for byte,
// in half the time: whole numbers are written as such, the times of the
// steps once for all series, and nothing is copied. ok is false for what it
// leaves to Prometheus: anything else, native histograms, labels to escape.
func encodeMatrix(resp *v1.Response, encode func(*v1.Response) ([]byte, error)) (_ []byte, ok bool) {
	data, isQuery := resp.Data.(*v1.QueryData)
	if !isQuery {
		return nil, false
	}
	matrix, isMatrix := data.Result.(promql.Matrix)
	if !isMatrix || slices.ContainsFunc(matrix, func(s promql.Series) bool { return len(s.Histograms) > 0 || !plainLabels(s.Metric) }) {
		return nil, false
	}
	empty, around := *data, *resp
	empty.Result = promql.Matrix{}
	around.Data = &empty
	frame, err := encode(&around)
	if err != nil {
		return nil, false
	}
	before, after, found := bytes.Cut(frame, []byte(`"result":[]`))
	if !found {
		return nil, false
	}
	out := make([]byte, 0, len(frame)+len(matrix)*seriesRoom+matrix.TotalSamples()*pointRoom)
	out = append(append(out, before...), `"result":[`...)
	out = appendMatrix(out, matrix)
	return append(append(out, ']'), after...), true
}

// What a series and a point mostly fit in, in bytes.
const (
	seriesRoom = 200
	pointRoom  = 32
)

// plainLabels says whether the labels stand in JSON as they are.
func plainLabels(ls labels.Labels) bool {
	plain := true
	ls.Range(func(l labels.Label) { plain = plain && plainText(l.Name) && plainText(l.Value) })
	return plain
}

func plainText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func appendMatrix(out []byte, m promql.Matrix) []byte {
	times := writeTimes(m)
	for i, s := range m {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendSeries(out, s, times)
	}
	return out
}

// writtenTime is a Unix time in milliseconds as it stands in the answer.
type writtenTime struct {
	t    int64
	text string
}

// writeTimes writes the times of the longest series: mostly every step.
func writeTimes(m promql.Matrix) []writtenTime {
	var longest []promql.FPoint
	for _, s := range m {
		if len(s.Floats) > len(longest) {
			longest = s.Floats
		}
	}
	out := make([]writtenTime, len(longest))
	for i, p := range longest {
		out[i] = writtenTime{p.T, string(appendTime(nil, p.T))}
	}
	return out
}

func appendSeries(out []byte, s promql.Series, times []writtenTime) []byte {
	out = append(out, `{"metric":{`...)
	first := true
	s.Metric.Range(func(l labels.Label) {
		if !first {
			out = append(out, ',')
		}
		first = false
		out = append(append(append(out, '"'), l.Name...), `":"`...)
		out = append(append(out, l.Value...), '"')
	})
	out = append(out, '}')
	if len(s.Floats) > 0 {
		out = append(appendPoints(append(out, `,"values":[`...), s.Floats, times), ']')
	}
	return append(out, '}')
}

func appendPoints(out []byte, points []promql.FPoint, times []writtenTime) []byte {
	next := 0
	for i, p := range points {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, '[')
		for next < len(times) && times[next].t < p.T {
			next++
		}
		if next < len(times) && times[next].t == p.T {
			out = append(out, times[next].text...)
		} else {
			out = appendTime(out, p.T)
		}
		out = append(out, `,"`...)
		out = append(appendValue(out, p.F), `"]`...)
	}
	return out
}

// appendTime appends a Unix time in milliseconds as seconds.
func appendTime(out []byte, t int64) []byte {
	if t < 0 {
		out = append(out, '-')
		t = -t
	}
	out = strconv.AppendInt(out, t/1000, 10)
	if fraction := t % 1000; fraction != 0 {
		out = append(out, '.', byte('0'+fraction/100), byte('0'+fraction/10%10), byte('0'+fraction%10))
	}
	return out
}

// wholeBelow bounds the whole numbers that are written as such: every digit of
// theirs is one of the shortest text that reads back as the same number.
const wholeBelow = 1 << 53

func appendValue(out []byte, v float64) []byte {
	size := math.Abs(v)
	switch whole := int64(v); {
	case size < wholeBelow && float64(whole) == v && (whole != 0 || !math.Signbit(v)):
		return strconv.AppendInt(out, whole, 10)
	case size != 0 && (size < 1e-6 || size >= 1e21):
		return strconv.AppendFloat(out, v, 'e', -1, 64)
	}
	return strconv.AppendFloat(out, v, 'f', -1, 64)
}
