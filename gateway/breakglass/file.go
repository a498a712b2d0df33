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

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/tenants"
	"github.com/parley-gateway/parley/tenants/atomicfile"
)

// file has a line of JSON for each grant, in the order they were opened, and one
// for each that was announced since.
type file struct{ dir string }

func fileIn(dir string) file { return file{dir} }

func (f file) path() string { return filepath.Join(f.dir, "grants.jsonl") }

// line is a grant as it is stored, or what became of one: when it was announced.
// Field names are stable.
type line struct {
	Partner   tenants.OrgID           `json:"partner"`
	Case      tenants.CaseID          `json:"case"`
	Person    string                  `json:"person"`
	Proof     tenants.UserProof       `json:"user_proof,omitempty"`
	Purpose   tenants.Purpose         `json:"purpose,omitempty"`
	Reason    tenants.EmergencyReason `json:"reason,omitempty"`
	Opened    time.Time               `json:"opened,omitzero"`
	Ends      time.Time               `json:"ends,omitzero"`
	Exchange  federation.ExchangeID   `json:"exchange,omitempty"`
	Webhook   bool                    `json:"webhook,omitempty"`
	Announced time.Time               `json:"announced,omitzero"`
}

func lineOf(k kept) line {
	return line{
		Partner: k.Partner, Case: k.Case, Person: k.Person, Proof: k.Proof, Purpose: k.Purpose, Reason: k.Reason,
		Opened: k.Opened, Ends: k.Ends, Exchange: k.Exchange, Webhook: k.Webhook, Announced: k.Announced,
	}
}

func (l line) grant() kept {
	return kept{
		Grant: gateway.Grant{
			Partner: l.Partner, Case: l.Case, Person: l.Person, Proof: l.Proof, Purpose: l.Purpose, Reason: l.Reason, Opened: l.Opened, Ends: l.Ends,
		},
		Exchange: l.Exchange, Webhook: l.Webhook, Announced: l.Announced,
	}
}

// read returns the grants. Half a line at the end is a grant that was never
// given, or an announcement that may be made again.
func (f file) read() ([]kept, error) {
	data, err := os.ReadFile(f.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("break-glass grants: %w", err)
	}
	var out []kept
	at := map[key]int{}
	for n, text := range bytes.Split(data[:bytes.LastIndexByte(data, '\n')+1], []byte("\n")) {
		if len(text) == 0 {
			continue
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil || l.Partner == "" || l.Case == "" || l.Person == "" || l.Ends.IsZero() && l.Announced.IsZero() {
			return nil, fmt.Errorf("%s:%d: not a break-glass grant; repair the line, since a grant that is forgotten could be opened again", f.path(), n+1)
		}
		k := l.grant()
		of, known := at[keyOf(k.Grant)]
		switch {
		case !l.Ends.IsZero():
			at[keyOf(k.Grant)] = len(out)
			out = append(out, k)
		case known:
			out[of].Announced = l.Announced
		}
	}
	return out, nil
}

// replace writes all grants anew.
func (f file) replace(all []kept) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	for _, k := range all {
		if err := encoder.Encode(lineOf(k)); err != nil {
			return err
		}
	}
	return errors.Join(atomicfile.Write(f.path(), text.Bytes(), 0o600), syncFolder(f.dir))
}

// append returns nil once a line is on disk. What it leaves of one that it
// couldn't write is half a line, which the next one takes away.
func (f file) append(l line) (err error) {
	text, err := json.Marshal(l)
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
