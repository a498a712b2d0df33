package audit

import (
	"io/fs"
	"slices"
	"time"
)

// lateness is by how much a clock may have been set while a log was written.
const lateness = time.Hour

// Since leaves out the files of a log all of whose records are of questions that
// arrived before a time; a zero one leaves out none. It goes by what the files
// say, not by when they were changed. Files that it keeps have older records too.
func Since(log fs.FS, t time.Time) fs.FS {
	if t.IsZero() {
		return log
	}
	return since{log, t}
}

type since struct {
	fs.FS
	time time.Time
}

// ReadDir implements fs.ReadDirFS. A file is begun after the ones before it have
// ended, so that its first record is newer than all of theirs.
func (s since) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(s.FS, name)
	for i, entry := range slices.Backward(entries) {
		if begun, ok := s.begun(entry.Name()); ok && begun.Before(s.time.Add(-lateness)) {
			return entries[i:], err
		}
	}
	return entries, err
}

// begun is when the first record of a file was written, if it has one.
func (s since) begun(name string) (at time.Time, ok bool) {
	file, err := s.Open(name)
	if err != nil {
		return at, false
	}
	for record, err := range ReadFrom(file) {
		if ok = err == nil; ok {
			at = time.Time(record.Time).Add(record.Latency)
			if record.Repeats != nil {
				at = time.Time(record.Repeats.Last)
			}
		}
		break
	}
	return at, ok && file.Close() == nil
}
