package line

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parley-gateway/parley/policy"
)

var (
	writeDocs   = flag.Bool("write-docs", false, "write the generated tables of the documentation")
	writeCorpus = flag.Bool("write-corpus", false, "write the generated part of the corpus")
)

const (
	// written by hand, and by corpusgen_test.go with a fixed seed.
	byHand, generated = "testdata/corpus/byhand.jsonl", "testdata/corpus/generated.jsonl"
	policyDocs        = "../../../POLICY.md"
)

// labelled is a synthetic line of the corpus, in which it is known what a
// detector should find.
type labelled struct {
	Line string `json:"line"`
	// Labels are texts in the line as it reads, or of adversarial spellings as it
	// is written. All else in it is nothing that a detector should find.
	Labels []label `json:"labels,omitempty"`
	// Spelling is how an adversary wrote it; empty: as anybody would.
	Spelling string `json:"spelling,omitempty"`
}

type label struct {
	Kind policy.Detector `json:"kind"`
	Text string          `json:"text"`
}

func readCorpus(tb testing.TB) []labelled {
	tb.Helper()
	var out []labelled
	for _, name := range []string{byHand, generated} {
		text, err := os.ReadFile(filepath.FromSlash(name))
		if err != nil {
			tb.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		for lines.Scan() {
			var l labelled
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				tb.Fatalf("%s: %s: %v", name, lines.Text(), err)
			}
			for _, label := range l.Labels {
				if l.Spelling == "" && !strings.Contains(readable(l.Line), label.Text) {
					tb.Fatalf("%s: %q is not in %q", name, label.Text, l.Line)
				}
			}
			out = append(out, l)
		}
	}
	return out
}

