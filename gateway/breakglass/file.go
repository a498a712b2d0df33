package breakglass

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/tenants"
)

// file has a grant to a line, as JSON, in the order they were opened.
type file struct{ dir string }

func fileIn(dir string) file { return file{dir} }

func (f file) path() string { return filepath.Join(f.dir, "grants.jsonl") }

// line is a grant as it is stored. Field names are stable.
type line struct {
	Partner tenants.OrgID           `json:"partner"`
	Case    tenants.CaseID          `json:"case"`
	Person  string                  `json:"person"`
	Proof   tenants.UserProof       `json:"user_proof"`
	Purpose tenants.Purpose         `json:"purpose"`
	Reason  tenants.EmergencyReason `json:"reason"`
	Opened  time.Time               `json:"opened"`
	Ends    time.Time               `json:"ends"`
}

// read returns the grants. Half a line at the end is a grant that was never
// given.
func (f file) read() ([]gateway.Grant, error) {
	data, err := os.ReadFile(f.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("break-glass grants: %w", err)
	}
	var out []gateway.Grant
	for n, text := range bytes.Split(data[:bytes.LastIndexByte(data, '\n')+1], []byte("\n")) {
		if len(text) == 0 {
			continue
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil || l.Partner == "" || l.Case == "" || l.Person == "" || l.Ends.IsZero() {
			return nil, fmt.Errorf("%s:%d: not a break-glass grant; repair the line, since a grant that is forgotten could be opened again", f.path(), n+1)
		}
		out = append(out, gateway.Grant(l))
	}
	return out, nil
}

// append returns nil once the grant is on disk. What it leaves of one that it
// couldn't write is half a line, which the next one takes away.
func (f file) append(g gateway.Grant) (err error) {
	text, err := json.Marshal(line(g))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	out, err := os.OpenFile(f.path(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	end, err := wholeLines(out)
	if err != nil {
		return err
	}
	if err := out.Truncate(end); err != nil {
		return err
	}
	if _, err := out.WriteAt(append(text, '\n'), end); err != nil {
		return errors.Join(err, out.Truncate(end))
	}
	if err := out.Sync(); err != nil {
		return errors.Join(err, out.Truncate(end))
	}
	return errors.Join(syncFolder(f.dir), syncFolder(filepath.Dir(f.dir)))
}

// maxLine is longer than any line: of a reason's 500 characters and a subject's
// 256, none takes more than twelve bytes.
const maxLine = 16 << 10

// wholeLines is how much of the file is lines that have an end.
func wholeLines(in *os.File) (int64, error) {
	info, err := in.Stat()
	if err != nil {
		return 0, err
	}
	from := max(0, info.Size()-maxLine)
	tail := make([]byte, info.Size()-from)
	if _, err := in.ReadAt(tail, from); err != nil && len(tail) > 0 {
		return 0, err
	}
	at := bytes.LastIndexByte(tail, '\n')
	if at < 0 && from > 0 {
		return 0, fmt.Errorf("%s: doesn't end in lines of grants", in.Name())
	}
	return from + int64(at) + 1, nil
}

// syncFolder makes it durable that the file is there.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
