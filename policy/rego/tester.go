package rego

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Tests are the results of the tests of a policy folder.
type Tests struct {
	// Results are sorted by file and line.
	Results []TestResult `json:"results"`
	// Coverage is of the folder's files, tests aside, sorted by file; nil unless
	// it was asked for.
	Coverage []Coverage `json:"coverage,omitempty"`
}

// TestOutcome is how a test ended.
type TestOutcome string

// The outcomes.
const (
	Passed  TestOutcome = "pass"
	Failed  TestOutcome = "fail"
	Errored TestOutcome = "error"
	Skipped TestOutcome = "skip" // its name begins with todo_
)

// TestResult is a rule whose name begins with test_.
type TestResult struct {
	Name    string        `json:"name"` // with its package
	Place   Place         `json:"place"`
	Outcome TestOutcome   `json:"outcome"`
	Took    time.Duration `json:"took_ns"`
	// Cases are those that failed of a test with several.
	Cases []string `json:"cases,omitempty"`
	// Failed is the expression that isn't true, as OPA shows it: with the values
	// of what is in it.
	Failed *FailedExpression `json:"failed,omitempty"`
	// Because are the conditions of the policy that weren't met on the way there.
	Because []Condition `json:"because,omitempty"`
	Error   string      `json:"error,omitempty"`
	Output  string      `json:"output,omitempty"` // of print
}

// FailedExpression is where a test failed.
type FailedExpression struct {
	Place Place  `json:"place"`
	Text  string `json:"text"`
}

// Condition is an expression of a policy.
type Condition struct {
	Place Place  `json:"place"`
	Text  string `json:"text"`
}

// Coverage is how much of a file the tests evaluated.
type Coverage struct {
	File string `json:"file"`
	// Percent is of the lines with something to evaluate.
	Percent float64 `json:"percent"`
	// Missed are lines that no test evaluated, sorted.
	Missed []Lines `json:"missed,omitempty"`
}

// Lines are those from First to Last.
type Lines struct {
	First int `json:"first"`
	Last  int `json:"last"`
}

// ErrNoTests is that of a folder without tests.
var ErrNoTests = errors.New("there are no tests: rules test_... in files named ..._test.rego")

// Test runs the tests of a policy folder as `opa test` does, with what policies
// are given: the library, the folder's data, the schema of the input, and the
// functions that policies may use. A *LoadError says what doesn't compile.
func Test(ctx context.Context, c Config, coverage bool) (Tests, error) {
	t, err := newTestRun(c)
	if err != nil {
		return Tests{}, err
	}
	var covered *cover.Cover
	if coverage {
		covered = cover.New()
	}
	out := Tests{Results: []TestResult{}}
	results, err := t.run(ctx, covered, "")
	if err != nil {
		return out, err
	}
	if len(results) == 0 {
		return out, ErrNoTests
	}
	if coverage {
		out.Coverage = t.coverage(covered)
		// OPA traces, which says why a test failed, or it covers.
		if results, err = t.traced(ctx, results); err != nil {
			return out, err
		}
	}
	for _, r := range results {
		out.Results = append(out.Results, t.result(ctx, r))
	}
	slices.SortFunc(out.Results, func(a, b TestResult) int {
		return cmp.Or(strings.Compare(a.Place.File, b.Place.File), cmp.Compare(a.Place.Line, b.Place.Line), strings.Compare(a.Name, b.Name))
	})
	return out, nil
}

// testRun is a folder with its tests.
type testRun struct {
	src  *sources
	data map[string]any
	// memory bounds what all tests hold together, with what OPA notes of them.
	memory uint64
	// compiler and store are those of the last run.
	compiler *ast.Compiler
	store    storage.Store
}

func newTestRun(c Config) (*testRun, error) {
	t := &testRun{src: &sources{org: c.Org, tests: true}, memory: cmp.Or(c.memory, 2*maxMemory)}
	if c.Agreements != nil {
		t.src.agreements = slices.Clone(c.Agreements())
	}
	if err := t.src.read(c.Dir); err != nil {
		return nil, err
	}
	var found problems
	if _, t.data, found = parse(t.src); len(found) > 0 {
		return nil, found.orNil()
	}
	return t, nil
}

// run runs the tests whose name matches, all for "".
func (t *testRun) run(ctx context.Context, covered *cover.Cover, names string) ([]*tester.Result, error) {
	// The runner changes what it compiles.
	modules, _, _ := parse(t.src)
	compiler, err := newCompiler(t.data)
	if err != nil {
		return nil, err
	}
	t.compiler, t.store = compiler, inmem.NewFromObjectWithOpts(t.data, inmem.OptRoundTripOnWrite(false))
	runner := tester.NewRunner().
		SetCompiler(compiler.WithEnablePrintStatements(true)).
		SetStore(t.store).
		CapturePrintOutput(true).
		RaiseBuiltinErrors(true).
		SetTimeout(proofTimeout).
		SetModules(modules).
		Filter(names)
	if covered != nil {
		runner.SetCoverageRuns(nil).SetCoverageQueryTracer(covered)
	} else {
		runner.EnableTracing(true)
	}
	e := allowance{math.MaxInt64, t.memory}.begin(ctx)
	defer e.end()
	results, err := runner.RunTests(e.ctx, nil)
	var broken ast.Errors
	switch {
	case errors.As(err, &broken):
		return nil, astProblems("", broken).orNil()
	case err != nil:
		return nil, fmt.Errorf("run the tests: %w", err)
	}
	var out []*tester.Result
	for r := range results {
		if cause := context.Cause(e.ctx); topdown.IsCancel(r.Error) && errors.As(cause, new(tooLarge)) {
			r.Error = fmt.Errorf("%w; tests after it were not run", cause)
		}
		out = append(out, r)
	}
	if err := unknownData(compiler, t.data).orNil(); err != nil {
		return nil, err
	}
	return out, ctx.Err()
}

