package logql

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
)

// processed is what becomes of a line, in one text: the line, then the labels
// that the pipeline added or changed.
func processed(t *testing.T, query, line string) string {
	t.Helper()
	expr := checkRoundTrip(t, query)
	s, ok := expr.(*LogSelector)
	if !ok {
		t.Fatalf("%s is not a log query", query)
	}
	p, err := NewPipeline(s)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	stream, metadata := labels.FromStrings("app", "shop"), labels.FromStrings("pod", "a-1")
	e, ok := p.Process(1767323000123456789, line, stream, metadata)
	if !ok {
		return "gone"
	}
	text := e.Line
	if !labels.Equal(e.Stream, stream) {
		text += fmt.Sprint(" stream ", e.Stream)
	}
	if !labels.Equal(e.Metadata, metadata) {
		text += fmt.Sprint(" metadata ", e.Metadata)
	}
	if !e.Parsed.IsEmpty() {
		text += fmt.Sprint(" ", e.Parsed)
	}
	return text
}

func TestPipeline(t *testing.T) {
	const kept = "kept"
	for _, c := range []struct{ stages, line, want string }{
		{`|= "b"`, "abc", kept},
		{`|= "x"`, "abc", "gone"},
		{`|= "x" or "b"`, "abc", kept},
		{`!= "x" or "b"`, "abc", "gone"},
		{`!= "x" or "y"`, "abc", kept},
		{`|~ "a.c" !~ "d"`, "abc", kept},
		{`|> "<_>b<_>"`, "abc", kept},
		{`|> "<_>b"`, "abc", "gone"},
		{`!> "<_>b"`, "abc", kept},
		{`|= ip("10.0.0.0/8")`, "from 10.1.2.3:80 to 1.2.3.4", kept},
		{`|= ip("10.0.0.1-10.0.0.9")`, "from 10.0.0.10", "gone"},
		{`!= ip("::1")`, "from [::1]:80", "gone"},

		{`| json`, `{"a":"x","b":{"c":1,"d-e":true},"f":[1],"app":"y","pod":"z"}`, `kept {a="x", app_extracted="y", b_c="1", b_d_e="true", pod_extracted="z"}`},
		{`| json a="b.c[1]", d="b", e="nope"`, `{"b":{"c":[1,"x"]}}`, `kept {a="x", d="{\"c\":[1,\"x\"]}", e=""}`},
		{`| logfmt`, `a=1 b="x y" c d= app=y`, `kept {a="1", app_extracted="y", b="x y"}`},
		{`| logfmt --keep-empty e="a"`, `a=1 b`, `kept {e="1"}`},
		{`| regexp "(?P<a>\\w+) (?P<b>\\w+)"`, `x y`, `kept {a="x", b="y"}`},
		{`| pattern "<a> - <_> <b>"`, `x - y z w`, `kept {a="x", b="z w"}`},
		{`| unpack`, `{"a":"x","_entry":"line"}`, `line {a="x"}`},

		{`| logfmt | a > 1 and b = 2KB or c < 1s`, `a=2 b=2kB c=1h`, `kept {a="2", b="2kB", c="1h"}`},
		{`| logfmt | a > 1`, `a=x`, `kept {__error__="LabelFilterErr", __error_details__="strconv.ParseFloat: parsing \"x\": invalid syntax", a="x"}`},
		{`| logfmt | a > 1 | __error__ = ""`, `a=x`, "gone"},
		{`| logfmt | addr = ip("10.0.0.0/8")`, `addr=10.2.3.4`, `kept {addr="10.2.3.4"}`},
		{`| app = "shop" | pod =~ "a.*" | x != "y"`, `z`, kept},

		{`| logfmt | line_format "{{.a}}/{{.app}}{{.none}}"`, `a=1`, `1/shop {a="1"}`},
		{`| line_format "{{ __line__ | upper }} {{ __timestamp__ | unixEpochMillis }}"`, `a`, `A 1767323000123`},
		{`| logfmt | label_format b=a, c="<{{.a}}>"`, `a=1`, `kept {b="1", c="<>"}`},
		{`| decolorize`, "\x1b[31mred\x1b[0m", "red"},
		{`| logfmt | drop a, app, b="2"`, `a=1 b=3`, `kept stream {} {b="3"}`},
		{`| logfmt | keep a, app`, `a=1 b=3`, `kept metadata {} {a="1"}`},
	} {
		got := processed(t, `{app="shop"} `+c.stages, c.line)
		if want := c.line + c.want[min(len(kept), len(c.want)):]; c.want[:min(4, len(c.want))] == kept && got != want {
			t.Errorf("%s of %q: got %s, want %s", c.stages, c.line, got, want)
		} else if c.want[:min(4, len(c.want))] != kept && got != c.want {
			t.Errorf("%s of %q: got %s, want %s", c.stages, c.line, got, c.want)
		}
	}
}

