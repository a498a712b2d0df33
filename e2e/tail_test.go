package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/e2e/servers"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/audit"
)

// TestTail is three organizations, each with a real Loki and a gateway that is a
// process, whose logs logcli and parley tail at acme's front door while one of the
// gateways is killed and started again.
func TestTail(t *testing.T) {
	acme, acmesLoki := newLogsOrg(t, "acme")
	globex, globexsLoki := newLogsOrg(t, "globex")
	initech, initechsLoki := newLogsOrg(t, "initech")
	all := []*org{acme, globex, initech}
	for _, owner := range []*org{globex, initech} {
		owner.shows(t, acme, "logs")
		owner.starts(t)
	}
	acme.starts(t)
	eventually(t, func() string { // partners' bundles are there
		r := asks(t, acme.url(), "/loki/api/v1/query_range", url.Values{"query": {`{service_name="mail"}`}})
		if r.status != http.StatusOK {
			return r.body
		}
		return cmp.Diff(statuses(nil), r.statuses(t))
	})

	log := &logWriter{t: t, lokis: map[string]servers.Loki{"acme": acmesLoki, "globex": globexsLoki, "initech": initechsLoki}, want: map[string]int{}}
	log.writes(globex, "before")
	const query = `{service_name="mail"} |= "line"`
	logcli := runs(t, servers.Command(t, "loki", "logcli", "--addr="+acme.url(), "--quiet", "query", "--tail", "--output=jsonl", "--since=1m", "--limit=100", query))
	ours := runs(t, exec.CommandContext(t.Context(), parley(t), "logs", "--gateway", acme.url(), "--tail", "--since", "1m", query))
	// Of this one Lokis have no tail: it names no label that they know.
	every := runs(t, exec.CommandContext(t.Context(), parley(t), "logs", "--gateway", acme.url(), "--tail", "--since", "1m", `{org=~"acme|initech"} |= "line" != "salaries"`))
	tails := []*running{logcli, ours}
	inJSON := strings.NewReplacer("<", `\u003c`, ">", `\u003e`)
	has := func(text string) {
		t.Helper()
		eventually(t, func() string {
			for _, r := range tails {
				if out := r.stdout.String(); !strings.Contains(out, text) && !strings.Contains(out, inJSON.Replace(text)) {
					return fmt.Sprintf("%q in %s%s", text, r.stdout.String(), r.stderr.String())
				}
			}
			return ""
		})
	}
	has("line before of globex, by <email>")
	for _, o := range all {
		log.writes(o, "one")
	}
	has("line one of globex, by <email>")
	has("line one of initech, by ann@example.com")
	has("line one of acme, by ann@example.com")

	globex.gateway.Kill(t)
	eventually(t, func() string {
		if !strings.Contains(logcli.stdout.String(), "globex is unreachable") || !strings.Contains(ours.stderr.String(), "globex unreachable") {
			return "word of globex's end in " + logcli.stdout.String() + ours.stderr.String()
		}
		return ""
	})
	for _, o := range all {
		log.writes(o, "two")
	}
	has("line two of acme")
	has("line two of initech")
	globex.starts(t)
	eventually(t, func() string {
		if !strings.Contains(logcli.stdout.String(), "globex is back") || !strings.Contains(ours.stderr.String(), "globex complete is back") {
			return "word of globex's return in " + logcli.stdout.String() + ours.stderr.String()
		}
		return ""
	})
	for _, o := range all {
		log.writes(o, "three")
	}
	has("line two of globex, by <email>") // written while it was away
	has("line three of globex, by <email>")
	has("line three of acme")
	has("line three of initech")

	// Every line came to both, once.
	if diff := cmp.Diff(log.want, logcliLines(t, logcli.stdout.String())); diff != "" {
		t.Errorf("logcli's lines (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(log.want, printedLines(ours.stdout.String())); diff != "" {
		t.Errorf("parley's lines (-want +got):\n%s", diff)
	}
	withoutGlobex := maps.Clone(log.want)
	maps.DeleteFunc(withoutGlobex, func(line string, _ int) bool { return strings.Contains(line, "of globex") })
	eventually(t, func() string { return cmp.Diff(withoutGlobex, printedLines(every.stdout.String())) })
	for _, r := range append(tails, every) {
		r.interrupt(t)
	}
	// What globex's gateway recorded as disclosed is what came of it, to both.
	disclosed := 0
	for record, err := range audit.Read(os.DirFS(filepath.Join(globex.dir, "audit"))) {
		if err != nil {
			t.Fatal(err)
		}
		if record.Tail != nil && record.Tail.Stage != gateway.TailEnded {
			disclosed += record.Lines
		}
	}
	came := 0
	for line, n := range log.want {
		if strings.Contains(line, "of globex") {
			came += len(tails) * n
		}
	}
	// Lines of the last seconds before it was killed were asked for again.
	if disclosed < came || disclosed > 2*came {
		t.Errorf("globex recorded %d lines, %d came", disclosed, came)
	}
}

// logWriter writes to organizations' logs and remembers what is to be seen of it.
type logWriter struct {
	t     *testing.T
	lokis map[string]servers.Loki
	want  map[string]int
}

func (w *logWriter) writes(o *org, what string) {
	w.t.Helper()
	line := fmt.Sprintf("line %s of %s, by ann@example.com", what, o.name)
	w.lokis[o.name].Push(w.t, o.name,
		servers.LokiStream{Labels: map[string]string{"service_name": "mail", "pod": "pod-1"}, Entries: []servers.LokiEntry{{Time: time.Now(), Line: line}}},
		servers.LokiStream{Labels: map[string]string{"service_name": "payroll"}, Entries: []servers.LokiEntry{{Time: time.Now(), Line: "line of salaries"}}},
	)
	if o.name == "globex" {
		line = strings.ReplaceAll(line, "ann@example.com", "<email>")
	}
	w.want[line]++
}

// printedLines are the lines that parley printed.
func printedLines(printed string) map[string]int {
	out := map[string]int{}
	for line := range strings.Lines(printed) {
		if _, text, ok := strings.Cut(line, "} "); ok {
			out[strings.TrimSpace(text)]++
		}
	}
	return out
}

// logcliLines are the lines that logcli printed, but for those that the gateway
// added.
func logcliLines(t *testing.T, printed string) map[string]int {
	t.Helper()
	out := map[string]int{}
	for text := range strings.Lines(printed) {
		var e struct {
			Labels map[string]string `json:"labels"`
			Line   string            `json:"line"`
		}
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if e.Labels["parley_completeness"] == "" {
			out[e.Line]++
		}
		if e.Labels["org"] == "globex" && e.Labels["pod"] != "" {
			t.Errorf("a hidden label is in %s", text)
		}
	}
	return out
}

// running is a program that runs on.
type running struct {
	cmd            *exec.Cmd
	stdout, stderr lockedText
	ended          chan error
}

type lockedText struct {
	mu   sync.Mutex
	text []byte // guarded by mu
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(slices.Clone(l.text))
}

// runs starts a program.
func runs(t *testing.T, cmd *exec.Cmd) *running {
	t.Helper()
	r := &running{cmd: cmd, ended: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = &r.stdout, &r.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { r.ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s wrote:\n%s%s", cmd, r.stdout.String(), r.stderr.String())
		}
	})
	return r
}

// interrupt ends it as a person at a terminal does.
func (r *running) interrupt(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	select {
	case err := <-r.ended:
		if err != nil {
			t.Errorf("%s ended with %v", r.cmd, err)
		}
	case <-time.After(20 * time.Second):
		t.Errorf("%s goes on", r.cmd)
	}
}
