package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
)

// fakeDisk is a directory in memory that knows what a power cut would leave of
// it, and can be told to fail any operation, before or after its effect.
type fakeDisk struct {
	mu     sync.Mutex
	locked bool
	files  map[string]*fakeContent
	ops    int
	syncs  int // of files
	// fault is asked at every operation; nil means none.
	fault func(n int, op string) fault
}

// fakeContent is what readers see of a file, and what is on the platter.
type fakeContent struct {
	data, durable []byte
	named         bool // its directory entry is durable
}

type fault uint8

const (
	noFault   fault = iota
	before          // the operation has no effect and fails
	after           // the operation has its effect and fails
	halfway         // a write writes half and fails
	numFaults = 4
)

var errDisk = errors.New("input/output error (injected)")

func newFakeDisk() *fakeDisk { return &fakeDisk{files: map[string]*fakeContent{}} }

// do runs an operation under the fault that is due. portion is the share of the
// effect wanted, in percent.
func (d *fakeDisk) do(op string, effect func(percent int) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.locked {
		return fmt.Errorf("%s on a directory that isn't locked", op)
	}
	d.ops++
	if op == "sync" {
		d.syncs++
	}
	f := noFault
	if d.fault != nil {
		f = d.fault(d.ops, op)
	}
	switch f {
	case before:
		return errDisk
	case halfway:
		if op == "write" {
			return errors.Join(effect(50), errDisk)
		}
		return errDisk
	case after:
		return errors.Join(effect(100), errDisk)
	}
	return effect(100)
}

func (d *fakeDisk) setFault(f func(n int, op string) fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = f
}

func (d *fakeDisk) Lock() (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.locked {
		return nil, errors.New("locked already")
	}
	d.locked = true
	return closer(func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.locked = false
		return nil
	}), nil
}

type closer func() error

func (c closer) Close() error { return c() }

func (d *fakeDisk) Names() (names []string, err error) {
	err = d.do("list", func(int) error {
		for name := range d.files {
			names = append(names, name)
		}
		return nil
	})
	return names, err
}

func (d *fakeDisk) Create(name string) (File, error) {
	err := d.do("create", func(int) error {
		if d.files[name] != nil {
			return fs.ErrExist
		}
		d.files[name] = &fakeContent{}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &fakeFile{disk: d, content: d.files[name]}, nil
}

func (d *fakeDisk) Open(name string) (File, error) {
	err := d.do("open", func(int) error {
		if d.files[name] == nil {
			return fs.ErrNotExist
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &fakeFile{disk: d, content: d.files[name]}, nil
}

func (d *fakeDisk) Sync() error {
	return d.do("syncdir", func(int) error {
		for _, c := range d.files {
			c.named = true
		}
		return nil
	})
}

// crash returns a disk with what a power cut may leave: all that is durable,
// and of the rest whatever rnd likes, with gaps of NUL bytes.
func (d *fakeDisk) crash(rnd *rand.Rand) *fakeDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := newFakeDisk()
	for name, c := range d.files {
		if !c.named && rnd.IntN(2) == 0 {
			continue
		}
		data := slices.Clone(c.durable)
		if extra := len(c.data) - len(c.durable); extra > 0 {
			kept := slices.Clone(c.data[len(c.durable):][:rnd.IntN(extra+1)])
			if len(kept) > 0 && rnd.IntN(2) == 0 {
				from := rnd.IntN(len(kept))
				clear(kept[from : from+rnd.IntN(len(kept)-from+1)])
			}
			data = append(data, kept...)
		}
		out.files[name] = &fakeContent{data: data, durable: slices.Clone(data), named: true}
	}
	return out
}

// fs is the directory as a reader sees it.
func (d *fakeDisk) fs() fstest.MapFS {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := fstest.MapFS{}
	for name, c := range d.files {
		out[name] = &fstest.MapFile{Data: slices.Clone(c.data)}
	}
	return out
}

type fakeFile struct {
	disk    *fakeDisk
	content *fakeContent
	closed  bool
}

func (f *fakeFile) do(op string, effect func(percent int) error) error {
	return f.disk.do(op, func(percent int) error {
		if f.closed {
			return fs.ErrClosed
		}
		return effect(percent)
	})
}

func (f *fakeFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.do("read", func(int) error {
		if off >= int64(len(f.content.data)) {
			return io.EOF
		}
		if n = copy(p, f.content.data[off:]); n < len(p) {
			return io.EOF
		}
		return nil
	})
	return n, err
}

func (f *fakeFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.do("write", func(percent int) error {
		if off > int64(len(f.content.data)) {
			return fmt.Errorf("write at %d leaves a gap after %d", off, len(f.content.data))
		}
		n = len(p) * percent / 100
		end := int(off) + n
		if grow := end - len(f.content.data); grow > 0 {
			f.content.data = append(f.content.data, make([]byte, grow)...)
		}
		copy(f.content.data[off:end], p)
		return nil
	})
	return n, err
}

func (f *fakeFile) Truncate(size int64) error {
	return f.do("truncate", func(int) error {
		if size > int64(len(f.content.data)) {
			return fmt.Errorf("truncate to %d makes the file longer than %d", size, len(f.content.data))
		}
		f.content.data = f.content.data[:size:size]
		return nil
	})
}

func (f *fakeFile) Size() (size int64, err error) {
	err = f.do("size", func(int) error {
		size = int64(len(f.content.data))
		return nil
	})
	return size, err
}

func (f *fakeFile) Sync() error {
	return f.do("sync", func(int) error {
		f.content.durable = slices.Clone(f.content.data)
		return nil
	})
}

func (f *fakeFile) Close() error {
	return f.do("close", func(int) error {
		f.closed = true
		return nil
	})
}

// linesOf reads a journal that must be without damage.
func linesOf(t testing.TB, fsys fs.FS) []string {
	t.Helper()
	var out []string
	for line, err := range Lines(fsys) {
		if err != nil {
			t.Fatalf("after %d lines: %v", len(out), err)
		}
		out = append(out, string(line.Text))
	}
	return out
}
