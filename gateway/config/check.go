package config

import (
	"iter"
	"maps"
	"math"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spiffe/go-spiffe/v2/workloadapi"

	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/policy/bundle"
	"github.com/parley-gateway/parley/tenants"
	"github.com/parley-gateway/parley/tenants/yamlstrict"
)

// checker says what is wrong with values that could be read.
type checker struct{ *yamlstrict.Document }

func check(doc *yamlstrict.Document, c *Config) {
	k := checker{doc}
	k.require("", "org", "trust_domain", "identity", "agreements", "metrics", "pseudonyms", "audit")
	k.requireWithin("agreements", "dir")
	k.policy(c.Policy)
	k.requireWithin("pseudonyms", "key_file")
	k.requireWithin("audit", "dir")
	k.requireWithin("state", "dir")
	k.identity(c)
	k.front(c.Front)
	k.doors(c)
	k.bundleEndpoint(c.BundleEndpoint)
	k.metrics(c.Metrics)
	k.logs(c.Logs)
	k.traces(c.Traces)
	k.workflows(c.Workflows)
	k.telemetry(c.Telemetry)
}

func (k checker) identity(c *Config) {
	k.exactlyOne("identity", "workload_api", "files", "development")
	k.requireWithin("identity.workload_api", "socket")
	k.requireWithin("identity.files", "cert_file", "key_file", "bundle_file")
	k.requireWithin("identity.development", "dir")
	id := c.Identity
	if !id.GatewayID.IsZero() && !c.TrustDomain.IsZero() && !id.GatewayID.MemberOf(c.TrustDomain) {
		k.Problemf("identity.gateway_id", "%s is not in our trust domain %s", id.GatewayID, c.TrustDomain)
	}
	if w := id.WorkloadAPI; w != nil && w.Socket != "" && workloadapi.ValidateAddress(w.Socket) != nil {
		k.Problemf("identity.workload_api.socket", "want an address such as unix:///run/spire/agent.sock, not %q", w.Socket)
	}
}

func (k checker) front(f Front) {
	k.listen("front.listen", f.Listen)
	if f.QueryTimeout <= 0 {
		k.Problemf("front.query_timeout", "must be more than zero")
	}
	for i, host := range f.Hosts {
		if !isHost(host) {
			k.Problemf("front.hosts["+strconv.Itoa(i)+"]", "want a name without a port such as parley.acme.example, not %q", host)
		}
	}
	if t := f.TLS; t != nil {
		switch {
		case t.SVID:
			k.onlyWithout("front.tls.svid", "front.tls.cert_file", "front.tls.key_file")
		case k.Failed("front.tls.svid"):
		case !k.Has("front.tls.cert_file") && !k.Has("front.tls.key_file"):
			k.Problemf("front.tls", "give either svid: true, or cert_file and key_file")
		default:
			k.requireWithin("front.tls", "cert_file", "key_file")
		}
	}
	k.authentication(f)
}

func (k checker) authentication(f Front) {
	const at = "front.authentication"
	a := f.Authentication
	if a.MTLS && !k.Has("front.tls") {
		k.Problemf(at+".mtls", "needs front.tls: without TLS there are no client certificates")
	}
	k.requireWithin(at+".jwt", "issuer", "audience")
	if a.JWT != nil {
		k.exactlyOne(at+".jwt", "jwks_url", "jwks_file")
		if u := a.JWT.JWKSURL; u != nil && u.Scheme != "https" && !isLoopback(u.Hostname()) {
			k.Problemf(at+".jwt.jwks_url", "must be https: whoever can change the keys on the way can be any user")
		}
		if len(a.JWT.Algorithms) == 0 {
			k.Problemf(at+".jwt.algorithms", "is empty; name at least one, or leave it out")
		}
	}
	for i, p := range a.TrustedProxies {
		if p.Bits() == 0 {
			k.Problemf(at+".trusted_proxies["+strconv.Itoa(i)+"]", "%s is every address there is: anybody could claim to be any user", p)
		}
	}
	asks := a.MTLS || k.Failed(at+".mtls") || k.Has(at+".jwt") || k.Has(at+".trusted_proxies[0]")
	host, _, err := net.SplitHostPort(f.Listen)
	if err == nil && !isLoopback(host) && !asks {
		k.Problemf("front.listen", "%s can be reached from other machines, and nothing under front.authentication says who may ask: "+
			"configure it, or listen on loopback, such as 127.0.0.1:9480", f.Listen)
	}
}

