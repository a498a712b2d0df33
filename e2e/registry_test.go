package e2e

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parley-gateway/parley/e2e/servers"
	"github.com/parley-gateway/parley/policy/bundle/bundletest"
)

// A gateway takes its policies from a registry of OCI artifacts, a new one
// without a restart, and goes on with the one it has when the next isn't good.
func TestPoliciesInARegistry(t *testing.T) {
	t.Parallel()
	registry := servers.StartRegistry(t)
	key := bundletest.NewKey(t)
	pushes := newPusher(t, registry)
	const repository = "policies/parley"
	policies := func(n int) map[string]string {
		return map[string]string{"own.rego": fmt.Sprintf("package parley.own\n\ndecision := {\"allow\": true, \"queries\": [{\"name\": \"policy\", \"expr\": \"vector(%d)\"}]}\n", n)}
	}
	pushes.bundle(t, repository, "v1", key.Sign(t, policies(1)))

	acme := bareOrg(t, "acme")
	acme.write(t, "gateway.yml", fmt.Sprintf(`org: acme
trust_domain: acme.example
identity: {%s}
front: {listen: %q, default_purpose: slo-review}
peer: {listen: %q}
agreements: {dir: agreements}
policy:
  bundle: {oci: "%s/%s:v1", ca_file: %q, interval: 1s, key_files: [%q], algorithm: %s}
metrics: {tsdb: {dir: tsdb}}
pseudonyms: {key_file: pseudonyms.key}
audit: {dir: audit}
state: {dir: state}
`, acme.identity, acme.front, acme.peer, registry.Host, repository, registry.CAFile, key.File(t), bundletest.Algorithm))
	acme.starts(t)
	acme.decides(t, 1)

	pushes.bundle(t, repository, "v1", key.Sign(t, policies(2)))
	acme.decides(t, 2)

	for name, archive := range map[string][]byte{
		"another key": bundletest.NewKey(t).Sign(t, policies(3)),
		"bad Rego":    key.Sign(t, map[string]string{"own.rego": "package parley.own\n\ndecision := {"}),
		"no bundle":   []byte("not an archive"),
	} {
		pushes.bundle(t, repository, "v1", archive)
		acme.lastReload(t, name, "0")
		acme.decides(t, 2)
		pushes.bundle(t, repository, "v1", key.Sign(t, policies(2)))
		acme.lastReload(t, name+", mended", "1")
	}

	// The registry is gone, and the gateway starts again with what it had.
	registry.Stop(t)
	acme.gateway.Stop(t)
	acme.starts(t)
	acme.decides(t, 2)
}

// decides waits until it is the policy of a number whose query is answered.
func (o *org) decides(t *testing.T, n int) {
	t.Helper()
	eventually(t, func() string {
		_, answer := get(t.Context(), &http.Client{}, "http://"+o.front+"/api/v1/query?"+url.Values{"query": {"policy"}}.Encode())
		if strings.Contains(answer, fmt.Sprintf(`,"%d"]`, n)) {
			return ""
		}
		return fmt.Sprintf("the answer of policy %d, not %s", n, answer)
	})
}

// lastReload waits until the gateway says how its last reload of policies ended.
func (o *org) lastReload(t *testing.T, of, want string) {
	t.Helper()
	eventually(t, func() string {
		_, metrics := get(t.Context(), &http.Client{}, "http://"+o.front+"/metrics")
		if strings.Contains(metrics, "parley_policy_last_reload_successful "+want+"\n") {
			return ""
		}
		return of + ": that the last reload's success is " + want
	})
}

// pusher pushes bundles as the OCI Distribution Specification 1.1 has it.
type pusher struct {
	host   string
	client *http.Client
}

func newPusher(t *testing.T, r servers.Registry) pusher {
	t.Helper()
	pem, err := os.ReadFile(r.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return pusher{r.Host, &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}}
}

// bundle pushes one as the only layer of an image, as `oras push` does.
func (p pusher) bundle(t *testing.T, repository, tag string, archive []byte) {
	t.Helper()
	type descriptor struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int    `json:"size"`
	}
	const imageType = "application/vnd.oci.image."
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": imageType + "manifest.v1+json",
		"config": descriptor{imageType + "config.v1+json", p.blob(t, repository, []byte("{}")), 2},
		"layers": []descriptor{{imageType + "layer.v1.tar+gzip", p.blob(t, repository, archive), len(archive)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.send(t, http.MethodPut, fmt.Sprintf("https://%s/v2/%s/manifests/%s", p.host, repository, tag), imageType+"manifest.v1+json", manifest, http.StatusCreated)
}

// blob pushes one and returns its digest.
func (p pusher) blob(t *testing.T, repository string, content []byte) string {
	t.Helper()
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(content))
	header := p.send(t, http.MethodPost, fmt.Sprintf("https://%s/v2/%s/blobs/uploads/", p.host, repository), "", nil, http.StatusAccepted)
	upload, err := url.Parse(header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	query := upload.Query()
	query.Set("digest", digest)
	upload.RawQuery = query.Encode()
	p.send(t, http.MethodPut, upload.String(), "application/octet-stream", content, http.StatusCreated)
	return digest
}

func (p pusher) send(t *testing.T, method, url, contentType string, body []byte, want int) http.Header {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := p.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != want {
		text, _ := io.ReadAll(response.Body)
		t.Fatalf("%s %s: %s\n%s", method, filepath.Base(url), response.Status, text)
	}
	return response.Header
}
