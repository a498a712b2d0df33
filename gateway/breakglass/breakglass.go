// Package breakglass keeps the grants of emergencies: one for a partner's case
// and person, opened by the first question, announced to us at once, and never
// opened again.
//
//	grants, err := breakglass.Open(breakglass.Config{Org: "globex", Dir: "/var/lib/parley/break-glass", ...})
//	grant, err := grants.Grant(ctx, agreement, principal, exchangeID) // nil: durable, and in force
//
// The person and the reason are personal data: they are in the file, readable by
// its owner alone, in the audit log and in the webhook's message; never in the
// log or the metrics.
package breakglass

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/tenants"
)

// How many grants one partner may have: who states persons and cases doesn't
// decide how much we keep. One that is over is kept for a while, so that it isn't
// given again; what there was before is in the audit log.
const (
	maxOpen     = 100
	maxKept     = 10_000
	forgetAfter = 90 * 24 * time.Hour // its end
)

// Config of a Grants. Fields without "default" are required.
type Config struct {
	// Org is the organization whose gateway this is.
	Org tenants.OrgID
	// Dir is the folder of the file; made with the first grant.
	Dir string
	// Directory has the agreements, which say where a partner's grants are
	// announced.
	Directory  gateway.Directory
	Log        *slog.Logger
	Registerer prometheus.Registerer
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Client posts to webhooks; default: one that follows no redirect and waits
	// ten seconds.
	Client *http.Client
	// Retry is how long is waited after a webhook's first failure, and twice as
	// long after each other one, up to five minutes; default a second.
	Retry time.Duration
}

// Grants keeps grants. It is safe for concurrent use.
type Grants struct {
	config    Config
	metrics   instruments
	announcer *announcer

	// opening is held while a grant is made durable, so that there is one for a
	// key; questions under grants that are there don't wait for it.
	opening sync.Mutex
	file    file // guarded by opening

	mu     sync.Mutex
	grants map[key]kept // guarded by mu
}

// kept is a grant and whether its webhook has been told.
type kept struct {
	gateway.Grant

	// Exchange is the question that opened it.
	Exchange federation.ExchangeID
	// Webhook says that there was one to tell, and Announced when it took the
	// message.
	Webhook   bool
	Announced time.Time
}

// key is what a grant is for. The partner states case and person: one that is
// only written otherwise, by case or with spaces around it, is no other one.
type key struct {
	partner    tenants.OrgID
	id, person string
}

func keyOf(g gateway.Grant) key {
	return key{g.Partner, folded(string(g.Case)), folded(g.Person)}
}

// folded goes by upper case first: some letters have several lower ones.
func folded(s string) string { return strings.ToLower(strings.ToUpper(strings.TrimSpace(s))) }

var _ gateway.BreakGlass = (*Grants)(nil)

