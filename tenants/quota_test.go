package tenants_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/parley-gateway/parley/tenants"
)

func globexWith(l tenants.Limits) tenants.Agreement {
	return tenants.Agreement{Partner: "globex", Limits: l}
}

func TestQuotaOfQuestionsUnderWay(t *testing.T) {
	var q tenants.Quota
	now := time.Unix(1_700_000_000, 0)
	globex := globexWith(tenants.Limits{Concurrent: 2})
	first, err := q.Acquire(globex, tenants.Limits{}, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Acquire(globex, tenants.Limits{}, now); err != nil {
		t.Fatal(err)
	}
	_, err = q.Acquire(globex, tenants.Limits{}, now)
	if got := reasonOf(t, err); got != tenants.OverConcurrency {
		t.Errorf("the third of two: refused for %q", got)
	}
	if _, err := q.Acquire(tenants.Agreement{Partner: "initech"}, tenants.Limits{}, now); err != nil {
		t.Errorf("initech pays for globex: %v", err)
	}
	first()
	first()
	if _, err := q.Acquire(globex, tenants.Limits{}, now); err != nil {
		t.Errorf("one has ended: %v", err)
	}
	_, err = q.Acquire(globex, tenants.Limits{}, now)
	if got := reasonOf(t, err); got != tenants.OverConcurrency {
		t.Errorf("releasing twice gave two: refused for %q", got)
	}
	// The agreement is changed while questions are under way.
	if _, err := q.Acquire(globexWith(tenants.Limits{Concurrent: 3}), tenants.Limits{}, now); err != nil {
		t.Errorf("three are agreed now: %v", err)
	}
	_, err = q.Acquire(globexWith(tenants.Limits{Concurrent: 9}), tenants.Limits{Concurrent: 1}, now)
	if got := reasonOf(t, err); got != tenants.OverConcurrency {
		t.Errorf("policy allows one: refused for %q", got)
	}
}

func TestQuotaOfTails(t *testing.T) {
	var q tenants.Quota
	now := time.Unix(1_700_000_000, 0)
	globex := globexWith(tenants.Limits{Tails: 2, Concurrent: 1})
	first, err := q.AcquireTail(globex, tenants.Limits{}, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.AcquireTail(globex, tenants.Limits{}, now); err != nil {
		t.Fatal(err)
	}
	_, err = q.AcquireTail(globex, tenants.Limits{}, now)
	if got := reasonOf(t, err); got != tenants.OverConcurrency {
		t.Errorf("the third of two: refused for %q", got)
	}
	if _, err := q.Acquire(globex, tenants.Limits{}, now); err != nil {
		t.Errorf("tails are no questions under way: %v", err)
	}
	// Tails of an hour are not forgotten.
	now = now.Add(time.Hour)
	_, err = q.AcquireTail(globex, tenants.Limits{}, now)
	if got := reasonOf(t, err); got != tenants.OverConcurrency {
		t.Errorf("an hour later: refused for %q", got)
	}
	first()
	if _, err := q.AcquireTail(globex, tenants.Limits{}, now); err != nil {
		t.Errorf("one has ended: %v", err)
	}
	for range 2 {
		_, err = q.AcquireTail(globexWith(tenants.Limits{Tails: 9, QueriesPerMinute: 1}), tenants.Limits{}, now)
	}
	if got := reasonOf(t, err); got != tenants.OverRate {
		t.Errorf("a tail is a question of the minute: refused for %q", got)
	}
}

func TestQuotaOfQuestionsAMinute(t *testing.T) {
	var q tenants.Quota
	now := time.Unix(1_700_000_000, 0)
	ask := func(perMinute int) tenants.Reason {
		release, err := q.Acquire(globexWith(tenants.Limits{QueriesPerMinute: perMinute}), tenants.Limits{}, now)
		if err == nil {
			release()
		}
		return reasonOf(t, err)
	}
	for i := range 6 {
		if got := ask(6); got != "" {
			t.Fatalf("question %d of 6: refused for %q", i+1, got)
		}
	}
	if got := ask(6); got != tenants.OverRate {
		t.Errorf("the seventh of six: refused for %q", got)
	}
	now = now.Add(10 * time.Second)
	if got := ask(6); got != "" {
		t.Errorf("ten seconds are worth one more: refused for %q", got)
	}
	if got := ask(6); got != tenants.OverRate {
		t.Errorf("and no second one: refused for %q", got)
	}
	now = now.Add(time.Second)
	if got := ask(60); got != tenants.OverRate {
		t.Errorf("a larger limit is no gift for the past: refused for %q", got)
	}
	now = now.Add(time.Second)
	if got := ask(60); got != "" {
		t.Errorf("but counts from then on: refused for %q", got)
	}
	now = now.Add(-time.Hour)
	if got := ask(60); got != tenants.OverRate {
		t.Errorf("a clock set back: refused for %q", got)
	}
}

// In any span of time a partner gets at most one bucket and what flowed in,
// and never more at once than agreed; nobody who stays below is refused.
func TestQuotaNeverGivesMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := tenants.Limits{
			Concurrent:       rapid.IntRange(1, 4).Draw(t, "concurrent"),
			QueriesPerMinute: rapid.IntRange(1, 30).Draw(t, "queries per minute"),
		}
		perMinute := float64(limits.QueriesPerMinute)
		var (
			q        tenants.Quota
			now      = time.Unix(1_700_000_000, 0)
			underWay []func()
			granted  []time.Time
			model    = perMinute // tokens, counted the slow way
		)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "release") && len(underWay) > 0 {
				underWay[0]()
				underWay = underWay[1:]
			}
			pause := time.Duration(rapid.Int64Range(0, int64(90*time.Second)).Draw(t, "pause"))
			now = now.Add(pause)
			model = min(perMinute, model+pause.Minutes()*perMinute)
			release, err := q.Acquire(globexWith(limits), tenants.Limits{}, now)
			const rounding = 1e-6
			switch {
			case err == nil:
				underWay = append(underWay, release)
				granted = append(granted, now)
				model--
			case len(underWay) < limits.Concurrent && model >= 1+rounding:
				t.Fatalf("refused with %d under way and %f tokens: %v", len(underWay), model, err)
			}
			if len(underWay) > limits.Concurrent || model < -rounding {
				t.Fatalf("granted with %d under way and %f tokens", len(underWay), model)
			}
		}
		for i, from := range granted {
			for j, to := range granted[i:] {
				if most := perMinute + to.Sub(from).Minutes()*perMinute; float64(j+1) > most+1e-6 {
					t.Fatalf("%d questions in %s, at most %f are agreed", j+1, to.Sub(from), most)
				}
			}
		}
	})
}

