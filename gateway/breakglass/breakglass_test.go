package breakglass_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/breakglass"
	"github.com/parley-gateway/parley/tenants"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const exchange federation.ExchangeID = "019b2f3e-8a00-7c54-9d31-5f0e6c8a4b17"

// owner is globex with a clock that stands still.
type owner struct {
	*breakglass.Grants
	config    breakglass.Config
	agreement tenants.Agreement
	now       atomic.Pointer[time.Time]
	// webhook is where its agreements say that grants are announced; nil: nowhere.
	webhook atomic.Pointer[string]
}

// Partner implements gateway.Directory.
func (o *owner) Partner(org tenants.OrgID) (tenants.Agreement, bool) {
	b := &tenants.BreakGlass{Policy: "emergency", Longest: time.Hour}
	if hook := o.webhook.Load(); hook != nil {
		b.Webhook = tenants.WebhookURL(*hook)
	}
	return tenants.Agreement{Partner: org, BreakGlass: b}, true
}

// Partners implements gateway.Directory.
func (o *owner) Partners() []tenants.Agreement { return nil }

// announcesTo names a webhook in the agreements.
func (o *owner) announcesTo(url string) {
	o.webhook.Store(&url)
	o.agreement.BreakGlass.Webhook = tenants.WebhookURL(url)
}

func newOwner(t *testing.T) *owner {
	t.Helper()
	o := &owner{agreement: tenants.Agreement{
		Partner: "acme", BreakGlass: &tenants.BreakGlass{Policy: "emergency", Longest: time.Hour},
	}}
	o.at(0)
	o.config = breakglass.Config{
		Org: "globex", Dir: filepath.Join(t.TempDir(), "break-glass"), Directory: o,
		Now: func() time.Time { return *o.now.Load() }, Retry: time.Millisecond,
	}
	o.opens(t)
	return o
}

// opens reads what is there, as after a restart.
func (o *owner) opens(t *testing.T) {
	t.Helper()
	o.config.Log, o.config.Registerer = slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	grants, err := breakglass.Open(o.config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = grants.Close() })
	o.Grants = grants
}

func (o *owner) at(after time.Duration) {
	now := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC).Add(after)
	o.now.Store(&now)
}

func (o *owner) asks(t *testing.T, person, id string) (gateway.Grant, error) {
	t.Helper()
	return o.Grant(t.Context(), o.agreement, tenants.Principal{
		Org: "acme", User: tenants.User{Subject: person, Proof: tenants.ProvenBySVID}, Purpose: "slo-review",
		Case: tenants.CaseID(id), BreakGlass: tenants.EmergencyReason("it burns, says " + person),
	}, exchange)
}

