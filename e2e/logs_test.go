package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/e2e/servers"
	"github.com/parley-gateway/parley/federation"
)

// logsWorld is three organizations with a Loki each. acme asks; globex hides
// its customers, and initech nothing.
type logsWorld struct {
	story                 *testing.T
	acme, globex, initech *org
	lokis                 map[string]servers.Loki
	start, end            time.Time
}

// TestLogs is one long story, told in order, with logcli as the one who asks.
func TestLogs(t *testing.T) {
	w := newLogsWorld(t)
	for _, chapter := range []struct {
		title string
		tell  func(*testing.T, *logsWorld)
	}{
		{"logcli gets the lines of three Lokis", logcliQueries},
		{"what globex hides can't be found", hiddenLines},
		{"logcli gets numbers of three Lokis", logcliNumbers},
		{"logcli gets to know what there is", logcliLists},
		{"logcli gets to know how much there is", logcliSummaries},
		{"Grafana's data source is content", grafanaAsks},
		{"globex tries what acme gets", linesTried},
		{"globex is down", globexIsDown},
	} {
		if !t.Run(chapter.title, func(t *testing.T) { chapter.tell(t, w) }) {
			return // what follows builds on it
		}
	}
}

func newLogsWorld(t *testing.T) *logsWorld {
	w := &logsWorld{story: t, lokis: map[string]servers.Loki{}, start: time.Now().Add(-time.Hour).Truncate(time.Minute)}
	w.end = w.start.Add(lokiMinutes * time.Minute)
	for name, o := range map[string]**org{"acme": &w.acme, "globex": &w.globex, "initech": &w.initech} {
		*o, w.lokis[name] = newLogsOrg(t, name)
		w.lokis[name].Push(t, name, shopLines(name, w.start)...)
	}
	for _, owner := range []*org{w.globex, w.initech} {
		owner.shows(t, w.acme, "logs")
		owner.starts(t)
	}
	w.acme.starts(t)
	eventually(t, func() string {
		r := asks(t, w.acme.url(), "/loki/api/v1/index/stats", w.span("query", `{service_name="mail"}`))
		return cmp.Diff(statuses(nil), r.statuses(t))
	})
	return w
}

// span are parameters with the time of the lines.
func (w *logsWorld) span(parameters ...string) url.Values {
	v := url.Values{"start": {strconv.FormatInt(w.start.UnixNano(), 10)}, "end": {strconv.FormatInt(w.end.UnixNano(), 10)}}
	for pair := range slices.Chunk(parameters, 2) {
		v.Set(pair[0], pair[1])
	}
	return v
}

// logcli runs a command of logcli over the time of the lines, against acme's
// gateway.
func (w *logsWorld) logcli(t *testing.T, arguments ...string) string {
	t.Helper()
	return servers.Logcli(t, w.acme.url(), "anyone", w.over(arguments)...)
}

// direct runs it against a Loki.
func (w *logsWorld) direct(t *testing.T, name string, arguments ...string) string {
	t.Helper()
	return servers.Logcli(t, w.lokis[name].URL, name, w.over(arguments)...)
}

func (w *logsWorld) over(arguments []string) []string {
	return slices.Concat(arguments[:1], []string{"--from", w.start.UTC().Format(time.RFC3339Nano), "--to", w.end.UTC().Format(time.RFC3339Nano)}, arguments[1:])
}

func linesIn(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }

var anAddress = regexp.MustCompile(`to=user[0-9]+@globex\.example`)

// asGlobexShows is a line of mail as globex shows it.
func asGlobexShows(line string) string { return anAddress.ReplaceAllString(line, "to=<email>") }

