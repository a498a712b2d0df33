package gatewaytest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/audit"
	"github.com/parley-gateway/parley/gateway/audit/review"
	"github.com/parley-gateway/parley/gateway/breakglass"
	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/gateway/gatewaytest"
	"github.com/parley-gateway/parley/gateway/identity"
	"github.com/parley-gateway/parley/tenants"
)

// emergency is acme, whose people prove themselves with tokens, and globex,
// which shows them its users in an emergency of an hour only.
type emergency struct {
	t            *testing.T
	world        *gatewaytest.World
	acme, globex *gatewaytest.Org
	key          *ecdsa.PrivateKey
	later        atomic.Int64 // how far globex's clock is ahead
}

const (
	byUser = `sum by (user) (round(rate(http_requests_total{org="globex"}[5m])))`
	why    = "Bezahlung hängt bei allen Kunden"
)

var (
	everyDay = map[string]string{`{}`: "6"}
	wider    = map[string]string{`{user="gus"}`: "1", `{user="gil"}`: "2", `{user="gem"}`: "3"}
)

func newEmergency(t *testing.T, breakGlass string) *emergency {
	t.Helper()
	e := &emergency{t: t, world: gatewaytest.New(t, "acme", "globex")}
	e.acme, e.globex = e.world.Org("acme"), e.world.Org("globex")
	e.globex.Holds(requests("gus", "gil", "gem")...)
	e.globex.Releases("acme", releaseRequests)
	e.globex.Policy("emergency.rego", `package parley.partners.acme_emergency
decision := {"allow": true, "datasets": [{"name": "requests", "series": ["http_requests_total"], "release": "row",
	"labels": {"region": "keep", "user": "keep"}}]} if input.principal.break_glass`)
	e.globex.Agrees("acme", func(a *gatewaytest.Agreement) { a.BreakGlass = breakGlass })
	e.globex.Now = func() time.Time { return time.Now().Add(time.Duration(e.later.Load())) }

	var err error
	if e.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: e.key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(e.acme.Dir, "jwks.json")
	if err := os.WriteFile(file, keys, 0o600); err != nil {
		t.Fatal(err)
	}
	e.acme.Authentication = func(*identity.Verifier) (*identity.Authenticator, error) {
		return identity.NewAuthenticator(identity.AuthConfig{
			JWT:            &identity.JWTConfig{JWKS: file, Issuer: "https://id.acme.example", Audience: "parley"},
			TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		})
	}
	return e
}

// start runs the gateways until acme's knows whose tokens to believe.
func (e *emergency) start() {
	e.t.Helper()
	e.world.Start()
	e.acme.Eventually("tokens are believed", func() bool { return e.asks("ada", "", "").Code == http.StatusOK })
}

// is is the header of a person who proves who they are.
func (e *emergency) is(person string) []string {
	e.t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": "https://id.acme.example", "aud": "parley", "sub": person, "nbf": time.Now().Add(-time.Hour).Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	})
	token.Header["kid"] = "k"
	text, err := token.SignedString(e.key)
	if err != nil {
		e.t.Fatal(err)
	}
	return []string{"Authorization", "Bearer " + text}
}

func (e *emergency) asks(person, id, reason string) gatewaytest.Reply {
	e.t.Helper()
	header := e.is(person)
	if id != "" {
		header = append(header, front.CaseHeader, id)
	}
	if reason != "" {
		header = append(header, front.BreakGlassHeader, reason)
	}
	return e.acme.Asks(byUser, header...)
}

func (e *emergency) sees(reply gatewaytest.Reply, want map[string]string) {
	e.t.Helper()
	if diff := cmp.Diff(want, reply.Vector(e.t)); diff != "" {
		e.t.Errorf("acme sees (-want +got):\n%s\n%s", diff, reply.Header.Get(front.CompletenessHeader))
	}
}

