package logqltest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// Entry is a line as it is stored.
type Entry struct {
	At               int64 // Unix nanoseconds, of no two entries the same
	Line             string
	Stream, Metadata labels.Labels
}

// Entries makes n entries in the order of time, the first at start and each
// about every after the one before. They are JSON, logfmt and plain text, and
// some are broken or odd.
func Entries(r *rand.Rand, n int, start time.Time, every time.Duration) []Entry {
	all := make([]Entry, n)
	at := start
	for i := range all {
		format := pick(r, "json", "json", "logfmt", "logfmt", "plain", "odd")
		e := Entry{At: at.UnixNano(), Line: line(r, format)}
		e.Stream = labels.FromStrings("app", pick(r, "shop", "pay", "auth"), "env", pick(r, "prod", "prod", "dev"), "format", format)
		switch r.IntN(5) {
		case 0:
			e.Metadata = labels.FromStrings("pod", pick(r, "a-1", "a-2"), "trace", pick(r, "t1", "t2", "t3"))
		case 1:
			e.Metadata = labels.FromStrings("level", pick(r, "info", "error"), "status", pick(r, "200", "500"))
		case 2:
			e.Metadata = labels.FromStrings("app", "outer", "pod", "a-3")
		}
		all[i] = e
		at = at.Add(every/2 + time.Duration(r.Int64N(int64(every))))
	}
	return all
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func level(r *rand.Rand) string { return pick(r, "info", "info", "warn", "error", "debug") }

func latency(r *rand.Rand) string {
	return pick(r, fmt.Sprintf("%dms", r.IntN(900)), fmt.Sprintf("%.1fs", r.Float64()*3), fmt.Sprintf("%dus", r.IntN(999)), "1m30s", "soon")
}

func size(r *rand.Rand) string {
	return pick(r, fmt.Sprintf("%dKB", r.IntN(90)), fmt.Sprintf("%dB", r.IntN(900)), "1.5MiB", fmt.Sprintf("%d", r.IntN(9000)), "big")
}

func address(r *rand.Rand) string {
	return pick(r, fmt.Sprintf("10.0.0.%d", r.IntN(256)), fmt.Sprintf("192.168.1.%d", r.IntN(256)), "::1", "2001:db8::1f", "8.8.8.8", "localhost")
}

func line(r *rand.Rand, format string) string {
	switch format {
	case "json":
		return jsonLine(r)
	case "logfmt":
		return logfmtLine(r)
	case "plain":
		return plainLine(r)
	default:
		return oddLine(r)
	}
}

func jsonLine(r *rand.Rand) string {
	fields := []string{
		fmt.Sprintf(`"level":%q`, level(r)),
		fmt.Sprintf(`"status":%d`, pick(r, 200, 204, 404, 500, 503)),
		fmt.Sprintf(`"msg":%q`, pick(r, "request done", "timeout", "error: \"x\"", "é à", "a\nb", "from 10.0.0.7 to ::1")),
	}
	for _, f := range []string{
		fmt.Sprintf(`"duration_ms":%d`, r.IntN(2000)), fmt.Sprintf(`"amount":%.2f`, r.Float64()*100), fmt.Sprintf(`"latency":%q`, latency(r)),
		fmt.Sprintf(`"size":%q`, size(r)), fmt.Sprintf(`"user":{"id":"u-%d","name":%q}`, r.IntN(4), pick(r, "Ann", "Bob", "")), fmt.Sprintf(`"addr":%q`, address(r)),
		`"tags":["x","y"]`, `"items":[{"name":"i0"},{"name":"i1"}]`, fmt.Sprintf(`"count":%d`, r.IntN(50)), `"app":"inner"`, `"none":null`, `"flag":true`,
		fmt.Sprintf(`"method":%q`, pick(r, "GET", "POST")), `"pod":"b-1"`, fmt.Sprintf(`"trace":"t%d"`, r.IntN(3)),
	} {
		if r.IntN(3) == 0 {
			fields = append(fields, f)
		}
	}
	return "{" + strings.Join(fields, pick(r, ",", ", ")) + "}"
}

func logfmtLine(r *rand.Rand) string {
	fields := []string{
		"level=" + level(r), fmt.Sprintf("status=%d", pick(r, 200, 404, 500)), fmt.Sprintf("msg=%q", pick(r, "done", "timeout of x", "a=b", "é")),
	}
	for _, f := range []string{
		"latency=" + latency(r), "size=" + size(r), fmt.Sprintf("duration_ms=%d", r.IntN(2000)), fmt.Sprintf("user=u-%d", r.IntN(4)), "addr=" + address(r), "empty=", "bare", `quoted=""`,
		fmt.Sprintf("count=%d", r.IntN(50)), "app=inner", "method=GET", fmt.Sprintf("amount=%.1f", r.Float64()*50), "user.name=Ann", "9lives=yes", "level=again",
	} {
		if r.IntN(3) == 0 {
			fields = append(fields, f)
		}
	}
	return strings.Join(fields, pick(r, " ", " ", "  "))
}

func plainLine(r *rand.Rand) string {
	switch r.IntN(3) {
	case 0:
		return fmt.Sprintf("%s %s /cart/%d %d %s", level(r), pick(r, "GET", "POST"), r.IntN(9), pick(r, 200, 500), latency(r))
	case 1:
		return fmt.Sprintf("%s request from %s in %s", level(r), address(r), latency(r))
	default:
		return pick(r, "started - ready", "connection timeout", "error", "a - b - c", "GET /health 200", "", "-")
	}
}

// oddLine is one that something may trip over.
func oddLine(r *rand.Rand) string {
	return pick(r,
		`{"level":"info","status":200`, `{"level":"error"} trailing`, `["a",{"b":1}]`, `{}`, `{"a":{"b":{"c":"deep"}},"a_b_c":"flat"}`, `{"level":"x","level":"y"}`,
		`{"a b":"space","é":"accent","1st":"digit","":"empty","a.b":"dot","level":null}`, `{"msg":"esc \"q\" \u00e9 \n \t \\ \/","b":""}`, `{"a":1e3,"b":-0.5,"count":1E+2,"status":12345678901234567890}`,
		`  {"level":"padded"}  `, `"just a string"`, `null`, `{"level":bare}`, `{level:"unquoted"}`, `{"nested":"{\"level\":\"inner\"}"}`, `{"level":["a"],"user":{}}`,
		`{"_entry":"packed level=info GET /x 200 1ms","app":"pack","level":"packed"}`, `{"_entry":"{\"level\":\"inner\"}","pod":"z"}`, `{"_entry":5,"level":"x"}`,
		`level=info status= msg="open`, `level="info"status=200`, `=value key=ok`, `a=b=c level=error`, `"quoted" level=warn`, `level=info "x" b=2`, `a="b"c level=error`, `level==x`, "level=info\tstatus=5",
		`a="esc \" \n \u00e9" b="bad \q" level=info`, `é=ü level=warn`, `level.x=1 level-y=2 level/z=3`, `level=info,status=200`,
		"\x1b[31merror\x1b[0m \x1b[1;32mGET\x1b[m /x", "two\nlines level=info", "trailing space ", "\ttab", "ünïcödé 日本語", "10.0.0.1", "x10.0.0.5y", "10.0.0.6.", "999.0.0.1 10.0.0.7:80", "[::1]:8080", "fe80::1%eth0", "1.2.3.4/8",
	)
}
