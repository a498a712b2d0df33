package metrics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// crowd answers with series of up, one after another: first as many that policy
// hides as it is told, then as many that it shows; -1 is until nobody reads any
// more, which is then told.
func crowd(t *testing.T, hidden, visible int, left chan<- struct{}) http.HandlerFunc {
	t.Helper()
	chunk := chunkenc.NewXORChunk()
	appender, err := chunk.Appender()
	if err != nil {
		t.Fatal(err)
	}
	appender.Append(1000, 1)
	return func(w http.ResponseWriter, r *http.Request) {
		send := func(env string, i int) error { // one of the series
			_, err := fmt.Fprintf(w, `%s{"__name__":"up","env":%q,"pod":"%d"}`, map[bool]string{true: "", false: ","}[i == 0 && (env == "dev" || hidden == 0)], env, i)
			return err
		}
		end := func() { say(t, w, "]}") }
		if r.URL.Path == "/api/v1/read" {
			w.Header().Set("Content-Type", streamedMedia)
			flusher, ok := w.(http.Flusher)
			if !ok {
				t.Error("a response that can't be flushed")
				return
			}
			frames := remote.NewChunkedWriter(w, flusher)
			send = func(env string, i int) error {
				frame, err := (&prompb.ChunkedReadResponse{ChunkedSeries: []*prompb.ChunkedSeries{{
					Labels: []prompb.Label{{Name: "__name__", Value: "up"}, {Name: "env", Value: env}, {Name: "pod", Value: fmt.Sprint(i)}},
					Chunks: []prompb.Chunk{{MinTimeMs: 1000, MaxTimeMs: 1000, Type: prompb.Chunk_XOR, Data: chunk.Bytes()}},
				}}}).Marshal()
				if err == nil {
					_, err = frames.Write(frame)
				}
				return err
			}
			end = func() {}
		} else {
			say(t, w, `{"status":"success","data":[`)
		}
		for i := range hidden {
			if err := send("dev", i); err != nil {
				t.Error(err)
				return
			}
		}
		for i := 0; visible < 0 || i < visible; i++ {
			if err := send("prod", i); err != nil {
				left <- struct{}{}
				return
			}
		}
		end()
	}
}

// inProduction releases what is in prod, chosen in a way that only the view can
// tell.
func inProduction() policy.Obligations {
	return policy.Obligations{Datasets: []policy.Dataset{{
		Name: "prod", Release: policy.Row, Others: policy.LabelRule{Mode: policy.Keep},
		Series: []policy.Selector{{labels.MustNewMatcher(labels.MatchEqual, "env", "prod")}, {labels.MustNewMatcher(labels.MatchEqual, "env", "production")}},
	}}}
}

func fetchUp(t *testing.T, source Source, labelsOnly bool, room int) (int, error) {
	t.Helper()
	v := &view{
		source: source, rules: newRules("acme", inProduction(), keys{}), oldest: math.MinInt64, newest: math.MaxInt64,
		may: &allowance{bytes: room},
	}
	series, release, err := v.fetch(t.Context(), selection{
		maxt: 2000, labelsOnly: labelsOnly, matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, "up")},
	})
	if err == nil {
		err = release()
	}
	return len(series), err
}

// What is hidden takes nothing of what a question may hold, however much it is.
func TestHiddenSeriesAreNotHeld(t *testing.T) {
	const room = 10 * (seriesOverhead + chunkOverhead + 100)
	for _, labelsOnly := range []bool{false, true} {
		for _, hidden := range []int{0, 5000} {
			source, _ := backend(t, crowd(t, hidden, 10, nil))
			source.config.ExternalLabels = map[string]string{}
			if n, err := fetchUp(t, source, labelsOnly, room); n != 10 || err != nil {
				t.Errorf("labels only %t: beside %d hidden ones %d series: %v", labelsOnly, hidden, n, err)
			}
		}
	}
}

// What was listed and can't be used is forgotten.
func TestPartialListIsNotHeld(t *testing.T) {
	source, _ := backend(t, half(t, time.Unix(1, 0), `["a store is away"]`))
	source.config.ExternalLabels = map[string]string{}
	v := &view{
		source: source, rules: newRules("acme", everythingKept, keys{}), oldest: math.MinInt64, newest: math.MaxInt64,
		may: &allowance{bytes: 2*seriesOverhead + 100},
	}
	series, _, err := v.fetch(t.Context(), selection{maxt: 2000, labelsOnly: true})
	if err != nil || len(series) != 2 {
		t.Errorf("%d series: %v", len(series), err)
	}
}

// A list is read one by one: what passes by isn't bounded as a whole.
func TestHiddenSeriesMayBeLong(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 1<<20)
	source, _ := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		say(t, w, `{"status":"success","data":[{"__name__":"up","env":"prod"}`)
		for range maxListed/len(long) + 1 {
			say(t, w, `,{"__name__":"up","env":"`+string(long)+`"}`)
		}
		say(t, w, `]}`)
	})
	source.config.ExternalLabels = map[string]string{}
	if n, err := fetchUp(t, source, true, 1000); n != 1 || err != nil {
		t.Errorf("%d series: %v", n, err)
	}
}

