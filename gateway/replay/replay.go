// Package replay decides questions that were asked once more, by policies that
// don't serve yet:
//
//	report, err := replay.Run(ctx, replay.Config{Current: current, New: next, Since: monthAgo}, os.DirFS("/var/lib/parley/audit"))
//
// The audit log has what policy was told of a question, and a summary of what it
// said. Where the policies that serve are those that said it, all of what they
// said is compared; where they have changed since, the summary.
package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
	"unicode"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/errgroup"

	"github.com/parley-gateway/parley/gateway/audit"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/tenants"
)

// Config is what is replayed, and by what.
type Config struct {
	// Current are the policies that serve, and New those that may. The agreements
	// are theirs.
	Current, New *inspect.Folder
	// Since bounds the questions, by when they arrived; zero is all.
	Since time.Time
}

// Outcome is what became of a question.
type Outcome string

// The outcomes.
const (
	Unchanged    Outcome = "unchanged"
	NewlyAllowed Outcome = "newly-allowed"
	NewlyDenied  Outcome = "newly-denied"
	Changed      Outcome = "changed" // allowed as before, with another view
	Undecidable  Outcome = "undecidable"
	// TurnedAway were not put to policy then: agreement, quota or form refused
	// them.
	TurnedAway Outcome = "turned-away"
)

// Outcomes are all of them.
var Outcomes = []Outcome{NewlyAllowed, NewlyDenied, Changed, Undecidable, Unchanged, TurnedAway}

// Report is what became of the questions of a log.
type Report struct {
	// First and Last are when the first and the last of them arrived.
	First time.Time       `json:"first,omitzero"`
	Last  time.Time       `json:"last,omitzero"`
	From  policy.Revision `json:"from"`
	To    policy.Revision `json:"to"`
	// Questions is how many there are of each outcome.
	Questions map[Outcome]int `json:"questions"`
	// ByPartner are the same, sorted by partner and purpose.
	ByPartner []PartnerReport `json:"by_partner"`
	// Summaries is how many were decided by other policies than From, and so
	// compared by what was recorded.
	Summaries int `json:"summaries"`
	// Groups are the questions that are decided otherwise, or can't be decided,
	// the most frequent first.
	Groups []Group `json:"groups"`
	// Unread is how many lines of the log are no records.
	Unread int `json:"unread"`
}

// PartnerReport is of one partner and purpose.
type PartnerReport struct {
	Partner   tenants.OrgID   `json:"partner"`
	Purpose   tenants.Purpose `json:"purpose"`
	Questions map[Outcome]int `json:"questions"`
}

// Group are questions with the same text of which the same became.
type Group struct {
	Outcome Outcome         `json:"outcome"`
	Partner tenants.OrgID   `json:"partner"`
	Purpose tenants.Purpose `json:"purpose"`
	// BreakGlass says that they were asked in an emergency.
	BreakGlass bool           `json:"break_glass,omitempty"`
	Signal     tenants.Signal `json:"signal"`
	Kind       policy.Kind    `json:"kind"`
	Query      string         `json:"query"`
	Label      string         `json:"label,omitempty"`
	// Count is of questions, Last when the last of them arrived.
	Count int       `json:"count"`
	Last  time.Time `json:"last"`
	// Differences are empty where it is undecidable, for the reason in Why.
	Differences []inspect.Difference `json:"differences,omitempty"`
	Why         string               `json:"why,omitempty"`
}

// The memory of a run is bounded.
const (
	maxRemembered = 50_000 // questions that were decided
	maxGroups     = 10_000
)

// Beyond stands for the text of questions beyond those that are told apart.
const Beyond = "(other questions)"