// isRefused asserts that globex tells nothing and knows why.
func (e *emergency) isRefused(reply gatewaytest.Reply, reason tenants.Reason) {
	e.t.Helper()
	part := reply.Completeness(e.t)["globex"]
	if part.Status != federation.Denied || part.Reason != federation.NotAllowed {
		e.t.Errorf("acme is told %+v", part)
	}
	if r := last(e.t, e.globex); r.Outcome != gateway.Refused || !strings.Contains(r.Reason, string(reason)) || r.Series != 0 {
		e.t.Errorf("globex recorded %+v, want the reason %s", r, reason)
	}
}

// webhook is a server that collects announcements.
type webhook struct {
	*httptest.Server
	fails atomic.Bool

	mu  sync.Mutex
	got []breakglass.Announcement
}

func newWebhook(t *testing.T) *webhook {
	t.Helper()
	w := &webhook{}
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.fails.Load() {
			rw.WriteHeader(http.StatusBadGateway)
			return
		}
		var a breakglass.Announcement
		if err := json.NewDecoder(r.Body).Decode(&a); err != nil || r.Method != http.MethodPost {
			t.Errorf("%s: %v", r.Method, err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.got = append(w.got, a)
	}))
	t.Cleanup(w.Close)
	return w
}

func (w *webhook) announced() []breakglass.Announcement {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]breakglass.Announcement(nil), w.got...)
}