// Open reads the grants there are, and announces those that weren't. The error
// says which line can't be read: a grant that is forgotten could be opened again.
func Open(c Config) (*Grants, error) {
	if c.Org == "" || c.Dir == "" || c.Directory == nil || c.Log == nil || c.Registerer == nil {
		return nil, errors.New("breakglass: Org, Dir, Directory, Log and Registerer are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Retry == 0 {
		c.Retry = time.Second
	}
	g := &Grants{config: c, grants: map[key]kept{}, file: fileIn(c.Dir)}
	there, err := g.file.read()
	if err != nil {
		return nil, err
	}
	for _, k := range there {
		g.grants[keyOf(k.Grant)] = k
	}
	if g.metrics, err = newInstruments(c.Registerer, g.open); err != nil {
		return nil, err
	}
	g.announcer = newAnnouncer(c, g.metrics, g.announced)
	g.forget()
	for _, k := range g.list() {
		if k.Webhook && k.Announced.IsZero() {
			g.announce(k)
		}
	}
	return g, nil
}

// Close gives up on webhooks that haven't taken their message.
func (g *Grants) Close() error {
	g.announcer.close()
	return nil
}

// Grant implements gateway.BreakGlass.
func (g *Grants) Grant(ctx context.Context, a tenants.Agreement, by tenants.Principal, id federation.ExchangeID) (gateway.Grant, error) {
	if a.BreakGlass == nil || by.Org != a.Partner || by.Case == "" || !by.User.Proven() {
		return gateway.Grant{}, fmt.Errorf("breakglass: a question of %s that lacks what a grant is bound to", by.Org)
	}
	k := keyOf(gateway.Grant{Partner: by.Org, Case: by.Case, Person: by.User.Subject})
	if grant, err := g.find(a, k); grant != (gateway.Grant{}) || err != nil {
		return grant, err
	}
	g.opening.Lock()
	defer g.opening.Unlock()
	if grant, err := g.find(a, k); grant != (gateway.Grant{}) || err != nil {
		return grant, err // another question was faster
	}
	g.forget()
	if err := g.room(a); err != nil {
		return gateway.Grant{}, err
	}
	now := g.config.Now().UTC().Round(0)
	grant := gateway.Grant{
		Partner: by.Org, Case: by.Case, Person: by.User.Subject, Proof: by.User.Proof,
		Purpose: by.Purpose, Reason: by.BreakGlass, Opened: now, Ends: now.Add(a.BreakGlass.Longest),
	}
	opened := kept{Grant: grant, Exchange: id, Webhook: a.BreakGlass.Webhook != ""}
	if err := g.file.append(lineOf(opened)); err != nil {
		g.config.Log.ErrorContext(ctx, "a break-glass grant can't be kept, so it is not given", "partner", a.Partner, "case", by.Case, "error", err)
		return gateway.Grant{}, &federation.Error{Kind: federation.Unavailable, Message: "a break-glass grant can't be kept now, so it is not given", Err: err}
	}
	g.mu.Lock()
	g.grants[k] = opened
	g.mu.Unlock()
	g.config.Log.WarnContext(ctx, "break-glass grant opened: until it ends, a person of the partner is answered by the agreement's policy for emergencies",
		"partner", grant.Partner, "case", grant.Case, "purpose", grant.Purpose, "ends", grant.Ends, "exchange", id)
	g.metrics.grants.WithLabelValues(string(grant.Partner)).Inc()
	if opened.Webhook {
		g.announce(opened)
	}
	return grant, nil
}

// lately is how far back an announcement looks for other grants.
const lately = 24 * time.Hour

// announce tells the webhook of a grant, and how many the partner opened in the
// time until then: who takes one after another has had none made longer.
func (g *Grants) announce(k kept) {
	of := 0
	g.mu.Lock()
	for other, grant := range g.grants {
		if other.partner == k.Partner && !grant.Opened.After(k.Opened) && grant.Opened.After(k.Opened.Add(-lately)) {
			of++
		}
	}
	g.mu.Unlock()
	g.announcer.announce(announcing{k, of})
}

// announced keeps that the webhook has been told, so that it isn't after a
// restart. Where that can't be kept it is told once more.
func (g *Grants) announced(grant gateway.Grant) {
	g.opening.Lock()
	defer g.opening.Unlock()
	k := keyOf(grant)
	at := g.config.Now().UTC().Round(0)
	if err := g.file.append(line{Partner: grant.Partner, Case: grant.Case, Person: grant.Person, Announced: at}); err != nil {
		g.config.Log.Error("that a break-glass grant was announced can't be kept; it will be announced again after a restart", "partner", grant.Partner, "case", grant.Case, "error", err)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if of, ok := g.grants[k]; ok {
		of.Announced = at
		g.grants[k] = of
	}
}

// forget lets grants go that ended long ago. The caller holds opening, or is
// alone.
func (g *Grants) forget() {
	now := g.config.Now()
	g.mu.Lock()
	before := len(g.grants)
	maps.DeleteFunc(g.grants, func(_ key, k kept) bool { return longAgo(k.Grant, now) })
	forgotten := before - len(g.grants)
	g.mu.Unlock()
	if forgotten == 0 {
		return
	}
	if err := g.file.replace(g.list()); err != nil {
		g.config.Log.Warn("break-glass grants that ended long ago can't be taken out of their file", "error", err)
		return
	}
	g.config.Log.Info("break-glass grants that ended long ago are forgotten", "grants", forgotten, "ended_before", now.Add(-forgetAfter))
}

func longAgo(g gateway.Grant, now time.Time) bool { return !now.Before(g.Ends.Add(forgetAfter)) }

// list is what is kept, in the order in which it was opened.
func (g *Grants) list() []kept {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.SortedFunc(maps.Values(g.grants), func(a, b kept) int {
		return cmp.Or(a.Opened.Compare(b.Opened), strings.Compare(string(a.Partner), string(b.Partner)),
			strings.Compare(string(a.Case), string(b.Case)), strings.Compare(a.Person, b.Person))
	})
}

// find returns the grant of a key if it is in force, nothing if there is none,
// and an error if it is over. An agreement that has become shorter counts.
func (g *Grants) find(a tenants.Agreement, k key) (gateway.Grant, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	grant := g.grants[k].Grant
	if grant == (gateway.Grant{}) || longAgo(grant, g.config.Now()) {
		return gateway.Grant{}, nil
	}
	if ends := grant.Opened.Add(a.BreakGlass.Longest); ends.Before(grant.Ends) {
		grant.Ends = ends
	}
	if !g.config.Now().Before(grant.Ends) {
		return gateway.Grant{}, &tenants.Refusal{Reason: tenants.BreakGlassEnded, Partner: a.Partner, Detail: "case " + string(grant.Case) + ", at " + grant.Ends.Format(time.RFC3339)}
	}
	return grant, nil
}

// room says whether the partner may have one more.
func (g *Grants) room(a tenants.Agreement) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	open, kept := 0, 0
	now := g.config.Now()
	for k, grant := range g.grants {
		if k.partner != a.Partner {
			continue
		}
		kept++
		if now.Before(grant.Ends) {
			open++
		}
	}
	if open >= maxOpen || kept >= maxKept {
		return &tenants.Refusal{Reason: tenants.BreakGlassTooMany, Partner: a.Partner, Detail: fmt.Sprintf("%d are open, of %d that are kept; at most %d and %d may be", open, kept, maxOpen, maxKept)}
	}
	return nil
}

// open counts the grants in force.
func (g *Grants) open() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, now := 0, g.config.Now()
	for _, grant := range g.grants {
		if now.Before(grant.Ends) {
			n++
		}
	}
	return float64(n)
}

// instruments are the metrics.
type instruments struct {
	grants, webhooks *prometheus.CounterVec
}

func newInstruments(reg prometheus.Registerer, open func() float64) (instruments, error) {
	m := instruments{
		grants: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "parley_break_glass_grants_total", Help: "Grants that were opened for persons of the partner in an emergency.",
		}, []string{"partner"}),
		webhooks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "parley_break_glass_webhook_attempts_total", Help: "Attempts to announce a grant to the agreement's webhook: delivered, or failed and tried again.",
		}, []string{"outcome"}),
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.grants, m.webhooks, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "parley_break_glass_open", Help: "Grants that are in force.",
	}, open)} {
		errs = append(errs, reg.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return m, fmt.Errorf("breakglass: register metrics: %w", err)
	}
	for _, outcome := range []string{delivered, failed} {
		m.webhooks.WithLabelValues(outcome)
	}
	return m, nil
}
