package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/audit/journal"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// incident is globex, asking acme during an incident.
func incident() gateway.Exchange {
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.FixedZone("CET", 3600))
	return gateway.Exchange{
		ID:   "6f1c2a58-9b3e-4a4e-8f0e-0d7b4a1f2c3d",
		Door: gateway.PeerDoor,
		Org:  "acme",
		Principal: tenants.Principal{
			Org:      "globex",
			Workload: spiffeid.RequireFromString("spiffe://globex.example/parley"),
			User:     tenants.User{Subject: "alice@globex.example", Proof: tenants.ProvenByJWT},
			Purpose:  "incident-response",
			Case:     "INC-42",
		},
		Signal: tenants.Metrics,
		Kind:   policy.Range,
		Query:  `sum by (region) (rate(http_requests_total{user="bob"}[5m])) > 0 <= 1 & "ü"`,
		Window: policy.Window{Start: at.Add(-time.Hour), End: at},
		Step:   30 * time.Second,
		Decision: policy.Decision{
			Allow:    true,
			Reasons:  []string{"incident-response may see request rates"},
			Revision: "3b1f",
			Obligations: policy.Obligations{
				Datasets: []policy.Dataset{
					{
						Name:    "requests",
						Series:  []policy.Selector{{labels.MustNewMatcher(labels.MatchEqual, "__name__", "http_requests_total")}},
						Release: policy.Row,
						Labels: map[string]policy.LabelRule{
							"region": {Mode: policy.Keep},
							"pod":    {Mode: policy.Pseudonym},
							"status": {Mode: policy.Generalize, Mapping: &policy.Mapping{Prefix: 1}},
							"user":   {Mode: policy.Drop},
						},
					},
					{Name: "salaries", Release: policy.Deny, Others: policy.LabelRule{Mode: policy.Keep}},
				},
				NotBefore: at.Add(-24 * time.Hour),
				NotAfter:  at,
				Epoch:     time.Hour,
				Limits:    tenants.Limits{Series: 100, Range: 24 * time.Hour},
			},
		},
		Outcome: gateway.Answered,
		Series:  3, Samples: 363, Bytes: 2048,
		Completeness: federation.Completeness{{
			Org: "acme", Status: federation.Complete,
			Coverage: policy.Window{Start: at.Add(-time.Hour), End: at},
			Cost:     federation.Cost{Series: 3, Samples: 363, Bytes: 2048, Latency: 11 * time.Millisecond},
			Notices:  []string{"pod is a pseudonym", "user is dropped"},
		}},
		Start:   at,
		Latency: 12 * time.Millisecond,
	}
}

// refusal is an unknown caller, refused before anything was known of it.
func refusal() gateway.Exchange {
	return gateway.Exchange{
		ID: "00000000-0000-4000-8000-000000000001", Door: gateway.PeerDoor, Org: "acme",
		Signal: tenants.Metrics, Kind: policy.Instant, Query: "up",
		Outcome: gateway.Refused, ErrorKind: federation.Refused, Reason: "unknown-trust-domain",
		Start: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
	}
}

func openLog(t testing.TB, c Config) *Log {
	t.Helper()
	l, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // tests that care close it themselves
	return l
}

func readAll(t testing.TB, dir string) []Record {
	t.Helper()
	var out []Record
	for r, err := range Read(os.DirFS(dir)) {
		if err != nil {
			t.Fatalf("after %d records: %v", len(out), err)
		}
		out = append(out, r)
	}
	return out
}

// text is the line of a record: records are compared as they are stored.
func text(t testing.TB, r Record) string {
	t.Helper()
	line, err := encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(line)
}

