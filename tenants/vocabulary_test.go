package tenants_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/tenants"
)

// covers says whether an agreement about some purposes is about another.
func covers(terms map[tenants.Purpose][]tenants.Purpose, p tenants.Purpose, agreed ...tenants.Purpose) bool {
	a := tenants.Agreement{
		Signals: []tenants.Signal{tenants.Metrics}, Purposes: agreed, Terms: terms, NotAfter: time.Unix(1, 0),
	}
	err := a.Covers(time.Unix(0, 0), tenants.Metrics, p)
	var refusal *tenants.Refusal
	if err != nil && (!errors.As(err, &refusal) || refusal.Reason != tenants.PurposeNotAgreed) {
		panic(err)
	}
	return err == nil
}

func TestAPurposeCoversTheNarrowerOnes(t *testing.T) {
	terms := map[tenants.Purpose][]tenants.Purpose{
		"payments-review": {"payment-management", "house-keeping"},
		"refunds":         {"payments-review"},
		"house-keeping":   {},
	}
	for _, c := range []struct {
		asked, agreed tenants.Purpose
		want          bool
	}{
		{"incident-response", "incident-response", true},
		{"incident-response", "repair-impairments", true},
		{"incident-response", "service-provision", true},
		{"slo-review", "increase-service-robustness", true},
		{"capacity", "internal-resource-optimisation", true},
		{"capacity", "optimisation-for-controller", true},
		{"audit", "organisation-governance", true},
		{"improve-internal-crm-processes", "customer-management", true},
		{"improve-internal-crm-processes", "service-optimisation", true},
		{"protection-of-ipr", "fulfilment-of-obligation", true},
		{"rights-fulfillment", "fulfilment-of-obligation", false},
		{"service-provision", "incident-response", false},
		{"slo-review", "internal-resource-optimisation", false},
		{"audit", "service-provision", false},
		{"marketing", "advertising", false},
		{"refunds", "service-provision", true},
		{"refunds", "house-keeping", true},
		{"payments-review", "refunds", false},
		{"unheard-of", "unheard-of", true},
		{"unheard-of", "service-provision", false},
		{"", "service-provision", false},
	} {
		if got := covers(terms, c.asked, c.agreed); got != c.want {
			t.Errorf("an agreement about %s covers %q: %t, want %t", c.agreed, c.asked, got, c.want)
		}
	}
	if covers(nil, "refunds", "payments-review") {
		t.Error("terms of one agreement count in another")
	}
	a := tenants.Agreement{Terms: terms}
	want := []tenants.Purpose{"house-keeping", "payment-management", "payments-review", "refunds", "service-provision"}
	if diff := cmp.Diff(want, a.Under("refunds")); diff != "" {
		t.Error(diff)
	}
}

// What is built in names only what is built in, in our spelling, and nothing of
// it is broader than itself.
func TestTheVocabularyIsAHierarchy(t *testing.T) {
	if n := len(tenants.Vocabulary); n < 90 {
		t.Fatalf("%d terms", n)
	}
	for term, broader := range tenants.Vocabulary {
		if _, err := tenants.ParsePurpose(string(term)); err != nil {
			t.Error(err)
		}
		for _, b := range broader {
			if _, ok := tenants.Vocabulary[b]; !ok {
				t.Errorf("%s, broader than %s, is not in it", b, term)
			}
			if slices.Contains(tenants.Agreement{}.Under(b), term) {
				t.Errorf("%s is broader than itself", term)
			}
		}
	}
}

// For any terms, and beside the vocabulary: an agreement about a purpose covers
// that one and, by any number of steps down, the narrower ones; never one that is
// broader, nor one beside it.
func TestCoversIsReflexiveAndTransitive(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		known := []tenants.Purpose{"service-provision", "repair-impairments", "incident-response", "marketing", "audit"}
		terms := map[tenants.Purpose][]tenants.Purpose{}
		for i := range 12 {
			term := tenants.Purpose(fmt.Sprintf("term-%d", i))
			for range random.IntN(3) {
				if broader := known[random.IntN(len(known))]; !slices.Contains(terms[term], broader) {
					terms[term] = append(terms[term], broader)
				}
			}
			known = append(known, term)
		}
		for _, a := range known {
			if !covers(terms, a, a) {
				t.Fatalf("seed %d: %s doesn't cover itself, with %v", seed, a, terms)
			}
			for _, narrower := range known {
				direct := slices.Contains(terms[narrower], a)
				if direct && !covers(terms, narrower, a) {
					t.Fatalf("seed %d: %s doesn't cover %s, with %v", seed, a, narrower, terms)
				}
				if a != narrower && covers(terms, narrower, a) && covers(terms, a, narrower) {
					t.Fatalf("seed %d: %s and %s cover each other, with %v", seed, a, narrower, terms)
				}
				for _, b := range known {
					if covers(terms, b, a) && covers(terms, narrower, b) && !covers(terms, narrower, a) {
						t.Fatalf("seed %d: %s covers %s, that %s, with %v", seed, a, b, narrower, terms)
					}
				}
				// Siblings: what is not reached by steps upwards isn't covered.
				if covers(terms, narrower, a) != reaches(terms, narrower, a) {
					t.Fatalf("seed %d: %s covers %s: %t, with %v", seed, a, narrower, covers(terms, narrower, a), terms)
				}
			}
		}
	}
}

// reaches follows broader terms one path at a time.
func reaches(terms map[tenants.Purpose][]tenants.Purpose, from, to tenants.Purpose) bool {
	return from == to || slices.ContainsFunc(append(terms[from], tenants.Vocabulary[from]...), func(broader tenants.Purpose) bool {
		return reaches(terms, broader, to)
	})
}