// Reading ends where a question holds all it may, and says the same whatever it
// is that there is too much of.
func TestReadingEndsAtTheAllowance(t *testing.T) {
	for _, labelsOnly := range []bool{false, true} {
		left := make(chan struct{}, 1)
		source, _ := backend(t, crowd(t, 100, -1, left))
		source.config.ExternalLabels = map[string]string{}
		_, err := fetchUp(t, source, labelsOnly, 10_000)
		overTheAllowance(t, err)
		<-left // the server noticed
	}
	source, _ := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		say(t, w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}]}}`)
	})
	source.config.ExternalLabels = map[string]string{}
	for maxBytes, fits := range map[int64]bool{50: false, 1000: true} {
		matrix, err := source.evaluate(t.Context(), evaluation{expression: "up", question: Question{Kind: policy.Instant}, maxBytes: maxBytes})
		if fits && len(matrix) != 1 {
			t.Error(matrix, err)
		} else if !fits {
			overTheAllowance(t, err)
		}
	}
}

func overTheAllowance(t *testing.T, err error) {
	t.Helper()
	var e, same *federation.Error
	if !errors.As(err, &e) || !errors.As(tooMuch(), &same) || e.Kind != federation.OverLimit || e.Message != same.Message {
		t.Errorf("not what everybody is told who wants too much: %v", err)
	}
}

// A list that is all one piece is bounded too.
func TestLongListIsNotRead(t *testing.T) {
	source, _ := backend(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.WriteString(w, `{"status":"success","data":["`)
		for err == nil && r.Context().Err() == nil {
			_, err = w.Write(bytes.Repeat([]byte("x"), 1<<20))
		}
	})
	source.config.ExternalLabels = map[string]string{}
	_, err := source.listRaw(t.Context(), selection{}, "pod", 10)
	overTheAllowance(t, err)
}

// A question's evaluation holds what its answer may have, but for an
// aggregation's sake not less than leastSamples, nor more than the config says.
// What filters can't be estimated before.
func TestEvaluationIsBoundedByLimits(t *testing.T) {
	source, _ := backend(t, func(http.ResponseWriter, *http.Request) { t.Error("nothing is read") })
	for _, c := range []struct {
		limit, most int
		fits        bool
	}{
		{0, 0, true},
		{5_000_000, 0, true},
		{1_000, 0, false},
		{0, 1_500_000, false},
		{10_000_000, 5_000_000, true},
	} {
		local, err := NewLocal(LocalConfig{Org: "acme", Source: source, Secret: make([]byte, minSecret), MaxSamples: c.most})
		if err != nil {
			t.Fatal(err)
		}
		o := everythingKept
		o.Limits = tenants.Limits{Samples: c.limit}
		at := time.Unix(1_700_000_000, 0)
		_, _, err = local.Answer(context.Background(), Question{Kind: policy.Instant, Expression: "sum_over_time((vector(1) < 2)[30m:1ms])", Start: at, End: at},
			policy.Decision{Allow: true, Obligations: o}, Asking{Org: "globex"})
		if c.fits && err != nil {
			t.Errorf("limit %d, config %d: %v", c.limit, c.most, err)
		} else if !c.fits {
			overTheAllowance(t, err)
		}
	}
}

// What is estimated to be too much is never asked, whatever the way it would be
// answered; what is just not too much is.
func TestTooMuchIsNotAsked(t *testing.T) {
	keep := policy.LabelRule{Mode: policy.Keep}
	named := func(name string) []policy.Selector {
		return []policy.Selector{{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, name)}}
	}
	o := policy.Obligations{
		Datasets: []policy.Dataset{
			{Name: "rows", Series: named("rows"), Release: policy.Row, Others: keep},
			{
				Name: "cells", Series: named("cells"), Release: policy.Aggregate, Labels: map[string]policy.LabelRule{"region": keep},
				Cells: &policy.Cells{Dimensions: []string{"region"}, Units: []string{"user"}, K: 5},
			},
		},
		Queries: []policy.Query{{Name: "published", Expression: "sum(hidden)"}},
		Limits:  tenants.Limits{Samples: 60},
	}
	for expression, steps := range map[string]int{
		"rows": 60, "sum(rate(rows[5m]))": 60, "rows or vector(1)": 60, "sum(cells)": 60, "sum by (region) (rate(cells[5m])) / 2": 60, "published": 60,
		"max_over_time(sum(rows)[5m:1m])": 60, "max_over_time((rows > 1)[16666m40s:1s])": 1, // a million of them may be held
	} {
		asked := 0
		source, _ := backend(t, func(w http.ResponseWriter, _ *http.Request) {
			asked++
			http.Error(w, "not now", http.StatusServiceUnavailable)
		})
		local, err := NewLocal(LocalConfig{Org: "acme", Source: source, Secret: make([]byte, minSecret)})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Unix(1_700_000_000, 0)
		for more, refused := range []bool{false, true} {
			asked = 0
			end := start.Add(time.Duration(steps+more-1) * time.Minute)
			_, _, err := local.Answer(t.Context(), Question{Kind: policy.Range, Expression: expression, Start: start, End: end, Step: time.Minute},
				policy.Decision{Allow: true, Obligations: o}, Asking{Org: "globex"})
			if e := federation.AsError(err); refused != (e.Kind == federation.OverLimit) || refused != (asked == 0) {
				t.Errorf("%s at %d times: the source is asked %d times: %v", expression, steps+more, asked, err)
			}
		}
	}
}

// Engines are made once for each limit, and not kept for ever.
func TestEngines(t *testing.T) {
	var e engines
	first := e.get(1)
	if e.get(1) != first || e.get(2) == first {
		t.Error("an engine holds what another may")
	}
	for samples := range 10 * maxEngines {
		e.get(samples)
	}
	if len(e.made) > maxEngines {
		t.Errorf("%d engines are kept", len(e.made))
	}
}