func (o *owner) gets(t *testing.T, person, id string) gateway.Grant {
	t.Helper()
	g, err := o.asks(t, person, id)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// file is what is kept.
func (o *owner) file(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(o.config.Dir, "grants.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.After(time.Minute); !is(); {
		select {
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

func refusedAs(t *testing.T, err error, reason tenants.Reason) {
	t.Helper()
	var refusal *tenants.Refusal
	if !errors.As(err, &refusal) || refusal.Reason != reason {
		t.Errorf("got %v, want %s", err, reason)
	}
}

func TestTheEndIsTheClocks(t *testing.T) {
	o := newOwner(t)
	first := o.gets(t, "ada", "INC-7")
	o.at(time.Hour - 1)
	if again := o.gets(t, "ada", "INC-7"); again != first {
		t.Errorf("got %+v, want %+v", again, first)
	}
	o.at(time.Hour)
	_, err := o.asks(t, "ada", "INC-7")
	refusedAs(t, err, tenants.BreakGlassEnded)

	// An agreement that was made shorter counts at once, a longer one never.
	o.gets(t, "bob", "INC-7")
	o.at(time.Hour + 2*time.Minute)
	o.agreement.BreakGlass.Longest = time.Minute
	_, err = o.asks(t, "bob", "INC-7")
	refusedAs(t, err, tenants.BreakGlassEnded)
	o.agreement.BreakGlass.Longest = 24 * time.Hour
	_, err = o.asks(t, "ada", "INC-7")
	refusedAs(t, err, tenants.BreakGlassEnded)
}

// Another spelling of a case or a person is no other one.
func TestASpellingIsNoOtherCase(t *testing.T) {
	o := newOwner(t)
	first := o.gets(t, "mallory@acme.example", "INC-7")
	if again := o.gets(t, " Mallory@ACME.example", "inc-7"); again != first {
		t.Errorf("got %+v, want %+v", again, first)
	}
	o.opens(t)
	o.at(time.Hour)
	for _, other := range [][2]string{
		{"mallory@acme.example", "inc-7"}, {"MALLORY@ACME.EXAMPLE", "INC-7"}, {"mallory@acme.example ", "Inc-7"}, {"\tmallory@acme.example\n", "INC-7"},
	} {
		_, err := o.asks(t, other[0], other[1])
		refusedAs(t, err, tenants.BreakGlassEnded)
	}
	o.gets(t, "mallory@acme.example", "INC-8")
}

// However slow a webhook is, it is told of every grant, and of how many there
// were: one among many others doesn't go unseen.
func TestEveryOneOfManyGrantsIsAnnounced(t *testing.T) {
	o, h := newOwner(t), newHook(t)
	h.down.Store(true)
	o.announcesTo(h.URL)
	o.gets(t, "nobody", "OLD")
	o.at(24 * time.Hour)
	for i := range 99 {
		o.gets(t, "nobody", fmt.Sprint("JUNK-", i))
	}
	o.gets(t, "mallory", "REAL")
	h.down.Store(false)
	eventually(t, "all are told", func() bool { return len(h.announced()) == 101 })
	got := h.announced()
	if last := got[100]; got[0].Lately != 1 || got[99].Lately > 100 || last.Case != "REAL" || last.Lately != 100 {
		t.Errorf("%+v", last)
	}
}

// However many questions come at once, there is one grant, announced once.
func TestOneGrantForManyQuestionsAtOnce(t *testing.T) {
	var posted atomic.Int32
	hook := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { posted.Add(1) }))
	defer hook.Close()
	o := newOwner(t)
	o.announcesTo(hook.URL)
	var asking sync.WaitGroup
	for i := range 40 {
		asking.Go(func() {
			if g, err := o.asks(t, fmt.Sprint("person", i%4), "INC-7"); err != nil || !g.Ends.Equal(o.config.Now().Add(time.Hour)) {
				t.Errorf("%+v, %v", g, err)
			}
		})
	}
	asking.Wait()
	if text := o.file(t); strings.Count(text, `"opened"`) != 4 {
		t.Error(text)
	}
	eventually(t, "four are announced", func() bool { return posted.Load() >= 4 })
	_ = o.Close()
	if n := posted.Load(); n != 4 {
		t.Errorf("%d announced", n)
	}
}

// A partner can't make more of them than a bound, and what it has made counts
// after a restart; that of another partner doesn't.
func TestGrantsOfAPartnerAreBounded(t *testing.T) {
	o := newOwner(t)
	for i := range 100 {
		o.gets(t, fmt.Sprint("person", i), "INC-7")
	}
	_, err := o.asks(t, "one-more", "INC-7")
	refusedAs(t, err, tenants.BreakGlassTooMany)
	o.opens(t)
	_, err = o.asks(t, "one-more", "INC-7")
	refusedAs(t, err, tenants.BreakGlassTooMany)
	o.gets(t, "person7", "INC-7")
	o.at(time.Hour)
	o.gets(t, "one-more", "INC-7")
}

// What was being written when the machine stopped was never given. Anything
// else that can't be read keeps the gateway from starting.
func TestTheFileAfterACrash(t *testing.T) {
	o := newOwner(t)
	o.gets(t, "ada", "INC-7")
	o.gets(t, "bob", "INC-7")
	path := filepath.Join(o.config.Dir, "grants.jsonl")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, whole[:len(whole)-9], 0o600); err != nil {
		t.Fatal(err)
	}
	o.opens(t)
	o.at(time.Minute)
	if ada, bob := o.gets(t, "ada", "INC-7"), o.gets(t, "bob", "INC-7"); ada.Opened.Equal(o.config.Now()) || !bob.Opened.Equal(o.config.Now()) {
		t.Errorf("ada's was opened %s, bob's %s", ada.Opened, bob.Opened)
	}
	o.opens(t)
	o.at(time.Hour + time.Second)
	_, err = o.asks(t, "ada", "INC-7")
	refusedAs(t, err, tenants.BreakGlassEnded)
	if g := o.gets(t, "bob", "INC-7"); g.Reason != "it burns, says bob" {
		t.Errorf("%+v", g)
	}

	for _, bad := range []string{"{}\n", "{\"partner\":\n", "null\n"} {
		if err := os.WriteFile(path, append([]byte(bad), whole...), 0o600); err != nil {
			t.Fatal(err)
		}
		o.config.Registerer = prometheus.NewRegistry()
		if _, err := breakglass.Open(o.config); err == nil || !strings.Contains(err.Error(), "grants.jsonl:1: ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A webhook that hangs or sends elsewhere has not been told; the gateway ends
// all the same, and what it logs has no address.
func TestWebhooksThatDontTakeIt(t *testing.T) {
	var elsewhere, asked atomic.Int32
	hung := make(chan struct{})
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer target.Close()
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server see that the client has gone
		n := asked.Add(1)
		if n == 1 {
			http.Redirect(w, r, target.URL, http.StatusTemporaryRedirect)
			return
		}
		if n == 2 {
			close(hung)
		}
		<-r.Context().Done()
	}))
	defer hook.Close()
	o := newOwner(t)
	var logged strings.Builder
	o.config.Registerer, o.config.Log = prometheus.NewRegistry(), slog.New(slog.NewTextHandler(&logged, nil))
	grants, err := breakglass.Open(o.config)
	if err != nil {
		t.Fatal(err)
	}
	o.Grants = grants
	o.announcesTo(hook.URL + "/secret")
	o.gets(t, "ada", "INC-7")
	<-hung
	if err := grants.Close(); err != nil {
		t.Fatal(err)
	}
	if elsewhere.Load() != 0 || !strings.Contains(logged.String(), "status 307") || strings.Contains(logged.String(), "/secret") || regexp.MustCompile(`\bada\b`).MatchString(logged.String()) {
		t.Errorf("%d went elsewhere; logged %s", elsewhere.Load(), logged.String())
	}
}

// hook is a webhook that can be down.
type hook struct {
	*httptest.Server
	down atomic.Bool

	mu  sync.Mutex
	got []breakglass.Announcement
}

func newHook(t *testing.T) *hook {
	t.Helper()
	h := &hook{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var a breakglass.Announcement
		if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
			t.Error(err)
		}
		if h.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.got = append(h.got, a)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) announced() []breakglass.Announcement {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

// What a webhook didn't take before the gateway ended it is told after the next
// start, and then never again.
func TestWhatWasNotAnnouncedIsAfterARestart(t *testing.T) {
	o, down, h := newOwner(t), newHook(t), newHook(t)
	o.gets(t, "eve", "INC-6") // before there was a webhook
	down.down.Store(true)
	o.announcesTo(down.URL)
	ada := o.gets(t, "ada", "INC-7")
	o.at(time.Minute)
	o.gets(t, "bob", "INC-7")
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	// Over by then, and to be told all the same; elsewhere, since what was sent to
	// the one that was down may still be on its way there.
	o.at(2 * time.Hour)
	o.announcesTo(h.URL)
	o.opens(t)
	eventually(t, "both are told", func() bool { return len(h.announced()) == 2 })
	eventually(t, "both are kept as told", func() bool { return strings.Count(o.file(t), `"announced"`) == 2 })
	if got := h.announced(); got[0].Person != "ada" || got[1].Person != "bob" || got[0].Exchange != exchange || !got[0].Ends.Equal(ada.Ends) || got[0].Reason != ada.Reason {
		t.Errorf("%+v", got)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o.opens(t)
	o.at(2*time.Hour + time.Minute)
	o.gets(t, "gil", "INC-7")
	eventually(t, "the next is told", func() bool { return len(h.announced()) == 3 })
	if got := h.announced(); got[2].Person != "gil" {
		t.Errorf("told again: %+v", got)
	}
}

// What the gateway gave up when it ended may have arrived after all: it is told
// once more, and its exchange says that it is the same.
func TestWhatWasUnderWayAtTheEndMayBeToldTwice(t *testing.T) {
	o, h := newOwner(t), newHook(t)
	reading, goOn := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		reading <- struct{}{}
		<-goOn
		h.Config.Handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), r.Method, "/", bytes.NewReader(body)))
	}))
	o.announcesTo(slow.URL)
	o.gets(t, "ada", "INC-7")
	<-reading
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	slow.Close() // and with it what was on its way
	o.announcesTo(h.URL)
	o.opens(t)
	eventually(t, "it is kept as told", func() bool { return strings.Count(o.file(t), `"announced"`) == 1 })
	if got := h.announced(); len(got) != 2 || got[0] != got[1] || got[0].Exchange != exchange {
		t.Errorf("%+v", got)
	}
}

