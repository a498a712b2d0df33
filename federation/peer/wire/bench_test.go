package wire_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"google.golang.org/protobuf/proto"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/peer/wire"
	federationv1 "github.com/parley-gateway/parley/proto/parley/federation/v1"
)

// BenchmarkAnswer writes and reads an answer of 1,500 series of 61 samples.
func BenchmarkAnswer(b *testing.B) {
	var series []metrics.ReleasedSeries
	for i := range 1500 {
		c := chunkenc.NewXORChunk()
		app, err := c.Appender()
		if err != nil {
			b.Fatal(err)
		}
		for m := range 61 {
			app.Append(at(m), math.Floor(math.Sqrt(float64(i))*float64(m)))
		}
		series = append(series, metrics.ReleasedSeries{
			Labels: labels.FromStrings("__name__", "http_requests_total", "org", "globex", "pod", fmt.Sprintf("pod-%05d", i), "region", "eu", "status", "200"),
			Chunks: []chunks.Meta{{Chunk: c}},
		})
	}
	released := metrics.Received(series, nil, nil, nil)
	write := func(b *testing.B) (data [][]byte) {
		for _, m := range encode(b, released) {
			bytes, err := proto.Marshal(m)
			if err != nil {
				b.Fatal(err)
			}
			data = append(data, bytes)
		}
		return data
	}
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			write(b)
		}
	})
	data := write(b)
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var messages []*federationv1.AskResponse
			for _, bytes := range data {
				m := &federationv1.AskResponse{}
				if err := proto.Unmarshal(bytes, m); err != nil {
					b.Fatal(err)
				}
				messages = append(messages, m)
			}
			if _, _, err := receive(rangeQuestion(), wire.Limits{}, messages); err != nil {
				b.Fatal(err)
			}
		}
	})
}
