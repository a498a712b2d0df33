package tenants

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/parley-gateway/parley/tenants/yamlstrict"
)

// BreakGlass is what a partner's people may see in an emergency beyond what is
// agreed for every day: each for a case of theirs, with a reason, until an end
// that nobody can move. Nil in an Agreement: there is no such thing.
type BreakGlass struct {
	// Policy is the Rego package that decides on questions under a grant, in
	// place of the agreement's. Required.
	Policy string `yaml:"policy"`
	// Longest is how long a grant lasts, 1m to 24h. Required.
	Longest time.Duration `yaml:"longest"`
	// Webhook is where grants are announced to us; empty: nowhere but in the
	// log, the metrics and the audit log.
	Webhook WebhookURL `yaml:"webhook"`
}

// How long a grant may last at all.
const (
	shortestBreakGlass = time.Minute
	longestBreakGlass  = 24 * time.Hour
)

// WebhookURL is an https URL, or an http one of this machine. It may hold a
// secret in its path or query and is never logged.
type WebhookURL string

// ParseWebhookURL returns s as a WebhookURL. The error doesn't repeat it.
func ParseWebhookURL(s string) (WebhookURL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return "", errors.New("want an https URL such as https://alerts.acme.example/parley, or an http one of a loopback address, without user, password or fragment")
	}
	return WebhookURL(s), nil
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// EmergencyReason is why a person breaks the glass, in their own words: 10 to
// 500 printable characters in any language, no space at either end. It may be
// about people, so it is for records and never for logs. The zero value: the
// glass stays whole.
type EmergencyReason string

// ParseEmergencyReason returns s as an EmergencyReason.
func ParseEmergencyReason(s string) (EmergencyReason, error) {
	const least, most = 10, 500
	valid := utf8.ValidString(s) && s != "" && s[0] != ' ' && s[len(s)-1] != ' '
	for _, r := range s {
		valid = valid && unicode.IsPrint(r)
	}
	if n := utf8.RuneCountInString(s); !valid || n < least || n > most {
		return "", fmt.Errorf("want %d to %d printable characters, no space at either end", least, most)
	}
	return EmergencyReason(s), nil
}

// Emergency returns the agreement as it is in an emergency, when that is what
// the principal states: with the policy for that, if everything else is there
// that a grant is bound to. The error is a *Refusal.
func (a Agreement) Emergency(by Principal) (Agreement, error) {
	refused := func(r Reason) (Agreement, error) { return a, &Refusal{Reason: r, Partner: a.Partner} }
	switch {
	case by.BreakGlass == "":
		return a, nil
	case a.BreakGlass == nil:
		return refused(BreakGlassNotAgreed)
	case by.Case == "":
		return refused(BreakGlassWithoutCase)
	case !by.User.Proven():
		return refused(BreakGlassUnproven)
	}
	a.Policy = a.BreakGlass.Policy
	return a, nil
}

func checkBreakGlass(doc *yamlstrict.Document, a Agreement) {
	if a.BreakGlass == nil {
		return
	}
	for _, key := range []string{"break_glass.policy", "break_glass.longest"} {
		if !doc.Has(key) {
			doc.Problemf(key, "is required")
		}
	}
	if doc.Has("break_glass.policy") && !regoPackage.MatchString(a.BreakGlass.Policy) {
		doc.Problemf("break_glass.policy", "want the name of a Rego package such as parley.partners.globex_emergency, not %q", a.BreakGlass.Policy)
	}
	if l := a.BreakGlass.Longest; doc.Has("break_glass.longest") && (l < shortestBreakGlass || l > longestBreakGlass) {
		doc.Problemf("break_glass.longest", "want 1m to 24h")
	}
}
