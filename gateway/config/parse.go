package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"

	"github.com/parley-gateway/parley/tenants"
	"github.com/parley-gateway/parley/tenants/yamlstrict"
)

// Algorithm is a signature algorithm of JSON Web Tokens (RFC 7518, section 3.1).
type Algorithm string

// algorithms leaves out `none` and those with a shared secret: who can verify
// those can forge them.
var algorithms = []Algorithm{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

func parseAlgorithm(s string) (Algorithm, error) {
	if !slices.Contains(algorithms, Algorithm(s)) {
		return "", fmt.Errorf("want a public-key signature algorithm such as RS256, ES256 or EdDSA, not %q", s)
	}
	return Algorithm(s), nil
}

func parseLogLevel(s string) (slog.Level, error) {
	switch s {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("want debug, info, warn or error, not %q", s)
}

func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("want addresses such as 10.1.2.0/28, or 10.1.2.3/32 for a single one, not %q", s)
	}
	return p.Masked(), nil
}

// parseURL never quotes the text: it may hold a password.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("want an http or https URL without query, such as http://127.0.0.1:9090")
	}
	if u.User != nil {
		return nil, errors.New("holds a user or password; secrets are kept in files of their own, never in this one")
	}
	return u, nil
}

// decode reads the text alone; nothing that it refers to.
func decode(file string, data []byte) (*Config, *yamlstrict.Document) {
	c := &Config{}
	doc := yamlstrict.Decode(
		file, data, c,
		yamlstrict.Parse(tenants.ParseOrgID),
		yamlstrict.Parse(tenants.ParseTrustDomain),
		yamlstrict.Parse(tenants.ParseSPIFFEID),
		yamlstrict.Parse(tenants.ParsePurpose),
		yamlstrict.Parse(tenants.ParseCaseID),
		yamlstrict.Parse(tenants.ParseBundleProfile),
		yamlstrict.Parse(parseAlgorithm),
		yamlstrict.Parse(parseLogLevel),
		yamlstrict.Parse(parsePrefix),
		yamlstrict.Parse(parseURL),
	)
	if jwt := c.Front.Authentication.JWT; jwt != nil && !doc.Has("front.authentication.jwt.algorithms") {
		jwt.Algorithms = []Algorithm{"RS256", "ES256"}
	}
	check(doc, c)
	return c, doc
}
