// Package audit keeps the evidence of exchanges: who asked, for whom and why,
// what was asked, what policy said, and what left.
//
//	log, err := audit.Open(audit.Config{Dir: "/var/lib/parley/audit", Logger: logger})
//	err = log.Record(ctx, exchange) // nil: durable, the answer may leave
//
//	for record, err := range audit.Read(os.DirFS("/var/lib/parley/audit")) { ... }
//
// An exchange is one line of JSON, a Record. The text of a question can hold
// personal data; it is written here and nowhere else, so the files are readable
// by their owner alone. How lines become durable is the business of
// audit/journal.
package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// Version is that of the stored format. Fields may be added to a version;
// what a field means never changes within one.
const Version = 1

// Record is an exchange as it is stored. Field names are stable. Empty fields
// that have no meaning are left out of the line; counts are always there.
type Record struct {
	Version int `json:"v"`
	// Time is when the question arrived, RFC 3339 with nanoseconds, UTC.
	Time Time `json:"time"`
	// Exchange is the id that all gateways of the question share.
	Exchange string        `json:"exchange"`
	Door     gateway.Door  `json:"door"`
	Org      tenants.OrgID `json:"org"` // whose gateway this is

	Principal Principal `json:"principal"`
	// BreakGlass is there when the question was asked in an emergency.
	BreakGlass *BreakGlass    `json:"break_glass,omitempty"`
	Signal     tenants.Signal `json:"signal"`
	Kind       policy.Kind    `json:"kind"`
	// Query is the text as it was asked. Where that is not UTF-8, bytes that
	// aren't are U+FFFD here and QueryBytes (base64) has the exact text. Of a
	// question that was refused it may be the beginning; QueryCut is then there.
	Query      string `json:"query"`
	QueryBytes []byte `json:"query_bytes,omitempty"`
	QueryCut   *Cut   `json:"query_cut,omitempty"`
	// Label is the one whose values were asked for, or the metric of which its
	// metadata; left out otherwise, and by gateways built before it was recorded.
	Label  string `json:"label,omitempty"`
	Window Window `json:"window,omitzero"`
	// Step in nanoseconds, for range queries.
	Step time.Duration `json:"step_ns,omitzero"`

	Decision Decision `json:"decision"`

	Outcome   gateway.Outcome `json:"outcome"`
	ErrorKind federation.Kind `json:"error_kind,omitempty"`
	Reason    string          `json:"reason,omitempty"`

	Series  int `json:"series"`
	Samples int `json:"samples"`
	// Lines of logs and Spans of traces; left out for what has none.
	Lines int `json:"lines,omitzero"`
	Spans int `json:"spans,omitzero"`
	Bytes int `json:"bytes"` // message bytes before compression
	// Redactions are how often each rule did something to lines.
	Redactions map[string]uint64 `json:"redactions,omitempty"`
	// Latency in nanoseconds.
	Latency      time.Duration `json:"latency_ns"`
	Completeness []Part        `json:"completeness,omitempty"`

	// Tail is there in the records of a tail, of which there is one for each part
	// and one for its end, all under the same Exchange.
	Tail *Tail `json:"tail,omitempty"`

	// Repeats makes this a record of several questions that were refused as the
	// one under the same Exchange was, which is recorded before. Of what they
	// asked, nothing is here.
	Repeats *Repeats `json:"repeats,omitempty"`
}

// Tail is which part of a tail a record is of.
type Tail struct {
	// Stage is opened, part or ended: at the end nothing was disclosed.
	Stage gateway.TailStage `json:"stage"`
	// Number of recorded parts before this one, or at the end of all.
	Number int `json:"number"`
	// Lines and Bytes are, at the end, the sums of all parts.
	Lines int `json:"lines,omitzero"`
	Bytes int `json:"bytes,omitzero"`
	// Dropped is how many lines were left out since the part before.
	Dropped int `json:"dropped,omitzero"`
}

// Continues says whether the record is of a tail whose opening another one is of.
func (r Record) Continues() bool { return r.Tail != nil && r.Tail.Stage != gateway.TailOpened }

// Cut is the whole of a text of which a record has the beginning.
type Cut struct {
	Bytes  int    `json:"bytes"`  // its length
	SHA256 string `json:"sha256"` // in lower-case hexadecimal
}

// Repeats is how many questions a record stands for, and when the first and
// the last of them arrived.
type Repeats struct {
	Count int  `json:"count"`
	First Time `json:"first"`
	Last  Time `json:"last"`
}

