package gatewaytest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
)

// Line is one line of an organization's logs, so many seconds before the last
// sample of metricstest's stores.
type Line struct {
	Ago              int
	Text             string
	Stream, Metadata labels.Labels
}

// Writes gives the organization a store with the lines, or adds them to it.
func (o *Org) Writes(lines ...Line) *logs.Store {
	o.world.t.Helper()
	store, ok := o.Logs.(*logs.Store)
	if !ok {
		store = logs.NewStore(logs.StoreConfig{})
		o.Logs = store
	}
	for _, l := range lines {
		if err := store.Append(metricstest.End().Add(-time.Duration(l.Ago)*time.Second), l.Text, l.Stream, l.Metadata); err != nil {
			o.world.t.Fatal(err)
		}
	}
	return store
}

// AsksLogs asks LogQL over the last hour of metricstest's stores, for the last
// lines first, or numbers every minute.
func (o *Org) AsksLogs(expr string, header ...string) Reply {
	o.world.t.Helper()
	return o.Get("/loki/api/v1/query_range", url.Values{
		"query": {expr}, "limit": {"1000"}, "step": {"60"},
		"start": {strconv.FormatInt(metricstest.End().Add(-time.Hour).UnixNano(), 10)},
		"end":   {strconv.FormatInt(metricstest.End().UnixNano()+1, 10)},
	}, header...)
}

// AsksLogsNow asks LogQL that yields numbers, at the time of the last sample of
// metricstest's stores.
func (o *Org) AsksLogsNow(expr string, header ...string) Reply {
	o.world.t.Helper()
	return o.Get("/loki/api/v1/query", url.Values{"query": {expr}, "time": {strconv.FormatInt(metricstest.End().UnixNano(), 10)}}, header...)
}

// Lines are those of an answer of Loki's API, by the labels that Loki writes.
func (r Reply) Lines(t testing.TB) map[string][]string {
	t.Helper()
	if r.Code != http.StatusOK {
		t.Fatalf("%d %s", r.Code, r.Body)
	}
	var a struct {
		Data struct {
			Result []struct {
				Stream map[string]string `json:"stream"`
				Values [][]any           `json:"values"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(r.Body, &a); err != nil {
		t.Fatalf("%s: %v", r.Body, err)
	}
	out := map[string][]string{}
	for _, s := range a.Data.Result {
		key := labels.FromMap(s.Stream).String()
		for _, v := range s.Values {
			line, ok := v[1].(string)
			if !ok {
				t.Fatalf("a line that is none: %s", r.Body)
			}
			out[key] = append(out[key], line)
		}
	}
	return out
}
