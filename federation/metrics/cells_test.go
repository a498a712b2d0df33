package metrics

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/policy"
)

// regions are series of one user each in many regions, at every 50th of a leaf's
// times; and those of one large region.
func regions(many int, t times) rawLeaf {
	var out rawLeaf
	add := func(region, user string, every int) {
		s := promql.Series{Metric: labels.FromStrings("region", region, "user", user)}
		for i := 0; i < t.count(); i += every {
			s.Floats = append(s.Floats, promql.FPoint{T: t.at(i), F: 1})
		}
		out.matrix = append(out.matrix, s)
	}
	for i := range many {
		add(fmt.Sprint("small", i), "alice", 50)
	}
	for i := range 3 {
		add("large", fmt.Sprint("user", i), 50)
	}
	return out
}

// What is held of cells goes by what leaves of them, and not by how many times
// there are at which nothing does.
func TestCellsTakeWhatLeaves(t *testing.T) {
	l := leaf{function: "max_over_time", times: times{start: 0, end: 99_999, step: 1}}
	d := &policy.Dataset{Release: policy.Aggregate, Cells: &policy.Cells{Dimensions: []string{"region"}, Units: []string{"user"}, K: 3}}
	raw := regions(200, l.times)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	may := &allowance{bytes: 32 << 20}
	released, err := newCells(t.Context(), raw, l, d, may)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	if len(released.sums) != 1 || len(released.counts) != 1 || len(released.sums[0].Floats) != 2000 {
		t.Fatalf("%d sums leave", len(released.sums))
	}
	if took, most := 32<<20-may.bytes, 200_000; took < 2*2000*2*sampleBytes || took > most {
		t.Errorf("%d bytes are counted, want at most %d", took, most)
	}
	if allocated := (after.TotalAlloc - before.TotalAlloc) >> 20; allocated > 40 {
		t.Errorf("%d MiB were held", allocated)
	}

	var tooMuch *federation.Error
	if _, err := newCells(t.Context(), raw, l, d, &allowance{bytes: 1 << 20}); !errors.As(err, &tooMuch) || tooMuch.Kind != federation.OverLimit {
		t.Errorf("with little memory: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newCells(ended, raw, l, d, &allowance{bytes: 32 << 20}); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
}

func TestStaleMarkersWhereValuesEnd(t *testing.T) {
	for name, test := range map[string]struct {
		end        int64
		floats     []int64
		histograms []int64
		markers    []int64
	}{
		"none":             {30, []int64{0, 10, 20, 30}, nil, nil},
		"runs":             {95, []int64{20, 30, 50}, nil, []int64{40, 60}},
		"the last of all":  {95, []int64{80, 90}, nil, nil},
		"both":             {95, []int64{10, 60}, []int64{20, 50}, []int64{30, 70}},
		"histograms alone": {95, nil, []int64{30}, []int64{40}},
		"nothing":          {95, nil, nil, nil},
	} {
		s := promql.Series{}
		for _, at := range test.floats {
			s.Floats = append(s.Floats, promql.FPoint{T: at, F: 1})
		}
		for _, at := range test.histograms {
			s.Histograms = append(s.Histograms, promql.HPoint{T: at})
		}
		var floats, markers []int64
		for _, p := range (times{end: test.end, step: 10}).ended(s).Floats {
			if value.IsStaleNaN(p.F) {
				markers = append(markers, p.T)
			} else {
				floats = append(floats, p.T)
			}
		}
		if !slices.Equal(markers, test.markers) || !slices.Equal(floats, test.floats) {
			t.Errorf("%s: markers at %d, want %d", name, markers, test.markers)
		}
	}
}

// Where one unit has more than a share of anything that leaves, or nobody can
// say how much it has, nothing does.
func TestOneUnitHasTooMuch(t *testing.T) {
	inf := math.Inf(1)
	for name, test := range map[string]struct {
		users  [][]float64 // the values of each one's series
		leaves bool
	}{
		"as much each":           {[][]float64{{1}, {1}, {1}}, true},
		"nothing each":           {[][]float64{{0}, {0}, {0}}, true},
		"half":                   {[][]float64{{2}, {1}, {1}}, true},
		"more than half":         {[][]float64{{2.1}, {1}, {1}}, false},
		"less than nothing":      {[][]float64{{-3}, {1}, {1}}, false},
		"more than half of them": {[][]float64{{0, 0, 0, 0}, {1}, {1}}, false},
		"infinite":               {[][]float64{{inf}, {1}, {1}}, false},
		"infinite each":          {[][]float64{{inf}, {inf}, {inf}}, false},
		"not a number":           {[][]float64{{math.NaN()}, {1}, {1}}, false},
		"as much as can be":      {[][]float64{{1e308, -1e308}, {1e308, 1e308}, {1, 1}}, false},
	} {
		var raw rawLeaf
		for user, all := range test.users {
			for pod, v := range all {
				raw.matrix = append(raw.matrix, promql.Series{
					Metric: labels.FromStrings("user", fmt.Sprint(user), "pod", fmt.Sprint(pod)), Floats: []promql.FPoint{{F: v}},
				})
			}
		}
		d := &policy.Dataset{Release: policy.Aggregate, Cells: &policy.Cells{Units: []string{"user"}, K: 3, Dominance: 0.5}}
		released, err := newCells(t.Context(), raw, leaf{}, d, &allowance{bytes: 1 << 20})
		if err != nil || len(released.sums) > 0 != test.leaves || len(released.counts) > 0 != test.leaves {
			t.Errorf("%s: %v %v", name, released, err)
		}
	}
}