// doors are the listeners together, and the one for partners.
func (k checker) doors(c *Config) {
	k.requireWithin("peer", "listen")
	k.requireWithin("bundle_endpoint", "listen")
	taken := map[string]string{c.Front.Listen: "front.listen"}
	also := func(path, addr string) {
		k.listen(path, addr)
		if first, ok := taken[addr]; ok && !strings.HasSuffix(addr, ":0") {
			k.Problemf(path, "is the same address as %s", first)
		}
		taken[addr] = path
	}
	if p := c.Peer; p != nil && p.Listen != "" {
		also("peer.listen", p.Listen)
	}
	if b := c.BundleEndpoint; b != nil && b.Listen != "" {
		also("bundle_endpoint.listen", b.Listen)
	}
	if t := c.Traces; t != nil && t.Store != nil {
		for at, addr := range t.Store.listeners() {
			also(at, addr)
			k.onlyLocal(at, addr)
		}
	}
}

// listeners are the addresses that spans are taken on, by where they are given.
func (s *TracesStore) listeners() iter.Seq2[string, string] {
	return func(yield func(at, addr string) bool) {
		if s.OTLPGRPCListen != "" && !yield("traces.store.otlp_grpc_listen", s.OTLPGRPCListen) {
			return
		}
		if s.OTLPHTTPListen != "" {
			yield("traces.store.otlp_http_listen", s.OTLPHTTPListen)
		}
	}
}

// onlyLocal reports what others could send spans to: nobody is asked who they are.
func (k checker) onlyLocal(path, addr string) {
	if host, _, err := net.SplitHostPort(addr); err == nil && !isLoopback(host) {
		k.Problemf(path, "%s can be reached from other machines, and who sends spans is not asked who they are: "+
			"listen on loopback, such as 127.0.0.1:4317, and let a collector on this machine pass them on", addr)
	}
}

func (k checker) bundleEndpoint(b *BundleEndpoint) {
	if b == nil || k.Failed("bundle_endpoint.profile") {
		return
	}
	if b.Profile == tenants.HTTPSWeb {
		k.requireWithin("bundle_endpoint", "cert_file", "key_file")
		return
	}
	for _, key := range []string{"cert_file", "key_file"} {
		if at := join("bundle_endpoint", key); k.Has(at) {
			k.Problemf(at, "is only for the profile https_web; https_spiffe presents our SVID")
		}
	}
}

func (k checker) policy(p Policy) {
	k.exactlyOne("policy", "dir", "bundle")
	k.exactlyOne("policy.bundle", "file", "url", "oci")
	b := p.Bundle
	if b == nil {
		return
	}
	if b.Interval < time.Second {
		k.Problemf("policy.bundle.interval", "must be a second or more")
	}
	if b.Timeout <= 0 {
		k.Problemf("policy.bundle.timeout", "must be more than zero")
	}
	if k.Has("policy.bundle.key_files") && len(b.KeyFiles) == 0 {
		k.Problemf("policy.bundle.key_files", "names no key; leave it out to use bundles that nobody signed")
	}
	for _, key := range []string{"algorithm", "scope"} {
		if at := join("policy.bundle", key); k.Has(at) && !k.Has("policy.bundle.key_files") {
			k.Problemf(at, "is of signatures, which need policy.bundle.key_files")
		}
	}
	for _, key := range []string{"interval", "timeout", "bearer_token_file", "ca_file"} {
		if at := join("policy.bundle", key); k.Has(at) && k.Has("policy.bundle.file") {
			k.Problemf(at, "is of what is fetched; a file isn't")
		}
	}
	if k.Has("policy.bundle.oci") {
		if _, err := bundle.NewRegistry(b.OCI, bundle.HTTPConfig{}); err != nil {
			k.Problemf("policy.bundle.oci", "%v", err)
		}
	}
	if b.URL == nil || b.URL.Scheme == "https" || isLoopback(b.URL.Hostname()) {
		return
	}
	if !k.Has("policy.bundle.key_files") {
		k.Problemf("policy.bundle.url", "anybody on the way could put another policy in its place: it must be https, or on loopback, or signed and policy.bundle.key_files given")
	}
	if b.BearerTokenFile != "" {
		k.Problemf("policy.bundle.bearer_token_file", "would be sent in the clear: policy.bundle.url must be https, or on loopback")
	}
}

