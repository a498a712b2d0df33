package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-gateway/parley/federation/traces"
)

// tries runs parley policy try with globex's files, as acme would ask.
func (o *org) tries(t *testing.T, arguments ...string) (stdout string, err error) {
	t.Helper()
	var out, errs strings.Builder
	cmd := exec.CommandContext(t.Context(), parley(t), append([]string{
		"policy", "try", "--config", filepath.Join(o.dir, "gateway.yml"), "--as", "acme", "--purpose", "slo-review",
	}, arguments...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%w: %s", err, errs.String())
	}
	return out.String(), nil
}

// linesTried compares what globex's operator is shown as released, over a real Loki,
// with what acme's users get.
func linesTried(t *testing.T, w *logsWorld) {
	over := []string{"--time", w.end.UTC().Format(time.RFC3339), "--range", fmt.Sprintf("%dm", lokiMinutes)}
	for _, query := range []string{
		`{org="globex", service_name="mail"} |= "sent"`, `{org="globex", service_name="checkout"} | json | status="500"`,
		`{org="globex", service_name="mail"} |= "globex.example"`, `{org="globex", service_name="mail", pod=~".+"}`,
	} {
		printed, err := w.globex.tries(t, append(over, "--signal", "logs", "--limit", "1000", "-o", "json", query)...)
		if err != nil {
			t.Fatal(err)
		}
		var tried struct {
			Released, Raw []struct {
				Time                     time.Time
				Line                     string
				Stream, Metadata, Parsed map[string]string
			}
		}
		if err := json.Unmarshal([]byte(printed), &tried); err != nil {
			t.Fatal(err)
		}
		var shown []string
		for _, l := range tried.Released {
			all := maps.Clone(l.Stream)
			maps.Copy(all, l.Metadata)
			maps.Copy(all, l.Parsed)
			shown = append(shown, fmt.Sprint(l.Time.UnixNano(), " ", all, " ", l.Line))
		}
		r := asks(t, w.acme.url(), "/loki/api/v1/query_range", w.span("query", query, "direction", "backward", "limit", "1000"))
		var answer struct {
			Data struct {
				Result []struct {
					Stream map[string]string
					Values [][2]string
				}
			}
		}
		if err := json.Unmarshal([]byte(r.body), &answer); err != nil {
			t.Fatalf("%v: %s", err, r.body)
		}
		var got []string
		for _, s := range answer.Data.Result {
			for _, v := range s.Values {
				got = append(got, fmt.Sprint(v[0], " ", s.Stream, " ", v[1]))
			}
		}
		slices.Sort(shown)
		slices.Sort(got)
		if diff := cmp.Diff(got, shown, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-acme gets +tried):\n%s", query, diff)
		}
		if hidden := strings.Contains(query, "globex.example") || strings.Contains(query, "pod"); hidden != (len(shown) == 0) || len(tried.Raw) == 0 {
			t.Errorf("%s: %d lines are released, and %d raw", query, len(shown), len(tried.Raw))
		}
	}
	text, err := w.globex.tries(t, append(over, "--signal", "logs", `{service_name="mail"}`)...)
	if err != nil {
		t.Fatal(err)
	}
	lines := lokiMinutes / 3 * linesAMinute
	for _, want := range []string{
		"acme for slo-review: answered, 100 lines\n", "RELEASED TO ACME\n", ` msg="mail is sent"`, "to=<email>", "  and 85 more older; -o json has all\n",
		"YOUR OWN ANSWER\n", "@globex.example", fmt.Sprintf(`  {service_name="mail"} matches %d lines of 10 streams:`, lines), "10   streams released\n",
		fmt.Sprintf("%d  lines released with something changed\n", lines), fmt.Sprintf("%d  mask email\n", lines), "  their labels and metadata:\n", "pod ", "hidden\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("without %q:\n%s", want, text)
		}
	}
	if _, err := w.globex.tries(t, append(over, "--signal", "logs", `{service_name="search"}`)...); err == nil || !strings.Contains(err.Error(), "no lines of this are released") {
		t.Errorf("lines of which none is released: %v", err)
	}
	numbers, err := w.globex.tries(t, "--time", w.end.UTC().Format(time.RFC3339), "--signal", "logs", `sum by (level) (count_over_time({service_name="search"}[30m]))`)
	if err != nil || !strings.Contains(numbers, "answered, 3 series") {
		t.Errorf("numbers: %v\n%s", err, numbers)
	}
}

// spansTried is the same of traces, over a real Jaeger.
func spansTried(t *testing.T, w *tracesWorld) {
	for _, id := range []trace.TraceID{w.paid, w.broke} {
		printed, err := w.globex.tries(t, "-o", "json", id.String())
		if err != nil {
			t.Fatal(err)
		}
		tried := triedTraces(t, printed)
		if len(tried) != 1 {
			t.Fatalf("%d traces of one id: %s", len(tried), printed)
		}
		got := shownOf(t, w.acme.tempoTrace(t, id.String()).spans)
		maps.DeleteFunc(got, func(_ string, s shown) bool { // of others, and of what goes on under another id
			return s.Org != "globex" || s.Attributes[traces.TraceAttribute] != nil
		})
		// Their times are put right by those of others, and what they hang on as well.
		alone := cmpopts.IgnoreFields(shown{}, "Start", "End", "Parent")
		if diff := cmp.Diff(got, tried[id.String()], alone); diff != "" {
			t.Errorf("%s (-acme gets +tried):\n%s", id, diff)
		}
	}
	text, err := w.globex.tries(t, w.paid.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"acme for slo-review: answered, 1 trace\n", "bank: POST /pay", "  " + w.paid.String() + " has ", "released, as attributes\n", "denied by the dataset fraud\n",
		"names and attributes of spans that are released:\n", "span.customer.id ", "1 seen, pseudonym\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("without %q:\n%s", want, text)
		}
	}
	if released, _, _ := strings.Cut(text, "YOUR OWN ANSWER"); strings.Contains(released, "fraud") || strings.Contains(released, "secret") {
		t.Errorf("what is hidden is released:\n%s", text)
	}
	printed, err := w.globex.tries(t, "-o", "json", `{ resource.service.name = "bank" && status = error }`)
	if err != nil {
		t.Fatal(err)
	}
	if found := triedTraces(t, printed); len(found) != 1 || found[w.broke.String()] == nil {
		t.Errorf("a search finds %s", printed)
	}
	listed, err := w.globex.tries(t, `{ resource.service.name = "bank" }`)
	if err != nil || !strings.Contains(listed, "acme for slo-review: answered, 2 traces\n") || strings.Count(listed, "  BEGAN ") != 2 || !strings.Contains(listed, "bank: POST /pay") || strings.Contains(listed, " 0s ") {
		t.Errorf("a search: %v\n%s", err, listed)
	}
	if _, err := w.initech.tries(t, w.paid.String()); err == nil || !strings.Contains(err.Error(), "in the memory of the running gateway") {
		t.Errorf("traces of a gateway's memory: %v", err)
	}
}

// triedTraces are the spans that are released, by trace.
func triedTraces(t *testing.T, printed string) map[string]map[string]shown {
	t.Helper()
	var tried struct {
		Released []struct {
			TraceID string `json:"trace_id"`
			Spans   json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(printed), &tried); err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string]shown{}
	for _, released := range tried.Released {
		var u ptrace.JSONUnmarshaler
		spans, err := u.UnmarshalTraces(released.Spans)
		if err != nil {
			t.Fatal(err)
		}
		out[released.TraceID] = shownOf(t, spans)
	}
	return out
}
