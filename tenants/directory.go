package tenants

import (
	"cmp"
	"context"
	"crypto/sha256"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// DirectoryConfig is what a Directory needs.
type DirectoryConfig struct {
	// Dir is the folder of agreements; see ReadAgreements for what counts.
	Dir  string
	Self Self
	// Interval between two looks at the folder; zero is a second.
	Interval time.Duration
	// Logger hears of every change and every failed reload; nil is silence.
	Logger *slog.Logger
	// Registerer gets the parley_agreements metrics; nil is nobody.
	Registerer prometheus.Registerer
	// Now is the clock of the metrics; nil is time.Now.
	Now func() time.Time
}

// Directory holds the agreements of a folder and follows its changes. Every
// lookup sees one consistent set: all of the folder as it was at some moment.
//
// While something in the folder is wrong the set stays as it was, with one
// exception: an agreement whose file is gone is gone. Somebody's typing error
// must not keep a revoked partner in.
type Directory struct {
	config  DirectoryConfig
	metrics directoryMetrics
	current atomic.Pointer[snapshot]

	// mu is held for a whole reload, and so while subscribers are called.
	mu          sync.Mutex
	tried       [sha256.Size]byte // fingerprint of the folder last parsed
	subscribers []*func([]Agreement)
	opened      bool // there is a set that can stay
}

// snapshot is a set of agreements; it never changes.
type snapshot struct {
	agreements    []Agreement // by partner
	byPartner     map[OrgID]Agreement
	byTrustDomain map[spiffeid.TrustDomain]Agreement
	// problem is why the folder as it is now is not what is served; or nil.
	problem error
}

// OpenDirectory reads the folder. The error says all that is wrong with it.
// The folder is not followed before Watch runs.
func OpenDirectory(c DirectoryConfig) (*Directory, error) {
	c.Interval = cmp.Or(c.Interval, time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	d := &Directory{config: c}
	d.current.Store(&snapshot{})
	m, err := newDirectoryMetrics(c.Registerer)
	if err != nil {
		return nil, err
	}
	d.metrics = m
	if err := d.Reload(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opened = true
	return d, nil
}

// Watch follows the folder until ctx ends. It looks at contents rather than
// waiting for events, which network and container file systems lose.
func (d *Directory) Watch(ctx context.Context) {
	t := time.NewTicker(d.config.Interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			d.look()
		}
	}
}

// Reload looks at the folder now and returns Problem.
func (d *Directory) Reload() error {
	d.look()
	return d.Problem()
}

// Problem is why the folder as it is now is not what is served: all that is
// wrong with it, one problem to a line. It is nil when all is well.
func (d *Directory) Problem() error { return d.current.Load().problem }

// Partners are the agreements, sorted by partner, the expired ones included.
// The caller must not modify what they refer to.
func (d *Directory) Partners() []Agreement { return slices.Clone(d.current.Load().agreements) }

// Partner is the agreement with an organization.
func (d *Directory) Partner(org OrgID) (Agreement, bool) {
	a, ok := d.current.Load().byPartner[org]
	return a, ok
}

// ByTrustDomain is the agreement with the organization that the trust domain
// is. The error is a *Refusal.
func (d *Directory) ByTrustDomain(td spiffeid.TrustDomain) (Agreement, error) {
	a, ok := d.current.Load().byTrustDomain[td]
	if !ok {
		return Agreement{}, &Refusal{Reason: UnknownTrustDomain, Detail: td.Name()}
	}
	return a, nil
}

// ByWorkload is the agreement under which a workload may ask: it must be the
// gateway the agreement names. Whether it is valid now, and for what, is for
// Agreement.Covers to say. The error is a *Refusal.
//
// It is to be asked for every request, not for every connection: that is what
// makes a revocation count at once.
func (d *Directory) ByWorkload(id spiffeid.ID) (Agreement, error) {
	a, err := d.ByTrustDomain(id.TrustDomain())
	if err != nil {
		return Agreement{}, err
	}
	if id != a.GatewayID {
		return Agreement{}, &Refusal{Reason: WrongWorkload, Partner: a.Partner, Detail: id.String()}
	}
	return a, nil
}

// Subscribe calls f with the agreements, sorted by partner: at once, and then
// whenever they changed, one call at a time, until cancel is called. f must
// not modify them, take long, or call Subscribe, cancel or Reload.
func (d *Directory) Subscribe(f func([]Agreement)) (cancel func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.subscribers = append(d.subscribers, &f)
	f(d.Partners())
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.subscribers = slices.DeleteFunc(d.subscribers, func(s *func([]Agreement)) bool { return s == &f })
	}
}

// look reads the folder and, when it is another than before, takes it over.
func (d *Directory) look() {
	d.mu.Lock()
	defer d.mu.Unlock()
	files, err := readFolder(d.config.Dir)
	if err != nil {
		d.tried = [sha256.Size]byte{}
		d.keep(d.current.Load().agreements, err)
		return
	}
	now := fingerprint(files)
	if now == d.tried {
		return
	}
	d.tried = now
	agreements, err := parseAgreements(files, d.config.Self)
	if err != nil {
		d.keep(stillThere(d.current.Load().agreements, files), err)
		return
	}
	d.publish(agreements, nil)
	d.metrics.reloaded(len(agreements), d.config.Now())
	d.config.Logger.Info("agreements loaded", "dir", d.config.Dir, "partners", len(agreements))
}

// keep serves what is left of the set before, and says so once.
func (d *Directory) keep(agreements []Agreement, problem error) {
	before := d.current.Load()
	d.metrics.failed(len(agreements))
	if before.problem != nil && before.problem.Error() == problem.Error() && len(before.agreements) == len(agreements) {
		return
	}
	d.publish(agreements, problem)
	if !d.opened {
		return // OpenDirectory says it
	}
	d.config.Logger.Error("agreements not loaded; those from before stay, except where the file is gone",
		"dir", d.config.Dir, "partners", len(agreements), "error", problem)
}

func (d *Directory) publish(agreements []Agreement, problem error) {
	next := &snapshot{
		agreements:    agreements,
		byPartner:     make(map[OrgID]Agreement, len(agreements)),
		byTrustDomain: make(map[spiffeid.TrustDomain]Agreement, len(agreements)),
		problem:       problem,
	}
	for _, a := range agreements {
		next.byPartner[a.Partner] = a
		next.byTrustDomain[a.TrustDomain] = a
	}
	before := d.current.Swap(next)
	if reflect.DeepEqual(before.agreements, agreements) {
		return
	}
	for _, f := range d.subscribers {
		(*f)(slices.Clone(agreements))
	}
}

// stillThere are the agreements whose file is among files, good or bad.
func stillThere(agreements []Agreement, files []agreementFile) []Agreement {
	return slices.DeleteFunc(slices.Clone(agreements), func(a Agreement) bool {
		return !slices.ContainsFunc(files, func(f agreementFile) bool { return f.path == a.File })
	})
}
