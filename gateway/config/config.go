// Package config is what one gateway is told: one YAML file, read strictly.
//
//	c, err := config.Load("/etc/parley/gateway.yml")
//	if err != nil {
//		fmt.Fprintln(os.Stderr, err) // every problem, one to a line: gateway.yml:12: front.listen: ...
//		os.Exit(1)
//	}
//
// The struct Config is the manual: a field's comment says what it is, its unit
// and what follows when it is left out; Manual renders it as an annotated file.
// testdata/example.yml is a file for newcomers to copy.
//
// Secrets are never in the file, only the names of files that hold them. Paths
// that aren't absolute are relative to the folder the file is in; after Load
// they no longer are. Durations are written like 30s, 5m or 31d.
package config

import (
	"log/slog"
	"net/netip"
	"net/url"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/tenants"
)

// Config is one gateway.
type Config struct {
	// The short name of our organization, which becomes the label org on
	// everything we serve. Required.
	Org tenants.OrgID `yaml:"org"`
	// Our SPIFFE trust domain, such as acme.example. Required.
	TrustDomain spiffeid.TrustDomain `yaml:"trust_domain"`
	// How this gateway proves who it is. Required.
	Identity Identity `yaml:"identity"`
	// The HTTP door for our own users: Grafana, promtool, people.
	Front Front `yaml:"front"`
	// The gRPC door for partners. Left out: no partner can ask us anything;
	// we can still ask them.
	Peer *Peer `yaml:"peer"`
	// Where partners fetch our trust bundle. Left out: they get it otherwise,
	// as a file or from SPIRE's own bundle endpoint.
	BundleEndpoint *BundleEndpoint `yaml:"bundle_endpoint"`
	// With whom we agreed on what. Required.
	Agreements Agreements `yaml:"agreements"`
	// Who may see what.
	Policy Policy `yaml:"policy"`
	// Where our metrics are. Required.
	Metrics Metrics `yaml:"metrics"`
	// Where our logs are. Left out: we have none to be asked for.
	Logs *Logs `yaml:"logs"`
	// Where our traces are. Left out: we have none to be asked for.
	Traces *Traces `yaml:"traces"`
	// Which workflows that cross organizations are measured, again and again: how
	// long they take and who spends the time, as the metrics
	// parley_workflow_duration_seconds and parley_workflow_org_seconds. Left out: none.
	Workflows *Workflows `yaml:"workflows"`
	// What the pseudonyms of hidden labels are made with. Required.
	Pseudonyms Pseudonyms `yaml:"pseudonyms"`
	// Where the record of every question is kept. Required.
	Audit Audit `yaml:"audit"`
	// What the gateway keeps for its next start.
	State State `yaml:"state"`
	// The gateway's own logs and traces; its metrics are at /metrics of front.
	Telemetry Telemetry `yaml:"telemetry"`
}

// Identity is where our X.509-SVID comes from: exactly one of WorkloadAPI,
// Files and Development.
type Identity struct {
	// Our gateway's SPIFFE ID, as partners' agreements name it; another one's
	// certificate is not used. Left out: the first of our trust domain that the
	// Workload API offers, the one in the files, or, in development, /parley in
	// our trust domain.
	GatewayID spiffeid.ID `yaml:"gateway_id"`
	// The SPIFFE Workload API, as SPIRE's agent serves it. For production.
	WorkloadAPI *WorkloadAPI `yaml:"workload_api"`
	// PEM files that something else keeps fresh; read again when they change.
	Files *IdentityFiles `yaml:"files"`
	// A certificate authority of our own in a folder, for trying things out.
	Development *Development `yaml:"development"`
}

// WorkloadAPI is the socket of a SPIFFE Workload API.
type WorkloadAPI struct {
	// The socket's address: unix:///run/spire/agent.sock. Required.
	Socket string `yaml:"socket"`
}

