// Package review reads audit logs back, for those who answer for what left:
//
//	report, err := review.BreakGlass(audit.Read(os.DirFS("/var/lib/parley/audit")), since)
package review

import (
	"cmp"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/audit"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// BreakGlassReport is what was asked in emergencies.
type BreakGlassReport struct {
	// Since is when the questions arrived at the earliest; zero: since ever.
	Since time.Time `json:"since,omitzero"`
	// Grants are those under which partners' persons saw data of ours, and persons
	// who got none, in the order of their first question.
	Grants []Emergency `json:"grants"`
	// Asked are the emergencies in which our own people asked partners.
	Asked []Emergency `json:"asked"`
	// Repeated are refusals that were recorded as a number, of nobody knows whom.
	Repeated []Repeated `json:"repeated"`
	// Unread is how many lines of the log are no records.
	Unread int `json:"unread"`
}

// Emergency is what a person asked for a case.
type Emergency struct {
	Org    tenants.OrgID     `json:"org"` // whose person it is
	Person string            `json:"person"`
	Proof  tenants.UserProof `json:"user_proof,omitempty"`
	Case   tenants.CaseID    `json:"case,omitempty"`
	// Purposes and Reasons are those that were stated, each once; of reasons the
	// first hundred.
	Purposes []tenants.Purpose         `json:"purposes"`
	Reasons  []tenants.EmergencyReason `json:"reasons"`
	// Opened and Ends are the grant's; zero where none was given, and of our own
	// people.
	Opened time.Time `json:"opened,omitzero"`
	Ends   time.Time `json:"ends,omitzero"`
	// First and Last are when the first and the last question arrived.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// Answers were given, which hold Disclosed together; Refused and Failed weren't.
	Answers int `json:"answers"`
	Refused int `json:"refused"`
	Failed  int `json:"failed"`
	Disclosed
	// Partners are those that answered our own people, sorted.
	Partners []tenants.OrgID `json:"partners,omitempty"`
	// Questions are those with the same text and outcome, in the order of the first
	// of them.
	Questions []Question `json:"questions"`
}

// Disclosed is how much left.
type Disclosed struct {
	Series  int `json:"series"`
	Samples int `json:"samples"`
	Lines   int `json:"lines,omitzero"` // of logs
	Spans   int `json:"spans,omitzero"` // of traces
	Bytes   int `json:"bytes"`          // message bytes before compression
}

func (d *Disclosed) add(r audit.Record) {
	d.Series += r.Series
	d.Samples += r.Samples
	d.Lines += r.Lines
	d.Spans += r.Spans
	d.Bytes += r.Bytes
}

// Question is what was asked, once or several times.
type Question struct {
	Signal  tenants.Signal  `json:"signal"`
	Kind    policy.Kind     `json:"kind"`
	Query   string          `json:"query"`
	Label   string          `json:"label,omitempty"`
	Outcome gateway.Outcome `json:"outcome"`
	// Why there was no answer.
	Why   string    `json:"why,omitempty"`
	Count int       `json:"count"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	Disclosed
}

// Repeated are questions of an organization in emergencies that were refused for
// one reason, besides those that are recorded one by one.
type Repeated struct {
	Org    tenants.OrgID `json:"org"`
	Reason string        `json:"reason"`
	Count  int           `json:"count"`
	First  time.Time     `json:"first"`
	Last   time.Time     `json:"last"`
}

const (
	// maxQuestions bounds how many questions are told apart, and maxReasons how many
	// reasons of an emergency.
	maxQuestions = 10_000
	maxReasons   = 100
)

// Beyond stands for the text of questions beyond those that are told apart.
const Beyond = "(other questions)"

// BreakGlass reads what was asked in emergencies since a time. Lines that are no
// records are counted; what else can't be read is an error.
func BreakGlass(records iter.Seq2[audit.Record, error], since time.Time) (BreakGlassReport, error) {
	r := emergencies{
		report:  BreakGlassReport{Since: since, Grants: []Emergency{}, Asked: []Emergency{}, Repeated: []Repeated{}},
		current: map[person]*emergency{}, repeated: map[repetition]*Repeated{}, most: maxQuestions,
	}
	for record, err := range records {
		switch {
		case errors.Is(err, audit.ErrLine):
			r.report.Unread++
		case err != nil:
			return BreakGlassReport{}, err
		case time.Time(record.Time).Before(since):
		case record.Repeats != nil:
			r.repeats(record)
		case record.BreakGlass != nil:
			r.take(record)
		}
	}
	return r.done(), nil
}

// emergencies are read.
type emergencies struct {
	report BreakGlassReport
	all    []*emergency
	// current are the last of each person.
	current   map[person]*emergency
	repeated  map[repetition]*Repeated
	questions int
	most      int // questions
}

// emergency is one that is read.
type emergency struct {
	Emergency

	door  gateway.Door
	asked map[asked]int // its questions, by their index
}

type person struct {
	door   gateway.Door
	org    tenants.OrgID
	id     tenants.CaseID
	person string
}

type asked struct {
	signal  tenants.Signal
	kind    policy.Kind
	outcome gateway.Outcome

	query, label, why string
}

type repetition struct {
	org    tenants.OrgID
	reason string
}

// of finds the emergency of a record. One without a grant belongs to that which
// its person had last, or is about to get.
func (r *emergencies) of(record audit.Record) *emergency {
	by := record.Principal
	who := person{record.Door, by.Org, by.Case, record.BreakGlass.Person}
	opened, ends := time.Time(record.BreakGlass.Opened), time.Time(record.BreakGlass.Ends)
	e := r.current[who]
	if e == nil || !opened.IsZero() && !e.Opened.IsZero() && !e.Opened.Equal(opened) {
		e = &emergency{
			Emergency: Emergency{Org: by.Org, Person: who.person, Proof: by.Proof, Case: by.Case, First: time.Time(record.Time), Questions: []Question{}},
			door:      record.Door, asked: map[asked]int{},
		}
		r.current[who], r.all = e, append(r.all, e)
	}
	if !opened.IsZero() {
		e.Opened, e.Proof = opened, by.Proof
		if e.Ends.IsZero() || ends.Before(e.Ends) { // an agreement that became shorter counts
			e.Ends = ends
		}
	}
	return e
}

func (r *emergencies) take(record audit.Record) {
	e := r.of(record)
	at := time.Time(record.Time)
	e.Last = at
	e.Purposes = with(e.Purposes, record.Principal.Purpose)
	if len(e.Reasons) < maxReasons {
		e.Reasons = with(e.Reasons, record.BreakGlass.Reason)
	}
	e.add(record)
	if record.Continues() {
		return // its question was counted when the tail opened
	}
	switch record.Outcome {
	case gateway.Answered, gateway.Partially:
		e.Answers++
	case gateway.Refused:
		e.Refused++
	default:
		e.Failed++
	}
	if record.Door == gateway.FrontDoor {
		for _, part := range record.Completeness {
			if part.Org != record.Org && (part.Status == federation.Complete || part.Status == federation.Partial) {
				e.Partners = with(e.Partners, part.Org)
			}
		}
	}
	key := asked{record.Signal, record.Kind, record.Outcome, strings.TrimSpace(record.Query), record.Label, record.Reason}
	i, known := e.asked[key]
	if !known && r.questions >= r.most {
		key = asked{outcome: record.Outcome, query: Beyond}
		i, known = e.asked[key]
	}
	if !known {
		i = len(e.Questions)
		r.questions++
		e.asked[key] = i
		e.Questions = append(e.Questions, Question{
			Signal: key.signal, Kind: key.kind, Query: key.query, Label: key.label, Outcome: key.outcome, Why: key.why, First: at,
		})
	}
	q := &e.Questions[i]
	q.Count++
	q.Last = at
	q.add(record)
}

// with has a value once.
func with[T comparable](list []T, value T) []T {
	if slices.Contains(list, value) {
		return list
	}
	return append(list, value)
}

// reasons are those of emergencies.
var reasons = []tenants.Reason{
	tenants.BreakGlassNotAgreed, tenants.BreakGlassWithoutCase, tenants.BreakGlassUnproven, tenants.BreakGlassEnded, tenants.BreakGlassTooMany,
}

func (r *emergencies) repeats(record audit.Record) {
	if !slices.Contains(reasons, tenants.Reason(record.Reason)) {
		return
	}
	key := repetition{record.Principal.Org, record.Reason}
	first, last := time.Time(record.Repeats.First), time.Time(record.Repeats.Last)
	n := r.repeated[key]
	if n == nil {
		n = &Repeated{Org: key.org, Reason: key.reason, First: first}
		r.repeated[key] = n
	}
	n.Count += record.Repeats.Count
	if last.After(n.Last) {
		n.Last = last
	}
}

func (r *emergencies) done() BreakGlassReport {
	for _, e := range r.all {
		slices.Sort(e.Partners)
		if e.door == gateway.FrontDoor {
			r.report.Asked = append(r.report.Asked, e.Emergency)
		} else {
			r.report.Grants = append(r.report.Grants, e.Emergency)
		}
	}
	for _, n := range r.repeated {
		r.report.Repeated = append(r.report.Repeated, *n)
	}
	slices.SortFunc(r.report.Repeated, func(a, b Repeated) int {
		return cmp.Or(strings.Compare(string(a.Org), string(b.Org)), strings.Compare(a.Reason, b.Reason))
	})
	return r.report
}
