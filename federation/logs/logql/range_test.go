package logql

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// evaluated is what a range aggregation makes of lines that come every second
// from the first second on, at 4 s and 8 s.
func evaluated(t *testing.T, query string, lines ...string) (string, error) {
	t.Helper()
	r, ok := checkRoundTrip(t, query).(*RangeAggregation)
	if !ok {
		t.Fatalf("%s is not a range aggregation", query)
	}
	e, err := NewRange(r, int64(4*time.Second), int64(8*time.Second), 4*time.Second)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	for i, line := range lines {
		e.Add(t.Context(), int64(i+1)*int64(time.Second), line, labels.FromStrings("app", "shop"), labels.EmptyLabels())
	}
	m, err := e.Matrix(t.Context())
	return fmt.Sprint(m), err
}

func TestRange(t *testing.T) {
	for _, c := range []struct{ query, want string }{
		{`count_over_time({app="shop"}[4s])`, "{app=\"shop\"} =>\n4 @[4000]\n2 @[8000]"},
		{`rate({app="shop"}[2s])`, "{app=\"shop\"} =>\n1 @[4000]"},
		{`count_over_time({app="shop"}[4s] offset 2s)`, "{app=\"shop\"} =>\n2 @[4000]\n4 @[8000]"},
		{`bytes_over_time({app="shop"}[4s])`, "{app=\"shop\"} =>\n12 @[4000]\n6 @[8000]"},
		{`absent_over_time({app="shop", x=~"y"} |= "a=3" [1s])`, "{app=\"shop\"} =>\n1 @[4000]\n1 @[8000]"},
		{`sum_over_time({app="shop"} | logfmt | unwrap a [4s])`, "{app=\"shop\"} =>\n10 @[4000]\n11 @[8000]"},
		{`avg_over_time({app="shop"} | logfmt | unwrap a [4s]) by (none)`, "{} =>\n2.5 @[4000]\n5.5 @[8000]"},
		{`quantile_over_time(0.5, {app="shop"} | logfmt | unwrap a [4s])`, "{app=\"shop\"} =>\n2.5 @[4000]\n5.5 @[8000]"},
		{`stdvar_over_time({app="shop"} | logfmt | unwrap a [4s])`, "{app=\"shop\"} =>\n1.25 @[4000]\n0.25 @[8000]"},
		{`first_over_time({app="shop"} | logfmt | unwrap a [4s])`, "{app=\"shop\"} =>\n1 @[4000]\n5 @[8000]"},
		{`last_over_time({app="shop"} | logfmt | unwrap a [4s])`, "{app=\"shop\"} =>\n4 @[4000]\n6 @[8000]"},
		{`max_over_time({app="shop"} | logfmt | unwrap a | a < 4 [4s]) without (app)`, "{} =>\n3 @[4000]"},
		{`count_over_time({app="shop"} | logfmt | a >= 5 [4s])`, "{a=\"5\", app=\"shop\"} =>\n1 @[8000]\n{a=\"6\", app=\"shop\"} =>\n1 @[8000]"},
	} {
		got, err := evaluated(t, c.query, "a=1", "a=2", "a=3", "a=4", "a=5", "a=6")
		if err != nil || got != c.want {
			t.Errorf("%s:\n got %s (%v)\nwant %s", c.query, got, err, c.want)
		}
	}
}

func TestRangeFailsWithTheEntries(t *testing.T) {
	_, err := evaluated(t, `sum_over_time({app="shop"} | logfmt | unwrap a [4s])`, "a=x")
	var failed *PipelineError
	if !errors.As(err, &failed) || failed.Problem != unwrapProblem {
		t.Errorf("got the error %v, want one of %s", err, unwrapProblem)
	}
	if got, err := evaluated(t, `sum_over_time({app="shop"} | logfmt | unwrap a | __error__="" [4s])`, "a=x"); got != "" || err != nil {
		t.Errorf("got %s (%v), want nothing", got, err)
	}
}

func TestRangeIsBounded(t *testing.T) {
	r, ok := checkRoundTrip(t, `count_over_time({app="shop"} | logfmt [1h])`).(*RangeAggregation)
	if !ok {
		t.Fatal("not a range aggregation")
	}
	for most, want := range map[*Allowance]error{ // three series at ten times, each of a="0", app="shop"
		nil: nil, {Points: 30, Labels: 100}: nil, {Points: 29, Labels: 100}: ErrTooManyPoints, {Points: 30, Labels: 30}: ErrTooManyLabels,
	} {
		e, err := NewRange(r, int64(4*time.Second), int64(13*time.Second), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		e.Limit(most)
		for i := range int64(3) {
			e.Add(t.Context(), i, fmt.Sprint("a=", i), labels.FromStrings("app", "shop"), labels.EmptyLabels())
		}
		if m, err := e.Matrix(t.Context()); !errors.Is(err, want) || (err == nil) != (len(m) == 3) {
			t.Errorf("at most %+v: %v, %v", most, m, err)
		}
	}
}

// Nobody waits for what nobody wants any more.
func TestRangeEndsWithItsContext(t *testing.T) {
	r, ok := checkRoundTrip(t, `count_over_time({app="shop"}[1h])`).(*RangeAggregation)
	if !ok {
		t.Fatal("not a range aggregation")
	}
	e, err := NewRange(r, 0, int64(time.Hour), 1) // as many times as an hour has nanoseconds
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e.Add(ctx, 1, "line", labels.FromStrings("app", "shop"), labels.EmptyLabels())
	if _, err := e.Matrix(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got the error %v", err)
	}
}
