package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
	"github.com/parley-gateway/parley/tenants/yamlstrict"
)

type policyCheckCommand struct {
	policySource
	output
}

// Help is shown by parley policy check --help.
func (*policyCheckCommand) Help() string {
	return `Examples:

  parley policy check --config gateway.yml
  parley policy check --dir policies -o json

Policies are compiled with the types of their input, and every package that an
agreement names is asked sample questions: what it decides has to have the
published shape. With --dir every package that could answer a partner is tried.
The exit code is 1 when there is a problem, and all of them are printed.`
}

// Run checks.
func (c *policyCheckCommand) Run(k *kong.Kong) error {
	report, err := c.check(context.Background())
	if err != nil {
		return c.failed(k.Stdout, err)
	}
	if c.Output == "json" {
		err = printJSON(k.Stdout, report)
	} else {
		err = report.show(k.Stdout)
	}
	if n := len(report.Problems); n > 0 && err == nil {
		return found(n, "problem")
	}
	return err
}

// policyReport is what was loaded, or why it can't be.
type policyReport struct {
	Dir      string          `json:"dir"`
	Revision policy.Revision `json:"revision,omitempty"`
	Packages []rego.Package  `json:"packages,omitempty"`
	Samples  int             `json:"samples"`
	Partners []partnerReport `json:"partners,omitempty"`
	Problems []problem       `json:"problems"`
	// Warnings are of what loads and is probably misspelt.
	Warnings []problem `json:"warnings,omitempty"`

	assumed, bundled bool
}

// partnerReport is which package answers a partner, and for which purposes at
// all.
type partnerReport struct {
	Partner tenants.OrgID `json:"partner"`
	policyAnswers
	// BreakGlass is what answers in an emergency.
	BreakGlass *policyAnswers `json:"break_glass,omitempty"`
}

type policyAnswers struct {
	Policy   string           `json:"policy"`
	Purposes []purposeAnswers `json:"purposes"`
}

// purposeAnswers is whether a sample question is answered.
type purposeAnswers struct {
	Purpose tenants.Purpose `json:"purpose"`
	Answer  inspect.Answer  `json:"answer"`
}

func (c *policyCheckCommand) check(ctx context.Context) (policyReport, error) {
	report := policyReport{Problems: []problem{}}
	from, _, err := c.open()
	report.Dir, report.bundled = from.Dir, from.Bundle != nil
	var bad yamlstrict.Problems
	switch {
	case errors.As(err, &bad) && from.Org != "": // the config is good, an agreement isn't
		report.Problems = problemsOf(bad)
	case err != nil:
		return report, err
	}
	folder, err := inspect.Load(ctx, from)
	var broken *rego.LoadError
	switch {
	case errors.As(err, &broken):
		report.Problems = append(report.Problems, problemsOf(broken)...)
		return report, nil
	case err != nil:
		return report, err
	}
	report.Revision, report.Packages, report.Samples = folder.Inventory.Revision, folder.Inventory.Packages, folder.Inventory.Samples
	report.assumed = folder.Assumed
	report.doubt(folder)
	for _, a := range folder.Agreements {
		everyDay, emergency, err := folder.Answers(ctx, a)
		if err != nil {
			return report, err
		}
		r := partnerReport{Partner: a.Partner, policyAnswers: answersOf(a.Policy, a.Purposes, everyDay)}
		if emergency != nil {
			in := answersOf(a.BreakGlass.Policy, a.Purposes, emergency)
			r.BreakGlass = &in
		}
		report.Partners = append(report.Partners, r)
	}
	return report, nil
}

// doubt adds what is probably misspelt.
func (r *policyReport) doubt(folder *inspect.Folder) {
	for _, f := range folder.Doubts() {
		p := problem{File: f.Place.File, Line: f.Place.Line, Message: f.Text}
		if f.Severity == inspect.Error {
			r.Problems = append(r.Problems, p)
		} else {
			r.Warnings = append(r.Warnings, p)
		}
	}
	if folder.Assumed && len(folder.Agreements) == 0 {
		r.Problems = append(r.Problems, problem{Message: fmt.Sprintf(
			"no package in %s could answer a partner; it takes one with a rule `decision`, such as parley.partners.globex", nearby(folder.Dir))})
	}
}

func answersOf(policy string, purposes []tenants.Purpose, answers []inspect.Answer) policyAnswers {
	out := policyAnswers{Policy: policy}
	for i, purpose := range purposes {
		out.Purposes = append(out.Purposes, purposeAnswers{Purpose: purpose, Answer: answers[i]})
	}
	return out
}