// A person with a reason sees more, for a case and a while; the owner is told
// once, both keep the evidence, and what is over is over, restart or not.
func TestBreakGlass(t *testing.T) {
	t.Parallel()
	hook := newWebhook(t)
	e := newEmergency(t, `{policy: parley.partners.acme_emergency, longest: 1h, webhook: "`+hook.URL+`/secret"}`)
	e.start()
	e.sees(e.asks("ada", "INC-7", ""), everyDay)

	before := time.Now()
	reply := e.asks("ada", "INC-7", why)
	e.sees(reply, wider)
	e.sees(e.asks("ada", "INC-7", "and now for something else"), wider)
	e.sees(e.asks("ada", "INC-7", ""), everyDay) // who doesn't say so sees what is for every day
	e.globex.Eventually("the webhook has it", func() bool { return len(hook.announced()) > 0 })
	hooked := hook.announced()
	a := hooked[0]
	if a.Event != "break-glass" || a.Org != "globex" || a.Partner != "acme" || a.Case != "INC-7" || a.Purpose != "slo-review" || a.Person != "ada" ||
		a.Proof != tenants.ProvenByJWT || string(a.Reason) != why || string(a.Exchange) != reply.Header.Get(front.ExchangeHeader) ||
		a.Opened.Before(before) || a.Ends.Sub(a.Opened) != time.Hour {
		t.Errorf("announced %+v", a)
	}

	for _, o := range []*gatewaytest.Org{e.acme, e.globex} {
		record := exchange(t, o, reply)[0]
		if record.BreakGlass == nil || string(record.BreakGlass.Reason) != why || record.BreakGlass.Person != "ada" {
			t.Errorf("%s recorded %+v", o.ID, record.BreakGlass)
		}
	}
	if g := exchange(t, e.globex, reply)[0].BreakGlass; !time.Time(g.Opened).Equal(a.Opened) || !time.Time(g.Ends).Equal(a.Ends) {
		t.Errorf("globex recorded %+v, announced %s to %s", g, a.Opened, a.Ends)
	}
	if notices := strings.Join(reply.Completeness(t)["globex"].Notices, "; "); !strings.Contains(notices, "break-glass grant until "+a.Ends.Format(time.RFC3339)) {
		t.Errorf("acme is told %q", notices)
	}
	records := e.globex.Audited()
	if again := records[len(records)-2].BreakGlass; again == nil || again.Reason != "and now for something else" || !time.Time(again.Ends).Equal(a.Ends) {
		t.Errorf("the second reason was recorded as %+v", again)
	}
	if r := records[len(records)-1]; r.BreakGlass != nil {
		t.Errorf("recorded of every day: %+v", r.BreakGlass)
	}
	if n, open := e.globex.Metric("parley_break_glass_grants_total", "partner", "acme"), e.globex.Metric("parley_break_glass_open"); n != 1 || open != 1 {
		t.Errorf("globex counts %v grants, %v open", n, open)
	}
	logged := e.globex.Log.Events()
	if strings.Count(logged, "break-glass grant opened") != 1 || regexp.MustCompile(`\bada\b`).MatchString(logged) || strings.Contains(logged, "Bezahlung") || strings.Contains(logged, "secret") {
		t.Errorf("globex logged %s", logged)
	}

	// A case and a person are one grant; another person has another.
	e.sees(e.asks("bob", "INC-7", why), wider)
	e.globex.Eventually("the webhook has the second", func() bool { return len(hook.announced()) == 2 })

	// A restart changes nothing of it.
	e.globex.Stop()
	e.later.Store(int64(59 * time.Minute))
	e.globex.Start()
	e.acme.Eventually("globex answers", func() bool {
		return e.asks("ada", "INC-7", "").Completeness(t)["globex"].Status == federation.Complete
	})
	e.sees(e.asks("ada", "INC-7", why), wider)
	if n := e.globex.Metric("parley_break_glass_grants_total"); n != 0 {
		t.Errorf("after the restart globex opened %v grants", n)
	}
	e.later.Store(int64(61 * time.Minute))
	e.isRefused(e.asks("ada", "INC-7", why), tenants.BreakGlassEnded)
	e.globex.Stop()
	e.globex.Start()
	e.acme.Eventually("globex answers", func() bool {
		return e.asks("ada", "INC-7", "").Completeness(t)["globex"].Status == federation.Complete
	})
	e.isRefused(e.asks("ada", "INC-7", "it is not over at all"), tenants.BreakGlassEnded)
	e.sees(e.asks("ada", "INC-7", ""), everyDay)
	e.sees(e.asks("ada", "INC-8", why), wider) // another case is another emergency
	e.globex.Eventually("the webhook has the third", func() bool { return len(hook.announced()) == 3 })
	if open := e.globex.Metric("parley_break_glass_open"); open != 1 {
		t.Errorf("%v are open", open)
	}

	// The log says so to whoever reviews it: whose, for what, how much.
	r := reviewed(t, e.globex)
	var grants []string
	series := 0
	for _, g := range r.Grants {
		grants = append(grants, fmt.Sprintf("%s %s %s: %d answers, %d refused", g.Person, g.Proof, g.Case, g.Answers, g.Refused))
		series += g.Series
	}
	if diff := cmp.Diff([]string{"ada jwt INC-7: 3 answers, 2 refused", "bob jwt INC-7: 1 answers, 0 refused", "ada jwt INC-8: 1 answers, 0 refused"}, grants); diff != "" {
		t.Error(diff)
	}
	if g := r.Grants[0]; !g.Opened.Equal(a.Opened) || !g.Ends.Equal(a.Ends) || string(g.Reasons[0]) != why || series != 5*len(wider) {
		t.Errorf("%d series, %+v", series, g)
	}
	if asked := reviewed(t, e.acme).Asked; len(asked) != 3 || asked[1].Person != "bob" || !slices.Equal(asked[1].Partners, []tenants.OrgID{"globex"}) {
		t.Errorf("acme's people: %+v", asked)
	}
}

// reviewed is what an organization's audit log says of emergencies.
func reviewed(t *testing.T, o *gatewaytest.Org) review.BreakGlassReport {
	t.Helper()
	r, err := review.BreakGlass(audit.Read(os.DirFS(o.AuditDir())), time.Time{})
	if err != nil || r.Unread != 0 {
		t.Fatalf("%d lines are unread: %v", r.Unread, err)
	}
	return r
}