// traced runs the tests that failed once more, with a trace.
func (t *testRun) traced(ctx context.Context, results []*tester.Result) ([]*tester.Result, error) {
	var names []string
	for _, r := range results {
		if r.Fail {
			names = append(names, regexp.QuoteMeta(r.Package+"."+r.Name))
		}
	}
	if len(names) == 0 {
		return results, nil
	}
	again, err := t.run(ctx, nil, "^("+strings.Join(names, "|")+")$")
	if err != nil {
		return nil, err
	}
	for i, r := range results {
		for _, traced := range again {
			if r.Package == traced.Package && r.Name == traced.Name {
				results[i] = traced
			}
		}
	}
	return results, nil
}

func (t *testRun) result(ctx context.Context, r *tester.Result) TestResult {
	out := TestResult{
		Name:    strings.TrimPrefix(r.Package+"."+r.Name, "data."),
		Place:   placeOf(r.Location),
		Outcome: Passed, Took: r.Duration, Output: strings.TrimSpace(string(r.Output)),
	}
	for name, sub := range r.SubResults.Iter {
		if sub.Fail && len(sub.SubResults) == 0 {
			out.Cases = append(out.Cases, strings.Join(name, " / "))
		}
	}
	switch {
	case r.Error != nil:
		out.Outcome, out.Error = Errored, r.Error.Error()
	case r.Skip:
		out.Outcome = Skipped
	case r.Fail:
		out.Outcome = Failed
		out.Failed, out.Because = t.why(ctx, r)
	}
	return out
}

// maxBecause bounds the conditions that are listed of a test.
const maxBecause = 10

// why finds the expression at which a test failed, and the conditions of
// policies that weren't met while it was evaluated.
func (t *testRun) why(ctx context.Context, r *tester.Result) (*FailedExpression, []Condition) {
	// The last expression of the test itself that failed, and where it began.
	last := -1
	for i, e := range r.Trace {
		if e.Op == topdown.FailOp && e.Location != nil && t.isTest(e.Location.File) {
			if expr, ok := e.Node.(*ast.Expr); ok && expr.Location != nil {
				if _, isEvery := expr.Terms.(*ast.Every); !isEvery {
					last = i
				}
			}
		}
	}
	if last < 0 {
		return nil, nil
	}
	failed := r.Trace[last]
	var because []Condition
	for _, e := range r.Trace[:last] {
		expr, ok := e.Node.(*ast.Expr)
		if e.Op != topdown.FailOp || !ok || expr.Location == nil || t.isTest(expr.Location.File) || t.isLibrary(expr.Location.File) {
			continue
		}
		c := conditionOf(expr)
		if len(because) < maxBecause && c.Text != "" && !slices.Contains(because, c) {
			because = append(because, c)
		}
	}
	if text, ok := operands(ctx, t.compiler, t.store, failed); ok {
		return &FailedExpression{Place: placeOf(failed.Location), Text: text}, because
	}
	var text bytes.Buffer
	if err := topdown.PrettyEvent(&text, failed, topdown.PrettyEventOpts{PrettyVars: true}); err != nil {
		text.Reset()
		text.Write(failed.Location.Text)
	}
	return &FailedExpression{Place: placeOf(failed.Location), Text: outdent(strings.Trim(text.String(), "\n"))}, because
}

// outdent takes off the tab that lines begin with.
func outdent(text string) string {
	return strings.ReplaceAll(strings.TrimPrefix(text, "\t"), "\n\t", "\n")
}

// conditionOf is an expression as it is written.
func conditionOf(e *ast.Expr) Condition {
	base := e.BaseCogeneratedExpr()
	if base == nil || base.Location == nil {
		base = e
	}
	text, _, _ := strings.Cut(string(base.Location.Text), "\n")
	return Condition{Place: placeOf(base.Location), Text: strings.TrimSpace(text)}
}

func placeOf(l *ast.Location) Place {
	if l == nil {
		return Place{}
	}
	return Place{File: l.File, Line: l.Row}
}

func (t *testRun) isTest(name string) bool {
	return slices.ContainsFunc(t.src.files, func(f file) bool { return f.name == name && isTest(f.path) })
}

func (t *testRun) isLibrary(name string) bool {
	return slices.ContainsFunc(t.src.files, func(f file) bool { return f.name == name && f.library })
}

func (t *testRun) coverage(covered *cover.Cover) []Coverage {
	modules, _, _ := parse(t.src)
	maps.DeleteFunc(modules, func(name string, _ *ast.Module) bool { return t.isTest(name) || t.isLibrary(name) })
	report := covered.Report(modules)
	out := []Coverage{}
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		file := report.Files[name]
		c := Coverage{File: name, Percent: 100}
		if file.CoveredLines+file.NotCoveredLines > 0 {
			c.Percent = file.Coverage
		}
		for _, r := range file.NotCovered {
			if n := len(c.Missed); n > 0 && c.Missed[n-1].Last >= r.Start.Row-1 {
				c.Missed[n-1].Last = max(c.Missed[n-1].Last, r.End.Row)
				continue
			}
			c.Missed = append(c.Missed, Lines{First: r.Start.Row, Last: r.End.Row})
		}
		out = append(out, c)
	}
	return out
}