func (k checker) metrics(m Metrics) {
	k.exactlyOne("metrics", "prometheus", "tsdb")
	k.requireWithin("metrics.prometheus", "url")
	k.requireWithin("metrics.tsdb", "dir")
	if m.LookbackDelta <= 0 {
		k.Problemf("metrics.lookback_delta", "must be more than zero")
	}
	if m.MaxSamples <= 0 {
		k.Problemf("metrics.max_samples", "must be more than zero")
	}
	if m.TSDB != nil && m.TSDB.Retention <= 0 {
		k.Problemf("metrics.tsdb.retention", "must be more than zero")
	}
	if p := m.Prometheus; p != nil {
		if u, err := url.Parse(p.RemoteReadPath); err != nil || u.Path != p.RemoteReadPath || !strings.HasPrefix(p.RemoteReadPath, "/") {
			k.Problemf("metrics.prometheus.remote_read_path", "want a path such as /api/v1/read, not %q", p.RemoteReadPath)
		}
		for _, name := range slices.Sorted(maps.Keys(p.ExternalLabels)) {
			if name == model.MetricNameLabel || !model.UTF8Validation.IsValidLabelName(name) {
				k.Problemf("metrics.prometheus.external_labels", "%q can't be the name of an external label", name)
			}
		}
		k.backend("metrics.prometheus", p.URL, p.Tenant, p.BearerTokenFile)
	}
}

func (k checker) logs(l *Logs) {
	k.requireWithin("logs", "loki")
	k.requireWithin("logs.loki", "url")
	if l == nil || l.Loki == nil {
		return
	}
	if l.Loki.PageEntries < 1 {
		k.Problemf("logs.loki.page_entries", "must be more than zero")
	}
	k.backend("logs.loki", l.Loki.URL, l.Loki.Tenant, l.Loki.BearerTokenFile)
}

func (k checker) workflows(w *Workflows) {
	k.requireWithin("workflows", "purpose")
	if w == nil {
		return
	}
	if _, err := traceql.Parse(w.Search); err != nil {
		k.Problemf("workflows.search", "%v", err)
	}
	if w.Interval < time.Second {
		k.Problemf("workflows.interval", "must be a second or more")
	}
	if w.Sample < 1 {
		k.Problemf("workflows.sample", "must be more than zero")
	}
	if w.Delay <= 0 {
		k.Problemf("workflows.delay", "must be more than zero")
	}
}

func (k checker) traces(t *Traces) {
	k.exactlyOne("traces", "jaeger", "tempo", "store")
	if t == nil {
		return
	}
	if t.KeepFor <= 0 {
		k.Problemf("traces.keep_for", "must be more than zero")
	}
	k.jaeger(t.Jaeger)
	k.requireWithin("traces.tempo", "url")
	if tempo := t.Tempo; tempo != nil {
		if tempo.SearchLimit < 1 {
			k.Problemf("traces.tempo.search_limit", "must be more than zero")
		}
		k.backend("traces.tempo", tempo.URL, tempo.Tenant, tempo.BearerTokenFile)
	}
	if s := t.Store; s != nil {
		if !k.Has("traces.store.otlp_grpc_listen") && !k.Has("traces.store.otlp_http_listen") {
			k.Problemf("traces.store", "nothing could be sent to it: give otlp_grpc_listen, otlp_http_listen or both")
		}
		if s.MaxBytes < 1 {
			k.Problemf("traces.store.max_bytes", "must be more than zero")
		}
		if s.MaxAge <= 0 {
			k.Problemf("traces.store.max_age", "must be more than zero")
		}
	}
}