// Principal is who asked.
type Principal struct {
	Org      tenants.OrgID     `json:"org,omitempty"`
	Workload string            `json:"workload,omitempty"` // SPIFFE ID
	User     string            `json:"user,omitempty"`
	Proof    tenants.UserProof `json:"user_proof,omitempty"`
	Purpose  tenants.Purpose   `json:"purpose,omitempty"`
	Case     tenants.CaseID    `json:"case,omitempty"`
}

// BreakGlass is the emergency in which a question was asked.
type BreakGlass struct {
	// Reason is as it was stated with this question.
	Reason tenants.EmergencyReason `json:"reason"`
	Person string                  `json:"person"`
	// Opened and Ends are the grant's, in the owner's record of a question that
	// came under one; left out in all others. The asker's record has the end in
	// the notices of the owner's part.
	Opened Time `json:"opened,omitzero"`
	Ends   Time `json:"ends,omitzero"`
}

// Window is a span of time, both ends included; an end left out is open.
type Window struct {
	Start Time `json:"start,omitzero"`
	End   Time `json:"end,omitzero"`
}

// Decision is what policy said. Which series a dataset holds is not repeated:
// the revision names the policy that says it.
type Decision struct {
	Allow    bool            `json:"allow"`
	Reasons  []string        `json:"reasons,omitempty"`
	Revision policy.Revision `json:"revision,omitempty"`
	Datasets []Dataset       `json:"datasets,omitempty"`
	// NotBefore and NotAfter bound the samples that could be seen.
	NotBefore Time `json:"not_before,omitzero"`
	NotAfter  Time `json:"not_after,omitzero"`
	// Epoch of pseudonyms in nanoseconds; left out: a single question.
	Epoch  time.Duration `json:"epoch_ns,omitzero"`
	Limits Limits        `json:"limits,omitzero"`
}

// Dataset is a dataset's release level and the modes of its labels.
type Dataset struct {
	Name    string         `json:"name"`
	Release policy.Release `json:"release"`
	// Labels has the mode of each label named, by name of the label.
	Labels map[string]string `json:"labels,omitempty"`
	// Others is the mode of all other labels.
	Others string `json:"others"`
	// Span is how spans leave, of a dataset of them: policy's names of the modes.
	Span string `json:"span,omitempty"`
}

// Limits are those the decision set; one left out was not set.
type Limits struct {
	Concurrent       int           `json:"concurrent,omitzero"`
	Tails            int           `json:"tails,omitzero"`
	QueriesPerMinute int           `json:"queries_per_minute,omitzero"`
	Series           int           `json:"series,omitzero"`
	Samples          int           `json:"samples,omitzero"`
	Bytes            int           `json:"bytes,omitzero"`
	Lines            int           `json:"lines,omitzero"`
	Spans            int           `json:"spans,omitzero"`
	KeptTraces       int           `json:"kept_traces,omitzero"`
	Range            time.Duration `json:"range_ns,omitzero"`
}

// Part is one organization's contribution.
type Part struct {
	Org      tenants.OrgID     `json:"org"`
	Status   federation.Status `json:"status"`
	Reason   string            `json:"reason,omitempty"`
	Coverage Window            `json:"coverage,omitzero"`
	Series   int               `json:"series"`
	Samples  int               `json:"samples"`
	Lines    int               `json:"lines,omitzero"`
	Spans    int               `json:"spans,omitzero"`
	Bytes    int               `json:"bytes"`
	Latency  time.Duration     `json:"latency_ns"`
	// Dropped is how many lines of a tail it left out, and Exchange under which
	// id it was asked, where that is not the record's.
	Dropped  int                   `json:"dropped,omitzero"`
	Exchange federation.ExchangeID `json:"exchange,omitempty"`
	Notices  []string              `json:"notices,omitempty"`
}

