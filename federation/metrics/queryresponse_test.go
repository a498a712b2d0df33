package metrics

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"pgregory.net/rapid"
)

// Pairs are read as Prometheus's own client reads them.
func TestSamplePairs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOf(rapid.Custom(func(t *rapid.T) model.SamplePair {
			return model.SamplePair{
				Timestamp: model.Time(rapid.OneOf(rapid.Int64Range(-1e6, 1e6), rapid.Int64Range(-1<<52, 1<<52)).Draw(t, "t")),
				Value:     model.SampleValue(rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, 17})).Draw(t, "v")),
			}
		})).Draw(t, "pairs")
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "spaced") {
			text = []byte(strings.NewReplacer("[", " [ ", "]", " ] ", ",", "\n,\t").Replace(string(text)))
		}
		var got samplePairs
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if len(got) != len(want) {
			t.Fatalf("%d pairs of %s", len(got), text)
		}
		for i, p := range want {
			if got[i].T != int64(p.Timestamp) || math.Float64bits(got[i].F) != math.Float64bits(float64(p.Value)) && !math.IsNaN(got[i].F) {
				t.Errorf("%v became %v", p, got[i])
			}
		}
	})
}

func TestBadQueryResponses(t *testing.T) {
	const answer = `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":%s}]}}`
	for values, want := range map[string]string{
		`[]`: "[]", `[[1.5,"2"]]`: "[2 @[1500]]", `[[1e3,"+Inf"]]`: "can't be read", `[[-1,"NaN"]]`: "[NaN @[-1000]]",
		`[[1.5, "2"] , [2,"3"]]`: "[2 @[1500] 3 @[2000]]",
		`null`:                   "[]", `{}`: "can't be read", `[1]`: "can't be read", `[[1]]`: "can't be read", `[[1,2]]`: "can't be read",
		`[["1","2"]]`: "can't be read", `[[1,"x"]]`: "can't be read", `[[1,"2",3]]`: "can't be read", `[[1,"2"],3]`: "can't be read",
		`[[,"2"]]`: "can't be read", `[[99999999999999999999,"2"]]`: "can't be read", `[[1,"2\"3"]]`: "can't be read", `[[1,"2"]`: "can't be read",
	} {
		matrix, err := decodeQueryResponse(strings.NewReader(fmt.Sprintf(answer, values)))
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprint(matrix[0].Floats)
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", values, got, want)
		}
	}
}

func BenchmarkDecodeQueryResponse(b *testing.B) {
	var out strings.Builder
	out.WriteString(`{"status":"success","data":{"resultType":"matrix","result":[`)
	for s := range 500 {
		fmt.Fprintf(&out, `{"metric":{"pod":"pod-%d"},"values":[`, s)
		for i := range 100 {
			fmt.Fprintf(&out, `[%d,"%v"],`, 1_748_865_600+36*i, math.Sqrt(float64(s*i)))
		}
		out.WriteString(`[1,"2"]]},`)
	}
	text := strings.TrimSuffix(out.String(), ",") + `]}}`
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := decodeQueryResponse(strings.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
}
