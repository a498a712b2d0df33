package logs

import (
	"slices"
	"testing"
	"time"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// From what is kept of a question, policy is told the same once more.
func TestRecorded(t *testing.T) {
	at := testStart
	selectors := func(texts ...string) []policy.Selector {
		var out []policy.Selector
		for _, text := range texts {
			s, err := ParseSelector(text)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, s)
		}
		return out
	}
	seen := map[policy.Kind]bool{}
	for _, q := range []Question{
		{Kind: policy.Instant, Expression: `sum by (level) (rate({service="a\nb"} | json |= "x" [5m])) / on (level) topk(3, count_over_time({a=~"b|c"}[1h] offset 1h))`, Start: at, End: at},
		{Kind: policy.Range, Expression: `{service="shop"} |~ "a+" != "b" | logfmt | user != "" | line_format "{{.user}}"`, Start: at, End: at.Add(time.Hour), Limit: 100, Backward: true},
		{Kind: policy.Range, Expression: `quantile_over_time(0.9, {service="shop"} | unwrap seconds [1m])`, Start: at, End: at.Add(time.Hour), Step: time.Minute},
		{Kind: policy.Tail, Expression: `{service="shop"} |= "` + "`" + `"`, Start: at, End: at},
		{Kind: policy.DetectedFields, Expression: `{service="shop"} | json`, Start: at, End: at, Limit: 10},
		{Kind: policy.Series, Selectors: selectors(`{a="b\nc"}`, `{a=~"y.*", z!=""}`), Start: at, End: at},
		{Kind: policy.LabelNames, Start: at, End: at},
		{Kind: policy.LabelValues, Label: "job", Selectors: selectors(`{a="b"}`), Start: at, End: at},
		{Kind: policy.Stats, Selectors: selectors(`{a="b"}`), Start: at, End: at},
		{Kind: policy.Volume, Selectors: selectors(`{a="b"}`), Start: at, End: at, Step: time.Minute, By: []string{"job"}},
		{Kind: policy.DetectedLabels, Start: at, End: at},
		{Kind: policy.Patterns, Selectors: selectors(`{a="b"}`), Start: at, End: at, Step: time.Minute},
	} {
		seen[q.Kind] = true
		asked, err := q.Request()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Recorded(asked.Kind, asked.Query)
		if err != nil {
			t.Errorf("%s: %v", asked.Query, err)
			continue
		}
		same := slices.EqualFunc(got.Selectors, asked.Selectors, func(a, b policy.Selector) bool { return FormatSelector(a) == FormatSelector(b) }) &&
			slices.Equal(got.Functions, asked.Functions) && slices.Equal(got.Stages, asked.Stages) && slices.Equal(got.LineFilters, asked.LineFilters)
		if !same || got.Query != asked.Query || got.Signal != asked.Signal || got.Kind != asked.Kind || got.Window != (policy.Window{}) || got.Step != 0 {
			t.Errorf("%s: %+v, want %+v", asked.Query, got, asked)
		}
	}
	for _, kind := range policy.Kinds(tenants.Logs) {
		if !seen[kind] {
			t.Errorf("no question of the kind %s was recorded", kind)
		}
	}
	for kind, text := range map[policy.Kind]string{policy.Range: "{", policy.Series: `{a="b"} | json`, policy.Metadata: "up"} {
		if _, err := Recorded(kind, text); err == nil {
			t.Errorf("%s %q was read", kind, text)
		}
	}
}
