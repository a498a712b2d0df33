package bundle

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Registry is a registry of OCI artifacts, in which a bundle is the only layer
// of an image, as OPA and `oras push` have it. It speaks the pulling half of the
// OCI Distribution Specification 1.1, over https.
type Registry struct {
	host, repository, reference string
	fetcher
}

// An OCI reference, and what RFC 9110 and the token protocol of registries
// make of a challenge.
var (
	ociReference = regexp.MustCompile(`^([a-zA-Z0-9.-]+(?::[0-9]+)?)/([a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(?::([a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})|@(sha256:[0-9a-f]{64}))$`)
	parameter    = regexp.MustCompile(`([a-z]+)="([^"]*)"`)
)

// layerType is what OPA's bundles are in a registry.
const layerType = "application/vnd.oci.image.layer.v1.tar+gzip"

const manifestTypes = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"

// maxManifestBytes is what registries accept of a manifest.
const maxManifestBytes = 4 << 20

// NewRegistry returns the registry of a reference such as
// registry.acme.example/policies/parley:v1, or one by digest.
func NewRegistry(reference string, c HTTPConfig) (*Registry, error) {
	m := ociReference.FindStringSubmatch(reference)
	if m == nil {
		return nil, fmt.Errorf("want host/repository:tag or host/repository@sha256:digest, not %q", reference)
	}
	return &Registry{m[1], m[2], m[3] + m[4], fetcher{c}}, nil
}

func (r *Registry) String() string {
	separator := ":"
	if strings.HasPrefix(r.reference, "sha256:") {
		separator = "@"
	}
	return "oci://" + r.host + "/" + r.repository + separator + r.reference
}

// Fetch implements Server. The tag is the manifest's digest.
func (r *Registry) Fetch(ctx context.Context, known string) (archive []byte, tag string, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	archive, tag, err = r.fetch(ctx, known)
	return archive, tag, r.explain(ctx, r, err)
}

func (r *Registry) fetch(ctx context.Context, known string) ([]byte, string, error) {
	text, token, err := r.pull(ctx, "manifests/"+r.reference, "", maxManifestBytes)
	if err != nil {
		return nil, "", fmt.Errorf("manifest: %w", err)
	}
	tag := digest(text)
	switch {
	case strings.HasPrefix(r.reference, "sha256:") && tag != r.reference:
		return nil, "", fmt.Errorf("manifest: its digest is %s", tag)
	case tag == known:
		return nil, tag, ErrNotModified
	}
	layer, err := onlyLayer(text)
	if err != nil {
		return nil, "", fmt.Errorf("manifest: %w", err)
	}
	archive, _, err := r.pull(ctx, "blobs/"+layer.Digest, token, MaxBytes)
	if err != nil {
		return nil, "", fmt.Errorf("layer: %w", err)
	}
	if got := digest(archive); got != layer.Digest {
		return nil, "", fmt.Errorf("layer: its digest is %s, not %s", got, layer.Digest)
	}
	return archive, tag, nil
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// descriptor is a layer in a manifest.
type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

func onlyLayer(manifest []byte) (descriptor, error) {
	var m struct {
		Layers []descriptor `json:"layers"`
	}
	if err := json.Unmarshal(manifest, &m); err != nil {
		return descriptor{}, err
	}
	var found []descriptor
	for _, l := range m.Layers {
		if l.MediaType == layerType {
			found = append(found, l)
		}
	}
	switch {
	case len(found) != 1:
		return descriptor{}, fmt.Errorf("it has %d layers of type %s; a bundle is one", len(found), layerType)
	case !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(found[0].Digest):
		return descriptor{}, fmt.Errorf("its layer's digest %q isn't SHA-256", found[0].Digest)
	case found[0].Size > MaxBytes:
		return descriptor{}, fmt.Errorf("its layer is larger than %d MiB", MaxBytes>>20)
	}
	return found[0], nil
}

// pull asks for a part of the repository, with the token of an earlier answer
// or, where the registry wants one, the one it gives to anybody.
func (r *Registry) pull(ctx context.Context, what, token string, most int64) (text []byte, used string, err error) {
	ask := func() (reply, error) {
		header := http.Header{"Accept": {manifestTypes}}
		if token != "" {
			header.Set("Authorization", "Bearer "+token)
		}
		return r.get(ctx, "https://"+r.host+"/v2/"+r.repository+"/"+what, header, most)
	}
	answer, err := ask()
	if err == nil && answer.code == http.StatusUnauthorized && token == "" && r.TokenFile == "" {
		if token, err = r.token(ctx, answer.header.Get("WWW-Authenticate")); err == nil {
			answer, err = ask()
		}
	}
	return answer.body, token, cmp.Or(err, answer.ok())
}

// token asks for what a registry gives to anybody who may pull.
func (r *Registry) token(ctx context.Context, challenge string) (string, error) {
	scheme, rest, _ := strings.Cut(challenge, " ")
	given := map[string]string{}
	for _, m := range parameter.FindAllStringSubmatch(rest, -1) {
		given[m[1]] = m[2]
	}
	realm, err := url.Parse(given["realm"])
	if !strings.EqualFold(scheme, "Bearer") || err != nil || realm.Scheme != "https" || realm.Host == "" {
		return "", errors.New("it wants to know who asks, in a way that isn't known here; configure a bearer token")
	}
	query := realm.Query()
	query.Set("service", given["service"])
	query.Set("scope", "repository:"+r.repository+":pull")
	realm.RawQuery = query.Encode()
	gave, err := r.get(ctx, realm.String(), http.Header{}, 1<<20)
	if err := cmp.Or(err, gave.ok()); err != nil {
		return "", fmt.Errorf("token of %s: %w", realm.Host, err)
	}
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(gave.body, &answer); err != nil || answer.Token+answer.AccessToken == "" {
		return "", fmt.Errorf("token of %s: there is none in its answer", realm.Host)
	}
	if answer.Token == "" {
		answer.Token = answer.AccessToken
	}
	return answer.Token, nil
}
