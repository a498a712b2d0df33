// Package front is the door for our own users: the HTTP API of Prometheus, so
// that Grafana, promtool and every other client works as it does against a
// Prometheus, with the answer of several organizations behind it.
//
// The API is Prometheus's own web/api/v1. What that package takes for an engine
// and a storage are adapters here that put each question to the gateway:
//
//	door, err := front.New(front.Config{
//		Org:           "acme",
//		Answerer:      front.Answers(gw),
//		Authenticator: authenticator,
//		...
//	})
//	server := front.NewServer("127.0.0.1:9480", door)
//
// Three things are stricter than Prometheus. A path that isn't in the table of
// endpoints is refused, so that a newer library can't open one by itself. So is
// a parameter that isn't in the endpoint's row. And an error's text is ours
// whenever data was touched, since Prometheus's texts print whole label sets.
//
// What is in an answer and what is missing is said three times: in words as the
// API's warnings and infos, in JSON as the header X-Parley-Completeness, and
// in the exchange's record, found by the header X-Parley-Exchange.
package front

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	v1 "github.com/prometheus/prometheus/web/api/v1"

	"github.com/parley-gateway/parley/tenants"
)

// Request and response headers.
const (
	// PurposeHeader and CaseHeader say why a question is asked.
	PurposeHeader = "X-Parley-Purpose"
	CaseHeader    = "X-Parley-Case"
	// BreakGlassHeader is the reason of a tenants.EmergencyReason, in UTF-8: the
	// question is asked in an emergency, for the case in CaseHeader.
	BreakGlassHeader = "X-Parley-Break-Glass"
	// PartialHeader is allow (the default) or refuse: whether an answer from
	// which an organization is missing is wanted.
	PartialHeader = "X-Parley-Partial"
	// CompletenessHeader holds federation.Completeness as JSON in ASCII.
	CompletenessHeader = "X-Parley-Completeness"
	// ExchangeHeader holds the id under which every gateway recorded the request.
	ExchangeHeader = "X-Parley-Exchange"
)

// Authenticator finds out for whom a request is made. An error refuses the
// request; its text goes to the log, not to the client.
type Authenticator interface {
	User(r *http.Request) (tenants.User, error)
}

// Config is what a front is made of. Org, Answerer, Authenticator and Logger
// are required.
type Config struct {
	// Org is ours: every question is asked in its name.
	Org           tenants.OrgID
	Answerer      Answerer
	Authenticator Authenticator
	// Tails gives the tails of logs; nil serves none.
	Tails Tailer
	// DefaultPurpose is that of requests without X-Parley-Purpose. Empty leaves
	// such a question without a purpose, which agreements refuse.
	DefaultPurpose tenants.Purpose
	// DefaultCase is that of requests without X-Parley-Case; empty is none.
	DefaultCase tenants.CaseID
	// Version is parley's, shown by status/buildinfo beside the Prometheus
	// version whose API this is.
	Version string
	Logger  *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Timeout bounds one request; a request's own timeout parameter can only
	// shorten it. Zero is DefaultTimeout.
	Timeout time.Duration
	// MaxBody is how many bytes a request's body may have. Zero is DefaultMaxBody.
	MaxBody int64
	// Ready reports the checks behind /-/ready; nil is always ready.
	Ready func() []Check
	// Metrics serves /metrics; nil doesn't serve it.
	Metrics http.Handler
	// Profiling serves /debug/pprof/.
	Profiling bool
	// LocalOnly is for a door at which what comes from this machine is believed:
	// nobody is asked who they are, or a proxy on this machine may say it. It
	// refuses what a browser on this machine sends for pages of elsewhere, unless
	// a token or a certificate vouches for the request.
	LocalOnly bool
	// Hosts are names, beside those of loopback, that this door may be called by
	// on this machine where it is LocalOnly.
	Hosts []string
}

// Defaults of Config.
const (
	DefaultTimeout = 2 * time.Minute
	DefaultMaxBody = 4 << 20
)

// prometheusVersion is the release whose API this is: clients choose by it
// what to send. It goes with the module version in go.mod, v0.309.1.
const prometheusVersion = "3.9.1"

// Front is the http.Handler of the users' listener.
type Front struct {
	config Config
	api    http.Handler
	grpc   http.Handler

	tails    chan struct{}   // has one for each that runs
	ending   context.Context //nolint:containedctx // it is the door's life
	endTails context.CancelCauseFunc
}

// New returns a Front, or an error that names what Config lacks.
func New(c Config) (*Front, error) {
	switch {
	case c.Org == "":
		return nil, errors.New("front: Config.Org is required")
	case c.Answerer == nil:
		return nil, errors.New("front: Config.Answerer is required")
	case c.Authenticator == nil:
		return nil, errors.New("front: Config.Authenticator is required")
	case c.Logger == nil:
		return nil, errors.New("front: Config.Logger is required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.MaxBody <= 0 {
		c.MaxBody = DefaultMaxBody
	}
	f := &Front{config: c, api: newAPI(c), tails: make(chan struct{}, maxTails)}
	f.grpc = newJaegerGRPC(f)
	f.ending, f.endTails = context.WithCancelCause(context.Background())
	return f, nil
}

// ServeHTTP finds out where the request goes and keeps what must hold for all
// of them: a panic is an error, and every request is logged once.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := &response{ResponseWriter: w}
	start := f.config.Now()
	where := "unknown"
	defer func() {
		cause := recover()
		f.logRequest(r, where, out, f.config.Now().Sub(start))
		f.afterPanic(r, out, cause)
	}()
	where = f.serve(out, r)
	out.finish()
}

// serve answers the request and returns the name of its route, for the log.
func (f *Front) serve(w *response, r *http.Request) string {
	if f.config.LocalOnly && f.forElsewhere(r) {
		writeError(w, notLocal)
		return "not local"
	}
	if name, handler := f.operations(r); handler != nil {
		handler.ServeHTTP(w, r)
		return name
	}
	if isGRPC(r) {
		return f.serveGRPC(w, r)
	}
	e, ok := endpointFor(r.URL.Path)
	if !ok {
		f.notServed(w, r)
		return "not served"
	}
	f.ask(w, r, e)
	return e.path
}

// newAPI builds Prometheus's API over the adapters. Whatever it has beyond our
// table of endpoints is out of reach.
func newAPI(c Config) http.Handler {
	api := v1.NewAPI(
		newEngine(c.Timeout),
		queryable{},
		nil, // appendable: nothing is written through this door
		exemplars{},
		nil, // scrape pools
		nil, // targets
		nil, // alertmanagers
		func() config.Config { return config.Config{} }, // no external labels
		nil, // flags
		v1.GlobalURLOptions{},
		func(h http.HandlerFunc) http.HandlerFunc { return h },
		nil, "", false, // local storage, its folder, its admin API
		slog.New(slog.DiscardHandler), // it would log URLs; the access log is ours
		func(context.Context) v1.RulesRetriever { return noRules{} },
		0, readConcurrency, readFrameBytes,
		false, // agent
		nil,   // CORS: the Origin header never reaches the API
		nil,   // runtime information
		&v1.PrometheusVersion{Version: prometheusVersion, Revision: c.Version, Branch: "parley"},
		nil, nil, // notifications
		nil, nil, // gatherer, registerer
		noStats,
		false, nil, // remote write
		false, false, false, // OTLP
		false,
		0,
		false, false,
		nil,
		nil,
	)
	api.ClearCodecs()
	api.InstallCodec(codec{})
	router := route.New()
	api.Register(router.WithPrefix("/api/v1"))
	return router
}
