package tenants

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/parley-gateway/parley/tenants/yamlstrict"
)

// vocabulary has the purposes that need no definition, each with those that are
// directly broader: the purposes of the W3C Data Privacy Vocabulary 2.0
// (https://w3id.org/dpv/2.0) in our spelling, without their root, of which
// everything would be a part, and below them what operators ask each other for.
var vocabulary = map[Purpose][]Purpose{
	// What operators ask each other for.
	"incident-response": {"repair-impairments"},
	"slo-review":        {"increase-service-robustness"},
	"capacity":          {"internal-resource-optimisation"},
	"audit":             {"organisation-compliance-management"},

	"academic-research":                      {"research-and-development"},
	"account-management":                     {},
	"advertising":                            {"marketing"},
	"age-verification":                       {"verification"},
	"combat-climate-change":                  {"public-benefit"},
	"commercial-purpose":                     {},
	"commercial-research":                    {"research-and-development", "commercial-purpose"},
	"communication-for-customer-care":        {"customer-care", "communication-management"},
	"communication-management":               {},
	"counter-money-laundering":               {"fraud-prevention-and-detection"},
	"counterterrorism":                       {"public-benefit"},
	"credit-checking":                        {"customer-solvency-monitoring"},
	"customer-care":                          {"customer-management"},
	"customer-claims-management":             {"customer-management"},
	"customer-management":                    {},
	"customer-order-management":              {"customer-management"},
	"customer-relationship-management":       {"customer-management"},
	"customer-solvency-monitoring":           {"customer-management"},
	"data-altruism":                          {"public-benefit"},
	"delivery-of-goods":                      {"requested-service-provision"},
	"direct-marketing":                       {"marketing"},
	"dispute-management":                     {"organisation-governance"},
	"enforce-access-control":                 {"enforce-security"},
	"enforce-security":                       {},
	"establish-contractual-agreement":        {},
	"fraud-prevention-and-detection":         {"misuse-prevention-and-detection"},
	"fulfilment-of-contractual-obligation":   {"fulfilment-of-obligation"},
	"fulfilment-of-obligation":               {},
	"human-resource-management":              {},
	"identity-authentication":                {"enforce-security"},
	"identity-verification":                  {"verification"},
	"improve-existing-products-and-services": {"optimisation-for-controller"},
	"improve-healthcare":                     {"public-benefit"},
	"improve-internal-crm-processes":         {"customer-relationship-management", "optimisation-for-controller"},
	"improve-public-services":                {"public-benefit"},
	"improve-transport-mobility":             {"public-benefit"},
	"increase-service-robustness":            {"optimisation-for-controller"},
	"internal-resource-optimisation":         {"optimisation-for-controller"},
	"legal-compliance":                       {"fulfilment-of-obligation"},
	"maintain-credit-checking-database":      {"credit-checking"},
	"maintain-credit-rating-database":        {"credit-checking"},
	"maintain-fraud-database":                {"fraud-prevention-and-detection"},
	"marketing":                              {},
	"member-partner-management":              {"organisation-governance"},
	"misuse-prevention-and-detection":        {"enforce-security"},
	"non-commercial-purpose":                 {},
	"non-commercial-research":                {"research-and-development", "non-commercial-purpose"},
	"optimisation-for-consumer":              {"service-optimisation"},
	"optimisation-for-controller":            {"service-optimisation"},
	"optimise-user-interface":                {"optimisation-for-consumer"},
	"organisation-compliance-management":     {"organisation-governance"},
	"organisation-governance":                {},
	"organisation-risk-management":           {"organisation-governance"},
	"payment-management":                     {"service-provision"},
	"personalisation":                        {},
	"personalised-advertising":               {"personalisation", "advertising"},
	"personalised-benefits":                  {"service-personalisation"},
	"personnel-hiring":                       {"personnel-management"},
	"personnel-management":                   {"human-resource-management"},
	"personnel-payment":                      {"personnel-management"},
	"protection-of-ipr":                      {"fulfilment-of-obligation"},
	"protection-of-national-security":        {"public-benefit"},
	"protection-of-public-security":          {"public-benefit"},
	"provide-event-recommendations":          {"provide-personalised-recommendations"},
	"provide-official-statistics":            {"public-benefit"},
	"provide-personalised-recommendations":   {"service-personalisation"},
	"provide-product-recommendations":        {"provide-personalised-recommendations"},
	"public-benefit":                         {},
	"public-policy-making":                   {"public-benefit"},
	"public-relations":                       {"marketing"},
	"record-management":                      {},
	"repair-impairments":                     {"service-provision"},
	"requested-service-provision":            {"service-provision"},
	"research-and-development":               {},
	"rights-fulfillment":                     {},
	"scientific-research":                    {"research-and-development"},
	"search-functionalities":                 {"service-provision"},
	"sell-data-to-third-parties":             {"sell-products"},
	"sell-insights-from-data":                {"sell-products"},
	"sell-products":                          {"service-provision"},
	"sell-products-to-data-subject":          {"sell-products"},
	"service-optimisation":                   {"service-provision"},
	"service-personalisation":                {"service-provision", "personalisation"},
	"service-provision":                      {},
	"service-registration":                   {"service-provision"},
	"service-usage-analytics":                {"service-provision"},
	"social-media-marketing":                 {"marketing"},
	"targeted-advertising":                   {"personalised-advertising"},
	"technical-service-provision":            {"service-provision"},
	"user-interface-personalisation":         {"service-personalisation"},
	"vendor-management":                      {},
	"vendor-payment":                         {"vendor-management"},
	"vendor-records-management":              {"vendor-management"},
	"vendor-selection-assessment":            {"vendor-management"},
	"verification":                           {"enforce-security"},
}

