package bench

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// logsVersion changes with everything below that changes the lines: a Loki's
// folder is kept between runs under it.
const logsVersion = "1"

var howManyLines = flag.Int("lines", 5_000_000, "how many lines the Loki of the benchmarks of logs has")

// The lines of an organization are those of one service over six hours, evenly
// spread over its pods.
const (
	logsSpan    = 6 * time.Hour
	logPods     = 5
	needleLines = 20 // that have the text needle
)

var logsStart = time.Date(2025, 6, 2, 12, 0, 0, 0, time.UTC)

func logsEnd() time.Time { return logsStart.Add(logsSpan) }

var logLevels = []string{"info", "debug", "warn", "error"}

// logMessages have places for an address, an e-mail address and two numbers.
var logMessages = []string{
	"workflow finished after %[3]d retries, all agents released",
	"cache miss for key session:%[4]x, loading %[3]d rows from replica",
	"cannot reach %[1]s: connection refused, notified %[2]s",
	"queued behind %[3]d others, expected to begin in %[4]d ms",
	"agent %[4]d took over, lease renewed by %[1]s",
	"step %[3]d of %[4]d done",
}

// logLine is one line of a platform, of about 270 bytes.
type logLine struct {
	at         time.Time
	level, pod int
	text       []byte
}

// set makes l line number i of so many. It is a function of the two.
func (l *logLine) set(random *rand.PCG, i, of int) {
	random.Seed(1, uint64(i))
	r := rand.New(random)
	l.at = logsStart.Add(time.Duration(float64(logsSpan) * (float64(i) / float64(of))))
	l.level = [...]int{0, 0, 0, 0, 0, 0, 0, 1, 2, 3}[r.IntN(10)]
	l.pod = i % logPods

	b := append(l.text[:0], `{"timestamp":"`...)
	b = l.at.AppendFormat(b, "2006-01-02T15:04:05.000000Z07:00")
	b = append(b, `","level":"`...)
	b = append(b, logLevels[l.level]...)
	b = append(b, `","service":"checkout","trace_id":"`...)
	b = fmt.Appendf(b, "%016x%016x", r.Uint64(), r.Uint64())
	b = append(b, `","user_id":"u-`...)
	b = strconv.AppendInt(b, r.Int64N(100_000), 10)
	b = append(b, `","message":"`...)
	b = fmt.Appendf(b, logMessages[r.IntN(len(logMessages))],
		fmt.Sprintf("10.%d.%d.%d", r.IntN(4), r.IntN(256), r.IntN(256)), fmt.Sprintf("user%d@shop.example", r.IntN(5000)), r.IntN(40), r.IntN(10_000))
	if i%max(1, of/needleLines) == of/needleLines/2 {
		b = append(b, ", needle"...)
	}
	b = append(b, `","workflow_id":"wf-2025-0602-`...)
	b = strconv.AppendInt(b, r.Int64N(1_000_000), 10)
	b = append(b, `","agent_count":`...)
	b = strconv.AppendInt(b, r.Int64N(150), 10)
	b = append(b, `,"duration_ms":`...)
	b = strconv.AppendFloat(b, float64(r.IntN(400_000))/100, 'f', -1, 64)
	l.text = append(b, '}')
}
