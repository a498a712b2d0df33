package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"

	"github.com/parley-gateway/parley/tenants/atomicfile"
)

// cachedBundle is the file in which a partner's last known bundle survives a
// restart. One of another source than the agreement names now is not used.
type cachedBundle struct {
	TrustDomain string       `json:"trust_domain"`
	Source      bundleSource `json:"source"`
	// FileSum is the digest of the agreement's file that was taken last.
	FileSum string          `json:"file_sum,omitempty"`
	Bundle  json.RawMessage `json:"bundle"`
}

// cacheFile is empty when nothing is kept: no folder, or a bundle that is in a
// file of its own anyway.
func (p *partnerBundle) cacheFile() string {
	if p.all.config.CacheDir == "" || p.source.Endpoint == "" {
		return ""
	}
	return filepath.Join(p.all.config.CacheDir, p.td.Name()+".bundle.json")
}

// persist keeps a bundle for the next start. That it can't is logged: it takes
// nothing from the service now.
func (p *partnerBundle) persist(bundle *spiffebundle.Bundle) {
	path := p.cacheFile()
	if path == "" {
		return
	}
	if err := p.writeCache(path, bundle); err != nil {
		p.all.config.Logger.Warn("bundle can't be kept for the next start", "trust_domain", p.td.Name(), "error", err)
	}
}

func (p *partnerBundle) writeCache(path string, bundle *spiffebundle.Bundle) error {
	raw, err := bundle.Marshal()
	if err != nil {
		return err
	}
	data, err := json.Marshal(cachedBundle{TrustDomain: p.td.Name(), Source: p.source, FileSum: p.fileSum, Bundle: raw})
	if err != nil {
		return err
	}
	if old, err := readFile(path); err == nil && string(old) == string(data) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(path, data, 0o600)
}

// restore takes what was known before the restart, if anything.
func (p *partnerBundle) restore() {
	path := p.cacheFile()
	if path == "" {
		return
	}
	err := p.readCache(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.all.config.Logger.Warn("bundle kept from before the restart is not used", "trust_domain", p.td.Name(), "error", err)
	}
}

func (p *partnerBundle) readCache(path string) error {
	data, err := readFile(path)
	if err != nil {
		return err
	}
	var cached cachedBundle
	if err := json.Unmarshal(data, &cached); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if cached.TrustDomain != p.td.Name() || cached.Source != p.source {
		return fmt.Errorf("%s: it came from another source than the agreement names now", path)
	}
	bundle, err := ParseBundle(p.td, cached.Bundle)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := p.believe(bundle); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	p.fileSum = cached.FileSum
	return nil
}
