package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// How a command was called wrongly is exit code 2, whenever that is found out;
// everything else that goes wrong is 1.
func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("good/globex.rego", "package parley.partners.globex\n\ndecision := {\"allow\": true, \"datasets\": [{\"name\": \"up\", \"series\": [\"up\"], \"release\": \"row\"}]}\n")
	write("broken/globex.rego", "package parley.partners.globex\n\ndecision := nothing\n")
	config := write("gateway.yml", "org: acme\n")
	good, broken := filepath.Join(dir, "good"), filepath.Join(dir, "broken")
	explain := func(more ...string) []string {
		return append([]string{"policy", "explain", "--dir", good, "--as", "globex", "--purpose", "audit"}, more...)
	}
	nowhere := []string{"query", "--gateway", "http://127.0.0.1:1"}
	for _, c := range []struct {
		code int
		args []string
		want string
	}{
		{0, []string{"version"}, "parley dev"},
		{2, []string{"vresion"}, "unexpected argument"},
		{2, []string{"policy", "explain", "--dir", good, "up"}, "missing flags"},
		{2, []string{"policy", "lint", "--dir", good, "--deny", "all"}, "--deny must be one of"},

		{0, explain("up"), "globex for audit: allowed"},
		{2, explain("sum("), "not PromQL"},
		{1, explain(`{service="shop"} |= "refused"`), "globex for audit: denied by the agreement"},
		{1, explain(`{ resource.service.name = "shop" }`), "globex for audit: denied by the agreement"},
		{0, explain(`rate({service="shop"}[5m])`), "asked in PromQL, about metrics; it is LogQL (--signal logs) as well"},
		{2, explain("--signal", "traces", "up"), "neither a trace id nor TraceQL"},
		{2, explain("--signal", "logs", "up"), "not LogQL"},
		{2, explain("--signal", "spans", "up"), `--signal must be one of "metrics","logs","traces" but got "spans"`},
		{2, explain("--limit", "5", "up"), "--limit: is of lines and of traces, and this asks for numbers; --signal logs"},
		{2, explain("--limit", "0", `{service="shop"} |= "refused"`), "--limit must be above 0"},
		{2, explain("--range", "1h", "--step", "1m", `{service="shop"} |= "refused"`), "--step is the resolution of numbers"},
		{2, explain("--time", "noon", "up"), "neither RFC 3339"},
		{2, explain("--step", "1m", "up"), "give --range as well"},
		{2, explain("--range", "0s", "up"), "no time at all"},
		{2, explain("--range", "1h", "--step", "0s", "up"), "never come to an end"},
		{2, explain("--case", "a\nb", "up"), "--case: "},
		{2, explain("--break-glass", "all is on fire", "up"), "needs --case and --user"},
		{2, []string{"policy", "explain", "--dir", good, "--as", "umbrella", "--purpose", "audit", "up"}, "no agreement with umbrella"},
		{2, []string{"policy", "init", "everything", "--partner", "globex"}, "there is no template everything"},
		{2, []string{"policy", "init", "slo-only"}, "--partner: say whom"},
		{1, []string{"policy", "init", "slo-only", "--partner", "globex", "--dir", good}, "is there already"},

		{1, explain("--range", "90d", "up"), "the question spans 90d5m, at most 31d are agreed"},
		{1, []string{"policy", "check", "--dir", broken}, "1 problem"},
		{1, []string{"policy", "lint", "--dir", broken}, "globex.rego:3"},
		{1, []string{"policy", "test", "--dir", good}, "there are no tests"},
		{1, []string{"policy", "check", "--dir", filepath.Join(dir, "nowhere")}, "no such file"},
		{1, []string{"config", "check", config}, "is required"},
		{1, []string{"config", "check", filepath.Join(dir, "nowhere.yml")}, "can't be read"},

		{1, append(nowhere, "up"), "nothing answers"},
		{2, append(nowhere, "--step", "1m", "up"), "give --range as well"},
		{2, append(nowhere, "--range", "0s", "up"), "no time at all"},
		{2, append(nowhere, "--time", "noon", "up"), "neither RFC 3339"},
		{2, append(nowhere, "--case", "a\nb", "up"), "--case: "},
		{2, append(nowhere, "--break-glass", "all is on fire", "up"), "name it with --case"},
		{2, []string{"query", "--gateway", "nowhere", "up"}, "isn't an address"},
		{2, []string{"logs", "--gateway", "http://127.0.0.1:1", "{"}, "not LogQL"},
		{2, []string{"logs", "--gateway", "http://127.0.0.1:1", "--limit", "0", `{a="b"}`}, "--limit must be above 0"},
		{2, []string{"demo", "--http", "nowhere"}, "want host:port"},
		{2, []string{"dev-ca", "--dir", dir, "--trust-domain", "a b"}, "--trust-domain"},
		{2, []string{"dev-ca", "--dir", dir, "--trust-domain", "acme.example", "--id", "spiffe://globex.example/parley"}, "issues IDs such as"},
	} {
		var out bytes.Buffer
		if code := run(c.args, &out, &out); code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%q: exit code %d\n%s\nwant %d and %q", c.args, code, out.String(), c.code, c.want)
		}
	}
}

