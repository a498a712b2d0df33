package inspect

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
)

// Severity is how bad a finding is.
type Severity string

// The severities, from the least on.
const (
	Info    Severity = "info"    // worth knowing
	Warning Severity = "warning" // probably not meant
	Error   Severity = "error"   // more leaves than it seems
)

// Severities are all of them, from the least on.
var Severities = []Severity{Info, Warning, Error}

// AtLeast says whether s is as bad as o.
func (s Severity) AtLeast(o Severity) bool {
	return slices.Index(Severities, s) >= slices.Index(Severities, o)
}

// FindingID names a kind of finding. IDs are stable.
type FindingID string

// The findings.
const (
	LabelDisagreement FindingID = "label-disagreement"
	SmallK            FindingID = "small-k"
	UnreachableRule   FindingID = "unreachable-rule"
	UnusedPackage     FindingID = "unused-package"
	TwoLattices       FindingID = "two-lattices"
	CellsInTwo        FindingID = "cells-in-two-datasets"
	CellsAtAnyMoment  FindingID = "cells-without-resolution"
	RowsUnderCells    FindingID = "rows-under-cells"
	RowsBesideCells   FindingID = "rows-beside-cells"
	AlwaysDenied      FindingID = "always-denied"
	MatchesNothing    FindingID = "matches-nothing"
	Everything        FindingID = "everything"
	NoMaxAge          FindingID = "no-max-age"
	NoLimits          FindingID = "no-limits"
	NeverAnswered     FindingID = "never-answered"
	PurposeNotAgreed  FindingID = "purpose-not-agreed"
	LinesTellLabels   FindingID = "lines-tell-labels"
	OtherInLogs       FindingID = "other-in-logs"
	TwoLines          FindingID = "two-line-rules"
	FreeTextOfSpans   FindingID = "spans-tell-attributes"
	OtherInTraces     FindingID = "other-in-traces"
	UnknownPurpose    FindingID = "unknown-purpose"
	MisspeltDecision  FindingID = "misspelt-decision"
	OutsidePartners   FindingID = "outside-partners"
)

// leastK is the k below which a cell tells of few.
const leastK = 5

// Finding is something of policies that is probably not meant.
type Finding struct {
	ID       FindingID  `json:"id"`
	Severity Severity   `json:"severity"`
	Place    rego.Place `json:"place"`
	// Also is the other place where there are two.
	Also *rego.Place `json:"also,omitempty"`
	Text string      `json:"text"`
	// Advice is what to do about it.
	Advice string `json:"advice"`
	// For are the partners and purposes it is about, such as "globex for
	// slo-review", sorted; empty where it is about none.
	For []string `json:"for,omitempty"`
}

// Lint looks for what is probably not meant, sorted by place. What a comment says
// is meant is left out, see ignored.
func (f *Folder) Lint(ctx context.Context) ([]Finding, error) {
	l := &linter{folder: f, found: map[string]*Finding{}, met: map[string]met{}}
	for _, doubt := range f.Doubts() {
		l.add(doubt, "")
	}
	for _, r := range f.Policies.Unreached() {
		if misspeltDecision(r.Name) {
			continue // which says more
		}
		l.add(Finding{
			ID: UnreachableRule, Severity: Warning, Place: r.Place,
			Text: r.Name + " is in no decision: nothing that decides refers to it", Advice: "use it, or remove it",
		}, "")
	}
	l.packages()
	var released []decidedFor
	for _, a := range f.Agreements {
		for _, s := range f.situations(a) {
			answered := false
			for _, purpose := range a.Purposes {
				decisions, err := f.distinct(ctx, s, purpose)
				if err != nil {
					return nil, err
				}
				l.purpose(s, purpose, decisions)
				released = append(released, decisions...)
				answered = answered || len(decisions) > 0
			}
			if s.emergency && !answered {
				l.neverAnswered(s, s.of(string(a.Partner)))
			}
		}
	}
	l.lattices(released)
	out := make([]Finding, 0, len(l.found))
	for _, finding := range l.found {
		slices.Sort(finding.For)
		finding.For = slices.Compact(finding.For)
		if !f.ignored(*finding) {
			out = append(out, *finding)
		}
	}
	slices.SortFunc(out, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.Place.File, b.Place.File), cmp.Compare(a.Place.Line, b.Place.Line),
			strings.Compare(string(a.ID), string(b.ID)), strings.Compare(a.Text, b.Text))
	})
	return out, nil
}

// everySeries matches all there are: a series has a name.
var everySeries = policy.Selector{labels.MustNewMatcher(labels.MatchNotEqual, labels.MetricName, "")}

