package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/parley-gateway/parley/cmd/parley/demo"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/gateway/assembly"
	"github.com/parley-gateway/parley/gateway/identity"
	"github.com/parley-gateway/parley/gateway/telemetry"
	"github.com/parley-gateway/parley/tenants"
)

type demoCommand struct {
	HTTP string         `name:"http" default:"127.0.0.1:9480" placeholder:"HOST:PORT" help:"Where acme's gateway listens; globex and initech get the next two ports (${default})."`
	For  *time.Duration `placeholder:"30s" help:"Stop this long after it is ready; without it at Ctrl-C."`
	Data string         `placeholder:"DIR" type:"path" help:"Keep everything in this folder, and go on from what is in it; without it nothing is left behind."`
}

// Help is shown by parley demo --help.
func (*demoCommand) Help() string {
	return `Examples:

  parley demo
  parley demo --http 127.0.0.1:9500 --for 30s
  parley demo --data demo-data   # agreements, policies, audit logs to look at

Three organizations run on this machine, each with its own trust domain,
gateway, policy and metrics, and ask one another over SPIFFE mTLS. It says what
to try when it is ready.`
}

// history is how much of the past the demo's metrics have when it starts.
const history = time.Hour

// Run runs the demo until it is told to stop.
func (c *demoCommand) Run(k *kong.Kong) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return c.run(ctx, k.Stdout, k.Stderr)
}

func (c *demoCommand) run(ctx context.Context, stdout, stderr io.Writer) (err error) {
	listeners, err := c.listen()
	if err != nil {
		return err
	}
	dir := c.Data
	if dir == "" {
		if dir, err = os.MkdirTemp("", "parley-demo-"); err != nil {
			return fmt.Errorf("make a folder for the demo: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	companies := demo.Companies()
	stands := make([]*stand, len(companies))
	for i, company := range companies {
		stands[i] = &stand{Company: company, dir: filepath.Join(dir, string(company.Org)), front: listeners[i]}
		defer func() { err = errors.Join(err, stands[i].close()) }()
	}
	if _, err := fmt.Fprintf(stderr, "making an hour of metrics, logs and traces of %d companies ...\n", len(stands)); err != nil {
		return err
	}
	now := time.Now()
	for _, s := range stands {
		if err := s.open(ctx, now); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("%s: %w", s.Org, err)
		}
	}
	for _, s := range stands {
		if err := errors.Join(s.agree(stands, now), s.configure()); err != nil {
			return fmt.Errorf("%s: %w", s.Org, err)
		}
	}
	return c.runStands(ctx, stands, stdout)
}

// listen opens the front doors first: a port that is taken is the commonest
// reason why a demo can't start.
func (c *demoCommand) listen() ([]net.Listener, error) {
	host, text, err := net.SplitHostPort(c.HTTP)
	if err != nil {
		return nil, usage("--http %s: want host:port such as 127.0.0.1:9480", c.HTTP)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, usage("--http %s: want a port from 0 to 65535", c.HTTP)
	}
	var out []net.Listener
	for i := range demo.Companies() {
		next := port
		if port != 0 {
			next += uint64(i)
		}
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.FormatUint(next, 10)))
		if err != nil {
			for _, open := range out {
				err = errors.Join(err, open.Close())
			}
			return nil, fmt.Errorf("the demo needs three ports from %s on; choose others with --http: %w", c.HTTP, err)
		}
		out = append(out, l)
	}
	return out, nil
}

// stand is one company of the demo with what it runs on.
type stand struct {
	demo.Company
	dir                 string
	front, peer, bundle net.Listener
	store               *metrics.TSDB
	logs                *logs.Store
	traces              *traces.Store
	ca                  *identity.DevCA
	svid                *identity.DevSource
	log                 *os.File
	secret              []byte
}

