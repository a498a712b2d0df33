package rego

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

// little is how much evaluations of these tests may hold.
const little = 32 << 20

// hungry are conditions that take any amount of memory.
var hungry = map[string]string{
	"a range":                      `count(numbers.range(1, 1000000000)) > 0`,
	"pairs of long lists":          `count([[a, b] | some a in numbers.range(1, 100000); some b in numbers.range(1, 100000)]) > 0`,
	"a text that grows":            `count(replace(long, "0", long)) > 0`,
	"a text that a pattern grows":  `count(regex.replace(long, "[0-9]", long)) > 0`,
	"all paths in what is its own": `count([path | walk(nested, [path, _])]) > 0`,
	"a text that is doubled":       doubled(40),
	"objects that are merged":      `count(object.union_n([{sprintf("%d", [i]): i} | some i in numbers.range(1, 1000000000)])) > 0`,
	"functions that are called":    `count([y | some i in numbers.range(1, 1000000000); y := padded(i)]) > 0`,
}

// doubled is a condition on a text that is put together with itself n times.
func doubled(n int) string {
	var b strings.Builder
	b.WriteString("v0 := \"0123456789\"")
	for i := range n {
		fmt.Fprintf(&b, "; v%d := concat(\"\", [v%d, v%d])", i+1, i, i)
	}
	fmt.Fprintf(&b, "; count(v%d) > 0", n)
	return b.String()
}

const helpersOfHungry = `
long := concat("", ["0123456789" | some _ in numbers.range(1, 10000)])
padded(n) := sprintf("%0100d", [n])
`

// nested is a rule of that name whose value is small in memory, and has 2^n parts.
func nested(n int) string {
	var b strings.Builder
	b.WriteString("v0 := [\"a\", 1]\n")
	for i := range n {
		fmt.Fprintf(&b, "v%d := [v%d, v%d]\n", i+1, i, i)
	}
	fmt.Fprintf(&b, "nested := v%d\n", n)
	return b.String()
}

func hungryPolicy(condition string) string {
	return `package parley.partners.globex
decision := {"allow": true, "datasets": [{"name": "up", "series": ["up"], "release": "row"}]} if { ` + condition + ` }
` + helpersOfHungry + nested(40)
}