// TestStoredFormat holds the format of version 1: files written by any release
// must be readable by every later one.
func TestStoredFormat(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, Config{Dir: dir})
	for _, x := range []gateway.Exchange{incident(), refusal()} {
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
	want, err := os.ReadFile(filepath.Join("testdata", "version1.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Error(diff)
	}
	var read []string
	for r, err := range ReadFrom(bytes.NewReader(want)) {
		if err != nil {
			t.Fatal(err)
		}
		read = append(read, text(t, r))
	}
	if diff := cmp.Diff([]string{text(t, Of(incident())), text(t, Of(refusal()))}, read); diff != "" {
		t.Error(diff)
	}
}

func TestOddExchangesAreRecorded(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*gateway.Exchange)
		want   string
	}{
		"nothing known": {func(x *gateway.Exchange) { *x = gateway.Exchange{} }, `"time":"0001-01-01T00:00:00Z"`},
		"since ever": {func(x *gateway.Exchange) {
			x.Window = policy.Window{Start: time.Unix(math.MinInt64/1000+62135596801, 0), End: time.Unix(math.MaxInt64/1000-62135596801, 0)}
		}, `"window":{"start":"0000-01-01T00:00:00Z","end":"9999-12-31T23:59:59.999999999Z"}`},
		"not UTF-8":       {func(x *gateway.Exchange) { x.Query = "up{\xff}" }, `"query_bytes":"dXB7/30="`},
		"lines and nulls": {func(x *gateway.Exchange) { x.Query = "a\nb\x00c\u2028" }, `"query":"a\nb\u0000c\u2028"`},
		"a label":         {func(x *gateway.Exchange) { x.Kind, x.Label = policy.LabelValues, "job" }, `"label":"job"`},
		"no end to a refused label": {func(x *gateway.Exchange) {
			x.Outcome, x.Label = gateway.Refused, strings.Repeat("x", 1<<20)
		}, `"label":"` + strings.Repeat("x", 1<<10) + `"`},
		"unknown mode": {func(x *gateway.Exchange) {
			x.Decision.Obligations.Datasets[0].Others.Mode = 77
		}, `"others":"mode-77"`},
		"a part of a tail": {func(x *gateway.Exchange) {
			x.Kind, x.Tail = policy.Tail, &gateway.TailPart{Stage: gateway.TailGoesOn, Number: 3, Dropped: 7}
			x.Completeness[0].Dropped, x.Completeness[0].Exchange = 7, "019b2f3e-8a00-7c54-9d31-5f0e6c8a4b17"
		}, `"dropped":7,"exchange":"019b2f3e-8a00-7c54-9d31-5f0e6c8a4b17","notices":["pod is a pseudonym","user is dropped"]}],"tail":{"stage":"part","number":3,"dropped":7}}`},
		"the end of a tail": {func(x *gateway.Exchange) {
			x.Kind, x.Tail = policy.Tail, &gateway.TailPart{Stage: gateway.TailEnded, Number: 4, Lines: 12, Bytes: 345}
		}, `"tail":{"stage":"ended","number":4,"lines":12,"bytes":345}}`},
		"spans": {func(x *gateway.Exchange) {
			x.Signal, x.Kind, x.Spans, x.Completeness[0].Cost.Spans = tenants.Traces, policy.Trace, 12, 7
			x.Decision.Obligations.Limits.Spans = 1000
		}, `"series":3,"samples":363,"spans":12,"bytes":2048,"latency_ns":12000000,"completeness":[{"org":"acme","status":"complete","coverage":{"start":"2026-03-01T10:00:00.123456789Z","end":"2026-03-01T11:00:00.123456789Z"},"series":3,"samples":363,"spans":7,`},
		"how spans leave": {func(x *gateway.Exchange) {
			x.Decision.Obligations.Datasets[0] = policy.Dataset{Name: "checkout", Spans: []policy.Selector{{}}, Release: policy.Row, Span: policy.Span{Mode: policy.SpanBoundary}}
		}, `"datasets":[{"name":"checkout","release":"row","others":"drop","span":"boundary"},{"name":"salaries","release":"deny","others":"keep"}]`},
		"no end to it": {func(x *gateway.Exchange) { x.Query = strings.Repeat("x", 1<<20) }, `xxx`},
	} {
		t.Run(name, func(t *testing.T) {
			x := incident()
			tc.change(&x)
			dir := t.TempDir()
			l := openLog(t, Config{Dir: dir})
			if err := l.Record(t.Context(), x); err != nil {
				t.Fatal(err)
			}
			records := readAll(t, dir)
			if len(records) != 1 {
				t.Fatalf("%d records", len(records))
			}
			if got := text(t, records[0]); !strings.Contains(got, tc.want) {
				t.Errorf("%.300s\ndoes not have %s", got, tc.want)
			}
			if records[0].QueryBytes == nil && records[0].Query != x.Query {
				t.Errorf("the query came back as %.100q", records[0].Query)
			}
		})
	}
}