// What doesn't load is told to programs problem by problem, by every command that
// reads policies.
func TestProblemsAsJSON(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"policies/globex.rego":  "package parley.partners.globex\n\ndecision := {\"allow\": input.principal.colour == \"red\"}\n",
		"policies/initech.rego": "package parley.partners.initech\n\ndecision := {\"allow\": false} if input.nothing\n",
		"agreements/globex.yml": "partner: globex\ntrust_domain: globex.example\ngateway_id: spiffe://globex.example/parley\n" +
			"bundle: {file: globex.json}\nsignals: [metrics]\npurposes: [slo-review]\nnot_after: never\n",
		"gateway.yml": "org: acme\ntrust_domain: acme.example\nidentity: {development: {dir: ca}}\nagreements: {dir: agreements}\n" +
			"policy: {dir: policies}\nmetrics: {tsdb: {dir: tsdb}}\npseudonyms: {key_file: pseudonyms.key}\naudit: {dir: audit}\n",
		"bad.yml":        "org: acme\ntrust_domain:  [acme.example]\n",
		"pseudonyms.key": strings.Repeat("k", 32),
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	colour := problem{File: in("policies/globex.rego"), Line: 3, Column: 23, Message: "undefined ref: input.principal.colour"}
	nothing := problem{File: in("policies/initech.rego"), Line: 3, Column: 33, Message: "undefined ref: input.nothing"}
	agreement := problem{File: in("agreements/globex.yml"), Line: 7, Column: 12, Message: "not_after: "}
	list := problem{File: in("bad.yml"), Line: 2, Column: 16, Message: "trust_domain: holds a list"}
	asked := []string{"--as", "globex", "--purpose", "audit", "up"}
	for _, c := range []struct {
		args []string
		want []problem
	}{
		{[]string{"policy", "check", "--dir", in("policies")}, []problem{colour, nothing}},
		{[]string{"policy", "lint", "--dir", in("policies")}, []problem{colour, nothing}},
		{[]string{"policy", "test", "--dir", in("policies")}, []problem{colour, nothing}},
		{append([]string{"policy", "explain", "--dir", in("policies")}, asked...), []problem{colour, nothing}},
		{append([]string{"policy", "try", "--config", in("gateway.yml")}, asked...), []problem{agreement}},
		{[]string{"policy", "check", "--config", in("gateway.yml")}, []problem{agreement, colour, nothing}},
		{[]string{"config", "check", in("gateway.yml")}, []problem{agreement, colour, nothing}},
		{[]string{"config", "check", in("bad.yml")}, []problem{list}},
		{[]string{"policy", "lint", "--dir", in("nowhere")}, []problem{{Message: "the folder of policies: "}}},
	} {
		var out, said bytes.Buffer
		code := run(append(c.args, "-o", "json"), &out, &said)
		var report problemReport
		if err := json.Unmarshal(out.Bytes(), &report); err != nil || code != 1 || !strings.HasSuffix(said.String(), "problem\n") && !strings.HasSuffix(said.String(), "problems\n") {
			t.Errorf("%q: exit code %d, %v\n%s%s", c.args, code, err, out.String(), said.String())
			continue
		}
		for _, want := range c.want {
			is := func(p problem) bool {
				begins := strings.HasPrefix(p.Message, want.Message)
				p.Message = want.Message
				return begins && p == want
			}
			if !slices.ContainsFunc(report.Problems, is) {
				t.Errorf("%q:\n%s\nwant %+v among them", c.args, out.String(), want)
			}
		}
	}
}
