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
	// maxWaiting is how many announcements may wait for their webhook.
	maxWaiting = 64
	maxRetry   = 5 * time.Minute
	postWithin = 10 * time.Second
)

// What becomes of an attempt to announce.
const (
	delivered = "delivered"
	failed    = "failed"
	dropped   = "dropped"
)

// Announcement is what a webhook is sent, as JSON.
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
}

// announcer posts to webhooks, each announcement in a goroutine of its own, so
// that one webhook which is down keeps no other waiting.
type announcer struct {
	config  Config
	metrics instruments
	ctx     context.Context
	cancel  context.CancelFunc
	slots   chan struct{}
	running sync.WaitGroup
}

func newAnnouncer(c Config, m instruments) *announcer {
	if c.Client == nil {
		c.Client = &http.Client{
			Timeout:       postWithin,
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	a := &announcer{config: c, metrics: m, slots: make(chan struct{}, maxWaiting)}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a
}

func (a *announcer) close() {
	a.cancel()
	a.running.Wait()
}

// announce doesn't wait.
func (a *announcer) announce(to tenants.WebhookURL, g gateway.Grant, id federation.ExchangeID) {
	if to == "" {
		return
	}
	select {
	case a.slots <- struct{}{}:
	default:
		a.metrics.webhooks.WithLabelValues(dropped).Inc()
		a.config.Log.Error("a break-glass grant is not announced to the webhook: too many announcements wait", "partner", g.Partner, "case", g.Case)
		return
	}
	a.running.Go(func() {
		defer func() { <-a.slots }()
		a.deliver(to, Announcement{
			Event: "break-glass", Org: a.config.Org, Partner: g.Partner, Case: g.Case, Purpose: g.Purpose, Person: g.Person, Proof: g.Proof,
			Reason: g.Reason, Exchange: id, Opened: g.Opened, Ends: g.Ends,
		})
	})
}

// deliver posts until the webhook has it or the gateway ends.
func (a *announcer) deliver(to tenants.WebhookURL, what Announcement) {
	wait := a.config.Retry
	for {
		err := a.post(to, what)
		if err == nil {
			a.metrics.webhooks.WithLabelValues(delivered).Inc()
			return
		}
		a.metrics.webhooks.WithLabelValues(failed).Inc()
		a.config.Log.Error("a break-glass grant can't be announced to the webhook", "partner", what.Partner, "case", what.Case, "error", err, "again_in", wait)
		select {
		case <-a.ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, maxRetry)
	}
}

// post's errors don't have the URL, which may hold a secret.
func (a *announcer) post(to tenants.WebhookURL, what Announcement) error {
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