// Of is the record of an exchange.
func Of(x gateway.Exchange) Record {
	r := Record{
		Version:  Version,
		Time:     Time(x.Start),
		Exchange: string(x.ID),
		Door:     x.Door,
		Org:      x.Org,
		Principal: Principal{
			Org:     x.Principal.Org,
			User:    x.Principal.User.Subject,
			Proof:   x.Principal.User.Proof,
			Purpose: x.Principal.Purpose,
			Case:    x.Principal.Case,
		},
		Signal:     x.Signal,
		Kind:       x.Kind,
		Query:      x.Query,
		Label:      x.Label,
		Window:     windowOf(x.Window),
		Step:       x.Step,
		Decision:   decisionOf(x.Decision),
		Outcome:    x.Outcome,
		ErrorKind:  x.ErrorKind,
		Reason:     x.Reason,
		Series:     x.Series,
		Samples:    x.Samples,
		Lines:      x.Lines,
		Spans:      x.Spans,
		Bytes:      x.Bytes,
		Redactions: x.Redactions,
		Latency:    x.Latency,
	}
	if !x.Principal.Workload.IsZero() {
		r.Principal.Workload = x.Principal.Workload.String()
	}
	if reason := x.Principal.BreakGlass; reason != "" {
		r.BreakGlass = &BreakGlass{Reason: reason, Person: x.Principal.User.Subject, Opened: Time(x.Grant.Opened), Ends: Time(x.Grant.Ends)}
	}
	if t := x.Tail; t != nil {
		r.Tail = &Tail{Stage: t.Stage, Number: t.Number, Lines: t.Lines, Bytes: t.Bytes, Dropped: t.Dropped}
	}
	if x.Outcome == gateway.Refused {
		r.shorten()
	}
	if !utf8.ValidString(r.Query) {
		r.QueryBytes = []byte(r.Query)
	}
	for _, p := range x.Completeness {
		r.Completeness = append(r.Completeness, Part{
			Org:      p.Org,
			Status:   p.Status,
			Reason:   p.Reason,
			Coverage: windowOf(p.Coverage),
			Series:   p.Cost.Series,
			Samples:  p.Cost.Samples,
			Lines:    p.Cost.Lines,
			Spans:    p.Cost.Spans,
			Bytes:    p.Cost.Bytes,
			Latency:  p.Cost.Latency,
			Dropped:  p.Dropped,
			Exchange: p.Exchange,
			Notices:  p.Notices,
		})
	}
	return r
}

// maxRefused is how many bytes are kept of a text in the record of a question
// that was refused: who may ask nothing doesn't decide how much we store.
const maxRefused = 1 << 10

// shorten cuts what a refused asker, or an error about what it asked, can make
// long.
func (r *Record) shorten() {
	if whole := r.Query; len(whole) > maxRefused {
		sum := sha256.Sum256([]byte(whole))
		r.Query = beginning(whole)
		r.QueryCut = &Cut{Bytes: len(whole), SHA256: hex.EncodeToString(sum[:])}
	}
	if len(r.Label) > maxRefused {
		r.Label = beginning(r.Label)
	}
	if len(r.Reason) > maxRefused {
		r.Reason = beginning(r.Reason) + "..."
	}
}

// beginning is at most maxRefused bytes of a longer text, without half a
// character at its end if the text is UTF-8.
func beginning(text string) string {
	for back := range utf8.UTFMax {
		if utf8.RuneStart(text[maxRefused-back]) {
			return text[:maxRefused-back]
		}
	}
	return text[:maxRefused]
}

func windowOf(w policy.Window) Window { return Window{Start: Time(w.Start), End: Time(w.End)} }

func decisionOf(d policy.Decision) Decision {
	o := d.Obligations
	out := Decision{
		Allow:     d.Allow,
		Reasons:   d.Reasons,
		Revision:  d.Revision,
		NotBefore: Time(o.NotBefore),
		NotAfter:  Time(o.NotAfter),
		Epoch:     o.Epoch,
		Limits:    Limits(o.Limits),
	}
	for _, ds := range o.Datasets {
		labels := make(map[string]string, len(ds.Labels))
		for name, rule := range ds.Labels {
			labels[name] = rule.Mode.String()
		}
		said := Dataset{Name: ds.Name, Release: ds.Release, Labels: labels, Others: ds.Others.Mode.String()}
		if ds.Signal() == tenants.Traces {
			said.Span = ds.Span.Mode.String()
		}
		out.Datasets = append(out.Datasets, said)
	}
	return out
}

// ErrVersion is the error of a line of a format that this parley doesn't know.
var ErrVersion = errors.New("unknown version of the audit format")

// Parse reads a line. It refuses lines of another version with ErrVersion, and
// ignores fields it doesn't know.
func Parse(line []byte) (Record, error) {
	var r Record
	err := json.Unmarshal(line, &r)
	if err == nil && r.Version == Version {
		return r, nil
	}
	// A field of another version may have another type.
	var head struct {
		Version int `json:"v"`
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return Record{}, fmt.Errorf("not an audit record: %w", err)
	}
	if head.Version != Version {
		return Record{}, fmt.Errorf("%w: %d, this parley reads %d", ErrVersion, head.Version, Version)
	}
	return Record{}, fmt.Errorf("not an audit record: %w", err)
}
