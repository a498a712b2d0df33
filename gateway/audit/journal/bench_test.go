package journal

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
)

// countingDisk counts the fsyncs of a real directory.
type countingDisk struct {
	Disk
	syncs atomic.Int64
}

func (d *countingDisk) Create(name string) (File, error) {
	f, err := d.Disk.Create(name)
	return countingFile{f, &d.syncs}, err
}

type countingFile struct {
	File
	syncs *atomic.Int64
}

func (f countingFile) Sync() error {
	f.syncs.Add(1)
	return f.File.Sync()
}

var _ io.ReaderAt = countingFile{}

// BenchmarkAppend appends lines of 1 KiB to the directory for temporary files.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 8, 64, 512} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			d := &countingDisk{Disk: Dir(b.TempDir())}
			j := open(b, d, Options{})
			line := bytes.Repeat([]byte{'x'}, 1024)
			work := make(chan struct{}, b.N)
			for range b.N {
				work <- struct{}{}
			}
			close(work)
			done := make(chan error, callers)
			b.SetBytes(int64(len(line)))
			b.ResetTimer()
			for range callers {
				go func() {
					var failed error
					for range work {
						if err := j.Append(b.Context(), line); err != nil {
							failed = err
						}
					}
					done <- failed
				}()
			}
			for range callers {
				if err := <-done; err != nil {
					b.Error(err)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/float64(d.syncs.Load()), "lines/fsync")
		})
	}
}