func TestQuotaForgetsWhoIsIdle(t *testing.T) {
	var q tenants.Quota
	now := time.Unix(1_700_000_000, 0)
	for i := range 1000 {
		a := tenants.Agreement{Partner: tenants.OrgID(fmt.Sprintf("partner-%d", i))}
		release, err := q.Acquire(a, tenants.Limits{}, now)
		if err != nil {
			t.Fatal(err)
		}
		release()
		now = now.Add(time.Second)
	}
	if n := tenants.QuotaSize(&q); n > 150 {
		t.Errorf("remembers %d partners, of whom 60 asked within the last minute", n)
	}
}

func TestQuotaUnderLoad(t *testing.T) {
	var q tenants.Quota
	now := time.Unix(1_700_000_000, 0)
	globex := globexWith(tenants.Limits{Concurrent: 3, QueriesPerMinute: 1000})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if release, err := q.Acquire(globex, tenants.Limits{}, now); err == nil {
					release()
				}
			}
		})
	}
	wg.Wait()
	for range 3 {
		if _, err := q.Acquire(globex, tenants.Limits{}, now); err != nil {
			t.Fatalf("something was not given back: %v", err)
		}
	}
}

func TestLimitsOfAnAnswer(t *testing.T) {
	l := tenants.Limits{Series: 10, Samples: 20, Bytes: 30, Range: time.Hour}
	for _, c := range []struct {
		err  error
		want tenants.Reason
	}{
		{l.CheckSeries("globex", 10), ""},
		{l.CheckSeries("globex", 11), tenants.OverSeries},
		{l.CheckSamples("globex", 20), ""},
		{l.CheckSamples("globex", 21), tenants.OverSamples},
		{l.CheckBytes("globex", 30), ""},
		{l.CheckBytes("globex", 31), tenants.OverBytes},
		{l.CheckRange("globex", time.Hour), ""},
		{l.CheckRange("globex", time.Hour+1), tenants.OverRange},
		{tenants.Limits{}.CheckSeries("globex", tenants.DefaultLimits.Series+1), tenants.OverSeries},
		{tenants.Limits{}.CheckSamples("globex", tenants.DefaultLimits.Samples+1), tenants.OverSamples},
		{tenants.Limits{}.CheckBytes("globex", tenants.DefaultLimits.Bytes+1), tenants.OverBytes},
		{tenants.Limits{}.CheckRange("globex", tenants.DefaultLimits.Range+1), tenants.OverRange},
	} {
		got := reasonOf(t, c.err)
		if got != c.want {
			t.Errorf("%v: refused for %q, want %q", c.err, got, c.want)
		}
		if got != "" && !got.IsLimit() {
			t.Errorf("%s is a limit", got)
		}
	}
	if tenants.Expired.IsLimit() {
		t.Error("an expired agreement is no limit to wait for")
	}
}
