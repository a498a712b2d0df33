package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
)

// openTail finds the end of the journal on disk, begins the first file if there
// is none, and repairs what a crash tore.
func openTail(disk Disk, maxFileSize int64, log *slog.Logger) (*tail, error) {
	names, err := disk.Names()
	if err != nil {
		return nil, err
	}
	t := &tail{disk: disk, max: maxFileSize}
	seqs := sequences(names)
	if len(seqs) == 0 {
		return t, t.create()
	}
	// The last file that holds anything was the one being written: an empty one
	// after it is a new file whose creation was not known to have succeeded.
	for _, seq := range slices.Backward(seqs) {
		size, err := t.repair(seq, log)
		if err != nil {
			return nil, err
		}
		if size > 0 {
			break
		}
	}
	return t, nil
}

// repair finds where the whole lines of a file end, moves what follows to a file
// of its own and makes the rest durable: it may be no more than in the kernel's
// cache. It returns the size before. The first file it is called for becomes the
// one that grows.
func (t *tail) repair(seq int, log *slog.Logger) (size int64, err error) {
	name := fileName(seq)
	file, err := t.disk.Open(name)
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", name, err)
	}
	whole, size, err := t.cut(file, name, log)
	if err == nil {
		err = errors.Join(file.Sync(), t.disk.Sync())
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("repair %s: %w", name, err), file.Close(), t.close())
	}
	if t.file == nil {
		t.seq, t.size, t.file = seq, whole, file
		return size, nil
	}
	return size, file.Close()
}

// cut leaves whole lines in the file.
func (t *tail) cut(file File, name string, log *slog.Logger) (whole, size int64, err error) {
	if size, err = file.Size(); err != nil {
		return 0, 0, err
	}
	if whole, err = wholeLines(io.NewSectionReader(file, 0, size)); err != nil || whole == size {
		return whole, size, err
	}
	aside, err := t.setAside(name, io.NewSectionReader(file, whole, size-whole))
	if err != nil {
		return 0, 0, err
	}
	log.Warn("the audit journal ended in a torn line, as after a crash; it was moved aside",
		"file", name, "offset", whole, "bytes", size-whole, "moved_to", aside)
	return whole, size, file.Truncate(whole)
}

// setAside copies a torn end to a new file, durably, and returns its name.
func (t *tail) setAside(of string, torn io.Reader) (name string, err error) {
	var aside File
	for n := 1; aside == nil; n++ {
		name = fmt.Sprintf("%s.torn-%d", of, n)
		if aside, err = t.disk.Create(name); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	_, err = io.Copy(io.NewOffsetWriter(aside, 0), torn)
	if err == nil {
		err = aside.Sync()
	}
	if err = errors.Join(err, aside.Close()); err != nil {
		return "", err
	}
	return name, t.disk.Sync()
}

// wholeLines returns how many bytes of r are whole lines: up to the last
// newline, or to the line before the first NUL byte. A power cut can leave a
// file longer than what reached it, with NUL bytes in the gap; only lines that
// nobody was told to be durable can follow one.
func wholeLines(r io.Reader) (int64, error) {
	var whole, read int64
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		chunk := buf[:n]
		nul := bytes.IndexByte(chunk, 0)
		if nul >= 0 {
			chunk = chunk[:nul]
		}
		if i := bytes.LastIndexByte(chunk, '\n'); i >= 0 {
			whole = read + int64(i) + 1
		}
		read += int64(n)
		switch {
		case nul >= 0 || errors.Is(err, io.EOF):
			return whole, nil
		case err != nil:
			return 0, err
		}
	}
}