// A template that would work for long fails, whatever it makes.
func TestTemplatesAreBounded(t *testing.T) {
	for _, c := range []struct{ template, want string }{
		{`{{ range 1000 }}{{ $x := repeat 1000000 "a" }}{{ end }}`, "the functions of the template"},
		{`{{ $x := repeat 1000000 "a" }}{{ range 1000 }}{{ $y := contains "b" $x }}{{ end }}`, "the functions of the template"},
		{`{{ $x := repeat 1000000 "a" }}{{ range 1000 }}{{ $y := max 1 (len (upper $x)) }}{{ end }}`, "the functions of the template"},
		{`{{ range 1000 }}{{ range 1000 }}{{ end }}{{ end }}`, "the loops of the template"},
		{`{{ range 10000 }}{{ $x := or ` + strings.Repeat("0 ", 100) + `}}{{ end }}`, "the loops of the template"},
		{`{{ range 1000 }}{{ $x := upper __line__ }}{{ end }}`, ""},
	} {
		got := processed(t, "{app=\"shop\"} | line_format "+strconv.Quote(c.template), "abc")
		if strings.Contains(got, templateProblem) != (c.want != "") || !strings.Contains(got, c.want) {
			t.Errorf("%.100s: got %s, want %q", c.template, got, c.want)
		}
	}
}

// What templates make of an entry is bounded over all of them, and anew for the
// next entry.
func TestTextOfTemplatesIsBoundedForEachEntry(t *testing.T) {
	for _, stages := range []string{
		strings.Repeat("| label_format a%d=`{{ repeat 400000 \"x\" }}` ", 300),
		"| label_format " + strings.TrimSuffix(strings.Repeat("a%d=`{{ repeat 400000 \"x\" }}`,", 300), ","),
		strings.Repeat("| label_format a%d=`{{ repeat 400000 \"x\" }}` | line_format `{{.a0}}`", 300),
	} {
		numbers := make([]any, 300)
		for i := range numbers {
			numbers[i] = i
		}
		selector, ok := checkRoundTrip(t, `{app="shop"} `+fmt.Sprintf(stages, numbers...)).(*LogSelector)
		if !ok {
			t.Fatal("not a log query")
		}
		p, err := NewPipeline(selector)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			e, ok := p.Process(0, "line", labels.FromStrings("app", "shop"), labels.EmptyLabels())
			if size := len(e.Line) + int(e.Parsed.ByteSize()); !ok || size < 800_000 || size > maxTemplateText+1000 || e.Parsed.Get(ErrorLabel) != templateProblem {
				t.Errorf("%.100s: %d bytes, %s=%q", stages, size, ErrorLabel, e.Parsed.Get(ErrorLabel))
			}
		}
	}
}

// One text of a line can be asked for under many names.
func TestLabelsOfAnEntryAreBounded(t *testing.T) {
	var groups, ends, paths strings.Builder
	for i := range 300 {
		fmt.Fprintf(&groups, "(?P<a%d>", i)
		ends.WriteString(")")
		fmt.Fprintf(&paths, ", a%d=`a`", i)
	}
	line := `{"a":"` + strings.Repeat("x", 100_000) + `"}`
	for _, stage := range []string{"json " + paths.String()[2:], "regexp `" + groups.String() + ".*" + ends.String() + "`"} {
		selector, ok := checkRoundTrip(t, `{app="shop"} | `+stage).(*LogSelector)
		if !ok {
			t.Fatal("not a log query")
		}
		p, err := NewPipeline(selector)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			e, ok := p.Process(0, line, labels.FromStrings("app", "shop"), labels.EmptyLabels())
			if size := e.Parsed.ByteSize(); !ok || size < maxLabelText*9/10 || size > maxLabelText+10_000 || e.Parsed.Get(ErrorLabel) != labelsProblem {
				t.Errorf("%.30s: %d bytes, %s=%q", stage, size, ErrorLabel, e.Parsed.Get(ErrorLabel))
			}
		}
		_, err = evaluated(t, `count_over_time({app="shop"} | `+stage+` [4s])`, line)
		var failed *PipelineError
		if !errors.As(err, &failed) || failed.Problem != labelsProblem {
			t.Errorf("%.30s: the number of such lines: %v", stage, failed)
		}
	}
}
