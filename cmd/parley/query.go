package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/common/model"

	"github.com/parley-gateway/parley/gateway/front"
	"github.com/parley-gateway/parley/tenants"
)

// queryCommand asks a gateway one PromQL question: the answer goes to standard
// output, what is in it and what is missing to standard error.
type queryCommand struct {
	Gateway    string          `default:"http://127.0.0.1:9480" env:"PARLEY_GATEWAY" placeholder:"URL" help:"Our gateway's address for users (${default})."`
	Purpose    string          `placeholder:"P" help:"Why you ask, such as incident-response; without it the gateway's default."`
	Case       string          `placeholder:"C" help:"The incident, ticket or audit the question belongs to."`
	TokenFile  string          `type:"path" placeholder:"FILE" help:"A file with the bearer token that says who you are, where the gateway asks for one."`
	BreakGlass string          `placeholder:"REASON" help:"Why this is an emergency: ask for what partners show then, for --case. They are told at once; needs --token-file."`
	Range      *model.Duration `placeholder:"1h" help:"Ask for this long up to --time instead of for one moment."`
	Step       *model.Duration `placeholder:"30s" help:"Resolution of --range; without it a hundredth of the range."`
	Time       string          `placeholder:"T" help:"The moment asked for, as RFC 3339 or Unix seconds; without it now."`
	Output     string          `short:"o" enum:"table,json" default:"table" help:"table, or json: the API's answer as it came."`

	Expression string `arg:"" name:"expr" help:"The question in PromQL."`
}

// queryTimeout is a little more than a gateway takes at most.
const queryTimeout = 2*time.Minute + 15*time.Second

// Help is shown by parley query --help.
func (*queryCommand) Help() string {
	return `Examples:

  parley query 'sum by (org, region) (rate(http_requests_total[5m]))'
  parley query --range 1h --step 30s 'sum by (org) (workflow_active)'
  parley query --purpose incident-response --case INC-42 -o json 'up == 0'

The answer is written to standard output. One line for every organization, with
what it contributed or why it didn't, is written to standard error. The exit
code is not zero when there was no answer.`
}

// Run asks, until it is answered or interrupted.
func (c *queryCommand) Run(k *kong.Kong) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client := &http.Client{Timeout: queryTimeout, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true,
	}}
	return c.ask(ctx, client, time.Now(), k.Stdout, k.Stderr)
}

// queryAnswer is Prometheus's answer.
type queryAnswer struct {
	Status string `json:"status"`
	Data   struct {
		ResultType string          `json:"resultType"`
		Result     json.RawMessage `json:"result"`
	} `json:"data"`
	Error    string   `json:"error"`
	Warnings []string `json:"warnings"`
}

func (c *queryCommand) ask(ctx context.Context, client *http.Client, now time.Time, stdout, stderr io.Writer) error {
	req, err := c.request(ctx, now)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return c.unreachable(err)
	}
	var answer queryAnswer
	if json.Unmarshal(body, &answer) != nil || answer.Status == "" {
		return fmt.Errorf("%s answered with status %d and something that isn't a Prometheus answer; is it a parley gateway?", c.Gateway, resp.StatusCode)
	}
	if c.Output == "json" {
		if _, err := fmt.Fprintln(stdout, strings.TrimSuffix(string(body), "\n")); err != nil {
			return fmt.Errorf("writing the answer: %w", err)
		}
	}
	if answer.Status != "success" {
		_ = c.completeness(stderr, resp.Header, answer) // the error says more than a failure to print this
		return errors.New(printable(answer.Error))
	}
	if c.Output == "table" {
		if err := printAnswer(stdout, answer); err != nil {
			return err
		}
	}
	return c.completeness(stderr, resp.Header, answer)
}

// request is a POST, since an expression may be longer than a URL.
func (c *queryCommand) request(ctx context.Context, now time.Time) (*http.Request, error) {
	base, err := url.Parse(c.Gateway)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("--gateway %q isn't an address such as http://127.0.0.1:9480", c.Gateway)
	}
	form := url.Values{"query": {c.Expression}}
	at, err := moment(c.Time, now)
	if err != nil {
		return nil, err
	}
	path := "api/v1/query"
	switch {
	case c.Range != nil:
		length, step, err := c.span()
		if err != nil {
			return nil, err
		}
		path = "api/v1/query_range"
		form.Set("start", seconds(at.Add(-length)))
		form.Set("end", seconds(at))
		form.Set("step", strconv.FormatFloat(step.Seconds(), 'f', -1, 64))
	case c.Step != nil:
		return nil, errors.New("--step is the resolution of a range; give --range as well")
	default:
		form.Set("time", seconds(at))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base.JoinPath(path).String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("--gateway %q: %w", c.Gateway, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if c.Purpose != "" {
		purpose, err := tenants.ParsePurpose(c.Purpose)
		if err != nil {
			return nil, fmt.Errorf("--purpose: %w", err)
		}
		req.Header.Set(front.PurposeHeader, string(purpose))
	}
	id, err := tenants.ParseCaseID(c.Case)
	if err != nil {
		return nil, fmt.Errorf("--case: %w", err)
	}
	if id != "" {
		req.Header.Set(front.CaseHeader, string(id))
	}
	return req, c.identify(req)
}

// identify says who asks, and in which emergency.
func (c *queryCommand) identify(req *http.Request) error {
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
		return fmt.Errorf("--break-glass says why this is an emergency: %w", err)
	case c.Case == "":
		return errors.New("--break-glass is for a case; name it with --case")
	}
	req.Header.Set(front.BreakGlassHeader, string(reason))
	return nil
}

// span is how long --range is, and its step.
func (c *queryCommand) span() (length, step time.Duration, err error) {
	length = time.Duration(*c.Range)
	if length <= 0 {
		return 0, 0, errors.New("--range 0s is no time at all; give one such as 1h, or leave it out to ask for one moment")
	}
	if c.Step == nil {
		return length, max((length / 100).Truncate(time.Second), time.Second), nil
	}
	if step = time.Duration(*c.Step); step <= 0 {
		return 0, 0, errors.New("--step 0s would never come to an end; give one such as 30s, or leave it out for a hundredth of the range")
	}
	return length, step, nil
}

// moment reads --time.
func moment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return now, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	s, err := strconv.ParseFloat(text, 64)
	if err != nil || s != s || s < -1e11 || s > 1e11 {
		return time.Time{}, fmt.Errorf("--time %q is neither RFC 3339, such as 2026-01-02T15:04:05Z, nor Unix seconds", text)
	}
	return time.UnixMilli(int64(s * 1000)), nil
}

func seconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', -1, 64)
}

// unreachable says in a sentence why there is no answer at all.
func (c *queryCommand) unreachable(err error) error {
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
