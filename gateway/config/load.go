package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/parley-gateway/parley/tenants/yamlstrict"
)

// Load reads a gateway's configuration and looks whether the files and folders
// it names are there. The error is yamlstrict.Problems: all that is wrong, one
// problem to a line, as `file:line: key: sentence`.
//
// What is in the folders of agreements and policies is for their own packages
// to say.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, yamlstrict.Problems{{File: path, Text: "the file can't be read: " + cause(err)}}
	}
	c, doc := decode(path, data)
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("finding the folder of %s: %w", path, err)
	}
	for _, r := range c.references() {
		if !doc.Has(r.key) || doc.Failed(r.key) {
			continue
		}
		if !filepath.IsAbs(*r.path) {
			*r.path = filepath.Join(dir, *r.path)
		}
		if problem := r.check(*r.path); problem != "" {
			doc.Problemf(r.key, "%s", problem)
		}
	}
	if doc.Has("pseudonyms.key_file") && !doc.Failed("pseudonyms.key_file") {
		if _, err := c.Pseudonyms.Key(); err != nil {
			doc.Problemf("pseudonyms.key_file", "%s", err)
		}
	}
	if err := doc.Err(); err != nil {
		return nil, err
	}
	if !doc.Has("state.dir") {
		c.State.Dir = c.Audit.Dir
	}
	return c, nil
}

// reference is a path in the configuration.
type reference struct {
	key  string
	path *string
	// check says what is wrong with the path, or "".
	check func(path string) string
}

func (c *Config) references() []reference {
	refs := []reference{
		{"agreements.dir", &c.Agreements.Dir, folder},
		{"policy.dir", &c.Policy.Dir, folder},
		{"policy.shadow", &c.Policy.Shadow, folder},
		{"pseudonyms.key_file", &c.Pseudonyms.KeyFile, nothing}, // Key checks it
		{"audit.dir", &c.Audit.Dir, newFolder},
		{"state.dir", &c.State.Dir, newFolder},
	}
	if f := c.Identity.Files; f != nil {
		refs = append(refs,
			reference{"identity.files.cert_file", &f.CertFile, file},
			reference{"identity.files.key_file", &f.KeyFile, file},
			reference{"identity.files.bundle_file", &f.BundleFile, file})
	}
	if d := c.Identity.Development; d != nil {
		refs = append(refs, reference{"identity.development.dir", &d.Dir, newFolder})
	}
	if t := c.Front.TLS; t != nil {
		refs = append(refs,
			reference{"front.tls.cert_file", &t.CertFile, file},
			reference{"front.tls.key_file", &t.KeyFile, file})
	}
	if b := c.Policy.Bundle; b != nil {
		refs = append(refs,
			reference{"policy.bundle.file", &b.File, file},
			reference{"policy.bundle.bearer_token_file", &b.BearerTokenFile, file},
			reference{"policy.bundle.ca_file", &b.CAFile, file})
		for i := range b.KeyFiles {
			refs = append(refs, reference{"policy.bundle.key_files[" + strconv.Itoa(i) + "]", &b.KeyFiles[i], file})
		}
	}
	if j := c.Front.Authentication.JWT; j != nil {
		refs = append(refs, reference{"front.authentication.jwt.jwks_file", &j.JWKSFile, file})
	}
	if b := c.BundleEndpoint; b != nil {
		refs = append(refs,
			reference{"bundle_endpoint.cert_file", &b.CertFile, file},
			reference{"bundle_endpoint.key_file", &b.KeyFile, file})
	}
	if p := c.Metrics.Prometheus; p != nil {
		refs = append(refs,
			reference{"metrics.prometheus.bearer_token_file", &p.BearerTokenFile, file},
			reference{"metrics.prometheus.ca_file", &p.CAFile, file})
	}
	if t := c.Metrics.TSDB; t != nil {
		refs = append(refs, reference{"metrics.tsdb.dir", &t.Dir, newFolder})
	}
	return append(refs, c.ofSignals()...)
}

// ofSignals are those of logs and traces.
func (c *Config) ofSignals() (refs []reference) {
	if c.Logs != nil && c.Logs.Loki != nil {
		refs = append(refs,
			reference{"logs.loki.bearer_token_file", &c.Logs.Loki.BearerTokenFile, file},
			reference{"logs.loki.ca_file", &c.Logs.Loki.CAFile, file})
	}
	if c.Traces == nil {
		return refs
	}
	if j := c.Traces.Jaeger; j != nil {
		refs = append(refs,
			reference{"traces.jaeger.bearer_token_file", &j.BearerTokenFile, file},
			reference{"traces.jaeger.ca_file", &j.CAFile, file})
	}
	if t := c.Traces.Tempo; t != nil {
		refs = append(refs,
			reference{"traces.tempo.bearer_token_file", &t.BearerTokenFile, file},
			reference{"traces.tempo.ca_file", &t.CAFile, file})
	}
	return refs
}

func nothing(string) string { return "" }

func file(path string) string {
	switch info, err := os.Stat(path); {
	case err != nil:
		return path + ": " + cause(err)
	case !info.Mode().IsRegular():
		return path + " is not a file"
	default:
		return ""
	}
}

func folder(path string) string {
	switch info, err := os.Stat(path); {
	case err != nil:
		return path + ": " + cause(err)
	case !info.IsDir():
		return path + " is not a folder"
	default:
		return ""
	}
}

// newFolder is a folder that is there or can be made in one that is.
func newFolder(path string) string {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return folder(filepath.Dir(path))
	}
	return folder(path)
}

// cause is an error of the file system without the path, in plain words.
func cause(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "there is no such file or folder"
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}
