package inspect

import (
	"fmt"
	"slices"
	"strings"

	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
	"github.com/parley-gateway/parley/tenants/yamlstrict"
)

// partners is the package below which partners' policies are looked for first.
const partners = "parley.partners."

// Doubts are findings about what is probably misspelt, as far as names tell.
func (f *Folder) Doubts() []Finding {
	var out []Finding
	for _, r := range f.Policies.Unreached() {
		if misspeltDecision(r.Name) {
			out = append(out, Finding{
				ID: MisspeltDecision, Severity: Error, Place: r.Place,
				Text:   fmt.Sprintf("nothing asks for the rule %s; did you mean `decision`?", r.Name[strings.LastIndexByte(r.Name, '.')+1:]),
				Advice: "call it decision, or remove it",
			})
		}
	}
	for _, p := range f.Inventory.Packages {
		if !p.Answers {
			continue
		}
		if f.Assumed && !strings.HasPrefix(p.Name, partners) {
			out = append(out, Finding{
				ID: OutsidePartners, Severity: Warning, Place: p.Place,
				Text:   fmt.Sprintf("package %s decides, and is not below %s", p.Name, strings.TrimSuffix(partners, ".")),
				Advice: "correct its name, or name it in an agreement as it is",
			})
		}
		out = append(out, f.unknownPurposes(p)...)
	}
	return slices.DeleteFunc(out, f.ignored)
}

func misspeltDecision(rule string) bool {
	name := rule[strings.LastIndexByte(rule, '.')+1:]
	return yamlstrict.Nearest(name, []string{"decision"}) != "" && len(name) >= len("decision")-2
}

// unknownPurposes are those a package speaks of that are in no vocabulary: of the
// agreements that name it, or where these are assumed of the one built in.
func (f *Folder) unknownPurposes(p rego.Package) []Finding {
	var known []tenants.Purpose
	agreements := f.Agreements
	if f.Assumed {
		agreements = nil
	}
	for _, a := range append([]tenants.Agreement{{}}, agreements...) {
		if a.Partner == "" || names(a, p.Name) {
			known = append(known, a.Vocabulary()...)
		}
	}
	var out []Finding
	for _, purpose := range p.Purposes {
		if slices.Contains(known, purpose) {
			continue
		}
		text := fmt.Sprintf("package %s speaks of the purpose %s, which is in no vocabulary", p.Name, purpose)
		if near := yamlstrict.Nearest(string(purpose), textsOf(known)); near != "" {
			text += "; did you mean " + near + "?"
		}
		out = append(out, Finding{ID: UnknownPurpose, Severity: Warning, Place: p.Place, Text: text, Advice: "correct its spelling, or add it to the terms of the agreement"})
	}
	return out
}

func textsOf(purposes []tenants.Purpose) []string {
	out := make([]string, len(purposes))
	for i, p := range purposes {
		out[i] = string(p)
	}
	return out
}