// everything says of a dataset that chooses nothing what it has.
func everything(ds policy.Dataset) (text string, is bool) {
	switch ds.Signal() {
	case tenants.Logs:
		return every("stream", ds.Streams)
	case tenants.Traces:
		return every("span", ds.Spans)
	}
	return "every series", covers(ds.Selectors(), everySeries) == yes
}

type linter struct {
	folder *Folder
	found  map[string]*Finding // by all but For
	met    map[string]met      // by the selectors of both
}

// met is what overlap found.
type met struct {
	example  labels.Labels
	possible answer
}

// overlap is remembered: partners share datasets.
func (l *linter) overlap(a, b policy.Dataset) (example labels.Labels, possible answer) {
	key := string(a.Signal()) + selectorsText(a.Selectors()) + "\xff" + string(b.Signal()) + selectorsText(b.Selectors())
	m, known := l.met[key]
	if !known {
		m.example, m.possible = overlap(a, b)
		l.met[key] = m
	}
	return m.example, m.possible
}

func (l *linter) add(f Finding, about string) {
	key := string(f.ID) + "\xff" + f.Place.String() + "\xff" + f.Text
	if f.Also != nil {
		key += "\xff" + f.Also.String()
	}
	if l.found[key] == nil {
		l.found[key] = &f
	}
	if about != "" {
		l.found[key].For = append(l.found[key].For, about)
	}
}

// packages looks at what agreements name.
func (l *linter) packages() {
	if l.folder.Assumed {
		return
	}
	for _, p := range l.folder.Inventory.Packages {
		if !p.Answers {
			continue
		}
		var users []tenants.Agreement
		for _, a := range l.folder.Agreements {
			if names(a, p.Name) {
				users = append(users, a)
			}
		}
		if len(users) == 0 {
			l.add(Finding{
				ID: UnusedPackage, Severity: Info, Place: p.Place, Text: "package " + p.Name + " decides, and no agreement names it",
				Advice: "name it as policy of an agreement or of its break_glass, or remove it",
			}, "")
			continue
		}
		for _, purpose := range p.Purposes {
			agreed := slices.ContainsFunc(users, func(a tenants.Agreement) bool {
				return slices.ContainsFunc(a.Purposes, func(agreed tenants.Purpose) bool {
					return slices.Contains(a.Under(agreed), purpose) || slices.Contains(a.Under(purpose), agreed)
				})
			})
			if !agreed && slices.ContainsFunc(users, func(a tenants.Agreement) bool { return slices.Contains(a.Vocabulary(), purpose) }) {
				l.add(Finding{
					ID: PurposeNotAgreed, Severity: Warning, Place: p.Place,
					Text:   fmt.Sprintf("package %s speaks of the purpose %s, which no agreement that names the package has", p.Name, purpose),
					Advice: "correct its spelling, or agree on it",
				}, "")
			}
		}
	}
}

// purpose looks at what a partner gets for a purpose.
func (l *linter) purpose(s situation, purpose tenants.Purpose, decisions []decidedFor) {
	if len(decisions) == 0 && !s.emergency { // which may be of one purpose
		l.neverAnswered(s, fmt.Sprintf("%s for %s", s.Partner, purpose))
	}
	p, _ := l.folder.Inventory.Package(s.Policy)
	l.acrossSignals(decisions)
	for _, d := range decisions {
		l.bounds(d, p)
		for i := range d.Decision.Obligations.Datasets {
			l.dataset(d, i)
			for j := range i {
				l.pair(d, j, i)
			}
		}
	}
}

// neverAnswered is of a purpose, or of emergencies.
func (l *linter) neverAnswered(s situation, about string) {
	if l.folder.Assumed {
		return
	}
	at, agreed, term := rego.Place{File: s.File}, "the purpose is", "purpose"
	if p, named := l.folder.Inventory.Package(s.Policy); named {
		at = p.Place
	}
	if s.emergency {
		agreed, term = "emergencies are", "break_glass"
	}
	l.add(Finding{
		ID: NeverAnswered, Severity: Info, Place: at, Text: fmt.Sprintf("no sample question is answered, though %s agreed", agreed),
		Advice: fmt.Sprintf("answer some, or take the %s out of the agreement", term),
	}, about)
}

func (l *linter) bounds(d decidedFor, p rego.Package) {
	o := d.Decision.Obligations
	at := p.Place
	for _, r := range d.Rules {
		if r.Decides && r.Held && !r.Default {
			at = r.Place
		}
	}
	if o.NotBefore.IsZero() && len(o.Datasets) > 0 {
		l.add(Finding{
			ID: NoMaxAge, Severity: Info, Place: at, Text: "all of the past may be seen, as far back as data is kept",
			Advice: `say how far back, such as "max_age": "31d"`,
		}, d.String())
	}
	if o.Limits == (tenants.Limits{}) && d.situation.Limits == (tenants.Limits{}) {
		text := "neither the decision nor the agreement has limits: parley's defaults count"
		if l.folder.Assumed {
			text = "the decision has no limits: those of the agreement count, or parley's defaults"
		}
		l.add(Finding{
			ID: NoLimits, Severity: Info, Place: at, Text: text,
			Advice: fmt.Sprintf(`say what one answer may have, such as "limits": {%q: 1000, "range": "7d"}`, countedIn(d.signal())),
		}, d.String())
	}
}