func (k checker) jaeger(j *Jaeger) {
	const at = "traces.jaeger"
	k.exactlyOne(at, "grpc", "url")
	if j == nil {
		return
	}
	if j.SearchDepth < 1 || j.SearchDepth > math.MaxInt32 {
		k.Problemf(at+".search_depth", "must be from 1 to %d", math.MaxInt32)
	}
	if j.URL != nil && j.Insecure {
		k.Problemf(at+".insecure", "is for grpc; the url says it by http or https")
	}
	k.backend(at, j.URL, j.Tenant, j.BearerTokenFile)
	if j.GRPC == "" {
		return
	}
	if !isHostPort(j.GRPC) {
		k.Problemf(at+".grpc", "want host:port such as 127.0.0.1:16685, not %q", j.GRPC)
		return
	}
	host, _, _ := net.SplitHostPort(j.GRPC) // it is one
	switch {
	case j.Insecure && j.CAFile != "":
		k.Problemf(at+".ca_file", "is for TLS, and %s.insecure is without", at)
	case j.Insecure && j.BearerTokenFile != "" && !isLoopback(host):
		k.Problemf(at+".bearer_token_file", "would be sent in the clear: leave out %s.insecure, or ask on loopback", at)
	}
}

// backend reports what can't be sent with requests to a store.
func (k checker) backend(at string, target *url.URL, tenant, tokenFile string) {
	if strings.ContainsFunc(tenant, func(r rune) bool { return r <= ' ' || r > '~' }) {
		k.Problemf(join(at, "tenant"), "has to go into an HTTP header: only printable ASCII without spaces")
	}
	if tokenFile != "" && target != nil && target.Scheme != "https" && !isLoopback(target.Hostname()) {
		k.Problemf(join(at, "bearer_token_file"), "would be sent in the clear: %s must be https, or on loopback", join(at, "url"))
	}
}

func (k checker) telemetry(t Telemetry) {
	k.requireWithin("telemetry.otlp", "endpoint")
	o := t.OTLP
	if o == nil {
		return
	}
	if o.Endpoint != "" && !isHostPort(o.Endpoint) {
		k.Problemf("telemetry.otlp.endpoint", "want host:port such as 127.0.0.1:4317, not %q", o.Endpoint)
	}
	if o.SamplingRatio < 0 || o.SamplingRatio > 1 {
		k.Problemf("telemetry.otlp.sampling_ratio", "must be from 0 to 1")
	}
}

// require reports the keys that were not written.
func (k checker) require(path string, keys ...string) {
	for _, key := range keys {
		if at := join(path, key); !k.Has(at) {
			k.Problemf(at, "is required")
		}
	}
}

// requireWithin is require for a section that is there.
func (k checker) requireWithin(path string, keys ...string) {
	if k.Has(path) {
		k.require(path, keys...)
	}
}

// exactlyOne reports a section that has none of the keys, or several.
func (k checker) exactlyOne(path string, keys ...string) {
	if !k.Has(path) {
		return
	}
	var first string
	for _, key := range keys {
		switch at := join(path, key); {
		case !k.Has(at):
		case first == "":
			first = at
		default:
			k.Problemf(at, "can't be given beside %s (line %d): choose one", first, k.Line(first))
		}
	}
	if first == "" {
		k.Problemf(path, "give exactly one of %s", strings.Join(keys, ", "))
	}
}

// onlyWithout reports the others of a key that excludes them.
func (k checker) onlyWithout(path string, others ...string) {
	for _, other := range others {
		if k.Has(other) {
			k.Problemf(other, "can't be given beside %s (line %d): choose one", path, k.Line(path))
		}
	}
}

// join is a path one step down.
func join(path, key string) string { return strings.TrimPrefix(path+"."+key, ".") }

// listen reports what can't be listened on. The host may be empty, for every
// address of the machine, and the port 0, for any that is free.
func (k checker) listen(path, addr string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || strings.ContainsAny(host, " /@") || !isPort(port) {
		k.Problemf(path, "want host:port such as 127.0.0.1:9480, not %q", addr)
	}
}

func isHostPort(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	return err == nil && host != "" && !strings.ContainsAny(host, " /@") && isPort(port) && port != "0"
}

// isHost says whether a Host header can name it, port aside.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.Unmap().IsLoopback())
}
