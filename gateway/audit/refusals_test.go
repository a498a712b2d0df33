package audit

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/audit/journal"
	"github.com/parley-gateway/parley/tenants"
)

// turnedAway is the n-th question of a partner over its rate, one a second.
func turnedAway(partner tenants.OrgID, n int) gateway.Exchange {
	x := refusal()
	x.ID = federation.ExchangeID(fmt.Sprint(partner, n))
	x.Principal = tenants.Principal{Org: partner, Workload: spiffeid.RequireFromString("spiffe://" + string(partner) + ".example/parley"), Case: "INC-1"}
	x.ErrorKind, x.Reason, x.TurnedAway = federation.OverLimit, "refused: over-rate: more than 5 questions a minute", string(tenants.OverRate)
	x.Start = x.Start.Add(time.Duration(n) * time.Second)
	return x
}

// summaries are the records as "asker reason: whole records, counted".
func summaries(records []Record) []string {
	type key struct{ asker, kind string }
	whole, counted := map[key]int{}, map[key]int{}
	for _, r := range records {
		k := key{cmp.Or(string(r.Principal.Org), r.Principal.Workload), string(r.ErrorKind)}
		if r.Repeats != nil {
			counted[k] += r.Repeats.Count
		} else {
			whole[k]++
		}
	}
	var out []string
	for k := range whole {
		out = append(out, fmt.Sprintf("%s %s: %d, %d", k.asker, k.kind, whole[k], counted[k]))
	}
	slices.Sort(out)
	return out
}

// However often who is turned away comes back, it makes two records; and
// everybody has their own.
func TestRepeatedRefusalsAreCounted(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, Config{Dir: dir, Window: time.Hour})
	const times = 500
	record := func(x gateway.Exchange) {
		if err := l.Record(t.Context(), x); err != nil {
			t.Error(err)
		}
	}
	record(turnedAway("globex", 0))
	var all sync.WaitGroup
	for n := 1; n < times; n++ {
		all.Go(func() { record(turnedAway("globex", n)) })
		all.Go(func() { record(turnedAway("initech", n)) })
	}
	otherwise := turnedAway("globex", times)
	otherwise.ErrorKind, otherwise.TurnedAway = federation.BadQuestion, string(federation.BadQuestion)
	record(otherwise)
	stranger := turnedAway("hooli", 0)
	stranger.Principal.Org, stranger.ErrorKind, stranger.TurnedAway = "", federation.Refused, string(tenants.WrongWorkload)
	record(stranger)
	record(stranger)
	denied := refusal() // by policy
	record(denied)
	record(denied)
	all.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	records := readAll(t, dir)
	want := []string{
		" refused: 2, 0",
		"globex bad-question: 1, 0",
		"globex over-limit: 1, 499",
		"initech over-limit: 1, 498",
		"spiffe://hooli.example/parley refused: 1, 1",
	}
	if diff := gocmp.Diff(want, summaries(records)); diff != "" {
		t.Errorf("asker, error and records whole, counted (-want +got):\n%s", diff)
	}
	i := slices.IndexFunc(records, func(r Record) bool { return r.Repeats != nil && r.Principal.Org == "globex" })
	at := func(n int) Time { return Of(turnedAway("globex", n)).Time }
	if r := records[i]; r.Exchange != "globex0" || r.Reason != "over-rate" || r.Query != "" || r.Principal.Case != "" ||
		r.Principal.Workload != "spiffe://globex.example/parley" || r.Outcome != gateway.Refused || r.Time != r.Repeats.First ||
		r.Repeats.First.String() != at(1).String() || r.Repeats.Last.String() != at(times-1).String() {
		t.Errorf("the repetitions are recorded as %s", text(t, r))
	}
}