// countedIn is the limit of how much of a signal one answer has.
func countedIn(signal tenants.Signal) string {
	switch signal {
	case tenants.Logs:
		return "lines"
	case tenants.Traces:
		return "spans"
	case tenants.Metrics:
	}
	return "series"
}

func (l *linter) dataset(d decidedFor, i int) {
	ds, at := d.Decision.Obligations.Datasets[i], d.Datasets[i]
	if ds.Cells != nil && ds.Cells.K < leastK {
		l.add(Finding{
			ID: SmallK, Severity: Warning, Place: at.Of("k"),
			Text:   fmt.Sprintf("dataset %s releases cells of %d: whoever knows all but one of them knows the last", ds.Name, ds.Cells.K),
			Advice: fmt.Sprintf("use a k of %d or more", leastK),
		}, d.String())
	}
	if ds.Cells != nil && d.Decision.Obligations.Resolution == 0 {
		l.add(Finding{
			ID: CellsAtAnyMoment, Severity: Warning, Place: at.Place,
			Text: fmt.Sprintf("dataset %s releases cells, and the decision has no resolution: targets are scraped at different moments, so that "+
				"a question about less than the time between two scrapes gets the sum of some units of a cell without the others", ds.Name),
			Advice: `say one that isn't shorter than that time, such as "resolution": "1m"`,
		}, d.String())
	}
	what, key, labels, says := "series", "series", "labels", "*"
	switch ds.Signal() {
	case tenants.Logs:
		what, key = "stream", "streams"
		l.lines(d, i)
	case tenants.Traces:
		what, key, labels = "span", "spans", "names and attributes"
		l.spans(d, i)
		if ds.Span.Mode == policy.SpanFull {
			says = "span"
		}
	}
	if every, is := everything(ds); is && ds.Release == policy.Row && (ds.Others.Mode == policy.Keep || ds.Span.Mode == policy.SpanFull) {
		l.add(Finding{
			ID: Everything, Severity: Error, Place: at.Of(says),
			Text:   fmt.Sprintf("dataset %s releases %s, with %s nobody has thought of yet%s", ds.Name, every, labels, andLines(ds.Line)),
			Advice: "name the " + map[string]string{"series": "metrics", "stream": "streams", "span": "services"}[what] + " and " + labels + " that are meant",
		}, d.String())
	}
	if !slices.ContainsFunc(ds.Selectors(), func(s policy.Selector) bool { _, possible := meeting(s); return possible != no }) {
		l.add(Finding{
			ID: MatchesNothing, Severity: Warning, Place: at.Of(key), Text: fmt.Sprintf("no %s can be in dataset %s", what, ds.Name),
			Advice: "correct its selectors, or remove it",
		}, d.String())
		return
	}
	if ds.Release == policy.Deny {
		return
	}
	var deny []policy.Selector
	for _, o := range d.Decision.Obligations.Datasets {
		if o.Release == policy.Deny && o.Signal() == ds.Signal() {
			deny = append(deny, o.Selectors()...)
		}
	}
	denied := len(deny) > 0 && !slices.ContainsFunc(ds.Selectors(), func(s policy.Selector) bool { return covers(deny, s) != yes })
	if denied {
		l.add(Finding{
			ID: AlwaysDenied, Severity: Warning, Place: at.Place, Text: fmt.Sprintf("all of dataset %s is in datasets that deny", ds.Name),
			Advice: "remove it, or deny less",
		}, d.String())
	}
}

// pair looks at two datasets of one decision.
func (l *linter) pair(d decidedFor, i, j int) {
	all := d.Decision.Obligations.Datasets
	a, b := all[i], all[j]
	if a.Release == policy.Deny || b.Release == policy.Deny {
		return
	}
	example, possible := l.overlap(a, b)
	if possible != yes {
		return
	}
	switch {
	case a.Release == policy.Aggregate && b.Release == policy.Aggregate:
		l.add(Finding{
			ID: CellsInTwo, Severity: Warning, Place: d.Datasets[j].Place,
			Text:   fmt.Sprintf("a series such as %s is in the datasets %s and %s, and so in the cells of neither", example, a.Name, b.Name),
			Advice: "let their selectors exclude each other",
		}, d.String())
	case a.Release == policy.Aggregate || b.Release == policy.Aggregate:
		rows, cells := i, j
		if a.Release == policy.Aggregate {
			rows, cells = j, i
		}
		l.add(Finding{
			ID: RowsUnderCells, Severity: Info, Place: d.Datasets[rows].Place,
			Text:   fmt.Sprintf("a series such as %s is in dataset %s, which releases rows, and in %s, which releases cells: it leaves in cells only", example, all[rows].Name, all[cells].Name),
			Advice: "take it out of one of them, if that isn't meant",
		}, d.String())
	case a.Signal() == tenants.Traces && (!ruled(a) || !ruled(b)):
		// The mode that hides most counts: to hide some of what is released is what
		// several datasets are for.
	default:
		l.disagreement(d, i, j, example.String())
		l.twoLines(d, i, j, example.String())
	}
}

