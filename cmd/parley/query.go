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
)

// queryCommand asks a gateway one PromQL question: the answer goes to standard
// output, what is in it and what is missing to standard error.
type queryCommand struct {
	asker `embed:""`

	Range  *model.Duration `placeholder:"1h" help:"Ask for this long up to --time instead of for one moment."`
	Step   *model.Duration `placeholder:"30s" help:"Resolution of --range; without it a hundredth of the range."`
	Time   string          `placeholder:"T" help:"The moment asked for, as RFC 3339 or Unix seconds; without it now."`
	Output string          `short:"o" enum:"table,json" default:"table" help:"table, or json: the API's answer as it came."`

	Expression string `arg:"" name:"expr" help:"The question in PromQL."`
}

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
	return c.ask(ctx, newAskingClient(), time.Now(), k.Stdout, k.Stderr)
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
		_ = c.completeness(stderr, resp.Header, answer, c.ofNobody) // the error says more than a failure to print this
		return errors.New(printable(answer.Error))
	}
	if c.Output == "table" {
		if err := printAnswer(stdout, answer); err != nil {
			return err
		}
	}
	return c.completeness(stderr, resp.Header, answer, c.ofNobody)
}

// request is a POST, since an expression may be longer than a URL.
func (c *queryCommand) request(ctx context.Context, now time.Time) (*http.Request, error) {
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
		return nil, errStepAlone
	default:
		form.Set("time", seconds(at))
	}
	return c.post(ctx, path, form)
}

// errStepAlone is that of a --step without a range.
var errStepAlone = usage("--step is the resolution of a range; give --range as well")

// span is how long --range is, and its step.
func (c *queryCommand) span() (length, step time.Duration, err error) {
	length = time.Duration(*c.Range)
	if length <= 0 {
		return 0, 0, usage("--range 0s is no time at all; give one such as 1h, or leave it out to ask for one moment")
	}
	if c.Step == nil {
		return length, max((length / 100).Truncate(time.Second), time.Second), nil
	}
	if step = time.Duration(*c.Step); step <= 0 {
		return 0, 0, usage("--step 0s would never come to an end; give one such as 30s, or leave it out for a hundredth of the range")
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
		return time.Time{}, usage("--time %q is neither RFC 3339, such as 2026-01-02T15:04:05Z, nor Unix seconds", text)
	}
	return time.UnixMilli(int64(s * 1000)), nil
}

func seconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', -1, 64)
}
