// Package federation answers "what and how": what one organization
// contributes to an answer, what the whole answer holds and lacks, and the
// closed set of errors that cross the border.
//
// It is the dictionary of its question; the signals are in its sub-packages:
//
//	c := federation.Completeness{
//		{Org: "acme", Status: federation.Complete},
//		{Org: "globex", Status: federation.Unreachable, Reason: "no answer"},
//	}
//	c.Whole() // false: globex is missing
package federation

import (
	"slices"
	"strings"
	"time"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Status is what became of one organization's contribution. The set is
// closed and append-only: it crosses the wire and alert rules name it.
type Status string

// The statuses, as DESIGN's dictionary has them.
const (
	Complete    Status = "complete"
	Partial     Status = "partial"
	Denied      Status = "denied"
	Unreachable Status = "unreachable"
	Timeout     Status = "timeout"
	NotAsked    Status = "not-asked"
)

// Part says what one organization contributed: its coverage, cost and notices.
// The data itself travels beside it, in the signal's own released form.
type Part struct {
	Org    tenants.OrgID `json:"org"`
	Status Status        `json:"status"`
	// Reason is one short sentence, empty when complete. For a part of another
	// organization it never says more than its gateway did.
	Reason string `json:"reason,omitempty"`
	// Coverage is the span of time the owner's view holds of what was asked.
	// Zero when nothing was contributed.
	Coverage policy.Window `json:"coverage,omitzero"`
	Cost     Cost          `json:"cost,omitzero"`
	// Dropped is how many lines of a tail were left out, since the last time this
	// was said, because more were written than could be passed on. Some may come
	// after all, when the tail is asked for again.
	Dropped int `json:"dropped,omitempty"`
	// Exchange is under which id the organization was asked, where that is another
	// than the question's: a tail is asked again under a new one.
	Exchange ExchangeID `json:"exchange,omitempty"`
	// Notices are the redactions that apply, in words, sorted; they derive
	// from policy alone, never from data.
	Notices []string `json:"notices,omitempty"`
}

// Sum is what an organization contributed to one answer by several that it was
// asked for; none: it was not asked.
func Sum(org tenants.OrgID, parts []Part) Part {
	if len(parts) == 0 {
		return Part{Org: org, Status: NotAsked, Reason: "the question does not concern it"}
	}
	out := Part{Org: org, Status: Complete}
	for _, p := range parts {
		if p.Status != Complete {
			out.Status, out.Reason = p.Status, p.Reason
		}
		out.Coverage = out.Coverage.Union(p.Coverage)
		out.Cost.Series += p.Cost.Series
		out.Cost.Samples += p.Cost.Samples
		out.Cost.Lines += p.Cost.Lines
		out.Cost.Spans += p.Cost.Spans
		out.Cost.Bytes += p.Cost.Bytes
		out.Cost.Latency = max(out.Cost.Latency, p.Cost.Latency)
		out.Notices = append(out.Notices, p.Notices...)
	}
	slices.Sort(out.Notices)
	out.Notices = slices.Compact(out.Notices)
	return out
}

// Cost is what a part took to carry.
type Cost struct {
	Series  int `json:"series"`
	Samples int `json:"samples"` // a native histogram counts as one
	Lines   int `json:"lines,omitempty"`
	Spans   int `json:"spans,omitempty"`
	Bytes   int `json:"bytes"` // uncompressed message bytes
	// Latency is from the question's arrival to the last byte.
	Latency time.Duration `json:"latency_ns"`
}

// Completeness is, per organization, what is in an answer and what is missing
// and why: one Part for each organization there is an agreement with, and our
// own, sorted by organization.
type Completeness []Part

// Whole says whether every organization that was asked contributed all of it.
func (c Completeness) Whole() bool {
	return !slices.ContainsFunc(c, func(p Part) bool {
		return p.Status != Complete && p.Status != NotAsked
	})
}

// Missing names the organizations that were asked and are not in the answer
// with all they have, in words.
func (c Completeness) Missing() string {
	var missing []string
	for _, p := range c {
		if p.Status == Complete || p.Status == NotAsked {
			continue
		}
		words := string(p.Org) + " is " + string(p.Status)
		if p.Reason != "" {
			words += " (" + p.Reason + ")"
		}
		missing = append(missing, words)
	}
	return strings.Join(missing, ", ")
}

// Sort orders the parts by organization.
func (c Completeness) Sort() {
	slices.SortFunc(c, func(a, b Part) int { return strings.Compare(string(a.Org), string(b.Org)) })
}
