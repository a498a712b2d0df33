package attacks

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// columns are the policies of a table's attacks, in order.
func columns(attacks []Result) []string {
	used := map[string]bool{}
	for _, a := range attacks {
		for _, p := range a.Policies {
			used[p] = true
		}
	}
	return slices.DeleteFunc([]string{Rows, Cells, CoarseCells, Events, Floors, Spans, Boundary}, func(p string) bool { return !used[p] })
}

// chapters are the attacks by chapter, in order.
func (r Results) chapters() (names []string, attacks map[string][]Result) {
	attacks = map[string][]Result{}
	for _, a := range r.Attacks {
		if attacks[a.Chapter] == nil {
			names = append(names, a.Chapter)
		}
		attacks[a.Chapter] = append(attacks[a.Chapter], a)
	}
	return names, attacks
}

// bits is a number of bits in a table.
func bits(v float64) string {
	if v == 0 {
		return "0"
	}
	return fmt.Sprintf("%.1f", v)
}

// table is that of a chapter.
type table struct {
	title   string
	columns []string
	rows    [][]string
}

// tables are the results by chapter, and the reasons that they refer to by
// number.
func (r Results) tables() (tables []table, reasons []string) {
	titles, attacks := r.chapters()
	for _, title := range titles {
		policies := columns(attacks[title])
		t := table{title: title, columns: []string{"attack", "tries to learn", "bits", "Prometheus", "label proxy"}}
		if attacks[title][0].Traces {
			t.columns[3] = "own people"
		}
		for _, p := range policies {
			t.columns = append(t.columns, "parley, "+p)
		}
		for _, a := range attacks[title] {
			row := []string{a.Name, a.Learns, bits(a.Bits), bits(a.Got[Direct].Bits), a.ofLabelProxy()}
			for _, p := range policies {
				row = append(row, a.of(p, &reasons))
			}
			t.rows = append(t.rows, row)
		}
		tables = append(tables, t)
	}
	return tables, reasons
}

// Markdown is the tables of a page.
func (r Results) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nMeasured on %s by `%s`: %d attacks, each in %d worlds on every ground; %s, %s.\n\n%s\n",
		r.Date, r.Command, len(r.Attacks), r.Worlds, r.Machine, r.Go, r.Summary())
	tables, reasons := r.tables()
	for _, t := range tables {
		fmt.Fprintf(&b, "\n### %s\n\n", t.title)
		for i, row := range append([][]string{t.columns}, t.rows...) {
			for _, cell := range row {
				b.WriteString("| " + strings.ReplaceAll(cell, "|", `\|`) + " ")
			}
			b.WriteString("|\n")
			if i == 0 {
				b.WriteString(strings.Repeat("|---", len(t.columns)) + "|\n")
			}
		}
	}
	if len(reasons) > 0 {
		b.WriteString("\n### What is open, and why\n\n")
		for i, reason := range reasons {
			fmt.Fprintf(&b, "%d. %s\n", i+1, reason)
		}
	}
	b.WriteByte('\n')
	return b.String()
}

// Print writes the tables for a terminal.
func (r Results) Print(to io.Writer) error {
	tables, reasons := r.tables()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, t := range tables {
		lines := "\n" + t.title + "\n"
		for _, row := range append([][]string{t.columns}, t.rows...) {
			lines += "  " + strings.Join(row, "\t") + "\n"
		}
		if _, err := io.WriteString(w, lines); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for i, reason := range reasons {
		fmt.Fprintf(&b, "\n(%d) %s", i+1, reason)
	}
	fmt.Fprintf(&b, "\n†   what a label proxy isn't there to hide\n\n%s\n", r.Summary())
	_, err := io.WriteString(to, b.String())
	return err
}

// ofLabelProxy is marked where the proxy isn't there to hide what was learned.
func (r Result) ofLabelProxy() string {
	got, made := r.Got[LabelProxy]
	switch {
	case !made:
		return "–"
	case got.Bits > 0 && !r.Foreign:
		return bits(got.Bits) + " †"
	}
	return bits(got.Bits)
}

// of is what the attack got of a policy, with the number of the reason where it
// is open to it.
func (r Result) of(policy string, reasons *[]string) string {
	got, made := r.At(policy)
	if !made {
		return "–"
	}
	text := bits(got.most())
	if got.most() == 0 {
		return text
	}
	reason, open := r.Open[policy]
	if !open {
		return text + " !"
	}
	i := slices.Index(*reasons, reason)
	if i < 0 {
		i = len(*reasons)
		*reasons = append(*reasons, reason)
	}
	return fmt.Sprintf("%s (%d)", text, i+1)
}

// ownPeople stands for Direct where that isn't a Prometheus.
const ownPeople = "own people"

// Summary counts what was made and what was learned.
func (r Results) Summary() string {
	made, learned, same, open := map[string]int{}, map[string]int{}, 0, map[string]bool{}
	for _, a := range r.Attacks {
		for ground, got := range a.Got {
			policy, _, ours := strings.Cut(ground, ", ")
			if policy == Unhidden {
				continue
			}
			if ours {
				ground = "parley"
				if got.Ways == 1 {
					same++
				}
			}
			if ground == Direct && a.Traces {
				ground = ownPeople
			}
			made[ground]++
			if got.most() > 0 {
				learned[ground]++
				if ours && a.Open[policy] != "" {
					open[a.Name] = true
				}
			}
		}
	}
	text := fmt.Sprintf("%d of %d attacks succeed at a Prometheus", learned[Direct], made[Direct])
	if made[LabelProxy] > 0 {
		text += fmt.Sprintf(", %d of %d at the label proxy", learned[LabelProxy], made[LabelProxy])
	}
	if made[ownPeople] > 0 {
		text += fmt.Sprintf(", and of those on traces %d of %d as the owner's own people", learned[ownPeople], made[ownPeople])
	}
	text += fmt.Sprintf(". At parley's doors they were made %d times, by policy and door; %d times all that was answered was the same in every world. "+
		"%d times something was learned, by %d attacks that parley is known to be open to", made["parley"], same, learned["parley"], len(open))
	if n := r.alarms(); n > 0 {
		text += fmt.Sprintf(" and %d times by others", n)
	}
	return text + "."
}

// alarms is how often something was learned that isn't known to be open.
func (r Results) alarms() int {
	n := 0
	for _, a := range r.Attacks {
		for ground, got := range a.Got {
			policy, _, ours := strings.Cut(ground, ", ")
			if ours && policy != Unhidden && got.most() > 0 && a.Open[policy] == "" {
				n++
			}
		}
	}
	return n
}

// Line is a result in a line for people who wait.
func (r Result) Line() string {
	text := fmt.Sprintf("%-40s of %4s bits: Prometheus %4s, label proxy %4s", r.Name, bits(r.Bits), bits(r.Got[Direct].Bits), bits(r.Got[LabelProxy].Bits))
	if r.Traces {
		text = fmt.Sprintf("%-40s of %4s bits: own people %4s", r.Name, bits(r.Bits), bits(r.Got[Direct].Bits))
	}
	for _, ground := range slices.Sorted(maps.Keys(r.Got)) {
		policy, _, ours := strings.Cut(ground, ", ")
		if !ours || policy == Unhidden {
			continue
		}
		text += fmt.Sprintf("; %s %s", ground, bits(r.Got[ground].most()))
		if r.Timed {
			text += fmt.Sprintf(" (x%.2f)", r.Got[ground].Slower)
		}
	}
	return text
}
