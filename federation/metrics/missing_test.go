package metrics_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/policy"
)

// What a policy names and the store doesn't have is found, and nothing else is.
func TestMissing(t *testing.T) {
	one := values(func(int) float64 { return 1 })
	var store []metricstest.Series
	for _, ls := range []labels.Labels{
		labels.FromStrings("__name__", "http_requests_total", "env", "prod", "region", "eu", "customer_id", "1", "org", "theirs"),
		labels.FromStrings("__name__", "http_requests_total", "env", "prod", "region", "us", "customer_id", "2"),
		labels.FromStrings("__name__", "logins_total", "env", "prod", "user", "a"),
	} {
		store = append(store, metricstest.Series{Labels: ls, Values: one})
	}
	l := newLocalAt(t, metricstest.Store(t, store))
	keep := policy.LabelRule{Mode: policy.Keep}
	row := func(labels string, series ...string) policy.Dataset {
		d := policy.Dataset{Name: "d", Release: policy.Row, Labels: map[string]policy.LabelRule{}}
		for _, s := range series {
			d.Series = append(d.Series, mustSelect(t, s))
		}
		for _, name := range strings.Fields(labels) {
			d.Labels[name] = keep
		}
		return d
	}
	units := func(d policy.Dataset, unit string) policy.Dataset {
		d.Cells.Units = []string{unit}
		return d
	}
	denied := row("", `{env="tset"}`)
	denied.Release = policy.Deny
	for _, c := range []struct {
		dataset policy.Dataset
		want    []string
	}{
		{row("region customer_id exported_org", "http_requests_total"), nil},
		{row("trace_id", `{__name__=~"http_.*|nothing_.*"}`), nil}, // labels of exemplars; an expression
		{row("custmer_id region", `{env="prod"}`), []string{"label custmer_id at labels among customer_id, env, region, user"}},
		{row("user", "http_requests_total"), []string{"label user at labels, elsewhere, among customer_id, env, region"}},
		{row("", `{__name__=~"http_requests_total|logins"}`), []string{"metric logins at series among http_requests_total, logins_total"}},
		{row("", `{__name__=~"http_.*",envi!="test"}`), []string{"label envi at series among customer_id, env, region, user"}},
		{row("", `{__name__=~"http_.*",user=""}`), nil},
		{row("region team", `http_requests_totl{region="eu"}`), []string{
			"series at series", "metric http_requests_totl at series among http_requests_total, logins_total",
			"label team at labels among customer_id, env, region, user",
		}},
		{denied, []string{"series at series"}},
		{row("region"), []string{"series at series"}},
		{units(cellsOf(t, "logins_total", 2, "env", "regoin"), "usr"), []string{
			"label regoin at dimensions among env, user", "label usr at units among env, user",
		}},
	} {
		q := metrics.Question{Kind: policy.Instant, Expression: "up", Start: metricstest.End(), End: metricstest.End()}
		got, looked, err := l.Missing(t.Context(), q, policy.Obligations{Datasets: []policy.Dataset{c.dataset}}, metrics.Asking{Org: "globex", ExchangeID: "x"})
		if err != nil {
			t.Fatal(err)
		}
		if looked.End.Sub(looked.Start) != time.Hour || !looked.End.Equal(metricstest.End()) {
			t.Errorf("looked in %v", looked)
		}
		var said []string
		for _, m := range got {
			text := strings.TrimSpace(fmt.Sprintf("%s %s", m.What, m.Name)) + " at " + m.Key
			if m.Elsewhere {
				text += ", elsewhere,"
			}
			if len(m.Among) > 0 {
				text += " among " + strings.Join(m.Among, ", ")
			}
			said = append(said, text)
		}
		if !slices.Equal(said, c.want) {
			t.Errorf("%v:\n%s\nwant\n%s", c.dataset, strings.Join(said, "\n"), strings.Join(c.want, "\n"))
		}
	}
}
