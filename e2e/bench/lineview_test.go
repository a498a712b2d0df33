package bench

import (
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/federation/logs/line"
	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/policy"
)

// viewedLines is how many lines BenchmarkLines has.
const viewedLines = 100_000

var lineSecret = []byte(strings.Repeat("x", 32))

// BenchmarkLines redacts in this process lines as the platform logs them, by one
// kind of rule each: by themselves (lines/s/core), and in a view of an embedded
// store in which they are read, redacted and counted (view-lines/s/core).
func BenchmarkLines(b *testing.B) {
	inJSON, inLogfmt := platformLines()
	viewOfJSON, viewOfLogfmt := localLines(b, inJSON), localLines(b, inLogfmt)
	for _, kind := range lineKinds() {
		b.Run(kind.name, func(b *testing.B) {
			lines, view := inJSON, viewOfJSON
			if kind.logfmt {
				lines, view = inLogfmt, viewOfLogfmt
			}
			b.ReportMetric(redactedLines(b, lines, kind.line), "lines/s/core")
			b.ReportMetric(countedLines(b, view, kind.line), "view-lines/s/core")
		})
	}
}

// lineKind is a kind of rule about lines.
type lineKind struct {
	name   string
	line   policy.Line
	logfmt bool
}

func lineKinds() []lineKind {
	fields := func(modes map[string]policy.Mode, others policy.Mode) *policy.Fields {
		f := &policy.Fields{Named: map[string]policy.LabelRule{}, Others: policy.LabelRule{Mode: others}}
		for name, mode := range modes {
			f.Named[name] = policy.LabelRule{Mode: mode}
		}
		return f
	}
	masks := func(names ...policy.Detector) (rule policy.LineRule) {
		for _, name := range names {
			rule.Masks = append(rule.Masks, policy.Mask{Name: string(name)})
		}
		return rule
	}
	rules := func(rules ...policy.LineRule) policy.Line { return policy.Line{Mode: policy.LineByRules, Rules: rules} }
	kept := map[string]policy.Mode{
		"timestamp": policy.Keep, "level": policy.Keep, "service": policy.Keep, "message": policy.Keep, "duration_ms": policy.Keep, "agent_count": policy.Keep,
	}
	known := maps.Clone(kept)
	known["user_id"] = policy.Pseudonym
	keepDrop := policy.LineRule{JSON: fields(kept, policy.Drop)}
	keepDropKeys := policy.LineRule{Logfmt: fields(kept, policy.Drop)}
	three := masks("email", "ipv4", "bearer")
	return []lineKind{
		{name: "keep", line: policy.Line{Mode: policy.LineKeep}},
		{name: "none", line: policy.Line{Mode: policy.LineNone}},
		{name: "keep-drop", line: rules(keepDrop)},
		{name: "drop-one", line: rules(policy.LineRule{JSON: fields(map[string]policy.Mode{"user_id": policy.Drop}, policy.Keep)})},
		{name: "pseudonym", line: rules(policy.LineRule{JSON: fields(known, policy.Drop)})},
		{name: "three-detectors", line: rules(three)},
		{name: "keep-drop-three", line: rules(keepDrop, three)},
		{name: "keep-drop-all", line: rules(keepDrop, masks(policy.Detectors...))},
		{name: "logfmt", line: rules(keepDropKeys), logfmt: true},
		{name: "logfmt-three", line: rules(keepDropKeys, three), logfmt: true},
		{name: "shape", line: policy.Line{Mode: policy.LineShape}},
	}
}

// platformLines are the same lines twice.
func platformLines() (inJSON, inLogfmt []string) {
	var (
		random rand.PCG
		l      logLine
	)
	keys := strings.NewReplacer(`{"`, "", `,"`, " ", `":`, "=", "}", "")
	for i := range viewedLines {
		l.set(&random, i, viewedLines)
		inJSON = append(inJSON, string(l.text))
		inLogfmt = append(inLogfmt, keys.Replace(string(l.text)))
	}
	return inJSON, inLogfmt
}

func localLines(b *testing.B, lines []string) *logs.Local {
	b.Helper()
	store := logs.NewStore(logs.StoreConfig{})
	for i, text := range lines {
		at := logsStart.Add(time.Duration(i) * logsSpan / viewedLines)
		if err := store.Append(at, text, labels.FromStrings("service", "checkout"), labels.EmptyLabels()); err != nil {
			b.Fatal(err)
		}
	}
	local, err := logs.NewLocal(logs.LocalConfig{Org: "acme", Source: store, Secret: lineSecret})
	if err != nil {
		b.Fatal(err)
	}
	return local
}

var lineAsking = federation.Asking{Org: "globex", ExchangeID: "019b2f3e-8a00-7c54-9d31-5f0e6c8a4b17"}

// redactedLines is how many lines a rule redacts in a second of one core.
func redactedLines(b *testing.B, lines []string, rule policy.Line) float64 {
	b.Helper()
	pseudonyms, err := redact.NewPseudonyms(lineSecret, lineAsking, 24*time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	redactor, err := line.New(rule, pseudonyms.Of)
	if err != nil {
		b.Fatal(err)
	}
	return aSecondOfACore(b, viewedLines, func() {
		var fired line.Fired
		for _, text := range lines {
			redactor.Redact(text, &fired)
		}
	})
}

// countedLines is how many lines a view reads, redacts and counts.
func countedLines(b *testing.B, local *logs.Local, rule policy.Line) float64 {
	b.Helper()
	decision := policy.Decision{Allow: true, Obligations: policy.Obligations{Epoch: 24 * time.Hour, Datasets: []policy.Dataset{{
		Name: "checkout", Release: policy.Row, Streams: []policy.Selector{{labels.MustNewMatcher(labels.MatchEqual, "service", "checkout")}},
		Labels: map[string]policy.LabelRule{"service": {Mode: policy.Keep}}, Line: rule,
	}}}}
	question := logs.Question{Kind: policy.Instant, Expression: `sum(count_over_time({service="checkout"}[7h]))`, Start: logsEnd(), End: logsEnd()}
	return aSecondOfACore(b, viewedLines, func() {
		released, _, err := local.Answer(b.Context(), question, decision, lineAsking)
		if err != nil {
			b.Fatal(err)
		}
		matrix, err := released.Numbers().Matrix()
		if err != nil {
			b.Fatal(err)
		}
		if len(matrix) != 1 || matrix[0].Floats[0].F != viewedLines {
			b.Fatalf("counted %v, not %d lines", matrix, viewedLines)
		}
	})
}

// aSecondOfACore runs something about so many lines or spans again and again and
// returns how many of them that is in a second of CPU time, which unlike a clock's
// says the same when others are at work.
func aSecondOfACore(b *testing.B, many int, aboutAll func()) float64 {
	b.Helper()
	start := ownCPUTime(b)
	for runs := 1; ; runs++ {
		aboutAll()
		if used := ownCPUTime(b) - start; used > time.Second {
			return float64(many) * float64(runs) / used.Seconds()
		}
	}
}

func ownCPUTime(b *testing.B) time.Duration {
	b.Helper()
	used, err := cpuTime(os.Getpid())
	if err != nil {
		b.Fatal(err)
	}
	if used == 0 {
		b.Skip("this system doesn't tell CPU time")
	}
	return used
}