// What a grant is bound to is asked for at acme's door, where people can be
// told, and again at globex's, whatever acme's gateway lets through.
func TestBreakGlassIsBoundToACaseAndAPerson(t *testing.T) {
	t.Parallel()
	e := newEmergency(t, `{policy: parley.partners.acme_emergency, longest: 1h}`)
	e.start()
	for name, c := range map[string]struct {
		header []string
		says   string
	}{
		"a proxy's word": {[]string{identity.ProxyUserHeader, "ada", front.CaseHeader, "INC-7", front.BreakGlassHeader, why}, "who proves who they are"},
		"no case":        {append(e.is("ada"), front.BreakGlassHeader, why), front.CaseHeader},
		"no reason":      {append(e.is("ada"), front.CaseHeader, "INC-7", front.BreakGlassHeader, "because"), "10 to 500 printable characters"},
		"an empty one":   {append(e.is("ada"), front.CaseHeader, "INC-7", front.BreakGlassHeader, ""), "10 to 500 printable characters"},
		"a long one":     {append(e.is("ada"), front.CaseHeader, "INC-7", front.BreakGlassHeader, strings.Repeat("ä", 501)), "10 to 500 printable characters"},
	} {
		if reply := e.acme.Asks(byUser, c.header...); reply.Code != http.StatusBadRequest || !strings.Contains(reply.Answer(t).Error, c.says) {
			t.Errorf("%s: %d %s", name, reply.Code, reply.Body)
		}
	}
	proven := tenants.User{Subject: "ada", Proof: tenants.ProvenByJWT}
	for reason, by := range map[tenants.Reason]tenants.Principal{
		tenants.BreakGlassUnproven:    {Case: "INC-7", User: tenants.User{Subject: "ada", Proof: tenants.StatedByProxy}},
		tenants.BreakGlassWithoutCase: {User: proven},
		tenants.PurposeNotAgreed:      {Case: "INC-7", User: proven, Purpose: "marketing"},
	} {
		caller := e.world.Caller(e.acme.Issue("/parley", time.Hour), "globex", "")
		if by.Purpose == "" {
			by.Purpose = "slo-review"
		}
		by.BreakGlass = "whatever acme lets through"
		caller.Principal = by
		_, _, err := caller.Asks(instant("http_requests_total"))
		refused(t, err)
		if r := last(t, e.globex); !strings.Contains(r.Reason, string(reason)) {
			t.Errorf("globex recorded %+v, want %s", r, reason)
		}
	}
	if n := e.globex.Metric("parley_break_glass_grants_total"); n != 0 {
		t.Errorf("globex opened %v grants", n)
	}
	e.globex.Agrees("acme", nil)
	e.acme.Eventually("globex has nothing for emergencies", func() bool {
		return e.asks("ada", "INC-9", why).Completeness(t)["globex"].Status == federation.Denied
	})
	e.isRefused(e.asks("ada", "INC-9", why), tenants.BreakGlassNotAgreed)
}

// Before anything is shown the grant is on disk, or nothing is shown; and a
// webhook that is down keeps nobody waiting.
func TestBreakGlassFailsClosed(t *testing.T) {
	t.Parallel()
	hook := newWebhook(t)
	hook.fails.Store(true)
	e := newEmergency(t, `{policy: parley.partners.acme_emergency, longest: 1h, webhook: "`+hook.URL+`"}`)
	e.start()
	blocked := filepath.Join(e.globex.Dir, "break-glass")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	part := e.asks("ada", "INC-7", why).Completeness(t)["globex"]
	if part.Status != federation.Unreachable || !strings.Contains(part.Reason, "can't be kept") || strings.Contains(part.Reason, blocked) {
		t.Errorf("acme is told %+v", part)
	}
	if n := e.globex.Metric("parley_break_glass_grants_total"); n != 0 {
		t.Errorf("globex opened %v grants", n)
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	e.sees(e.asks("ada", "INC-7", why), wider) // while the webhook fails
	e.globex.Eventually("the webhook was tried", func() bool {
		return e.globex.Metric("parley_break_glass_webhook_attempts_total", "outcome", "failed") > 0
	})
	if n := len(hook.announced()); n != 0 {
		t.Fatalf("%d announced", n)
	}
	hook.fails.Store(false)
	e.globex.Eventually("the webhook has it after all", func() bool { return len(hook.announced()) == 1 })
	e.globex.Eventually("it is counted once", func() bool {
		return e.globex.Metric("parley_break_glass_webhook_attempts_total", "outcome", "delivered") == 1
	})
}
