package breakglass

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/tenants"
)

const (
	maxRetry   = 5 * time.Minute
	postWithin = 10 * time.Second
)

// What becomes of an attempt to announce.
const (
	delivered = "delivered"
	failed    = "failed"
)

// Announcement is what a webhook is sent, as JSON: at least once. One that was
// under way when the gateway ended is sent again, whether or not it arrived; the
// exchange tells that it is the same.
type Announcement struct {
	// Event is "break-glass".
	Event string `json:"event"`
	// Org is whose data is seen.
	Org      tenants.OrgID           `json:"org"`
	Partner  tenants.OrgID           `json:"partner"`
	Case     tenants.CaseID          `json:"case"`
	Purpose  tenants.Purpose         `json:"purpose"`
	Person   string                  `json:"person"`
	Proof    tenants.UserProof       `json:"user_proof"`
	Reason   tenants.EmergencyReason `json:"reason"`
	Exchange federation.ExchangeID   `json:"exchange"`
	Opened   time.Time               `json:"opened"`
	Ends     time.Time               `json:"ends"`
	// Lately is how many the partner opened within a day until then, this one
	// among them.
	Lately int `json:"opened_lately"`
}

// announcing is a grant to announce.
type announcing struct {
	kept

	lately int
}

// announcer posts to webhooks: a partner's announcements one after another, each
// until it is taken, and those of several partners side by side, so that a webhook
// which is down keeps no other waiting.
type announcer struct {
	config    Config
	metrics   instruments
	announced func(gateway.Grant)
	ctx       context.Context
	cancel    context.CancelFunc
	running   sync.WaitGroup

	mu sync.Mutex
	// waiting are the announcements of partners that have some, of which the first
	// is under way; guarded by mu.
	waiting map[tenants.OrgID][]announcing
}

func newAnnouncer(c Config, m instruments, announced func(gateway.Grant)) *announcer {
	if c.Client == nil {
		c.Client = &http.Client{
			Timeout:       postWithin,
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	a := &announcer{config: c, metrics: m, announced: announced, waiting: map[tenants.OrgID][]announcing{}}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a
}

func (a *announcer) close() {
	a.mu.Lock()
	a.cancel()
	a.mu.Unlock()
	a.running.Wait()
}

// announce doesn't wait.
func (a *announcer) announce(k announcing) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ctx.Err() != nil {
		return // after a restart
	}
	a.waiting[k.Partner] = append(a.waiting[k.Partner], k)
	if len(a.waiting[k.Partner]) == 1 {
		a.running.Go(func() { a.deliver(k) })
	}
}

// next takes the first of a partner's announcements away, and returns the one
// after it.
func (a *announcer) next(partner tenants.OrgID) (k announcing, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting[partner] = a.waiting[partner][1:]
	if len(a.waiting[partner]) == 0 {
		delete(a.waiting, partner)
		return k, false
	}
	return a.waiting[partner][0], true
}

// deliver posts a partner's announcements until the webhook has them all or the
// gateway ends.
func (a *announcer) deliver(k announcing) {
	wait := a.config.Retry
	for more := true; more; {
		err := a.post(k)
		if err == nil {
			wait = a.config.Retry
			k, more = a.next(k.Partner)
			continue
		}
		a.metrics.webhooks.WithLabelValues(failed).Inc()
		a.config.Log.Error("a break-glass grant can't be announced to the webhook", "partner", k.Partner, "case", k.Case, "error", err, "again_in", wait)
		select {
		case <-a.ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, maxRetry)
	}
}

// post announces a grant where the agreement says now. Where it says nothing any
// more, nobody is to be told.
func (a *announcer) post(k announcing) error {
	agreement, ok := a.config.Directory.Partner(k.Partner)
	if !ok || agreement.BreakGlass == nil || agreement.BreakGlass.Webhook == "" {
		a.config.Log.Warn("a break-glass grant isn't announced: the agreement has no webhook any more", "partner", k.Partner, "case", k.Case)
		return nil
	}
	err := a.send(agreement.BreakGlass.Webhook, Announcement{
		Event: "break-glass", Org: a.config.Org, Partner: k.Partner, Case: k.Case, Purpose: k.Purpose, Person: k.Person, Proof: k.Proof,
		Reason: k.Reason, Exchange: k.Exchange, Opened: k.Opened, Ends: k.Ends, Lately: k.lately,
	})
	if err == nil {
		a.metrics.webhooks.WithLabelValues(delivered).Inc()
		a.announced(k.Grant)
	}
	return err
}

// send's errors don't have the URL, which may hold a secret.
func (a *announcer) send(to tenants.WebhookURL, what Announcement) error {
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(a.ctx, http.MethodPost, string(to), bytes.NewReader(body))
	if err != nil {
		return errors.New("the webhook's URL can't be asked")
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := a.config.Client.Do(request)
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	err = errors.Join(err, response.Body.Close())
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("it answered with status %d", response.StatusCode)
	}
	return err
}