// open makes the company's store with its past, its CA and its doors.
func (s *stand) open(ctx context.Context, now time.Time) (err error) {
	for _, dir := range []string{"agreements", "policies", "ca"} {
		if err := os.MkdirAll(filepath.Join(s.dir, dir), 0o700); err != nil {
			return err
		}
	}
	if s.log, err = os.OpenFile(filepath.Join(s.dir, "gateway.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	if s.store, err = metrics.OpenTSDB(metrics.TSDBConfig{Dir: filepath.Join(s.dir, "metrics"), Logger: s.logger()}); err != nil {
		return err
	}
	if s.logs, err = logs.OpenStore(filepath.Join(s.dir, "logs"), logs.StoreConfig{}); err != nil {
		return err
	}
	s.WriteLogs(s.logs)
	s.traces = traces.NewStore(traces.StoreConfig{})
	s.WriteTraces(s.traces)
	if err := s.Fill(ctx, s.store, now, history); err != nil {
		return err
	}
	if s.ca, err = identity.OpenDevCA(filepath.Join(s.dir, "ca"), identity.DevCAConfig{TrustDomain: demo.TrustDomain(s.Org)}); err != nil {
		return err
	}
	if s.svid, err = s.ca.Source(identity.DevSourceConfig{ID: demo.GatewayID(s.Org), Logger: s.logger()}); err != nil {
		return err
	}
	if s.peer, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	s.bundle, err = net.Listen("tcp", "127.0.0.1:0")
	return err
}

// agree writes the company's policies, but for those that are there and may
// have been changed since, and its agreements with the others, which name the
// ports of this time.
func (s *stand) agree(all []*stand, now time.Time) error {
	policies, err := demo.Policies(s.Org)
	if err != nil {
		return err
	}
	if err := addFS(filepath.Join(s.dir, "policies"), policies); err != nil {
		return err
	}
	for _, other := range all {
		if other == s {
			continue
		}
		file, err := os.Create(filepath.Join(s.dir, "agreements", string(other.Org)+".yml"))
		if err != nil {
			return err
		}
		err = demo.Agreement{
			Owner: s.Org, Partner: other.Org, Addresses: []string{other.peer.Addr().String()},
			BundleAddress: other.bundle.Addr().String(), BundleFile: filepath.Join(other.dir, "ca", identity.DevCABundleFile),
		}.Write(file, now)
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	return nil
}

// configure writes a config for the commands that read one, and the key of
// pseudonyms, which stays.
func (s *stand) configure() (err error) {
	key := filepath.Join(s.dir, demo.KeyFile)
	if s.secret, err = os.ReadFile(key); errors.Is(err, fs.ErrNotExist) {
		s.secret = make([]byte, 32)
		if _, err = rand.Read(s.secret); err == nil {
			err = os.WriteFile(key, s.secret, 0o600)
		}
	}
	if err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(s.dir, demo.ConfigFile))
	if err != nil {
		return err
	}
	return errors.Join(demo.WriteConfig(file, s.Org, s.front.Addr().String()), file.Close())
}

func (s *stand) logger() *slog.Logger {
	return telemetry.NewLogger(s.log, slog.LevelInfo).With("org", string(s.Org))
}

// workflowsEvery is how often workflows are measured: as a scrape is.
const workflowsEvery = 15 * time.Second

// gateway puts the company's gateway together.
func (s *stand) gateway(ctx context.Context) (*assembly.Gateway, error) {
	return assembly.New(ctx, assembly.Config{
		Org: s.Org, TrustDomain: demo.TrustDomain(s.Org), Version: version, Identity: s.svid,
		AgreementsDir: filepath.Join(s.dir, "agreements"), PolicyDir: filepath.Join(s.dir, "policies"),
		Source: s.store, Logs: s.logs, Traces: s.traces, Secret: s.secret, AuditDir: filepath.Join(s.dir, "audit"),
		Workflows: &assembly.Workflows{Purpose: "slo-review", Search: "{}", Interval: workflowsEvery, Delay: workflowsEvery, Sample: 50},
		Front:     s.front, Peer: s.peer, Bundle: s.bundle, DefaultPurpose: "slo-review", Log: s.logger(),
	})
}

// close releases what open made. The doors are closed by the gateway, unless
// it never ran.
func (s *stand) close() error {
	var errs []error
	for _, l := range []net.Listener{s.front, s.peer, s.bundle} {
		if l != nil {
			if err := l.Close(); !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if s.svid != nil {
		errs = append(errs, s.svid.Close())
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	if s.logs != nil {
		errs = append(errs, s.logs.Close())
	}
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	return errors.Join(errs...)
}

// runStands runs all gateways, lets their metrics grow, and says what to try.
// With --for it stops that long after it has said so.
func (c *demoCommand) runStands(ctx context.Context, stands []*stand, stdout io.Writer) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var running sync.WaitGroup
	background := func(f func() error) {
		running.Go(func() {
			if err := f(); err != nil {
				stop(err)
			}
		})
	}
	urls := map[tenants.OrgID]string{}
	for _, s := range stands {
		g, err := s.gateway(ctx)
		if err != nil {
			stop(err)
			break
		}
		background(func() error { return g.Run(ctx) })
		background(func() error {
			tick := time.NewTicker(demo.Interval)
			defer tick.Stop()
			return s.Run(ctx, s.store, tick.C)
		})
		urls[s.Org] = "http://" + s.front.Addr().String()
	}
	if ctx.Err() == nil {
		if err := demo.Guide(stdout, os.Args[0], urls, c.Data); err != nil {
			stop(err)
		}
	}
	if c.For != nil {
		timer := time.AfterFunc(*c.For, func() { stop(nil) })
		defer timer.Stop()
	}
	<-ctx.Done()
	running.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}