// disagreement looks for labels that one dataset shows and another one hides.
func (l *linter) disagreement(d decidedFor, i, j int, example string) {
	all := d.Decision.Obligations.Datasets
	names := map[string]bool{}
	for _, k := range []int{i, j} {
		for name := range all[k].Labels {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		shows, hides := i, j
		if all[i].Rule(name).Mode < all[j].Rule(name).Mode {
			shows, hides = j, i
		}
		shown, hidden := all[shows].Rule(name), all[hides].Rule(name)
		if _, named := all[shows].Labels[name]; !named || shown.String() == hidden.String() {
			continue // what "*" shows and another one hides is what "*" is for
		}
		became := policy.Strictest([]*policy.Dataset{&all[shows], &all[hides]}, name)
		l.add(Finding{
			ID: LabelDisagreement, Severity: Warning, Place: d.Datasets[shows].Of(name),
			Text: fmt.Sprintf("label %s is %s in dataset %s and %s in %s; of a %s in both, such as %s, it is %s",
				name, shown, all[shows].Name, hidden, all[hides].Name, one[all[shows].Signal()], example, became),
			Advice: "say the same of it in both, or let their selectors exclude each other",
		}, d.String())
	}
}

// one is what a signal has many of.
var one = map[tenants.Signal]string{tenants.Metrics: "series", tenants.Logs: "series", tenants.Traces: "span"}

// lattices compares what different partners, or one for different purposes, get
// of the same series.
func (l *linter) lattices(released []decidedFor) {
	for i, a := range released {
		for _, b := range released[:i] {
			for x, left := range a.Decision.Obligations.Datasets {
				for y, right := range b.Decision.Obligations.Datasets {
					l.lattice(a, b, x, y, left, right)
				}
			}
		}
	}
}

func (l *linter) lattice(a, b decidedFor, x, y int, left, right policy.Dataset) {
	cells, rows := left.Release == policy.Aggregate, right.Release == policy.Row
	switch {
	case cells && right.Release == policy.Aggregate && cellsText(left.Cells) != cellsText(right.Cells):
		example, possible := l.overlap(left, right)
		if possible != yes {
			return
		}
		l.add(Finding{
			ID: TwoLattices, Severity: Error, Place: a.Datasets[x].Place, Also: &b.Datasets[y].Place,
			Text: fmt.Sprintf("a series such as %s leaves in cells %s here, and %s in another dataset %s: who has both can subtract",
				example, cellsText(left.Cells), cellsText(right.Cells), right.Name),
			Advice: "give all the same dimensions, units and k, and hide dimensions with labels",
		}, a.String()+" and "+b.String())
	case cells && rows || left.Release == policy.Row && right.Release == policy.Aggregate:
		if a.situation.Partner == b.situation.Partner && a.purpose == b.purpose {
			return // one decision or another
		}
		example, possible := l.overlap(left, right)
		if possible != yes || cellsWin(a, left) || cellsWin(b, right) {
			return
		}
		at, other, who := a.Datasets[x].Place, b.Datasets[y].Place, right.Name
		if !cells {
			at, other, who = other, at, left.Name
		}
		l.add(Finding{
			ID: RowsBesideCells, Severity: Info, Place: at, Also: &other,
			Text:   fmt.Sprintf("a series such as %s leaves in cells here, and as a row in dataset %s", example, who),
			Advice: "see to it that who gets the rows may know what the cells hide",
		}, a.String()+" and "+b.String())
	}
}

// cellsWin says whether rows of a dataset are all in cells of the same decision.
func cellsWin(d decidedFor, rows policy.Dataset) bool {
	if rows.Release != policy.Row {
		return false
	}
	var cells []policy.Selector
	for _, o := range d.Decision.Obligations.Datasets {
		if o.Release == policy.Aggregate {
			cells = append(cells, o.Selectors()...)
		}
	}
	return len(cells) > 0 && !slices.ContainsFunc(rows.Selectors(), func(s policy.Selector) bool { return covers(cells, s) != yes })
}