// What was counted is recorded when the window ends, and the next window
// begins with a whole record.
func TestCountsAreRecordedWhenTheWindowEnds(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, Config{Dir: dir, Window: 10 * time.Millisecond})
	asked := 0
	for windows := 0; windows < 3; asked++ {
		if err := l.Record(t.Context(), turnedAway("globex", asked)); err != nil {
			t.Fatal(err)
		}
		windows = 0
		for _, r := range readAll(t, dir) {
			if r.Repeats != nil {
				windows++
			}
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	total, whole := 0, map[string]bool{}
	for _, r := range readAll(t, dir) {
		if r.Repeats == nil {
			whole[r.Exchange] = true
			total++
			continue
		}
		if !whole[r.Exchange] {
			t.Errorf("no record of %s is before %s", r.Exchange, text(t, r))
		}
		total += r.Repeats.Count
	}
	if total != asked {
		t.Errorf("%d questions are in the log, %d were asked", total, asked)
	}
}

// A refusal that can't be recorded is an error, and a count that can't be is
// kept until it can.
func TestRefusalsOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	full := true
	l, err := open(fullDisk{journal.Dir(dir), &full}, Config{Window: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		if err := l.Record(t.Context(), turnedAway("globex", n)); !errors.Is(err, errNoSpace) {
			t.Errorf("the refusal %d: %v", n, err)
		}
	}
	full = false
	for n := range 3 {
		if err := l.Record(t.Context(), turnedAway("globex", n)); err != nil {
			t.Error(err)
		}
	}
	full = true
	l.refusals.flush()
	if err := l.Record(t.Context(), turnedAway("globex", 3)); err != nil {
		t.Error(err)
	}
	l.refusals.flush()
	full = false
	if err := l.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if diff := gocmp.Diff([]string{"globex over-limit: 1, 3"}, summaries(readAll(t, dir))); diff != "" {
		t.Error(diff)
	}
}

// Who is refused doesn't decide how long its record is.
func TestRefusedTextsAreCut(t *testing.T) {
	for name, query := range map[string]string{
		"characters of two bytes": "x" + strings.Repeat("ü", 30_000),
		"not UTF-8":               strings.Repeat("\xbf", 60_000),
	} {
		t.Run(name, func(t *testing.T) {
			x := turnedAway("globex", 0)
			x.Query, x.Reason = query, "parse error: "+query
			r := Of(x)
			if !strings.HasPrefix(query, r.Query) || len(r.Query) < maxRefused-1 || utf8.ValidString(query) != utf8.ValidString(r.Query) {
				t.Errorf("%d bytes of the query are left: %.40q", len(r.Query), r.Query)
			}
			sum := sha256.Sum256([]byte(query))
			if want := (Cut{Bytes: len(query), SHA256: hex.EncodeToString(sum[:])}); r.QueryCut == nil || *r.QueryCut != want {
				t.Errorf("the whole is %+v, want %+v", r.QueryCut, want)
			}
			if line := text(t, r); len(line) > 16<<10 {
				t.Errorf("the record has %d bytes", len(line))
			}
			x.Outcome = gateway.Answered
			if r := Of(x); r.Query != query || r.QueryCut != nil {
				t.Errorf("of an answered question %d bytes of %d are left", len(r.Query), len(query))
			}
		})
	}
	short := Of(turnedAway("globex", 0))
	if short.Query != "up" || short.QueryCut != nil {
		t.Errorf("a short query became %q, %+v", short.Query, short.QueryCut)
	}
}

// The format of refusals, which later releases must read.
func TestStoredFormatOfRefusals(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, Config{Dir: dir, Window: time.Hour})
	long := turnedAway("globex", 0)
	long.Query = "up{" + strings.Repeat("x", 2000)
	for _, x := range []gateway.Exchange{long, turnedAway("globex", 1), turnedAway("globex", 2)} {
		if err := l.Record(t.Context(), x); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "audit-00000001.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "version1-refusals.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Error(diff)
	}
	var read []string
	for r, err := range ReadFrom(bytes.NewReader(want)) {
		if err != nil {
			t.Fatal(err)
		}
		read = append(read, text(t, r))
	}
	if diff := gocmp.Diff(strings.Split(strings.TrimSpace(string(want)), "\n"), read); diff != "" {
		t.Error(diff)
	}
}