// What is tried again goes where the agreement says by then.
func TestAWebhookThatIsCorrected(t *testing.T) {
	o, wrong, right := newOwner(t), newHook(t), newHook(t)
	wrong.down.Store(true)
	o.announcesTo(wrong.URL)
	o.gets(t, "ada", "INC-7")
	o.announcesTo(right.URL)
	eventually(t, "the right one is told", func() bool { return len(right.announced()) == 1 })
	// Where it says nothing any more nobody is told, and nothing waits.
	wrong.down.Store(true)
	o.announcesTo(wrong.URL)
	o.gets(t, "bob", "INC-7")
	o.webhook.Store(nil)
	o.gets(t, "gil", "INC-7")
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

// A grant that ended long ago is forgotten: its case and person may have another,
// and its partner is not refused for ever.
func TestGrantsThatEndedLongAgo(t *testing.T) {
	o, h := newOwner(t), newHook(t)
	o.announcesTo(h.URL)
	o.gets(t, "ada", "INC-7")
	const day = 24 * time.Hour
	o.at(60 * day)
	o.gets(t, "bob", "INC-8")
	eventually(t, "both are kept as told", func() bool { return strings.Count(o.file(t), `"announced"`) == 2 })
	o.at(time.Hour + 90*day - 1)
	_, err := o.asks(t, "ada", "INC-7")
	refusedAs(t, err, tenants.BreakGlassEnded)
	o.at(time.Hour + 90*day)
	if g := o.gets(t, "ada", "INC-7"); !g.Opened.Equal(o.config.Now()) {
		t.Errorf("%+v", g)
	}
	eventually(t, "the new one is kept as told", func() bool { return strings.Count(o.file(t), `"announced"`) == 2 })
	if text := o.file(t); strings.Count(text, `"opened"`) != 2 || strings.Index(text, "bob") > strings.Index(text, "ada") {
		t.Error(text)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o.opens(t)
	_, err = o.asks(t, "bob", "INC-8")
	refusedAs(t, err, tenants.BreakGlassEnded)
	if n := len(h.announced()); n != 3 {
		t.Errorf("%d announced", n)
	}

	// As many as are kept, all of them over.
	var text strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&text, `{"partner":"acme","case":"INC-%d","person":"ada","user_proof":"svid","opened":"2026-03-14T12:00:00Z","ends":"2026-03-14T13:00:00Z"}`+"\n", i)
	}
	if err := os.WriteFile(filepath.Join(o.config.Dir, "grants.jsonl"), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	o.at(time.Hour + 90*day - 1)
	o.opens(t)
	_, err = o.asks(t, "bob", "INC-8")
	refusedAs(t, err, tenants.BreakGlassTooMany)
	o.at(time.Hour + 90*day)
	o.gets(t, "bob", "INC-8")
	if text := o.file(t); strings.Count(text, "\n") > 2 {
		t.Errorf("%d lines are kept", strings.Count(text, "\n"))
	}
}