// IdentityFiles are an X.509-SVID and our bundle as files.
type IdentityFiles struct {
	// Our certificate in PEM, the leaf first. Required.
	CertFile string `yaml:"cert_file"`
	// Its private key in PEM. Required.
	KeyFile string `yaml:"key_file"`
	// Our trust domain's root certificates, in PEM or as a SPIFFE bundle (JSON). Required.
	BundleFile string `yaml:"bundle_file"`
}

// Development is a development CA.
type Development struct {
	// The CA's folder, as parley dev-ca makes it; made when it isn't there. Required.
	Dir string `yaml:"dir"`
}

// Front is the door for our own users. One that asks nobody who they are
// listens on loopback only.
type Front struct {
	// The address to listen on, host:port.
	Listen string `yaml:"listen" default:"127.0.0.1:9480"`
	// Serve HTTPS. Left out: plain HTTP.
	TLS *FrontTLS `yaml:"tls"`
	// How we know who asks. When any is configured, a request that none of
	// them vouches for is refused. Left out: anybody on this machine may ask.
	Authentication Authentication `yaml:"authentication"`
	// Names, without a port, under which users on this machine reach the door
	// through a proxy on it that passes the name on, such as nginx. Where nobody
	// is asked who they are, and where a trusted proxy is on this machine, a
	// request from this machine must be for one of them or for a loopback
	// address, such as http://127.0.0.1:9480, unless a token or a certificate
	// vouches for it: it could be a web page's. Left out: none.
	Hosts []string `yaml:"hosts"`
	// The purpose of requests without the header X-Parley-Purpose. Left out:
	// they have none, and no partner is asked.
	DefaultPurpose tenants.Purpose `yaml:"default_purpose"`
	// The case of requests without the header X-Parley-Case. Left out: none.
	DefaultCase tenants.CaseID `yaml:"default_case"`
	// How long one question may take, everything included. Partners answer what
	// is asked of them in the first five minutes.
	QueryTimeout time.Duration `yaml:"query_timeout" default:"30s"`
	// Serve Go's profiler at /debug/pprof/.
	Pprof bool `yaml:"pprof" default:"false"`
}

// FrontTLS is what the front door presents: either SVID or CertFile and KeyFile.
type FrontTLS struct {
	// Present our SVID. Browsers don't know it; workloads of our trust domain do.
	SVID bool `yaml:"svid" default:"false"`
	// A certificate chain in PEM, the leaf first.
	CertFile string `yaml:"cert_file"`
	// Its private key in PEM.
	KeyFile string `yaml:"key_file"`
}

// Authentication is how the front door knows its users. The first that applies
// to a request counts, in this order: MTLS, JWT, TrustedProxies.
type Authentication struct {
	// Take the SPIFFE ID of a verified client certificate; needs tls.
	MTLS bool `yaml:"mtls" default:"false"`
	// Take the subject of a bearer token, verified.
	JWT *JWT `yaml:"jwt"`
	// The addresses, such as 10.1.2.0/28, of proxies (Grafana) whose header
	// X-Grafana-User is believed.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
}

// JWT is whose tokens are believed: exactly one of JWKSURL and JWKSFile.
type JWT struct {
	// What the claim iss must be. Required.
	Issuer string `yaml:"issuer"`
	// What the claim aud must hold. Required.
	Audience string `yaml:"audience"`
	// Where the issuer publishes its keys (RFC 7517), over https.
	JWKSURL *url.URL `yaml:"jwks_url"`
	// The same as a file.
	JWKSFile string `yaml:"jwks_file"`
	// The claim that names the user.
	SubjectClaim string `yaml:"subject_claim" default:"sub"`
	// The signature algorithms accepted (RFC 7518), public-key ones only.
	// Left out: RS256 and ES256.
	Algorithms []Algorithm `yaml:"algorithms"`
}

// Peer is the door for partners: gRPC over SPIFFE mTLS.
type Peer struct {
	// The address to listen on, host:port. Required.
	Listen string `yaml:"listen"`
	// Answer gRPC health checks (grpc.health.v1) of whoever has an SVID that we
	// know, a load balancer's among them.
	Health bool `yaml:"health" default:"false"`
	// Tell partners which services there are (gRPC reflection).
	Reflection bool `yaml:"reflection" default:"false"`
}

