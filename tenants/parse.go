package tenants

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/tenants/yamlstrict"
)

// Self is the organization whose agreements are read.
type Self struct {
	Org         OrgID
	TrustDomain spiffeid.TrustDomain
}

// ParseAgreement reads one agreement's file, a YAML document such as
//
//	partner: globex
//	trust_domain: globex.example
//	gateway_id: spiffe://globex.example/parley
//	addresses: [parley.globex.example:9490]
//	bundle:
//	  endpoint: https://parley.globex.example/bundle
//	  profile: https_web
//	signals: [metrics]
//	purposes: [incident-response, slo-review, payments-review]
//	terms:
//	  payments-review: [payment-management]
//	not_after: 2027-12-31
//	policy: parley.partners.globex
//	limits:
//	  queries_per_minute: 120
//	  range: 7d
//
// The error is yamlstrict.Problems: all that is wrong with the file.
func ParseAgreement(file string, data []byte, self Self) (Agreement, error) {
	a, doc := parseAgreement(file, data, self)
	if err := doc.Err(); err != nil {
		return Agreement{}, err
	}
	return a, nil
}

func parseAgreement(file string, data []byte, self Self) (Agreement, *yamlstrict.Document) {
	a := Agreement{File: file}
	doc := yamlstrict.Decode(
		file, data, &a,
		yamlstrict.Parse(ParseOrgID),
		yamlstrict.Parse(ParseTrustDomain),
		yamlstrict.Parse(ParseSPIFFEID),
		yamlstrict.Parse(ParseSignal),
		yamlstrict.Parse(ParsePurpose),
		yamlstrict.Parse(ParseBundleProfile),
		yamlstrict.Parse(parseEndpoint),
		yamlstrict.Parse(ParseWebhookURL),
		yamlstrict.Parse(ParseSamplingProbability),
	)
	checkWho(doc, a, self)
	checkAddresses(doc, a)
	checkBundle(doc, a)
	checkWhat(doc, a)
	checkLimits(doc, a.Limits)
	checkTraces(doc, a.Traces)
	checkBreakGlass(doc, a)
	if a.Bundle.File != "" && !filepath.IsAbs(a.Bundle.File) {
		a.Bundle.File = filepath.Join(filepath.Dir(file), a.Bundle.File)
	}
	return a, doc
}

func checkWho(doc *yamlstrict.Document, a Agreement, self Self) {
	for _, key := range []string{"partner", "trust_domain", "gateway_id", "bundle", "signals", "purposes", "not_after"} {
		if !doc.Has(key) {
			doc.Problemf(key, "is required")
		}
	}
	if a.Partner != "" && a.Partner == self.Org {
		doc.Problemf("partner", "%s is our own organization; an agreement is with another", a.Partner)
	}
	if a.TrustDomain.IsZero() {
		return
	}
	if a.TrustDomain == self.TrustDomain {
		doc.Problemf("trust_domain", "%s is our own; a partner has another", a.TrustDomain)
	}
	if !a.GatewayID.IsZero() && !a.GatewayID.MemberOf(a.TrustDomain) {
		doc.Problemf("gateway_id", "%s is not in the trust domain %s", a.GatewayID, a.TrustDomain)
	}
}

func checkAddresses(doc *yamlstrict.Document, a Agreement) {
	seen := map[string]bool{}
	for i, addr := range a.Addresses {
		at := fmt.Sprintf("addresses[%d]", i)
		if !isHostPort(addr) {
			doc.Problemf(at, "want host:port such as parley.globex.example:9490, not %q", addr)
		}
		if seen[addr] {
			doc.Problemf(at, "%s is listed twice", addr)
		}
		seen[addr] = true
	}
}

