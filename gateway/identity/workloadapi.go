package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// WorkloadAPIConfig is where an agent such as SPIRE's is found.
type WorkloadAPIConfig struct {
	// Address is the agent's socket: unix:///run/spire/agent.sock, or
	// tcp://127.0.0.1:8081.
	Address string
	// TrustDomain is ours. SVIDs of another are not used.
	TrustDomain spiffeid.TrustDomain
	// ID picks one of several SVIDs the agent offers. Zero: the first one of
	// our trust domain.
	ID spiffeid.ID
	// MaxRetry is the longest wait between attempts to reach the agent; they
	// begin with a tenth of it. Zero: 10 seconds.
	MaxRetry time.Duration
	// Clock is what time it is. Nil: time.Now.
	Clock func() time.Time
	// Logger may be nil.
	Logger *slog.Logger
}

// WorkloadAPI is a Source that an agent feeds over the SPIFFE Workload API. It
// can be there before the agent, and outlive it.
type WorkloadAPI struct {
	current
	config WorkloadAPIConfig
	client *workloadapi.Client
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// NewWorkloadAPI begins to watch. The error is about the configuration only.
func NewWorkloadAPI(config WorkloadAPIConfig) (*WorkloadAPI, error) {
	if config.TrustDomain.IsZero() {
		return nil, errors.New("workload API: our trust domain is not given")
	}
	if !config.ID.IsZero() && !config.ID.MemberOf(config.TrustDomain) {
		return nil, fmt.Errorf("workload API: the SPIFFE ID %s is not in our trust domain %s", config.ID, config.TrustDomain)
	}
	if err := workloadapi.ValidateAddress(config.Address); err != nil {
		return nil, fmt.Errorf("workload API: address %q: %w; want one such as unix:///run/spire/agent.sock", config.Address, err)
	}
	config.MaxRetry = durationOr(config.MaxRetry, 10*time.Second)
	config.Logger = loggerOr(config.Logger)

	ctx, cancel := context.WithCancel(context.Background())
	// gRPC's own backoff grows to two minutes, in which it doesn't look
	// whether the agent came up.
	connect := grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: config.MaxRetry / 10, Multiplier: 1.6, MaxDelay: config.MaxRetry},
		MinConnectTimeout: 5 * time.Second,
	}
	client, err := workloadapi.New(
		ctx,
		workloadapi.WithAddr(config.Address),
		workloadapi.WithBackoffStrategy(doubling{limit: config.MaxRetry}),
		workloadapi.WithDialOptions(grpc.WithConnectParams(connect)),
	)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("workload API: %w", err)
	}
	w := &WorkloadAPI{
		current: current{trustDomain: config.TrustDomain, clock: clockOr(config.Clock)},
		config:  config,
		client:  client,
		cancel:  cancel,
	}
	w.done.Go(func() { w.watch(ctx) })
	return w, nil
}

// Close stops watching.
func (w *WorkloadAPI) Close() error {
	w.cancel()
	w.done.Wait()
	return w.client.Close()
}

func (w *WorkloadAPI) watch(ctx context.Context) {
	wait := doubling{limit: w.config.MaxRetry}.NewBackoff()
	for ctx.Err() == nil {
		// It retries by itself but for an agent that calls our request invalid.
		err := w.client.WatchX509Context(ctx, (*contextWatcher)(w))
		if ctx.Err() != nil {
			return
		}
		w.refuse(err)
		select {
		case <-ctx.Done():
		case <-time.After(wait.Next()):
		}
	}
}

// refuse records why nothing new came, and logs it once.
func (w *WorkloadAPI) refuse(err error) {
	err = fmt.Errorf("workload API at %s: %w", w.config.Address, err)
	w.mu.Lock()
	news := w.err == nil || w.err.Error() != err.Error()
	w.err = err
	w.mu.Unlock()
	if news {
		w.config.Logger.Error("no SVID from the workload API; the last one is kept", "error", err)
	}
}

func (w *WorkloadAPI) pick(svids []*x509svid.SVID) (*x509svid.SVID, error) {
	for _, svid := range svids {
		if svid.ID == w.config.ID || w.config.ID.IsZero() && svid.ID.MemberOf(w.trustDomain) {
			return svid, nil
		}
	}
	if !w.config.ID.IsZero() {
		return nil, fmt.Errorf("the agent offers no SVID %s; check our workload's registration", w.config.ID)
	}
	return nil, fmt.Errorf("the agent offers no SVID of our trust domain %s", w.trustDomain)
}

// contextWatcher keeps the callbacks out of WorkloadAPI's own methods.
type contextWatcher WorkloadAPI

func (cw *contextWatcher) OnX509ContextUpdate(x *workloadapi.X509Context) {
	w := (*WorkloadAPI)(cw)
	svid, err := w.pick(x.SVIDs)
	if err != nil {
		w.refuse(err)
		return
	}
	bundle, err := x.Bundles.GetX509BundleForTrustDomain(w.trustDomain)
	if err != nil {
		w.refuse(err)
		return
	}
	w.set(svid, spiffebundle.FromX509Bundle(bundle))
	w.config.Logger.Info("SVID from the workload API", "id", svid.ID, "not_after", svid.Certificates[0].NotAfter)
}

func (cw *contextWatcher) OnX509ContextWatchError(err error) {
	if status.Code(err) == codes.Canceled {
		return // by our own Close
	}
	(*WorkloadAPI)(cw).refuse(err)
}

// doubling is a backoff from a tenth of the limit up to the limit.
type doubling struct{ limit time.Duration }

func (d doubling) NewBackoff() workloadapi.Backoff {
	return &doublingWait{next: d.limit / 10, first: d.limit / 10, limit: d.limit}
}

type doublingWait struct{ next, first, limit time.Duration }

func (d *doublingWait) Next() time.Duration {
	wait := d.next
	d.next = min(2*d.next, d.limit)
	return wait
}

func (d *doublingWait) Reset() { d.next = d.first }
