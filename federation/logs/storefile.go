package logs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/prometheus/prometheus/model/labels"
)

const (
	// entriesFile holds a store's entries in the order in which they came, one
	// JSON object a line.
	entriesFile = "entries.jsonl"
	lockFile    = "lock"
	// leastCompacted is how large the file is before what isn't kept any more is
	// taken out of it, in bytes. Afterwards that is when it has doubled.
	leastCompacted = 1 << 20
)

// storeFile is where a store's entries are on disk. A nil one does nothing. Its
// methods need the store's mu.
type storeFile struct {
	dir   string
	lock  *os.File
	file  *os.File
	bytes int // of whole lines
	most  int // bytes, before it is written anew
}

// fileEntry is an entry as the file has it. Lines and values needn't be text.
type fileEntry struct {
	At       int64             `json:"at"` // Unix nanoseconds
	Line     []byte            `json:"line"`
	Stream   map[string][]byte `json:"stream"`
	Metadata map[string][]byte `json:"metadata,omitempty"`
}

// OpenStore opens or creates a store that is also kept in a folder, which no
// other process may have open. There it takes up to twice what the entries that
// are kept take, or a mebibyte. An entry is given to the system when Append
// returns, and is there after a crash of the process, not always after one of the
// machine.
func OpenStore(dir string, c StoreConfig) (*Store, error) {
	s := NewStore(c)
	f, err := openStoreFile(dir, func(e fileEntry) error {
		stream := labelsOf(e.Stream)
		return s.add(storedEntry{at: e.At, line: string(e.Line), metadata: labelsOf(e.Metadata)}, stream)
	})
	if err != nil {
		return nil, fmt.Errorf("open logs store in %s: %w", dir, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file = f
	return s, nil
}

// Close gives back what is open on disk. Nothing may be appended afterwards.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	return errors.Join(s.file.file.Close(), s.file.lock.Close())
}

// openStoreFile calls take with each entry that is there.
func openStoreFile(dir string, take func(fileEntry) error) (f *storeFile, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Close())
		}
	}()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.New("another process has it open; each gateway needs its own")
	}
	file, err := os.OpenFile(filepath.Join(dir, entriesFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	f = &storeFile{dir: dir, lock: lock, file: file}
	if err := f.read(take); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return f, nil
}

// read takes all whole lines. What comes after the last of them was being
// written when the process ended, and is cut off.
func (f *storeFile) read(take func(fileEntry) error) error {
	lines := bufio.NewReader(f.file)
	for number := 1; ; number++ {
		text, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		var e fileEntry
		if err := json.Unmarshal(text, &e); err != nil || len(e.Stream) == 0 {
			return fmt.Errorf("%s, line %d: not an entry; move the file away to begin with an empty store", entriesFile, number)
		}
		if err := take(e); err != nil {
			return fmt.Errorf("%s, line %d: %w", entriesFile, number, err)
		}
		f.bytes += len(text)
	}
	if err := f.file.Truncate(int64(f.bytes)); err != nil {
		return err
	}
	f.most = max(leastCompacted, 2*f.bytes)
	return nil
}

// append writes after the last whole line. What is written of one that fails, as
// on a full disk, the next one is written over.
func (f *storeFile) append(e storedEntry) error {
	if f == nil {
		return nil
	}
	text, err := lineOf(e)
	if err != nil {
		return err
	}
	if _, err := f.file.WriteAt(text, int64(f.bytes)); err != nil {
		return err
	}
	f.bytes += len(text)
	return nil
}

func lineOf(e storedEntry) ([]byte, error) {
	text, err := json.Marshal(fileEntry{At: e.at, Line: []byte(e.line), Stream: bytesOf(e.stream.labels), Metadata: bytesOf(e.metadata)})
	return append(text, '\n'), err
}

// compact writes the file anew, with the entries that are kept, when it has
// become too large.
func (f *storeFile) compact(entries []storedEntry) error {
	if f == nil || f.bytes < f.most {
		return nil
	}
	path := filepath.Join(f.dir, entriesFile)
	next, err := os.OpenFile(path+".next", os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	written := 0
	var batch bytes.Buffer
	flush := func() error {
		n, err := next.Write(batch.Bytes())
		written += n
		batch.Reset()
		return err
	}
	for _, e := range entries {
		text, err := lineOf(e)
		if err == nil {
			batch.Write(text)
		}
		if err == nil && batch.Len() >= leastCompacted {
			err = flush()
		}
		if err != nil {
			return errors.Join(err, next.Close())
		}
	}
	if err := errors.Join(flush(), next.Sync()); err != nil {
		return errors.Join(err, next.Close())
	}
	if err := os.Rename(path+".next", path); err != nil {
		return errors.Join(err, next.Close())
	}
	old := f.file
	f.file, f.bytes, f.most = next, written, max(leastCompacted, 2*written)
	return old.Close()
}

func labelsOf(set map[string][]byte) labels.Labels {
	b := labels.NewScratchBuilder(len(set))
	for name, value := range set {
		b.Add(name, string(value))
	}
	b.Sort()
	return b.Labels()
}

func bytesOf(ls labels.Labels) map[string][]byte {
	set := make(map[string][]byte, ls.Len())
	ls.Range(func(l labels.Label) { set[l.Name] = []byte(l.Value) })
	return set
}