// BundleEndpoint serves our trust bundle (SPIFFE Trust Domain and Bundle,
// section 5).
type BundleEndpoint struct {
	// The address to listen on, host:port. Required.
	Listen string `yaml:"listen"`
	// How the endpoint proves itself: https_spiffe with our SVID, https_web
	// with a certificate of a public authority.
	Profile tenants.BundleProfile `yaml:"profile" default:"https_spiffe"`
	// For https_web: a certificate chain in PEM, the leaf first.
	CertFile string `yaml:"cert_file"`
	// For https_web: its private key in PEM.
	KeyFile string `yaml:"key_file"`
}

// Agreements is where the agreements are.
type Agreements struct {
	// A folder with one YAML file for each partner; changes count without a
	// restart. Required.
	Dir string `yaml:"dir"`
}

// Policy is where the policies are: Dir, or Bundle. Left out: the built-in
// policies alone, which answer our own users everything and partners nothing.
type Policy struct {
	// A folder of Rego; changes count without a restart.
	Dir string `yaml:"dir"`
	// An OPA bundle (.tar.gz), as opa build and opa sign make it, instead of a
	// folder.
	Bundle *PolicyBundle `yaml:"bundle"`
	// A folder of Rego that decides beside, on every question, and changes no
	// answer: what it would have decided otherwise is counted in
	// parley_policy_shadow_differences_total, by partner, and logged with what
	// differs and the exchange's id, under which the audit log has the question: the
	// same kind of difference once a minute for each partner and purpose. Changes
	// count without a restart.
	Shadow string `yaml:"shadow"`
}

// PolicyBundle is an OPA bundle: exactly one of File, URL and OCI. One that can't
// be used leaves the policy as it is.
type PolicyBundle struct {
	// The bundle as a file; a new one counts without a restart.
	File string `yaml:"file"`
	// Where a bundle server has it, such as https://bundles.acme.example/parley.tar.gz.
	// A start doesn't wait for it: the last bundle that was used is kept in
	// state.dir. As long as there is none, nobody is answered, our own users
	// neither, and /-/ready says so. At most 64 MiB.
	URL *url.URL `yaml:"url"`
	// The same in a registry of OCI artifacts, over https, such as
	// registry.acme.example/policies/parley:v1.
	OCI string `yaml:"oci"`
	// How often it is asked for a new one.
	Interval time.Duration `yaml:"interval" default:"1m"`
	// How long one download may take.
	Timeout time.Duration `yaml:"timeout" default:"30s"`
	// A file with the bearer token to send; read for every request.
	BearerTokenFile string `yaml:"bearer_token_file"`
	// The root certificates, in PEM, the server is checked with. Left out: the system's.
	CAFile string `yaml:"ca_file"`
	// Public keys in PEM. A bundle is used only if one of them signed it. Left
	// out: only bundles that nobody signed are used. A signature doesn't say which
	// bundle is the latest: an earlier one is used as well.
	KeyFiles []string `yaml:"key_files"`
	// The algorithm of the signatures (RFC 7518).
	Algorithm Algorithm `yaml:"algorithm" default:"RS256"`
	// What the claim scope of signatures must be. Left out: there must be none.
	Scope string `yaml:"scope"`
}

// Metrics is where our metrics are: exactly one of Prometheus and TSDB.
type Metrics struct {
	// A Prometheus, or what speaks its remote read, such as Mimir.
	Prometheus *Prometheus `yaml:"prometheus"`
	// A Prometheus database in a folder of this gateway.
	TSDB *TSDB `yaml:"tsdb"`
	// How far back an instant selector looks for a sample; the Prometheus
	// server's own setting, if that was changed.
	LookbackDelta time.Duration `yaml:"lookback_delta" default:"5m"`
	// The most samples one evaluation may hold in memory. A partner's holds no
	// more than its answer may have, or a million if that is more.
	MaxSamples int `yaml:"max_samples" default:"50_000_000"`
}