func logcliQueries(t *testing.T, w *logsWorld) {
	const query = `{service_name="mail"} |= "sent"`
	want := []string{}
	for name := range w.lokis {
		for _, line := range linesIn(w.direct(t, name, "query", "-o", "raw", "--limit", "1000", query)) {
			want = append(want, asGlobexShows(line))
		}
	}
	if len(want) != 3*lokiMinutes/3*linesAMinute {
		t.Fatalf("the three Lokis have %d lines", len(want))
	}
	slices.Sort(want)
	// In batches that begin where the last one ended, and so have its end twice.
	for _, arguments := range [][]string{
		{"query", "-o", "raw", "--limit", "5000", "--batch", "1000"},
		{"query", "-o", "raw", "--limit", "5000", "--batch", "97"},
		{"query", "-o", "raw", "--limit", "5000", "--batch", "97", "--forward"},
	} {
		got := linesIn(w.logcli(t, append(arguments, query)...))
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v (-three Lokis +gateway):\n%s", arguments, diff)
		}
	}
	last := linesIn(w.logcli(t, "query", "-o", "jsonl", "--limit", "3", query))
	if len(last) != 3 {
		t.Fatalf("the last three: %q", last)
	}
	for i, name := range []string{"initech", "globex", "acme"} {
		if !strings.Contains(last[i], `"org":"`+name+`"`) {
			t.Errorf("line %d of those written at once: %s", i, last[i])
		}
	}
}

