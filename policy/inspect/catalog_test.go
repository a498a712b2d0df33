package inspect

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

func catalog(t *testing.T, f *Folder, partner tenants.OrgID) Catalog {
	t.Helper()
	a, ok := f.Agreement(partner)
	if !ok {
		t.Fatalf("no agreement with %s", partner)
	}
	c, err := f.Catalog(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCatalog(t *testing.T) {
	f := load(t, written(t, map[string]string{"globex.rego": `package parley.partners.globex

import data.parley.lib

default decision := {"allow": false}

decision := {"allow": true, "max_age": "7d", "limits": {"series": 100}, "datasets": [{
	"name": "requests", "series": lib.matching(["http_requests_total", "http_duration_.*"], {"region": "eu"}), "release": "row",
	"labels": {"region": "keep", "status": lib.status_class, "pod": "pseudonym", "queue": {"generalize": {"prefix": 3}}},
	"round": {"digits": 3},
}]} if input.principal.purpose == "slo-review"

decision := {"allow": true, "resolution": "1m", "functions": ["sum", "rate"], "pseudonym_epoch": "1d", "datasets": [{
	"name": "logins", "series": ["logins_total"], "release": "aggregate",
	"dimensions": ["region", "device"], "labels": {"device": "drop"}, "units": ["user"], "k": 5,
}]} if {
	input.principal.purpose == "incident-response"
	input.principal.case != ""
	input.kind == "query"
}
`}), agreement("globex", "parley.partners.globex", "slo-review", "incident-response", "capacity"))
	all := policy.Kinds(tenants.Metrics)
	want := Catalog{
		Owner: Us, Partner: "globex",
		Rates: Rates{Concurrent: tenants.DefaultLimits.Concurrent, QueriesPerMinute: tenants.DefaultLimits.QueriesPerMinute},
		Purposes: []CatalogPurpose{
			{Purpose: "slo-review", Terms: []CatalogTerms{{
				Sets: []CatalogSet{{
					Signal:    tenants.Metrics,
					Selectors: []string{`http_requests_total{region="eu"}`, `http_duration_.*{region="eu"}`}, Release: policy.Row,
					Labels: []CatalogLabel{
						{"pod", "by pseudonym"}, {"queue", "by the first 3 characters"}, {"region", "as it is"}, {"status", "in classes"},
					},
					Rounding: "3 digits",
				}},
				MaxAge: 7 * 24 * time.Hour, Pseudonyms: "one question", Kinds: all,
				Limits: CatalogLimits{Series: 100, Samples: tenants.DefaultLimits.Samples, Bytes: tenants.DefaultLimits.Bytes, Range: tenants.DefaultLimits.Range},
			}}},
			{Purpose: "incident-response", Terms: []CatalogTerms{{
				Conditions: []Condition{OfACase, OfTheKind},
				Sets: []CatalogSet{{
					Signal:    tenants.Metrics,
					Selectors: []string{"logins_total"}, Release: policy.Aggregate, Labels: []CatalogLabel{{"region", "as it is"}}, Least: 5, Rounding: "exact",
				}},
				Resolution: time.Minute, Functions: []string{"sum", "rate"}, Pseudonyms: "1d", Kinds: []policy.Kind{policy.Instant},
				Limits: CatalogLimits{Series: tenants.DefaultLimits.Series, Samples: tenants.DefaultLimits.Samples, Bytes: tenants.DefaultLimits.Bytes, Range: tenants.DefaultLimits.Range},
			}}},
			{Purpose: "capacity", Terms: []CatalogTerms{}},
		},
	}
	if diff := cmp.Diff(want, catalog(t, f, "globex")); diff != "" {
		t.Error(diff)
	}
}

// Nothing of what is hidden is in what the partner is handed: neither as a
// label's name, nor in how series are chosen, nor in the names and words that
// are the owner's own.
func TestCatalogTellsNothingHidden(t *testing.T) {
	for name, c := range map[string]struct {
		datasets string
		// shows are in the catalog, nothing that contains "secret" is.
		shows []string
	}{
		"a label by its name":                 {`{"name": "secret-set", "series": ["up"], "release": "row", "labels": {"job": "keep", "secret": "drop"}}`, []string{`"up"`, `"job"`}},
		"how series are chosen beside a star": {`{"name": "a", "series": ["up{secret=\"x\", job=\"a\"}"], "release": "row", "labels": {"secret": "drop", "*": "keep"}}`, []string{`up{job=\"a\"}`}},
		"a label beside a star":               {`{"name": "a", "series": ["up"], "release": "row", "labels": {"secret": "drop", "*": "keep"}}`, []string{`"others":"as it is"`}},
		"a label that another dataset hides": {`{"name": "a", "series": ["up"], "release": "row", "labels": {"secret": "keep", "job": "keep"}},
			{"name": "b", "series": ["{__name__=~\"u.*\"}"], "release": "row", "labels": {"job": "keep"}}`, []string{`"job"`}},
		"how series are chosen":      {`{"name": "a", "series": ["up{secret=\"x\"}", "up{job!=\"secret\"}", "up{job=~\"a\", env=\"secret\"}"], "release": "row", "labels": {"job": "keep"}}`, []string{`"up"`, `up{job=~\"a\"}`}},
		"by what it is not":          {`{"name": "a", "series": ["{__name__!~\"secret_.*\", job=\"a\"}"], "release": "row", "labels": {"job": "keep"}}`, []string{`{job=\"a\"}`}},
		"a metric of a list":         {`{"name": "a", "series": ["{__name__=~\"up|secret_total\"}"], "release": "row"}, {"name": "never", "series": ["{__name__=~\"secret_.*\"}"], "release": "deny"}`, []string{`"up"`}},
		"an alternative":             {`{"name": "a", "series": ["{__name__=~\"http_.*|secret_.*\"}"], "release": "row"}, {"name": "never", "series": ["{__name__=~\"secret_.*\"}"], "release": "deny"}`, []string{`http_.*`}},
		"an alternative in brackets": {`{"name": "a", "series": ["{__name__=~\"my_(http|secret)_.*\"}"], "release": "row"}, {"name": "never", "series": ["{__name__=~\"my_secret_.*\"}"], "release": "deny"}`, []string{`my_.*`}},
		"an alternative in a class":  {`{"name": "a", "series": ["{__name__=~\"secret[a-b]\"}"], "release": "row"}, {"name": "never", "series": ["{__name__=~\"secret.\"}"], "release": "deny"}`, nil},
		"all that is denied":         {`{"name": "a", "series": ["secret_total"], "release": "row", "labels": {"secret": "keep"}}, {"name": "never", "series": ["secret_total"], "release": "deny"}`, nil},
		"a value that is denied":     {`{"name": "a", "series": ["up{env=~\"prod|secret\"}"], "release": "row", "labels": {"env": "keep"}}, {"name": "never", "series": ["{env=\"secret\"}"], "release": "deny"}`, []string{`"up"`}},
		"units":                      {`{"name": "a", "series": ["up"], "release": "aggregate", "dimensions": ["job", "secret"], "labels": {"secret": "drop"}, "units": ["secret_id"], "k": 5}`, []string{`"job"`, `"least":5`}},
		"rows that leave in cells":   {`{"name": "a", "series": ["up"], "release": "row", "labels": {"secret": "keep"}}, {"name": "b", "series": ["{__name__=~\"u.*\"}"], "release": "aggregate", "dimensions": ["job"], "units": ["user"], "k": 5}`, []string{`u.*`}},
		"a mapping":                  {`{"name": "a", "series": ["up"], "release": "row", "labels": {"job": {"generalize": {"regex": "secret-(.*)", "replacement": "big", "else": "small"}}}}`, []string{`"in classes"`}},
		"fields of lines":            {`{"name": "a", "streams": ["{job=\"a\", secret=\"b\"}"], "release": "row", "labels": {"job": "keep", "secret": "drop"}, "line": [{"json": {"message": "keep", "secret": "drop", "x": {"generalize": {"regex": "secret", "replacement": "y"}}}}, {"mask": {"name": "ticket", "pattern": "secret-.*"}}]}`, []string{`{job=\"a\"}`, `"message"`, `"ticket"`, `"in classes"`}},
		"reasons":                    {`{"name": "a", "series": ["up"], "release": "row"}], "reasons": ["secret"], "max_age": "1d"} if "secret" != input.principal.case else := {"allow": true, "datasets": [{"name": "b", "series": ["down"], "release": "row"}`, []string{`"up"`}},
	} {
		t.Run(name, func(t *testing.T) {
			f := load(t, written(t, map[string]string{
				"globex.rego": fmt.Sprintf("package parley.partners.globex\ndecision := {\"allow\": true, \"datasets\": [%s]}", c.datasets),
			}), withLogs(agreement("globex", "parley.partners.globex", "audit")))
			text, err := json.Marshal(catalog(t, f, "globex"))
			if err != nil {
				t.Fatal(err)
			}
			plain := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(text))
			if strings.Contains(plain, "secret") || strings.Contains(plain, "never") {
				t.Errorf("tells what is hidden: %s", plain)
			}
			for _, show := range c.shows {
				if !strings.Contains(plain, show) {
					t.Errorf("%s is missing in %s", show, plain)
				}
			}
		})
	}
}