// Prometheus is a Prometheus server.
type Prometheus struct {
	// The base URL below which /api/v1 is, such as http://127.0.0.1:9090. Required.
	URL *url.URL `yaml:"url"`
	// The path of remote read below it.
	RemoteReadPath string `yaml:"remote_read_path" default:"/api/v1/read"`
	// Let the server evaluate what is proved to give the same answer as the
	// redacted view. Turn it off for a backend whose PromQL is its own.
	PushDown bool `yaml:"push_down" default:"true"`
	// The labels that the server adds to all series it gives by remote read: its
	// global external_labels, or {} if there are none. Left out: the server is
	// asked for its configuration. State them for one that doesn't tell it;
	// otherwise nothing is pushed down, lists are slow, and exemplars refused.
	ExternalLabels map[string]string `yaml:"external_labels"`
	// The tenant, sent as X-Scope-OrgID to Mimir, Cortex or Thanos.
	Tenant string `yaml:"tenant"`
	// A file with the bearer token to send; read for every request.
	BearerTokenFile string `yaml:"bearer_token_file"`
	// The root certificates, in PEM, the server is checked with. Left out: the system's.
	CAFile string `yaml:"ca_file"`
}

// Logs is where our logs are.
type Logs struct {
	// A Loki, version 3.0 or later. Required.
	Loki *Loki `yaml:"loki"`
}

// Loki is a Loki server.
type Loki struct {
	// The base URL below which /loki/api/v1 is, such as http://127.0.0.1:3100. Required.
	URL *url.URL `yaml:"url"`
	// How many entries are asked for at once: no more than the server's own
	// max_entries_limit_per_query. It is also how many entries of one nanosecond
	// are still found to be all: where there may be more, nothing is answered.
	PageEntries int `yaml:"page_entries" default:"5000"`
	// The tenant, sent as X-Scope-OrgID.
	Tenant string `yaml:"tenant"`
	// A file with the bearer token to send; read for every request.
	BearerTokenFile string `yaml:"bearer_token_file"`
	// The root certificates, in PEM, the server is checked with. Left out: the system's.
	CAFile string `yaml:"ca_file"`
}

// Traces is where our traces are: exactly one of Jaeger, Tempo and Store.
type Traces struct {
	// A Jaeger, version 1.76 or 2.
	Jaeger *Jaeger `yaml:"jaeger"`
	// A Tempo, version 2.7 or later. It wasn't tried on a real one.
	Tempo *Tempo `yaml:"tempo"`
	// The memory of this gateway, to which spans are sent. For trying things out: a
	// restart forgets them.
	Store *TracesStore `yaml:"store"`
	// How long a trace is kept, in state.dir, that a partner or one of our own users
	// asked to keep.
	KeepFor time.Duration `yaml:"keep_for" default:"7d"`
}

// Workflows are measured from a sample of traces, which is asked for as one of our
// own users would ask for it.
type Workflows struct {
	// Why partners are asked. Required.
	Purpose tenants.Purpose `yaml:"purpose"`
	// TraceQL of the traces that are measured.
	Search string `yaml:"search" default:"{}"`
	// How often they are asked for.
	Interval time.Duration `yaml:"interval" default:"1m"`
	// How many of those that began in an interval are taken, the latest.
	Sample int `yaml:"sample" default:"50"`
	// How long after its spans began a trace is taken to be over.
	Delay time.Duration `yaml:"delay" default:"1m"`
}