// Vocabulary returns the purposes that are built in and those of the agreement: its terms
// and what it is about, sorted.
func (a Agreement) Vocabulary() []Purpose {
	all := slices.Concat(slices.Collect(maps.Keys(vocabulary)), slices.Collect(maps.Keys(a.Terms)), a.Purposes)
	slices.Sort(all)
	return slices.Compact(all)
}

// Under returns the purposes that p is under: p itself and every broader one,
// in the vocabulary as the agreement extends it, sorted, each once. A purpose
// that is in neither is under itself alone.
func (a Agreement) Under(p Purpose) []Purpose {
	under := []Purpose{p}
	for i := 0; i < len(under); i++ {
		for _, broader := range a.broader(under[i]) {
			if !slices.Contains(under, broader) {
				under = append(under, broader)
			}
		}
	}
	slices.Sort(under)
	return under
}

// broader are the purposes directly broader than p. What is built in means the
// same under every agreement.
func (a Agreement) broader(p Purpose) []Purpose {
	if broader, builtIn := vocabulary[p]; builtIn {
		return broader
	}
	return a.Terms[p]
}

// checkTerms sees that the terms of an agreement extend the vocabulary and
// change nothing of it.
func checkTerms(doc *yamlstrict.Document, a Agreement) {
	for _, term := range slices.Sorted(maps.Keys(a.Terms)) {
		at := "terms." + string(term)
		if _, err := ParsePurpose(string(term)); err != nil {
			doc.Problemf(at, "%v", err)
			continue
		}
		if _, builtIn := vocabulary[term]; builtIn {
			doc.Problemf(at, "is a term of the built-in vocabulary and means the same in every agreement; give yours another name")
			continue
		}
		seen := map[Purpose]bool{}
		for i, broader := range a.Terms[term] {
			_, builtIn := vocabulary[broader]
			_, defined := a.Terms[broader]
			switch at := fmt.Sprintf("%s[%d]", at, i); {
			case !builtIn && !defined:
				doc.Problemf(at, "%s is neither in the built-in vocabulary nor one of terms", broader)
			case seen[broader]:
				doc.Problemf(at, "%s is listed twice", broader)
			}
			seen[broader] = true
		}
	}
	if circle := a.circle(); circle != nil {
		doc.Problemf("terms."+string(circle[0]), "is broader than itself: %s", strings.Join(texts(circle), " -> "))
	}
}

// circle returns terms of which each has the next as a broader one, the last
// being the first; nil if there are none.
func (a Agreement) circle() []Purpose {
	var path []Purpose
	done := map[Purpose]bool{}
	var walk func(Purpose) []Purpose
	walk = func(term Purpose) []Purpose {
		if at := slices.Index(path, term); at >= 0 {
			return append(slices.Clone(path[at:]), term)
		}
		if done[term] {
			return nil
		}
		done[term] = true
		path = append(path, term)
		for _, broader := range a.Terms[term] {
			if circle := walk(broader); circle != nil {
				return circle
			}
		}
		path = path[:len(path)-1]
		return nil
	}
	for _, term := range slices.Sorted(maps.Keys(a.Terms)) {
		if circle := walk(term); circle != nil {
			return circle
		}
	}
	return nil
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}
