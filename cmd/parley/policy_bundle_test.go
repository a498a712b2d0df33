package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parley-gateway/parley/policy/bundle/bundletest"
)

// The policies that a config has in a bundle are looked at as those in a folder
// are.
func TestPolicyCommandsReadBundles(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	const released = "package parley.partners.globex\n\ndecision := {\"allow\": true, \"datasets\": [{\"name\": \"up\", \"series\": [\"up\"], \"release\": \"row\"}]}\n"
	key := bundletest.NewKey(t)
	write("policies.tar.gz", key.Sign(t, map[string]string{"globex.rego": released}))
	write("next/globex.rego", []byte(strings.Replace(released, "true", "false", 1)))
	write("pseudonyms.key", bytes.Repeat([]byte("k"), 32))
	write("agreements/globex.yml", []byte(`partner: globex
trust_domain: globex.example
gateway_id: spiffe://globex.example/parley
bundle: {file: globex.json}
signals: [metrics]
purposes: [slo-review]
not_after: 2099-12-31
policy: parley.partners.globex
`))
	config := write("gateway.yml", fmt.Appendf(nil, `org: acme
trust_domain: acme.example
identity: {development: {dir: ca}}
agreements: {dir: agreements}
policy: {bundle: {file: policies.tar.gz, key_files: [%q], algorithm: %s}}
metrics: {tsdb: {dir: tsdb}}
pseudonyms: {key_file: pseudonyms.key}
audit: {dir: audit}
`, key.File(t), bundletest.Algorithm))
	if err := os.MkdirAll(filepath.Join(dir, "audit"), 0o750); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"check", "--config", config}, 0, "globex   slo-review  yes"},
		{[]string{"explain", "--config", config, "--as", "globex", "--purpose", "slo-review", "up"}, 0, "globex.rego:3"},
		{[]string{"catalog", "--config", config, "--as", "globex"}, 0, "What globex may ask acme"},
		{[]string{"lint", "--config", config}, 0, "no-max-age"},
		{[]string{"test", "--config", config}, 1, "a bundle, which holds no tests"},
		{[]string{"diff", "--config", config, filepath.Join(dir, "next"), filepath.Join(dir, "next")}, 0, "nothing changes"},
		{[]string{"replay", "--config", config, filepath.Join(dir, "next")}, 0, "no question was asked"},
	} {
		var out bytes.Buffer
		if code := run(append([]string{"policy"}, c.args...), &out, &out); code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: exit code %d\n%s\nwant %d and %q", c.args[0], code, out.String(), c.code, c.want)
		}
	}
}