// Jaeger is a Jaeger's query service: exactly one of GRPC and URL.
type Jaeger struct {
	// The host:port of its gRPC query port, such as 127.0.0.1:16685.
	GRPC string `yaml:"grpc"`
	// Without TLS, over gRPC.
	Insecure bool `yaml:"insecure" default:"false"`
	// The base URL below which /api/v3 is, such as http://127.0.0.1:16686. Slower:
	// an answer comes in one piece, as JSON.
	URL *url.URL `yaml:"url"`
	// How many traces are asked for at once. Where more than so many begin in one
	// microsecond, nothing is answered. A Jaeger that keeps traces in memory refuses
	// more than its max_traces.
	SearchDepth int `yaml:"search_depth" default:"500"`
	// The tenant, sent as x-tenant.
	Tenant string `yaml:"tenant"`
	// A file with the bearer token to send; read for every request.
	BearerTokenFile string `yaml:"bearer_token_file"`
	// The root certificates, in PEM, the server is checked with. Left out: the system's.
	CAFile string `yaml:"ca_file"`
}

// Tempo is a Tempo server.
type Tempo struct {
	// The base URL below which /api is, such as http://127.0.0.1:3200. Required.
	URL *url.URL `yaml:"url"`
	// How many traces are asked for at once: no more than the server's own
	// max_result_limit. Where more than so many were under way at one second,
	// nothing is answered.
	SearchLimit int `yaml:"search_limit" default:"1000"`
	// The tenant, sent as X-Scope-OrgID.
	Tenant string `yaml:"tenant"`
	// A file with the bearer token to send; read for every request.
	BearerTokenFile string `yaml:"bearer_token_file"`
	// The root certificates, in PEM, the server is checked with. Left out: the system's.
	CAFile string `yaml:"ca_file"`
}

// TracesStore is an embedded store. It takes OTLP of whoever sends it, on
// loopback only: at least one of OTLPGRPCListen and OTLPHTTPListen.
type TracesStore struct {
	// The address to take OTLP over gRPC on, such as 127.0.0.1:4317.
	OTLPGRPCListen string `yaml:"otlp_grpc_listen"`
	// The address to take OTLP over HTTP on, at /v1/traces, such as 127.0.0.1:4318.
	OTLPHTTPListen string `yaml:"otlp_http_listen"`
	// About how many bytes of memory spans take; when they take more, or are more than
	// a million, the oldest traces go.
	MaxBytes int `yaml:"max_bytes" default:"268_435_456"`
	// How long after its last span began a trace is kept.
	MaxAge time.Duration `yaml:"max_age" default:"24h"`
}

// TSDB is an embedded database.
type TSDB struct {
	// Its folder; made when it isn't there. Required.
	Dir string `yaml:"dir"`
	// How long samples are kept.
	Retention time.Duration `yaml:"retention" default:"15d"`
}

// Pseudonyms are made with a key; whoever has it can undo them by trial.
type Pseudonyms struct {
	// A file with at least 32 random bytes, the same on all replicas, that
	// only this gateway may read: openssl rand -out FILE 32. Required.
	KeyFile string `yaml:"key_file"`
}

// Audit is the journal of exchanges.
type Audit struct {
	// The journal's folder; made when it isn't there. While it can't be
	// written, partners get no data. Required.
	Dir string `yaml:"dir"`
}

// State is what a restart finds again.
type State struct {
	// A folder, made when it isn't there, in whose subfolder bundles the trust
	// bundles of partners are kept as they were known last: a restart while a
	// partner is down finds them. Its subfolder policy has the last policy bundle
	// that was fetched and used, its subfolder break-glass the grants that were
	// opened, so that none is opened twice. Left out: audit.dir. What is in these folders
	// there is not moved when this is set.
	Dir string `yaml:"dir"`
}

// Telemetry is what the gateway tells of itself.
type Telemetry struct {
	// What is logged: debug, info, warn or error.
	LogLevel slog.Level `yaml:"log_level" default:"info"`
	// Where traces go. Left out: nowhere.
	OTLP *OTLP `yaml:"otlp"`
}

// OTLP is a collector of traces, spoken to over gRPC.
type OTLP struct {
	// The collector's host:port. Required.
	Endpoint string `yaml:"endpoint"`
	// Without TLS.
	Insecure bool `yaml:"insecure" default:"false"`
	// The share of questions that are traced, 0 to 1; those a caller traces
	// already always are.
	SamplingRatio float64 `yaml:"sampling_ratio" default:"1"`
}
