package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Disk is the directory of a journal, as much of it as the journal needs. It
// is used by one goroutine at a time.
type Disk interface {
	// Lock keeps every other Disk of the same directory from being locked,
	// until the closer is closed or the process ends.
	Lock() (io.Closer, error)
	// Names lists the files, in any order.
	Names() ([]string, error)
	// Create makes an empty file; fs.ErrExist when there is one of that name.
	Create(name string) (File, error)
	// Open opens a file for reading and writing.
	Open(name string) (File, error)
	// Sync makes the creation of files durable.
	Sync() error
}

// File is a file of a journal.
type File interface {
	io.ReaderAt
	// WriteAt writes all of p at the offset off or returns an error; some of
	// it may be in the file then.
	io.WriterAt
	io.Closer
	// Size in bytes.
	Size() (int64, error)
	// Truncate sets the size.
	Truncate(size int64) error
	// Sync returns nil once everything written, and the size, are durable.
	Sync() error
}

const (
	dirMode  = 0o700 // questions may hold personal data
	fileMode = 0o600
	lockName = "lock"
)

// Dir is the directory at path. It is made when the journal is opened, for the
// owner alone, if it isn't there.
func Dir(path string) Disk { return dir(path) }

type dir string

func (d dir) Lock() (io.Closer, error) {
	if err := d.make(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(string(d), lockName), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errors.New("another process has it open; give each gateway a directory of its own")
		}
		return nil, errors.Join(fmt.Errorf("lock %s: %w", d, err), f.Close())
	}
	return f, nil
}

// make creates the directory durably.
func (d dir) make() error {
	if _, err := os.Stat(string(d)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := dir(filepath.Dir(string(d)))
	if err := parent.make(); err != nil {
		return err
	}
	if err := os.Mkdir(string(d), dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return parent.Sync()
}

func (d dir) Names() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

func (d dir) Create(name string) (File, error) {
	return d.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (d dir) Open(name string) (File, error) { return d.open(name, os.O_RDWR) }

func (d dir) open(name string, flag int) (File, error) {
	f, err := os.OpenFile(filepath.Join(string(d), name), flag, fileMode)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d dir) Sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
