package line

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parley-gateway/parley/policy"
)

// What the platform logs: one JSON object of about 300 bytes a line.
var platformLines = []string{
	`{"timestamp":"2026-03-14T11:59:58.123456Z","level":"info","service":"checkout","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","user_id":"u-48213",` +
		`"message":"workflow finished after 3 retries, all agents released","workflow_id":"wf-2026-0314-77120","agent_count":14,"duration_ms":5321.25,"region":"eu-west-1"}`,
	`{"timestamp":"2026-03-14T11:59:58.223456Z","level":"error","service":"payments","trace_id":"aaf92f3577b34da6a3ce929d0e0e4799","user_id":"u-9",` +
		`"message":"cannot reach 10.20.30.40: connection refused, notified ada.lovelace@example.com","workflow_id":"wf-2026-0314-77121","agent_count":2,"duration_ms":12}`,
	`{"timestamp":"2026-03-14T11:59:59.000001Z","level":"debug","service":"search","trace_id":"00f92f3577b34da6a3ce929d0e0e4711","user_id":"u-1234567",` +
		`"message":"cache miss for key session:9f3b, loading 1200 rows from replica","workflow_id":"wf-2026-0314-77122","agent_count":140,"duration_ms":0.75,"retries":0}`,
}

func fieldsOf(mode map[string]policy.Mode, others policy.Mode) *policy.Fields {
	f := &policy.Fields{Named: map[string]policy.LabelRule{}, Others: policy.LabelRule{Mode: others}}
	for name, m := range mode {
		f.Named[name] = policy.LabelRule{Mode: m}
	}
	return f
}

var keptOfPlatform = map[string]policy.Mode{
	"timestamp": policy.Keep, "level": policy.Keep, "service": policy.Keep, "message": policy.Keep, "duration_ms": policy.Keep, "agent_count": policy.Keep,
}

func masksOf(names ...string) policy.LineRule {
	var out policy.LineRule
	for _, name := range names {
		out.Masks = append(out.Masks, policy.Mask{Name: name})
	}
	return out
}

// processorTime is what this process has had of processors: unlike a clock it
// says the same when others are at work.
func processorTime(tb testing.TB) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// Lines per second and core, by kind of rule.
func BenchmarkRedact(b *testing.B) {
	logfmt := make([]string, len(platformLines))
	for i, line := range platformLines {
		logfmt[i] = strings.NewReplacer(`{"`, "", `,"`, " ", `":`, "=", "}", "").Replace(line)
	}
	all := masksOf()
	for _, d := range policy.Detectors {
		all.Masks = append(all.Masks, policy.Mask{Name: string(d)})
	}
	rules := func(rules ...policy.LineRule) policy.Line { return policy.Line{Mode: policy.LineByRules, Rules: rules} }
	keepDrop := policy.LineRule{JSON: fieldsOf(keptOfPlatform, policy.Drop)}
	three := masksOf("email", "ipv4", "bearer")
	withPseudonym := map[string]policy.Mode{"user_id": policy.Pseudonym}
	for name, mode := range keptOfPlatform {
		withPseudonym[name] = mode
	}
	for _, bench := range []struct {
		name  string
		line  policy.Line
		lines []string
	}{
		{"keep and drop", rules(keepDrop), platformLines},
		{"drop one, keep others", rules(policy.LineRule{JSON: fieldsOf(map[string]policy.Mode{"user_id": policy.Drop}, policy.Keep)}), platformLines},
		{"pseudonym", rules(policy.LineRule{JSON: fieldsOf(withPseudonym, policy.Drop)}), platformLines},
		{"keep and drop, three detectors", rules(keepDrop, three), platformLines},
		{"keep and drop, all detectors", rules(keepDrop, all), platformLines},
		{"three detectors", rules(three), platformLines},
		{"logfmt keep and drop", rules(policy.LineRule{Logfmt: fieldsOf(keptOfPlatform, policy.Drop)}), logfmt},
		{"logfmt, three detectors", rules(policy.LineRule{Logfmt: fieldsOf(keptOfPlatform, policy.Drop)}, three), logfmt},
		{"text, all detectors", rules(all), logfmt},
		{"shape", policy.Line{Mode: policy.LineShape}, platformLines},
	} {
		b.Run(bench.name, func(b *testing.B) {
			r, err := New(bench.line, func(string) string { return "p-abcdefghijklmnopqrst" })
			if err != nil {
				b.Fatal(err)
			}
			var fired Fired
			var out []byte
			size := 0
			for _, line := range bench.lines {
				size += len(line)
			}
			b.SetBytes(int64(size / len(bench.lines)))
			b.ReportAllocs()
			before := processorTime(b)
			for i := 0; b.Loop(); i++ {
				out = r.Append(out[:0], bench.lines[i%len(bench.lines)], &fired)
			}
			if len(out) == 0 {
				b.Fatal("nothing is left")
			}
			b.ReportMetric(float64(b.N)/(processorTime(b)-before).Seconds(), "lines/s/core")
		})
	}
}
