package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
)

// tail is the end of a journal: its last file, and how much of that is durable.
type tail struct {
	disk Disk
	// max is the size from which no more is added to a file.
	max int64
	// seq is the number of the last file.
	seq int
	// size is where its durable lines end. What lies beyond was refused.
	size int64
	// file is nil after a failure, until reopen.
	file File
}

// probe is what a file that failed must be able to take before it is trusted
// again. It has no newline: if a crash leaves it behind it is a torn line.
var probe = bytes.Repeat([]byte{' '}, 4096)

// append makes lines durable, all of them or none.
func (t *tail) append(lines []byte) error {
	if t.file == nil {
		if err := t.reopen(); err != nil {
			return err
		}
	}
	if len(lines) == 0 {
		return nil
	}
	if t.size > 0 && t.size+int64(len(lines)) > t.max {
		if err := t.rotate(); err != nil {
			return err
		}
	}
	if _, err := t.file.WriteAt(lines, t.size); err != nil {
		return t.fail("write", err)
	}
	if err := t.file.Sync(); err != nil {
		return t.fail("sync", err)
	}
	t.size += int64(len(lines))
	return nil
}

// rotate begins a new file. The old one is durable to its end.
func (t *tail) rotate() error {
	err := t.file.Close()
	t.file = nil
	if err != nil {
		return t.fail("close", err)
	}
	return t.create()
}

// create begins the next file, never one that is there.
func (t *tail) create() error {
	for seq := t.seq + 1; ; seq++ {
		file, err := t.disk.Create(fileName(seq))
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("create %s: %w", fileName(seq), err)
		}
		t.seq, t.size, t.file = seq, 0, file
		break
	}
	if err := t.disk.Sync(); err != nil {
		return t.fail("sync the directory of", err)
	}
	return nil
}

// fail gives the file up: after a failed write or fsync neither its end nor
// what the kernel still holds of it can be relied on.
func (t *tail) fail(doing string, err error) error {
	err = fmt.Errorf("%s %s: %w", doing, fileName(t.seq), err)
	if t.file != nil {
		err = errors.Join(err, t.file.Close())
		t.file = nil
	}
	return err
}

// reopen opens the last file again, cuts off what was refused and proves that
// the file takes data.
func (t *tail) reopen() error {
	file, err := t.disk.Open(fileName(t.seq))
	if err != nil {
		return fmt.Errorf("open %s again: %w", fileName(t.seq), err)
	}
	t.file = file
	size, err := file.Size()
	if err != nil {
		return t.fail("read the size of", err)
	}
	if size < t.size {
		return t.fail("open again", fmt.Errorf("it has %d bytes where %d were written; something else changed it, restart the gateway after finding out what", size, t.size))
	}
	for _, step := range []struct {
		doing string
		do    func() error
	}{
		{"cut", func() error { return file.Truncate(t.size) }},
		{"probe", func() error { _, err := file.WriteAt(probe, t.size); return err }},
		{"probe", file.Sync},
		{"cut", func() error { return file.Truncate(t.size) }},
		{"sync", file.Sync},
		{"sync the directory of", t.disk.Sync},
	} {
		if err := step.do(); err != nil {
			return t.fail(step.doing, err)
		}
	}
	return nil
}

func (t *tail) close() error {
	if t.file == nil {
		return nil
	}
	file := t.file
	t.file = nil
	return file.Close()
}
