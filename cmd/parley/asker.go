package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/tenants"
)

// asker is who asks a gateway, which one, and why.
type asker struct {
	Gateway    string `default:"http://127.0.0.1:9480" env:"PARLEY_GATEWAY" placeholder:"URL" help:"Our gateway's address for users (${default})."`
	Purpose    string `placeholder:"P" help:"Why you ask, such as incident-response; without it the gateway's default."`
	Case       string `placeholder:"C" help:"The incident, ticket or audit the question belongs to."`
	TokenFile  string `type:"path" placeholder:"FILE" help:"A file with the bearer token that says who you are, where the gateway asks for one."`
	BreakGlass string `placeholder:"REASON" help:"Why this is an emergency: ask for what partners show then, for --case. They are told at once; needs --token-file."`
}

// queryTimeout is a little more than a gateway takes at most.
const queryTimeout = 2*time.Minute + 15*time.Second

func newAskingClient() *http.Client {
	return &http.Client{Timeout: queryTimeout, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
}

// post is a request to a path of the gateway's API.
func (c *asker) post(ctx context.Context, path string, form url.Values) (*http.Request, error) {
	base, err := url.Parse(c.Gateway)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, usage("--gateway %q isn't an address such as http://127.0.0.1:9480", c.Gateway)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base.JoinPath(path).String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, usage("--gateway %q: %w", c.Gateway, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if c.Purpose != "" {
		purpose, err := tenants.ParsePurpose(c.Purpose)
		if err != nil {
			return nil, usage("--purpose: %w", err)
		}
		req.Header.Set(front.PurposeHeader, string(purpose))
	}
	id, err := tenants.ParseCaseID(c.Case)
	if err != nil {
		return nil, usage("--case: %w", err)
	}
	if id != "" {
		req.Header.Set(front.CaseHeader, string(id))
	}
	return req, c.identify(req)
}

// identify says who asks, and in which emergency.
func (c *asker) identify(req *http.Request) error {
	if c.TokenFile != "" {
		token, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return fmt.Errorf("--token-file: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	if c.BreakGlass == "" {
		return nil
	}
	reason, err := tenants.ParseEmergencyReason(c.BreakGlass)
	switch {
	case err != nil:
		return usage("--break-glass says why this is an emergency: %w", err)
	case c.Case == "":
		return usage("--break-glass is for a case; name it with --case")
	}
	req.Header.Set(front.BreakGlassHeader, string(reason))
	return nil
}

// unreachable says in a sentence why there is no answer at all.
func (c *asker) unreachable(err error) error {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted before the answer came")
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing answers at %s; is `parley serve` running there?", c.Gateway)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%s didn't answer in time", c.Gateway)
	}
	return fmt.Errorf("can't ask %s: %w", c.Gateway, err)
}
