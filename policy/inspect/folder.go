package inspect

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
)

// Config says which policies are looked at.
type Config struct {
	// Org is whose they are; empty: nobody's, see Us.
	Org tenants.OrgID
	Dir string
	// Bundle, instead of Dir, is what a gateway's policies come from: the file, or
	// the one that was used last of a server's.
	Bundle *rego.BundleConfig
	// Agreements are those that name the policies. Nil: every package that could
	// answer a partner is taken to answer one, see Folder.Assumed.
	Agreements []tenants.Agreement
	// Partial says that policies may lack packages which agreements name. What
	// these would decide is denied then, where it otherwise is an error.
	Partial bool
	// Now is asked once: all that is said of a folder is said of one moment.
	Now func() time.Time
}

// Us is the organization whose policies are looked at where nobody says whose
// they are.
const Us tenants.OrgID = "us"

// Folder is a folder of policies that was loaded as a gateway loads it.
type Folder struct {
	Config

	Policies  *rego.Policies
	Inventory rego.Inventory
	// Assumed says that the agreements are made up: with a partner for each
	// package, for the purposes it speaks of, every day and in an emergency.
	Assumed bool
}

// Load loads a folder. The error has every problem of its sources, as that of
// rego.New.
func Load(ctx context.Context, c Config) (*Folder, error) {
	if c.Org == "" {
		c.Org = Us
	}
	now := c.Now()
	c.Now = func() time.Time { return now }
	f := &Folder{Config: c}
	if err := f.load(ctx); err != nil || c.Agreements != nil {
		return f, err
	}
	f.Assumed = true
	for _, p := range f.Inventory.Packages {
		if p.Answers {
			a := assumed(p, now)
			if slices.Contains(f.Inventory.Strings, "streams") || slices.Contains(f.Inventory.Asked, tenants.Logs) {
				a.Signals = append(a.Signals, tenants.Logs)
			}
			if slices.Contains(f.Inventory.Strings, "spans") || slices.Contains(f.Inventory.Asked, tenants.Traces) {
				a.Signals = append(a.Signals, tenants.Traces)
			}
			f.Agreements = append(f.Agreements, a)
		}
	}
	err := f.load(ctx)
	for i := range f.Agreements {
		f.Agreements[i].BreakGlass = &tenants.BreakGlass{Policy: f.Agreements[i].Policy, Longest: time.Hour}
	}
	return f, err
}

func (f *Folder) load(ctx context.Context) (err error) {
	if err = f.loadFor(ctx, f.Agreements); err != nil && f.Partial {
		// Whatever else is wrong is wrong without agreements, too.
		if err = f.loadFor(ctx, nil); err == nil {
			err = f.loadFor(ctx, f.present())
		}
	}
	if err != nil {
		return err
	}
	if status := f.Policies.Status(); status.Revision == "" {
		return fmt.Errorf("there is no policy: %w", status.Err)
	}
	f.Inventory = f.Policies.Inventory()
	return nil
}

func (f *Folder) loadFor(ctx context.Context, agreements []tenants.Agreement) (err error) {
	f.Policies, err = rego.New(ctx, rego.Config{
		Org: f.Org, Dir: f.Dir, Bundle: f.Bundle, Now: f.Now, Log: slog.New(slog.DiscardHandler),
		Agreements: func() []tenants.Agreement { return agreements },
	})
	return err
}

// present are the agreements whose packages are there.
func (f *Folder) present() []tenants.Agreement {
	inventory := f.Policies.Inventory()
	decides := func(name string) bool {
		p, _ := inventory.Package(name)
		return name == "" || p.Decides
	}
	var out []tenants.Agreement
	for _, a := range f.Agreements {
		if a.BreakGlass != nil && !decides(a.BreakGlass.Policy) {
			a.BreakGlass = nil
		}
		if decides(a.Policy) {
			out = append(out, a)
		}
	}
	return out
}

// usualPurposes are asked for of a package that speaks of none.
var usualPurposes = []tenants.Purpose{"capacity", "incident-response", "slo-review"}

// assumed is an agreement that would name a package.
func assumed(p rego.Package, now time.Time) tenants.Agreement {
	a := tenants.Agreement{
		Partner: "partner", Signals: []tenants.Signal{tenants.Metrics}, Purposes: p.Purposes, Policy: p.Name, File: p.Place.File,
		NotAfter: now.AddDate(1, 0, 0),
	}
	last := p.Name[strings.LastIndexByte(p.Name, '.')+1:]
	if org, err := tenants.ParseOrgID(strings.ReplaceAll(strings.ToLower(last), "_", "-")); err == nil {
		a.Partner = org
	}
	if len(a.Purposes) == 0 {
		a.Purposes = usualPurposes
	}
	return a
}

// Assume takes a purpose as agreed with a partner, where agreements are assumed.
func (f *Folder) Assume(partner tenants.OrgID, purpose tenants.Purpose) {
	if !f.Assumed {
		return
	}
	for i, a := range f.Agreements {
		if a.Partner == partner && !slices.Contains(a.Purposes, purpose) {
			f.Agreements[i].Purposes = append(slices.Clone(a.Purposes), purpose)
		}
	}
}

// Agreement returns the one with a partner.
func (f *Folder) Agreement(partner tenants.OrgID) (tenants.Agreement, bool) {
	for _, a := range f.Agreements {
		if a.Partner == partner {
			return a, true
		}
	}
	return tenants.Agreement{}, false
}