func hiddenLines(t *testing.T, w *logsWorld) {
	for _, query := range []string{
		`{org="globex", service_name="mail"} |= "user7@globex"`, `{org="globex", service_name="checkout"} |~ "globex-[0-9]"`,
		`{org="globex", service_name="checkout"} | json | user_id="globex-7"`, `{org="globex", service_name="checkout", pod=~".+"}`,
		`{org="globex", service_name="checkout"} | trace_id=~".+"`,
		`{org="globex", service_name="mail"} | regexp "(?P<who>user[0-9]+)" | who!=""`,
	} {
		if got := strings.TrimSpace(w.logcli(t, "query", "-o", "raw", query)); got != "" && !strings.Contains(got, "No logs") {
			t.Errorf("%s: %s", query, got)
		}
	}
	if r := asks(t, w.acme.url(), "/loki/api/v1/query_range", w.span("query", `{org="globex", service_name="search"}`)); r.status != http.StatusBadRequest || !strings.Contains(r.body, "ask for numbers") {
		t.Errorf("lines of which there are only numbers: %d %s", r.status, r.body)
	}
	for path, parameters := range map[string]url.Values{
		"detected_fields":               w.span("query", `{org="globex"}`, "line_limit", "5000"),
		"detected_field/user_id/values": w.span("query", `{org="globex"}`, "line_limit", "5000"),
		"detected_field/to/values":      w.span("query", `{org="globex"}`, "line_limit", "5000"),
		"detected_labels":               w.span("query", `{org="globex"}`),
		"patterns":                      w.span("query", `{org="globex"}`, "step", "1h"),
		"index/volume":                  w.span("query", `{org="globex"}`, "targetLabels", "pod"),
		"label/pod/values":              w.span("query", `{org="globex"}`),
		"label/trace_id/values":         w.span("query", `{org="globex"}`),
		"series":                        w.span("match[]", `{org="globex"}`),
	} {
		r := asks(t, w.acme.url(), "/loki/api/v1/"+path, parameters)
		if r.status != http.StatusOK || strings.Contains(r.body, "globex-") || strings.Contains(r.body, "user7") || strings.Contains(r.body, `"pod`) {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
}

func logcliNumbers(t *testing.T, w *logsWorld) {
	// All that a query looks at is in the two services that globex shows.
	for _, query := range []string{
		`sum by (ORG service_name) (count_over_time({service_name=~"mail|search"}[30m]))`,
		`sum by (ORG level) (count_over_time({service_name="checkout"} | json | status >= 500 [30m]))`,
		`max by (ORG level) (max_over_time({service_name="checkout"} | json | unwrap duration(took) | __error__="" [30m]))`,
		`sum by (ORG status) (rate({service_name="mail"} | logfmt [30m]))`,
	} {
		type sample struct {
			Metric map[string]string `json:"metric"`
			Value  [2]any            `json:"value"`
		}
		values := func(text, name string) map[string]string {
			var all []sample
			if err := json.Unmarshal([]byte(text), &all); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			out := map[string]string{}
			for _, s := range all {
				if name != "" {
					s.Metric["org"] = name
				}
				out[fmt.Sprint(s.Metric)] = fmt.Sprint(s.Value[1])
			}
			return out
		}
		instant := func(run func(*testing.T, ...string) string, of string) string {
			return run(t, "instant-query", "--now", w.end.UTC().Format(time.RFC3339Nano), strings.ReplaceAll(query, "ORG ", of))
		}
		want := map[string]string{}
		for name, loki := range w.lokis {
			maps.Copy(want, values(instant(func(t *testing.T, arguments ...string) string {
				return servers.Logcli(t, loki.URL, name, arguments...)
			}, ""), name))
		}
		got := values(instant(func(t *testing.T, arguments ...string) string {
			return servers.Logcli(t, w.acme.url(), "anyone", arguments...)
		}, "org, "), "")
		if diff := cmp.Diff(want, got); diff != "" || len(got) < 6 {
			t.Errorf("%s (-three Lokis +gateway):\n%s", query, diff)
		}
	}
}

func logcliLists(t *testing.T, w *logsWorld) {
	names := linesIn(w.logcli(t, "labels"))
	for name := range w.lokis {
		for _, label := range linesIn(w.direct(t, name, "labels")) {
			if !slices.Contains(names, label) {
				t.Errorf("labels: %v, without %s's %s", names, name, label)
			}
		}
	}
	if diff := cmp.Diff([]string{"acme", "globex", "initech"}, linesIn(w.logcli(t, "labels", "org"))); diff != "" {
		t.Errorf("values of org:\n%s", diff)
	}
	// globex's streams are told by service and level alone.
	series := linesIn(w.logcli(t, "series", `{service_name="checkout"}`))
	of := map[string]int{}
	for _, s := range series {
		for name := range w.lokis {
			if strings.Contains(s, `org="`+name+`"`) {
				of[name]++
			}
		}
	}
	if diff := cmp.Diff(map[string]int{"acme": 10, "globex": 3, "initech": 10}, of); diff != "" {
		t.Errorf("series (-want +got):\n%s\n%q", diff, series)
	}
	analyzed := w.logcli(t, "series", "--analyze-labels", `{service_name="checkout"}`)
	if !strings.Contains(analyzed, "Total Streams:  23") {
		t.Errorf("series --analyze-labels:\n%s", analyzed)
	}
}

func logcliSummaries(t *testing.T, w *logsWorld) {
	stats := w.logcli(t, "stats", `{service_name="mail"}`)
	entries := lokiMinutes * linesAMinute // a third of the lines of three
	if !strings.Contains(stats, fmt.Sprintf("entries: %d", entries)) || !strings.Contains(stats, "streams: 23") {
		t.Errorf("stats: %s", stats)
	}
	bytes := map[string]int{}
	for name := range w.lokis {
		for _, line := range linesIn(w.direct(t, name, "query", "-o", "raw", "--limit", "1000", `{service_name="mail"}`)) {
			if name == "globex" {
				line = asGlobexShows(line)
			}
			bytes[name] += len(line)
		}
	}
	for _, command := range [][]string{{"volume"}, {"volume_range", "--step", "10m"}} {
		text := w.logcli(t, append(command, "--targetLabels", "org", `{service_name="mail"}`)...)
		if diff := cmp.Diff(bytes, volumeOf(t, text)); diff != "" {
			t.Errorf("%v (-lines +got):\n%s\n%s", command, diff, text)
		}
	}
	names := w.logcli(t, "volume", "--aggregateByLabels", `{service_name="mail"}`)
	if !strings.Contains(names, `"pod"`) || !strings.Contains(names, `"org"`) {
		t.Errorf("volume by names of labels: %s", names)
	}
	fields := w.logcli(t, "detected-fields", `{service_name="mail"}`)
	for _, field := range []string{"to", "msg", "status", "took", "trace_id"} {
		if !regexp.MustCompile(`(?m)\b` + field + `\b`).MatchString(fields) {
			t.Errorf("detected-fields: no %s in\n%s", field, fields)
		}
	}
	if values := w.logcli(t, "detected-fields", `{service_name="mail"}`, "status"); !strings.Contains(values, "200") || !strings.Contains(values, "550") {
		t.Errorf("detected-fields of one: %s", values)
	}
}

// volumeOf sums up what logcli prints of a volume, by organization.
func volumeOf(t *testing.T, text string) map[string]int {
	t.Helper()
	var series []struct {
		Metric map[string]string
		Value  []json.RawMessage
		Values [][]json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &series); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	out := map[string]int{}
	for _, s := range series {
		points := s.Values
		if s.Value != nil {
			points = append(points, s.Value)
		}
		for _, p := range points {
			var value string
			if err := json.Unmarshal(p[1], &value); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			out[s.Metric["org"]] += n
		}
	}
	return out
}

// grafanaAsks sends what Grafana's backend does.
func grafanaAsks(t *testing.T, w *logsWorld) {
	health := asks(t, w.acme.url(), "/loki/api/v1/query", url.Values{"direction": {"backward"}, "query": {"vector(1)+vector(1)"}, "time": {"4000000000"}})
	if health.status != http.StatusOK || strings.Count(health.body, `"value":[`) != 1 || !strings.Contains(health.body, `[4000000000,"2"]`) {
		t.Errorf("health: %d %s", health.status, health.body)
	}
	v := w.span("query", `{service_name="checkout"} | json | status="500"`, "direction", "backward", "limit", "100", "step", "15000ms")
	r := asks(t, w.acme.url(), "/loki/api/v1/query_range", v, "X-Loki-Response-Encoding-Flags", "categorize-labels", "X-Query-Tags", "Source=grafana")
	var body struct {
		Data struct {
			EncodingFlags []string
			Result        []struct {
				Stream map[string]string
				Values [][]json.RawMessage
			}
		}
	}
	if err := json.Unmarshal([]byte(r.body), &body); err != nil || r.status != http.StatusOK || !slices.Contains(body.Data.EncodingFlags, "categorize-labels") {
		t.Fatalf("lines: %d %s %v", r.status, r.body, err)
	}
	lines := 0
	for _, s := range body.Data.Result {
		for _, value := range s.Values {
			var categories struct{ StructuredMetadata, Parsed map[string]string }
			if err := json.Unmarshal(value[2], &categories); err != nil {
				t.Fatal(err)
			}
			lines++
			if _, there := categories.StructuredMetadata["trace_id"]; categories.Parsed["status"] != "500" || there != (s.Stream["org"] != "globex") {
				t.Errorf("a line of %s has %+v", s.Stream["org"], categories)
			}
		}
	}
	if lines != 100 {
		t.Errorf("%d lines of 100", lines)
	}
	wantStatuses(t, r, nil)
}

func globexIsDown(t *testing.T, w *logsWorld) {
	w.globex.gateway.Kill(t)
	without := map[string]federation.Status{"globex": federation.Unreachable}
	for path, query := range map[string]url.Values{
		"query_range":                  w.span("query", `{service_name="mail"}`, "limit", "10"),
		"query":                        {"query": {`count_over_time({service_name="mail"}[1h])`}},
		"labels":                       w.span(),
		"label/org/values":             w.span(),
		"series":                       w.span("match[]", `{service_name="mail"}`),
		"index/stats":                  w.span("query", `{service_name="mail"}`),
		"index/volume":                 w.span("query", `{service_name="mail"}`),
		"index/volume_range":           w.span("query", `{service_name="mail"}`),
		"patterns":                     w.span("query", `{service_name="mail"}`),
		"detected_labels":              w.span("query", `{service_name="mail"}`),
		"detected_fields":              w.span("query", `{service_name="mail"}`),
		"detected_field/status/values": w.span("query", `{service_name="mail"}`),
	} {
		r := asks(t, w.acme.url(), "/loki/api/v1/"+path, query)
		if r.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, r.status, r.body)
			continue
		}
		wantStatuses(t, r, without)
		var noted struct{ Warnings []string }
		if err := json.Unmarshal([]byte(r.body), &noted); err != nil || len(noted.Warnings) == 0 || !strings.Contains(noted.Warnings[0], "globex is unreachable") {
			t.Errorf("%s: warnings %q", path, noted.Warnings)
		}
		if strict := asks(t, w.acme.url(), "/loki/api/v1/"+path, query, "X-Parley-Partial", "refuse"); strict.status != http.StatusServiceUnavailable || !strings.Contains(strict.body, "globex") {
			t.Errorf("%s: who wants no partial answer got %d %s", path, strict.status, strict.body)
		}
	}
	if got := linesIn(w.logcli(t, "labels", "org")); !slices.Equal(got, []string{"acme", "initech"}) {
		t.Errorf("logcli gets %q", got)
	}
	w.globex.starts(w.story)
	eventually(t, func() string {
		r := asks(t, w.acme.url(), "/loki/api/v1/index/stats", w.span("query", `{service_name="mail"}`))
		return cmp.Diff(statuses(nil), r.statuses(t))
	})
}
