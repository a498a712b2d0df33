package review

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/audit"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }

// asks is a record of globex's gateway: of a person of acme, in an emergency with
// a grant that was opened at a minute and ends an hour later, if any.
func asks(minute int, person, query, reason string, opened int) audit.Record {
	x := gateway.Exchange{
		ID: "x", Door: gateway.PeerDoor, Org: "globex", Signal: tenants.Metrics, Kind: policy.Instant, Query: query, Start: at(minute),
		Outcome: gateway.Answered, Series: 2, Samples: 3, Bytes: 100,
		Principal: tenants.Principal{
			Org: "acme", Purpose: "incident-response", Case: "INC-7", User: tenants.User{Subject: person, Proof: tenants.ProvenByJWT},
			BreakGlass: tenants.EmergencyReason(reason),
		},
	}
	if opened >= 0 {
		x.Grant = gateway.Grant{Opened: at(opened), Ends: at(opened + 60)}
	}
	return audit.Of(x)
}

func refused(r audit.Record, why string) audit.Record {
	r.Outcome, r.Reason, r.Series, r.Samples, r.Bytes = gateway.Refused, why, 0, 0, 0
	return r
}

// everyDay is a record without an emergency.
func everyDay(r audit.Record) audit.Record {
	r.BreakGlass = nil
	return r
}

