package logs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Five questions are answered, however often they are asked and of whatever
// time; the sixth that differs in whatever isn't, of whatever kind.
func TestManyQuestionsAboutLogs(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	store := NewStore(StoreConfig{})
	if err := store.Append(at, "hello", labels.FromStrings("service", "a"), labels.EmptyLabels()); err != nil {
		t.Fatal(err)
	}
	selector := func(n int) []policy.Selector {
		return []policy.Selector{{labels.MustNewMatcher(labels.MatchNotEqual, "pod", fmt.Sprint(n))}}
	}
	for name, ask := range map[string]func(n int) Question{
		"a line filter": func(n int) Question {
			return Question{Kind: policy.Range, Expression: fmt.Sprintf(`{service="a"} |= "%d"`, n), Limit: 1}
		},
		"a matcher": func(n int) Question {
			return Question{Kind: policy.Range, Expression: fmt.Sprintf(`{service="a", pod!="%d"}`, n), Limit: 1}
		},
		"a bound": func(n int) Question {
			return Question{Kind: policy.Instant, Expression: fmt.Sprintf(`count_over_time({service="a"}[1h]) > %d`, n)}
		},
		"streams":           func(n int) Question { return Question{Kind: policy.Series, Selectors: selector(n)} },
		"values of a label": func(n int) Question { return Question{Kind: policy.LabelValues, Label: fmt.Sprint("l", n)} },
		"volume":            func(n int) Question { return Question{Kind: policy.Volume, Selectors: selector(n)} },
	} {
		t.Run(name, func(t *testing.T) {
			local, err := NewLocal(LocalConfig{Org: "globex", Source: store, Secret: []byte(strings.Repeat("s", minSecret)), Now: func() time.Time { return at }})
			if err != nil {
				t.Fatal(err)
			}
			d := policy.Decision{Allow: true, Obligations: policy.Obligations{
				Datasets:     []policy.Dataset{{Release: policy.Row, Streams: []policy.Selector{{}}, Others: policy.LabelRule{Mode: policy.Keep}, Line: policy.Line{Mode: policy.LineKeep}}},
				Differencing: policy.Differencing{Budget: 5, Within: time.Hour, Refuse: true},
			}}
			answer := func(n int, ago time.Duration) error {
				q := ask(n)
				q.Start, q.End = at.Add(-ago-time.Hour), at.Add(-ago)
				if q.Kind == policy.Instant {
					q.Start = q.End
				}
				_, _, err := local.Answer(t.Context(), q, d, federation.Asking{Org: "acme", ExchangeID: federation.NewExchangeID(at)})
				return err
			}
			for again := range 3 {
				for n := range 5 {
					if err := answer(n, time.Duration(again)*time.Minute); err != nil {
						t.Fatalf("question %d: %v", n, err)
					}
				}
			}
			if err := answer(5, 0); err == nil || federation.AsError(err).Kind != federation.OverLimit || !strings.Contains(err.Error(), "at most 5 different questions about logs") {
				t.Errorf("a sixth question: %v", err)
			}
		})
	}
}

// Many probes in one question are as many.
func TestManyProbesInOneQuestionAboutLogs(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	local, err := NewLocal(LocalConfig{Org: "globex", Source: NewStore(StoreConfig{}), Secret: []byte(strings.Repeat("s", minSecret)), Now: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	d := policy.Decision{Allow: true, Obligations: policy.Obligations{
		Datasets:     []policy.Dataset{{Release: policy.Row, Streams: []policy.Selector{{}}, Others: policy.LabelRule{Mode: policy.Keep}, Line: policy.Line{Mode: policy.LineKeep}}},
		Differencing: policy.Differencing{Budget: 5, Within: time.Hour, Refuse: true},
	}}
	for n, refused := range map[int]bool{5: false, 6: true} {
		var probes []string
		for i := range n {
			probes = append(probes, fmt.Sprintf(`sum (count_over_time({service="a"} |= "%d" [1d]))`, i))
		}
		q := Question{Kind: policy.Instant, Expression: strings.Join(probes, " or "), Start: at, End: at}
		_, _, err := local.Answer(t.Context(), q, d, federation.Asking{Org: tenants.OrgID(fmt.Sprint("partner", n)), ExchangeID: federation.NewExchangeID(at)})
		if (err != nil) != refused {
			t.Errorf("%d probes: %v", n, err)
		}
	}
}