// globexHas is a world in which globex' policy may be as hungry as it likes, with
// one that isn't.
func globexHas(t *testing.T) *world {
	t.Helper()
	w := mustOpen(t, "")
	w.agreements = append(w.agreements, agreement("globex", "parley.partners.globex", "slo-review"))
	w.write(t, "globex.rego", hungryPolicy(`input.query != ""`))
	config := w.config()
	config.memory, config.Timeout = little, proofTimeout
	var err error
	if w.Policies, err = New(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestAPolicyThatTakesTooMuchMemoryDoesNotLoad(t *testing.T) {
	for name, condition := range hungry {
		t.Run(name, func(t *testing.T) {
			w := globexHas(t)
			before := w.Status().Revision
			w.write(t, "globex.rego", hungryPolicy(condition))
			err := w.Reload(t.Context())
			if text := fmt.Sprint(err); strings.Count(text, "\n") > 0 || !strings.Contains(text, "globex.rego:2: package parley.partners.globex, tried with a question") ||
				!strings.Contains(text, "memory grew by more than 32 MiB") {
				t.Error(text)
			}
			if w.Status().Revision != before || !w.decide(t, globexAsks("slo-review")).Allow {
				t.Error("the previous one did not stay")
			}
		})
	}
}

func TestADecisionThatTakesTooMuchMemoryDenies(t *testing.T) {
	w := globexHas(t)
	for name, condition := range hungry {
		t.Run(name, func(t *testing.T) {
			w.write(t, "globex.rego", hungryPolicy(`input.principal.case == "hungry"; `+condition)+"\ndecision := {\"allow\": false} if input.query == \"no\"\n")
			if err := w.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
			r := globexAsks("slo-review")
			r.Principal.Case = "hungry"
			denies(t, w.decide(t, r), "policy package parley.partners.globex: it was ended: memory grew by more than 32 MiB")
			if n := w.current.Load().cache.entries.Len(); n != 0 {
				t.Errorf("%d decisions are kept", n)
			}
		})
	}
}

func TestAnIncludeRuleThatTakesTooMuchMemory(t *testing.T) {
	w := globexHas(t)
	w.write(t, "globex.rego", `package parley.partners.globex
decision := {"allow": true, "datasets": [{"name": "up", "include": "include", "release": "row"}]}
include if {
	some a in numbers.range(1, 100000)
	input.series.env == concat("", [long, sprintf("%d", [a])])
}
`+helpersOfHungry)
	if text := fmt.Sprint(w.Reload(t.Context())); !strings.Contains(text, "include rule include: it was ended: memory grew") {
		t.Error(text)
	}
}

// While memory is collected there is no step of a decision, nor of an include rule.
func TestNothingIsEvaluatedWhileMemoryIsCollected(t *testing.T) {
	w := globexHas(t)
	w.write(t, "globex.rego", `package parley.partners.globex
decision := {"allow": true, "datasets": [{"name": "up", "include": "include", "release": "row"}]}
include if input.series.env in ["prod", input.principal.case]
`)
	if err := w.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	rev := w.current.Load()
	p := rev.packages["parley.partners.globex"]
	text, err := describe(globexAsks("slo-review"), noon, p.reads)
	if err != nil {
		t.Fatal(err)
	}
	input, err := parseInput(text)
	if err != nil {
		t.Fatal(err)
	}
	for name, evaluate := range map[string]func(*evaluation) error{
		"a decision": func(e *evaluation) error {
			_, err := rev.decide(e, p, input, policy.Answer, tenants.Metrics)
			return err
		},
		"an include rule": func(e *evaluation) error {
			_, err := rev.include(e, p, "include", input)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			rev.included.entries.Purge()
			e := allowance{time.Minute, maxMemory}.begin(t.Context())
			defer e.end()
			held, done := make(chan struct{}), make(chan error, 1)
			e.held.Store(&held)
			go func() { done <- evaluate(e) }()
			select {
			case err := <-done:
				t.Errorf("it was evaluated: %v", err)
				return
			case <-time.After(20 * time.Millisecond):
			}
			e.held.Store(nil)
			close(held)
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// What others hold isn't taken for what an evaluation does.
func TestMemoryOfOthers(t *testing.T) {
	rev := globexHas(t).current.Load()
	var others [][]byte
	times := 0
	runtime.GC()
	err := rev.bounded(t.Context(), allowance{time.Minute, little}, func(e *evaluation) error {
		if times++; times > 1 {
			return nil
		}
		for len(others) < 1000 && !e.Cancelled() {
			others = append(others, make([]byte, 1<<20))
			select {
			case <-e.ctx.Done():
			case <-time.After(time.Millisecond):
			}
		}
		return context.Cause(e.ctx)
	})
	if err != nil || times != 2 {
		t.Errorf("evaluated %d times: %v", times, err)
	}
	runtime.KeepAlive(others)
}

func TestWhoHoldsTooMuchAgainIsNotAskedForever(t *testing.T) {
	rev := globexHas(t).current.Load()
	times := 0
	err := rev.bounded(t.Context(), allowance{time.Minute, little}, func(*evaluation) error { times++; return tooLarge(little) })
	if !errors.As(err, new(tooLarge)) || times != 2 {
		t.Errorf("evaluated %d times: %v", times, err)
	}
	rev.again <- struct{}{} // somebody is
	times = 0
	err = rev.bounded(t.Context(), allowance{time.Millisecond, little}, func(*evaluation) error { times++; return tooLarge(little) })
	if !errors.As(err, new(tooLarge)) || times != 1 {
		t.Errorf("evaluated %d times while another one is: %v", times, err)
	}
}

func TestDecisionsAreBounded(t *testing.T) {
	for name, decision := range map[string]string{
		"twenty thousand datasets":       `{"allow": true, "datasets": [{"name": sprintf("%d", [i]), "series": ["up"], "release": "row"} | some i in numbers.range(1, 20000)]}`,
		"what is its own many times":     `{"allow": false, "reasons": nested}`,
		"a long text":                    `{"allow": false, "reasons": [longer, longer]}`,
		"a long key":                     `{"allow": false, longer: longer}`,
		"a set of what is its own":       `{"allow": false, "reasons": {nested, 1}}`,
		"an object with what is its own": `{"allow": false, "reasons": {"a": nested}}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := mustOpen(t, "")
			w.write(t, "own.rego", "package parley.own\ndecision := "+decision+"\nlonger := concat(\"\", [\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" | some _ in numbers.range(1, 50000)])\n"+nested(40))
			if text := fmt.Sprint(w.Reload(t.Context())); !strings.Contains(text, "own.rego:2: package parley.own, tried with a question") || !strings.Contains(text, "what it gives is larger than 100000 values or 8 MiB") {
				t.Error(text)
			}
		})
	}
}

func TestDecisionsThatAreKeptAreBounded(t *testing.T) {
	c, err := newCache[verdict](DefaultCacheEntries)
	if err != nil {
		t.Fatal(err)
	}
	const each = maxCachedBytes / 20
	key := func(i int) string { return fmt.Sprintf("%03d", i) }
	for i := range 100 {
		c.add(key(i), verdict{size: each - len(key(i))})
		c.add(key(i), verdict{size: each - len(key(i))}) // as who asked at the same time
	}
	if n := c.entries.Len(); n != maxCachedBytes/each || c.held.Load() != int64(n)*each {
		t.Errorf("%d are kept, of %d bytes", n, c.held.Load())
	}
	if _, ok := c.get(key(99)); !ok {
		t.Error("the last one isn't kept")
	}
}

// Whatever decisions are large by, those that are kept are bounded: a partner has as
// many as it asks different questions.
func TestLargeDecisionsThatAreKept(t *testing.T) {
	const rules = helpersOfHungry + `
longer := concat("", [long | some _ in numbers.range(1, 60)])
include if input.series.env in {sprintf("%s-%d", [input.query, i]) | some i in numbers.range(1, 2000)}
`
	for name, test := range map[string]struct {
		decision string
		size     int // at least
	}{
		"few long texts":                    {`{"allow": false, "reasons": [input.query, longer]}`, 6_000_000},
		"reasons where nothing is released": {`{"allow": true, "reasons": [input.query, longer], "datasets": [{"name": "d", "streams": ["{}"], "release": "row"}]}`, 6_000_000},
		"selectors of an include rule":      {`{"allow": true, "datasets": [{"name": "d", "include": "include", "release": "row"}]}`, 2000 * len("query-1000")},
	} {
		t.Run(name, func(t *testing.T) {
			w := globexHas(t)
			w.write(t, "globex.rego", "package parley.partners.globex\ndecision := "+test.decision+rules)
			if err := w.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
			r := globexAsks("slo-review")
			r.Query = "query"
			w.decide(t, r)
			if kept := w.current.Load().cache; kept.entries.Len() != 1 || kept.held.Load() < int64(test.size) {
				t.Errorf("%d decisions are kept, of %d bytes, want %d at least", kept.entries.Len(), kept.held.Load(), test.size)
			}
		})
	}
}

func TestATestThatTakesTooMuchMemory(t *testing.T) {
	w := globexHas(t)
	w.write(t, "globex_test.rego", "package globex_test\ntest_pairs if count([[a, b] | some a in numbers.range(1, 100000); some b in numbers.range(1, 100000)]) == 0\n")
	config := w.config()
	config.memory = little
	tests, err := Test(t.Context(), config, false)
	if err != nil || len(tests.Results) != 1 {
		t.Fatal(tests, err)
	}
	if r := tests.Results[0]; r.Outcome != Errored || !strings.Contains(r.Error, "memory grew by more than 32 MiB") || !strings.Contains(r.Error, "tests after it were not run") {
		t.Errorf("%+v", r)
	}
}

// A decision's size is known, so that it can be kept.
func TestSizeOfADecision(t *testing.T) {
	w := globexHas(t)
	rev := w.current.Load()
	v, err := rev.verdict(t.Context(), globexAsks("slo-review"), noon)
	if err != nil || !v.decision.Allow || v.size != 13*valueBytes+len("allowtruedatasetsnameupseriesupreleaserow")-len("true") {
		t.Errorf("%d bytes, %v", v.size, err)
	}
}

func TestAFolderIsBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range maxBytes/maxFileBytes + 1 {
		file := filepath.Join(dir, fmt.Sprintf("%d.json", i))
		if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, maxFileBytes)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := readSources(dir, "acme", nil); err == nil || err.Error() != dir+": the policy folder's files are larger than 128 MiB together" {
		t.Error(err)
	}
}