// TestEveryRecordedExchangeIsReadable is the promise of the package: whatever
// Record returned nil for is there after reopening, once and unchanged.
func TestEveryRecordedExchangeIsReadable(t *testing.T) {
	base := t.TempDir()
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		dir := filepath.Join(base, fmt.Sprint(runs))
		l, err := Open(Config{Dir: dir, MaxFileSize: rapid.Int64Range(1, 5000).Draw(t, "file size")})
		if err != nil {
			t.Fatal(err)
		}
		exchanges := rapid.SliceOfN(rapid.Custom(drawExchange), 1, 20).Draw(t, "exchanges")
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		want := make(map[string]string)
		var wg sync.WaitGroup
		for i, x := range exchanges {
			x.ID = federation.ExchangeID(fmt.Sprint(i))
			want[string(x.ID)] = mustEncode(t, Of(x))
			ctx := context.Background()
			if i%3 == 0 {
				ctx = ended // the caller is gone; its exchange is recorded nonetheless
			}
			wg.Go(func() {
				if err := l.Record(ctx, x); err != nil && !errors.Is(err, context.Canceled) {
					panic(err)
				}
			})
		}
		wg.Wait()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if l, err = Open(Config{Dir: dir}); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		got := make(map[string]string)
		for r, err := range Read(os.DirFS(dir)) {
			if err != nil {
				t.Fatal(err)
			}
			if got[r.Exchange] != "" {
				t.Fatalf("exchange %s is there twice", r.Exchange)
			}
			got[r.Exchange] = mustEncode(t, r)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func mustEncode(t *rapid.T, r Record) string {
	line, err := encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(line)
}

func drawExchange(t *rapid.T) gateway.Exchange {
	x := incident()
	x.Query = rapid.String().Draw(t, "query")
	x.Reason = rapid.String().Draw(t, "reason")
	x.Principal.User.Subject = rapid.String().Draw(t, "user")
	x.Series = rapid.Int().Draw(t, "series")
	x.Latency = time.Duration(rapid.Int64().Draw(t, "latency"))
	x.Window.Start = time.UnixMilli(rapid.Int64().Draw(t, "start"))
	x.Decision.Obligations.NotAfter = time.UnixMilli(rapid.Int64().Draw(t, "not after"))
	x.Decision.Reasons = rapid.SliceOf(rapid.String()).Draw(t, "reasons")
	return x
}

// fullDisk takes writes until it is full.
type fullDisk struct {
	journal.Disk
	full *bool
}

func (d fullDisk) Create(name string) (journal.File, error) {
	f, err := d.Disk.Create(name)
	return fullFile{f, d.full}, err
}

func (d fullDisk) Open(name string) (journal.File, error) {
	f, err := d.Disk.Open(name)
	return fullFile{f, d.full}, err
}

type fullFile struct {
	journal.File
	full *bool
}

var errNoSpace = errors.New("no space left on device (injected)")

func (f fullFile) WriteAt(p []byte, off int64) (int, error) {
	if *f.full {
		n, err := f.File.WriteAt(p[:len(p)/2], off)
		return n, errors.Join(err, errNoSpace)
	}
	return f.File.WriteAt(p, off)
}

func TestAFullDiskRefusesAndSaysNothingOfTheQuestion(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	full := false
	l, err := open(fullDisk{journal.Dir(dir), &full}, Config{Logger: slog.New(slog.NewJSONHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	record := func() error { return l.Record(t.Context(), incident()) }
	if err := record(); err != nil {
		t.Fatal(err)
	}
	full = true
	for range 3 {
		err := record()
		if !errors.Is(err, errNoSpace) || !strings.Contains(err.Error(), string(incident().ID)) {
			t.Errorf("error is %v", err)
		}
		if err := l.Check(t.Context()); !errors.Is(err, errNoSpace) {
			t.Errorf("check: %v", err)
		}
		for _, secret := range []string{"bob", "alice", "http_requests_total"} {
			if strings.Contains(err.Error()+log.String(), secret) {
				t.Errorf("%q got out: %v\n%s", secret, err, log.String())
			}
		}
	}
	full = false
	if err := l.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := record(); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if got := len(readAll(t, dir)); got != 2 {
		t.Errorf("%d records, want the one before and the one after", got)
	}
	// Once when it broke, once when it was well again.
	if got := strings.Count(log.String(), "\n"); got != 2 {
		t.Errorf("%d lines logged:\n%s", got, log.String())
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := Open(Config{}); err == nil || !strings.Contains(err.Error(), "no directory") {
		t.Errorf("without a directory: %v", err)
	}
	dir := t.TempDir()
	openLog(t, Config{Dir: dir})
	if _, err := Open(Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("twice: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: file}); err == nil {
		t.Error("a file was taken for a directory")
	}
}

func TestReaderReportsWhatItDoesNotUnderstand(t *testing.T) {
	good := text(t, Of(refusal()))
	future := strings.Replace(good, `"v":1`, `"v":2`, 1)
	added := strings.Replace(good, `"v":1`, `"v":1,"added":"later"`, 1)
	fsys := fstest.MapFS{"audit-00000001.jsonl": {Data: []byte(
		strings.Join([]string{good, future, "garbage", "{}", `{"v":1,"time":"yesterday"}`, added, "torn"}, "\n"))}}
	var got []string
	for r, err := range Read(fsys) {
		if err != nil && !errors.Is(err, ErrLine) {
			t.Errorf("not said to be of a line: %v", err)
		}
		switch {
		case errors.Is(err, ErrVersion):
			got = append(got, "version")
			if !strings.Contains(err.Error(), "audit-00000001.jsonl, line") {
				t.Errorf("where? %v", err)
			}
		case err != nil:
			got = append(got, "error")
		default:
			got = append(got, r.Exchange)
		}
	}
	id := string(refusal().ID)
	if diff := cmp.Diff([]string{id, "version", "error", "version", "error", id}, got); diff != "" {
		t.Error(diff)
	}
}

// FuzzRead reads anything: no panic, and a record that was understood is
// understood in the same way after it was written again.
func FuzzRead(f *testing.F) {
	seed, err := os.ReadFile(filepath.Join("testdata", "version1.jsonl"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"v":1,"time":"0000-01-01T00:00:00+23:59","window":{"start":null}}` + "\n{\"v\":2}\n{"))
	f.Fuzz(func(t *testing.T, content []byte) {
		for r, err := range ReadFrom(bytes.NewReader(content)) {
			if err != nil {
				continue
			}
			once := text(t, r)
			again, err := Parse([]byte(once))
			if err != nil {
				t.Fatalf("%q is not read back: %v", once, err)
			}
			if twice := text(t, again); twice != once {
				t.Fatalf("%q became %q", once, twice)
			}
			if !json.Valid([]byte(once)) || strings.ContainsAny(once, "\n\x00") {
				t.Fatalf("%q is not a line of JSON", once)
			}
		}
	})
}

// BenchmarkRecord records exchanges of a kilobyte in the directory for
// temporary files.
func BenchmarkRecord(b *testing.B) {
	for _, callers := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			l := openLog(b, Config{Dir: b.TempDir()})
			x := incident()
			work := make(chan struct{}, b.N)
			for range b.N {
				work <- struct{}{}
			}
			close(work)
			b.ReportAllocs()
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for range work {
						if err := l.Record(b.Context(), x); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