func (r policyReport) show(w io.Writer) error {
	var out strings.Builder
	line := func(p problem, severity string) {
		at := rego.Place{File: nearby(p.File), Line: p.Line}.String()
		if p.File == "" {
			at = "policies"
		}
		out.WriteString(at + ": " + severity + p.Message + "\n")
	}
	for _, p := range r.Problems {
		line(p, "")
	}
	for _, p := range r.Warnings {
		line(p, "warning: ")
	}
	if len(r.Problems) > 0 {
		return write(w, &out)
	}
	switch {
	case r.bundled:
		fmt.Fprintf(&out, "the bundle is good, revision %.12s\n", r.Revision)
	case r.Dir == "":
		out.WriteString("the config names no folder of policies: what parley has built in decides\n")
	default:
		fmt.Fprintf(&out, "%s: good, revision %.12s\n", nearby(r.Dir), r.Revision)
	}
	out.WriteString("\n" + align(r.packageRows()))
	if len(r.Partners) > 0 {
		out.WriteString("\n" + align(r.partnerRows()))
	}
	if r.Samples > 0 {
		out.WriteString("\n" + count(r.Samples, "sample") + " decided as written down\n")
	}
	return write(w, &out)
}

// packageRows are the packages of the folder, and what decides for our own
// users.
func (r policyReport) packageRows() [][]string {
	rows := [][]string{{"PACKAGE", "WHERE", "DECIDES"}}
	for _, p := range r.Packages {
		var decides string
		switch {
		case p.Library && (!p.Decides || r.overridden(p.Name)):
			continue
		case p.Name == "parley.own", p.Name == "parley.default.own":
			decides = "what our own users see"
		case p.Name == "parley.ask", p.Name == "parley.default.ask":
			decides = "whom our own users may ask"
		case p.Name == "parley.default.answer":
			continue
		case !p.Decides:
			decides = "nothing by itself"
		default:
			decides = r.users(p.Name)
		}
		where := within(r.Dir, p.Place)
		if p.Library {
			where = "built in"
		}
		rows = append(rows, []string{p.Name, where, decides})
	}
	return rows
}

// overridden says whether a package of the folder takes a default's place.
func (r policyReport) overridden(name string) bool {
	other, ok := map[string]string{"parley.default.own": "parley.own", "parley.default.ask": "parley.ask"}[name]
	return ok && slices.ContainsFunc(r.Packages, func(p rego.Package) bool { return p.Name == other })
}

func (r policyReport) users(name string) string {
	var partners, emergencies []string
	for _, p := range r.Partners {
		if p.Policy == name && !r.assumed {
			partners = append(partners, string(p.Partner))
		}
		if p.BreakGlass != nil && p.BreakGlass.Policy == name && !r.assumed {
			emergencies = append(emergencies, string(p.Partner))
		}
	}
	var what []string
	if len(partners) > 0 {
		what = append(what, "to "+strings.Join(partners, ", "))
	}
	if len(emergencies) > 0 {
		what = append(what, "in an emergency to "+strings.Join(emergencies, ", "))
	}
	switch {
	case len(what) > 0:
		return "what is answered " + strings.Join(what, ", and ")
	case r.assumed:
		return "what a partner is answered"
	}
	return "nothing: no agreement names it"
}

func (r policyReport) partnerRows() [][]string {
	who := "PARTNER"
	if r.assumed {
		who = "IF AGREED WITH"
	}
	rows := [][]string{{who, "FOR", "IS ANSWERED"}}
	for _, p := range r.Partners {
		name := string(p.Partner)
		add := func(answers policyAnswers, when string) {
			for _, purpose := range r.told(answers) {
				rows = append(rows, []string{name, string(purpose.Purpose) + when, answerWords[purpose.Answer]})
				name = ""
			}
		}
		add(p.policyAnswers, "")
		if p.BreakGlass != nil {
			add(*p.BreakGlass, " in an emergency")
		}
	}
	return rows
}

// told are the purposes that make a difference: any, where a partner that is
// assumed was tried with usual ones since its policy doesn't look at the purpose.
func (r policyReport) told(answers policyAnswers) []purposeAnswers {
	at := slices.IndexFunc(r.Packages, func(p rego.Package) bool { return p.Name == answers.Policy })
	if !r.assumed || at < 0 || len(answers.Purposes) == 0 || r.Packages[at].DependsOn("principal.purpose", "principal.purposes") {
		return answers.Purposes
	}
	return []purposeAnswers{{Purpose: "any purpose", Answer: answers.Purposes[0].Answer}}
}

var answerWords = map[inspect.Answer]string{
	inspect.Answered: "yes", inspect.WithCase: "questions with a case", inspect.Sometimes: "some questions", inspect.Never: "no",
}