// readable is a line with the strings of JSON in it decoded.
func readable(line string) string {
	if !json.Valid([]byte(line)) {
		return line
	}
	out := line
	for r := strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\u0040`, "@", `\/`, "/"); ; {
		next := r.Replace(out)
		if next == out {
			return out
		}
		out = next
	}
}

// score is how a detector did.
type score struct{ found, missed, wrong int }

func (s score) recall() float64    { return float64(s.found) / float64(max(1, s.found+s.missed)) }
func (s score) precision() float64 { return float64(s.found) / float64(max(1, s.found+s.wrong)) }

// gone says whether nothing much of a text is left in a line: neither half of it.
func gone(text, line string) bool {
	line = readable(line)
	half := len(text) / 2
	for half > 0 && half < len(text) && text[half]&0xc0 == 0x80 {
		half++
	}
	return !strings.Contains(line, text) && !strings.Contains(line, text[:half]) && !strings.Contains(line, text[half:])
}

// scored runs one detector over one line.
func scored(tb testing.TB, r *Redactor, kind policy.Detector, l labelled) (s score, misses []string) {
	tb.Helper()
	var fired Fired
	out := r.Redact(l.Line, &fired)
	matches := 0
	for _, c := range fired.Counts() {
		matches += int(c.Times)
	}
	for _, label := range l.Labels {
		switch {
		case label.Kind != kind:
		case gone(label.Text, out):
			s.found++
		default:
			s.missed++
			misses = append(misses, label.Text)
		}
	}
	s.wrong = max(0, matches-s.found)
	return s, misses
}

func (s score) plus(o score) score {
	return score{s.found + o.found, s.missed + o.missed, s.wrong + o.wrong}
}

// scores are those of plain spellings by detector, and of others by spelling and
// detector.
func scores(tb testing.TB, corpus []labelled) (plain map[policy.Detector]score, adversarial map[string]map[policy.Detector]score) {
	tb.Helper()
	plain, adversarial = map[policy.Detector]score{}, map[string]map[policy.Detector]score{}
	for _, kind := range policy.Detectors {
		r := mustNew(tb, byRules(masksOf(string(kind))))
		for _, l := range corpus {
			s, misses := scored(tb, r, kind, l)
			if l.Spelling == "" {
				plain[kind] = plain[kind].plus(s)
				if s.wrong > 0 || s.missed > 0 {
					tb.Logf("%s: misses %q, %d wrong: %s", kind, misses, s.wrong, l.Line)
				}
				continue
			}
			if s.found+s.missed > 0 {
				if adversarial[l.Spelling] == nil {
					adversarial[l.Spelling] = map[policy.Detector]score{}
				}
				adversarial[l.Spelling][kind] = adversarial[l.Spelling][kind].plus(s)
			}
		}
	}
	return plain, adversarial
}

// floors are what every detector does at least. They are of this corpus, which
// is synthetic: not of anybody's logs.
var floors = map[policy.Detector]struct{ recall, precision float64 }{
	policy.EmailDetector:  {0.99, 0.99},
	policy.IPv4Detector:   {0.99, 0.98},
	policy.IPv6Detector:   {0.99, 0.98},
	policy.BearerDetector: {0.98, 0.98},
	policy.CardDetector:   {0.99, 0.95}, // parts of account numbers are taken for cards
	policy.IBANDetector:   {0.99, 0.99},
	policy.PhoneDetector:  {0.93, 0.95},
}

func TestWhatDetectorsFind(t *testing.T) {
	plain, adversarial := scores(t, readCorpus(t))
	for _, kind := range policy.Detectors {
		s, floor := plain[kind], floors[kind]
		t.Logf("%-7s recall %.3f, precision %.3f: %d found, %d missed, %d wrong", kind, s.recall(), s.precision(), s.found, s.missed, s.wrong)
		if s.found+s.missed < 100 {
			t.Errorf("%s: the corpus has %d of them, which says little", kind, s.found+s.missed)
		}
		if s.recall() < floor.recall || s.precision() < floor.precision {
			t.Errorf("%s: recall %.3f and precision %.3f are below %v", kind, s.recall(), s.precision(), floor)
		}
	}
	for _, spelling := range slices.Sorted(maps.Keys(adversarial)) {
		for _, kind := range policy.Detectors {
			if s, ok := adversarial[spelling][kind]; ok {
				t.Logf("%s, %s: %d of %d", spelling, kind, s.found, s.found+s.missed)
			}
		}
	}
}

// The tables in the documentation are those of the corpus.
func TestTheDetectorsAreDocumented(t *testing.T) {
	const begin, end = "<!-- detectors: written by go test ./federation/logs/line -run Documented -write-docs -->\n", "<!-- end of detectors -->"
	text, err := os.ReadFile(policyDocs)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the tables", policyDocs)
	}
	want := before + begin + tables(t) + end + after
	if *writeDocs {
		if err := os.WriteFile(policyDocs, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Errorf("the tables in %s are not those of the corpus; write them with -write-docs", policyDocs)
	}
}

// So are the rows in the README, which are written by hand.
func TestTheReadmeHasTheDetectorsFigures(t *testing.T) {
	text, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	plain, _ := scores(t, readCorpus(t))
	recall, precision := "| recall |", "| precision |"
	for _, kind := range policy.Detectors {
		recall += fmt.Sprintf(" %.3f |", plain[kind].recall())
		precision += fmt.Sprintf(" %.3f |", plain[kind].precision())
	}
	for _, row := range []string{"| | " + strings.Join(names("`%s`"), " | ") + " |", recall, precision} {
		if !strings.Contains(string(text), row+"\n") {
			t.Errorf("the README lacks the row\n%s", row)
		}
	}
}

func tables(tb testing.TB) string {
	tb.Helper()
	plain, adversarial := scores(tb, readCorpus(tb))
	var b strings.Builder
	b.WriteString("\n| detector | in the corpus | recall | precision |\n|---|---|---|---|\n")
	for _, kind := range policy.Detectors {
		s := plain[kind]
		fmt.Fprintf(&b, "| `%s` | %d | %.3f | %.3f |\n", kind, s.found+s.missed, s.recall(), s.precision())
	}
	b.WriteString("\n| spelling | " + strings.Join(names("`%s`"), " | ") + " |\n|---" + strings.Repeat("|---", len(policy.Detectors)) + "|\n")
	for _, spelling := range slices.Sorted(maps.Keys(adversarial)) {
		b.WriteString("| " + spelling)
		for _, kind := range policy.Detectors {
			word := ""
			if s, ok := adversarial[spelling][kind]; ok {
				switch {
				case s.missed == 0:
					word = "caught"
				case s.found == 0:
					word = "not caught"
				default:
					word = fmt.Sprintf("%d of %d", s.found, s.found+s.missed)
				}
			}
			b.WriteString(" | " + word)
		}
		b.WriteString(" |\n")
	}
	return b.String() + "\n"
}

func names(format string) (out []string) {
	for _, kind := range policy.Detectors {
		out = append(out, fmt.Sprintf(format, kind))
	}
	return out
}