func isHostPort(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || strings.ContainsAny(host, " /@") {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

func checkBundle(doc *yamlstrict.Document, a Agreement) {
	endpoint, file := doc.Has("bundle.endpoint"), doc.Has("bundle.file")
	const none = "is only for an endpoint, and bundle.endpoint is not given"
	switch {
	case !doc.Has("bundle"):
	case !endpoint:
		if !file {
			doc.Problemf("bundle", "give either endpoint or file")
		}
		if doc.Has("bundle.profile") {
			doc.Problemf("bundle.profile", none)
		}
		if doc.Has("bundle.endpoint_id") {
			doc.Problemf("bundle.endpoint_id", none)
		}
	case !doc.Has("bundle.profile"):
		doc.Problemf("bundle.profile", "is required with an endpoint: https_web or https_spiffe")
	case a.Bundle.Profile == HTTPSWeb:
		if file {
			doc.Problemf("bundle.file", "give either endpoint or file; only an https_spiffe endpoint starts from a file")
		}
		if doc.Has("bundle.endpoint_id") {
			doc.Problemf("bundle.endpoint_id", "is only for the profile https_spiffe")
		}
	case a.Bundle.Profile == HTTPSSPIFFE:
		checkSPIFFEEndpoint(doc, a, file)
	}
}

func checkSPIFFEEndpoint(doc *yamlstrict.Document, a Agreement, file bool) {
	id := a.Bundle.EndpointID
	if !doc.Has("bundle.endpoint_id") {
		doc.Problemf("bundle.endpoint_id", "is required with the profile https_spiffe")
	}
	if !id.IsZero() && !a.TrustDomain.IsZero() && !id.MemberOf(a.TrustDomain) {
		doc.Problemf("bundle.endpoint_id", "%s is not in the trust domain %s", id, a.TrustDomain)
	}
	if !file {
		doc.Problemf("bundle.file", "is required with the profile https_spiffe: the endpoint proves itself with an SVID, so the first "+
			"bundle comes from the partner as a file; only an https_web endpoint, with a certificate that browsers know, needs none")
	}
}

// regoPackage is a package path as it is written after `package` in Rego.
var regoPackage = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*(\.[a-zA-Z_][a-zA-Z0-9_]*)*$`)

func checkWhat(doc *yamlstrict.Document, a Agreement) {
	checkSet(doc, "signals", a.Signals)
	checkSet(doc, "purposes", a.Purposes)
	checkTerms(doc, a)
	if !a.NotAfter.IsZero() && !a.NotBefore.Before(a.NotAfter) {
		doc.Problemf("not_after", "is not later than not_before (line %d)", doc.Line("not_before"))
	}
	if doc.Has("policy") && !regoPackage.MatchString(a.Policy) {
		doc.Problemf("policy", "want the name of a Rego package such as parley.partners.globex, not %q", a.Policy)
	}
}

func checkSet[T ~string](doc *yamlstrict.Document, path string, items []T) {
	if doc.Has(path) && len(items) == 0 {
		doc.Problemf(path, "is empty; name at least one")
	}
	seen := map[T]bool{}
	for i, item := range items {
		if seen[item] {
			doc.Problemf(fmt.Sprintf("%s[%d]", path, i), "%s is listed twice", item)
		}
		seen[item] = true
	}
}

func checkLimits(doc *yamlstrict.Document, l Limits) {
	positive := func(key string, ok bool) {
		if at := "limits." + key; doc.Has(at) && !ok {
			doc.Problemf(at, "must be more than zero; leave it out for the default")
		}
	}
	positive("concurrent", l.Concurrent > 0)
	positive("tails", l.Tails > 0)
	positive("queries_per_minute", l.QueriesPerMinute > 0)
	positive("series", l.Series > 0)
	positive("samples", l.Samples > 0)
	positive("bytes", l.Bytes > 0)
	positive("lines", l.Lines > 0)
	positive("spans", l.Spans > 0)
	positive("kept_traces", l.KeptTraces > 0)
	positive("range", l.Range > 0)
}

// parseEndpoint returns the URL of a bundle endpoint.
func parseEndpoint(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("want an https URL such as https://parley.globex.example/bundle, without user, password or fragment")
	}
	return u, nil
}
