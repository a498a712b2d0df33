package main

import (
	"strings"
	"testing"
	"time"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/tenants"
)

// A partner reads which spans it sees how.
func TestCatalogOfTraces(t *testing.T) {
	set := func(selector, mode string) inspect.CatalogSet {
		return inspect.CatalogSet{Signal: tenants.Traces, Selectors: []string{selector}, Release: policy.Row, Rounding: "exact", Spans: mode}
	}
	sets := []inspect.CatalogSet{set(`{"resource.service.name"="shop"}`, "attributes"), set("{}", "boundary"), set("{}", "shape"), set("{}", "full")}
	sets[0].Labels = []inspect.CatalogLabel{{Name: "name", How: "as it is"}, {Name: "span.user.id", How: "by pseudonym"}}
	sets[1].DurationsWithheld = true
	sets[2].Folded = true
	catalog := func(others ...inspect.CatalogSet) inspect.Catalog {
		return inspect.Catalog{Owner: "acme", Partner: "globex", Purposes: []inspect.CatalogPurpose{{Purpose: "slo-review", Terms: []inspect.CatalogTerms{{
			Sets: append(others, sets...), Limits: inspect.CatalogLimits{Spans: 500, Range: time.Hour}, Pseudonyms: "1d", Resolution: time.Minute,
		}}}}}
	}
	page := func(c inspect.Catalog) string {
		p := catalogPage{markdown: true}
		p.write(c)
		return p.out.String()
	}
	text := page(catalog())
	for _, want := range []string{
		"Ask your own gateway in TraceQL (`parley trace`), with `resource.parley.org = \"acme\"` in the filter. Spans and labels",
		"- `{\"resource.service.name\"=\"shop\"}`\n  - released as: spans\n  - names and attributes: `name` as it is; `span.user.id` by pseudonym\n",
		"- all spans\n  - released as: spans with which requests enter and leave; one withheld span stands for what is inside, neither how many there are nor how long they took is told\n  - names and attributes: none\n",
		"- all spans\n  - released as: spans without names and attributes: time, kind and who called whom\n",
		"- all spans\n  - released as: spans as they are\n",
		"one answer has at most 500 spans,",
		"Times are those at the end of every 1m.",
		"Pseudonyms stay the same for 1d.",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("without %q:\n%s", want, text)
		}
	}
	all := page(catalog(inspect.CatalogSet{Signal: tenants.Metrics, Selectors: []string{"up"}, Rounding: "exact"}, inspect.CatalogSet{Signal: tenants.Logs, Selectors: []string{"{}"}, Rounding: "exact", Lines: "keep"}))
	if want := "Ask your own gateway in PromQL about metrics, in LogQL (`parley logs`) about logs and in TraceQL (`parley trace`) about traces, with `org=\"acme\"` among the matchers, or `resource.parley.org = \"acme\"` in the filter."; !strings.Contains(all, want) || !strings.Contains(all, "Series, streams, spans and labels") {
		t.Error(all)
	}
}