// log is a log of these records, with an error after them if there is one.
func log(err error, records ...audit.Record) iter.Seq2[audit.Record, error] {
	return func(yield func(audit.Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
		if err != nil {
			yield(audit.Record{}, err)
		}
	}
}

func report(t *testing.T, since time.Time, records iter.Seq2[audit.Record, error]) BreakGlassReport {
	t.Helper()
	r, err := BreakGlass(records, since)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// story is an emergency in a few lines.
func story(e Emergency) []string {
	out := []string{
		fmt.Sprintf("%s %s %s %s %v %q", e.Org, e.Person, e.Proof, e.Case, e.Purposes, e.Reasons),
		fmt.Sprintf("%d answers %v, %d refused, %d failed, by %v", e.Answers, e.Disclosed, e.Refused, e.Failed, e.Partners),
	}
	if !e.Opened.IsZero() {
		out = append(out, fmt.Sprintf("%s to %s", e.Opened.Format("15:04"), e.Ends.Format("15:04")))
	}
	for _, q := range e.Questions {
		out = append(out, fmt.Sprintf("%d %s %s %q %v %s", q.Count, q.Outcome, q.Kind, q.Query, q.Disclosed, q.Why))
	}
	return out
}

// Each grant has what was asked under it, and what its person was refused before
// and after.
func TestBreakGlass(t *testing.T) {
	records := []audit.Record{
		refused(asks(0, "ada", "sum(", "checkout is down", -1), "parse error"),
		everyDay(asks(1, "ada", "up", "", -1)),
		asks(2, "ada", "sum by (user) (up)", "checkout is down", 2),
		asks(3, "bob", "up", "I was told to", 3),
		asks(4, "ada", "sum by (user) (up)", "still down", 2),
		refused(asks(5, "ada", "payroll", "still down", 2), "denied by policy"),
		refused(asks(70, "ada", "up", "once more", -1), "break-glass-ended"),
		// It was forgotten by then.
		asks(200_000, "ada", "up", "another summer", 200_000),
	}
	summer := len(records) - 1
	records[summer].Lines, records[summer].Spans = 7, 5
	failed := asks(6, "bob", "up", "I was told to", 3)
	failed.Outcome, failed.Series, failed.Samples, failed.Bytes = gateway.Failed, 0, 0, 0
	shorter := asks(7, "bob", "up", "I was told to", 3)
	shorter.BreakGlass.Ends = audit.Time(at(10))
	records = slices.Insert(records, 6, failed, shorter)
	r := report(t, time.Time{}, log(nil, records...))
	want := [][]string{
		{
			`acme ada jwt INC-7 [incident-response] ["checkout is down" "still down" "once more"]`,
			"2 answers {4 6 0 0 200}, 3 refused, 0 failed, by []",
			"12:02 to 13:02",
			`1 refused query "sum(" {0 0 0 0 0} parse error`,
			`2 answered query "sum by (user) (up)" {4 6 0 0 200} `,
			`1 refused query "payroll" {0 0 0 0 0} denied by policy`,
			`1 refused query "up" {0 0 0 0 0} break-glass-ended`,
		},
		{
			`acme bob jwt INC-7 [incident-response] ["I was told to"]`,
			"2 answers {4 6 0 0 200}, 0 refused, 1 failed, by []",
			"12:03 to 12:10",
			`2 answered query "up" {4 6 0 0 200} `,
			`1 failed query "up" {0 0 0 0 0} `,
		},
		{
			`acme ada jwt INC-7 [incident-response] ["another summer"]`,
			"1 answers {2 3 7 5 100}, 0 refused, 0 failed, by []",
			"09:20 to 10:20",
			`1 answered query "up" {2 3 7 5 100} `,
		},
	}
	var got [][]string
	for _, e := range r.Grants {
		got = append(got, story(e))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(r.Asked)+len(r.Repeated)+r.Unread != 0 {
		t.Errorf("%+v", r)
	}
	// Since then.
	r = report(t, at(4), log(nil, records...))
	if len(r.Grants) != 3 || r.Grants[0].Answers != 1 || !r.Grants[0].Opened.Equal(at(2)) || !r.Grants[0].First.Equal(at(4)) {
		t.Errorf("since 12:04: %+v", r.Grants)
	}
}

// The asker's log has its own people.
func TestOurOwnPeople(t *testing.T) {
	own := asks(1, "ada", "up", "checkout is down", -1)
	own.Door, own.Org = gateway.FrontDoor, "acme"
	own.Completeness = []audit.Part{
		{Org: "acme", Status: federation.Complete}, {Org: "initech", Status: federation.Denied}, {Org: "globex", Status: federation.Partial},
	}
	r := report(t, time.Time{}, log(nil, own))
	want := []string{
		`acme ada jwt INC-7 [incident-response] ["checkout is down"]`, "1 answers {2 3 0 0 100}, 0 refused, 0 failed, by [globex]",
		`1 answered query "up" {2 3 0 0 100} `,
	}
	if len(r.Grants) != 0 || len(r.Asked) != 1 {
		t.Fatalf("%+v", r)
	}
	if diff := cmp.Diff(want, story(r.Asked[0])); diff != "" {
		t.Error(diff)
	}
}

// Refusals that were counted are counted; of whom isn't known.
func TestRepeatedRefusals(t *testing.T) {
	repeats := func(reason tenants.Reason, n, first, last int) audit.Record {
		return audit.Record{
			Time: audit.Time(at(first)), Door: gateway.PeerDoor, Org: "globex", Principal: audit.Principal{Org: "acme"}, Outcome: gateway.Refused,
			Reason: string(reason), Repeats: &audit.Repeats{Count: n, First: audit.Time(at(first)), Last: audit.Time(at(last))},
		}
	}
	r := report(t, time.Time{}, log(nil, repeats(tenants.BreakGlassEnded, 3, 1, 2), repeats(tenants.OverRate, 9, 2, 3), repeats(tenants.BreakGlassEnded, 4, 5, 6)))
	want := []Repeated{{Org: "acme", Reason: "break-glass-ended", Count: 7, First: at(1), Last: at(6)}}
	if diff := cmp.Diff(want, r.Repeated); diff != "" || len(r.Grants) != 0 {
		t.Errorf("%+v\n%s", r.Grants, diff)
	}
}

// A line that is no record is counted; a log that can't be read is no report.
func TestWhatCannotBeRead(t *testing.T) {
	one := asks(1, "ada", "up", "checkout is down", 1)
	if r := report(t, time.Time{}, log(fmt.Errorf("line 2: %w", audit.ErrLine), one)); r.Unread != 1 || len(r.Grants) != 1 {
		t.Errorf("%+v", r)
	}
	if _, err := BreakGlass(log(fs.ErrPermission, one), time.Time{}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
}

// Memory is bounded, and no question is lost for it.
func TestManyQuestions(t *testing.T) {
	r := emergencies{current: map[person]*emergency{}, most: 5}
	for i := range 20 {
		r.take(asks(i, "ada", fmt.Sprintf("up + %d", i), fmt.Sprintf("reason number %d", 7*i), 0))
	}
	e := r.done().Grants[0]
	last := e.Questions[len(e.Questions)-1]
	if len(e.Questions) != 6 || last.Query != Beyond || last.Count != 15 || e.Answers != 20 {
		t.Errorf("%+v", e)
	}
}