// Run replays a log, which may be open and growing. Lines that are no records
// are counted; a file that can't be read is an error that names it.
func Run(ctx context.Context, c Config, log fs.FS) (Report, error) {
	r, err := newRun(c)
	if err != nil {
		return Report{}, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	reading, ctx := errgroup.WithContext(ctx)
	records := read(ctx, reading, audit.Since(log, c.Since))
	for batch := range records {
		r.report.Unread += batch.unread
		for _, record := range batch.records {
			if time.Time(record.Time).Before(c.Since) {
				continue
			}
			if err := r.take(ctx, record); err != nil {
				stop()
				if failed := reading.Wait(); failed != nil && !errors.Is(failed, context.Canceled) {
					err = fmt.Errorf("read the audit log: %w", failed) // which ended ctx
				}
				return Report{}, err
			}
		}
	}
	if err := reading.Wait(); err != nil {
		return Report{}, fmt.Errorf("read the audit log: %w", err)
	}
	return r.done(), nil
}

// run is a replay under way.
type run struct {
	decider
	report   Report
	partners map[partnerKey]*PartnerReport
	groups   map[groupKey]*Group
	most     int // groups
	// decided remembers what became of questions by all that it depends on.
	decided *lru.Cache[string, fate]
}

type partnerKey struct {
	partner tenants.OrgID
	purpose tenants.Purpose
}

type groupKey struct {
	outcome Outcome
	partnerKey
	emergency   bool
	signal      tenants.Signal
	kind        policy.Kind
	query, what string
}

// fate is what becomes of a question.
type fate struct {
	outcome     Outcome
	differences []inspect.Difference
	why         string
	summary     bool // it was compared by what was recorded
}

func newRun(c Config) (*run, error) {
	decided, err := lru.New[string, fate](maxRemembered)
	if err != nil {
		return nil, fmt.Errorf("remember decisions: %w", err)
	}
	return &run{
		decider: decider{Config: c, looks: map[lookKey]looks{}},
		report: Report{
			From: c.Current.Inventory.Revision, To: c.New.Inventory.Revision, Questions: map[Outcome]int{},
			ByPartner: []PartnerReport{}, Groups: []Group{},
		},
		partners: map[partnerKey]*PartnerReport{}, groups: map[groupKey]*Group{}, most: maxGroups, decided: decided,
	}, nil
}

func (r *run) take(ctx context.Context, record audit.Record) error {
	at := time.Time(record.Time)
	if r.report.First.IsZero() || at.Before(r.report.First) {
		r.report.First = at
	}
	if at.After(r.report.Last) {
		r.report.Last = at
	}
	switch {
	case record.Repeats != nil:
		r.count(record, fate{outcome: TurnedAway}, record.Repeats.Count)
		return nil
	case record.Decision.Revision == "":
		r.count(record, fate{outcome: TurnedAway}, 1)
		return nil
	}
	looks := r.looksAt(record)
	key := r.signature(record, looks)
	f, known := r.decided.Get(key)
	if !known {
		var err error
		if f, err = r.decide(ctx, record, looks); err != nil {
			return err
		}
		r.decided.Add(key, f)
	}
	r.count(record, f, 1)
	return nil
}

func (r *run) count(record audit.Record, f fate, n int) {
	r.report.Questions[f.outcome] += n
	if f.summary {
		r.report.Summaries += n
	}
	by := partnerKey{record.Principal.Org, record.Principal.Purpose}
	if r.partners[by] == nil {
		r.partners[by] = &PartnerReport{Partner: by.partner, Purpose: by.purpose, Questions: map[Outcome]int{}}
	}
	r.partners[by].Questions[f.outcome] += n
	if f.outcome == Unchanged || f.outcome == TurnedAway {
		return
	}
	key := groupKey{outcome: f.outcome, partnerKey: by, emergency: record.BreakGlass != nil, signal: record.Signal, kind: record.Kind, query: record.Query, what: record.Label + "\xff" + f.text()}
	g := r.groups[key]
	if g == nil {
		if len(r.groups) >= r.most {
			key = groupKey{outcome: f.outcome, partnerKey: by, emergency: key.emergency, query: Beyond}
			g = r.groups[key]
		}
		if g == nil {
			g = &Group{
				Outcome: f.outcome, Partner: by.partner, Purpose: by.purpose, BreakGlass: key.emergency, Signal: key.signal, Kind: key.kind, Query: key.query,
				Differences: f.differences, Why: f.why,
			}
			if key.query == Beyond {
				g.Differences, g.Why = nil, ""
			} else {
				g.Label = record.Label
			}
			r.groups[key] = g
		}
	}
	g.Count += n
	if at := time.Time(record.Time); at.After(g.Last) {
		g.Last = at
	}
}

// text tells fates apart.
func (f fate) text() string {
	var b strings.Builder
	b.WriteString(f.why)
	for _, d := range f.differences {
		b.WriteString("\xff" + string(d.Kind) + "\xff")
		if d.Kind != inspect.OtherTime { // which may be of the moment
			b.WriteString(d.Text)
		}
	}
	return b.String()
}

func (r *run) done() Report {
	for _, p := range r.partners {
		r.report.ByPartner = append(r.report.ByPartner, *p)
	}
	slices.SortFunc(r.report.ByPartner, func(a, b PartnerReport) int {
		return cmp.Or(strings.Compare(string(a.Partner), string(b.Partner)), strings.Compare(string(a.Purpose), string(b.Purpose)))
	})
	for _, g := range r.groups {
		g.Differences = aboutFirst(g.Query, g.Differences)
		r.report.Groups = append(r.report.Groups, *g)
	}
	slices.SortFunc(r.report.Groups, func(a, b Group) int {
		return cmp.Or(
			cmp.Compare(slices.Index(Outcomes, a.Outcome), slices.Index(Outcomes, b.Outcome)), cmp.Compare(b.Count, a.Count),
			strings.Compare(string(a.Partner), string(b.Partner)), strings.Compare(string(a.Purpose), string(b.Purpose)),
			strings.Compare(a.Query, b.Query), strings.Compare(string(a.Signal), string(b.Signal)), strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Label, b.Label),
		)
	})
	return r.report
}

// aboutFirst puts first what is said of labels that a question names.
func aboutFirst(query string, differences []inspect.Difference) []inspect.Difference {
	out := slices.Clone(differences)
	words := strings.FieldsFunc(query, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	slices.SortStableFunc(out, func(a, b inspect.Difference) int {
		named := func(d inspect.Difference) bool { return slices.Contains(words, d.Label) }
		switch {
		case named(a) && !named(b):
			return -1
		case named(b) && !named(a):
			return 1
		}
		return 0
	})
	return out
}
