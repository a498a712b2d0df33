package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"golang.org/x/term"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway/front"
)

// completeness prints a line for each organization. Warnings are for answers
// that nobody had to be asked for; otherwise they say what the lines say. What
// the error says a line needn't.
func (c *asker) completeness(w io.Writer, header http.Header, answer queryAnswer, ofNobody func(federation.Completeness) []*labels.Matcher) error {
	text := header.Get(front.CompletenessHeader)
	if text == "" {
		for _, warning := range answer.Warnings {
			if _, err := fmt.Fprintln(w, "warning:", printable(warning)); err != nil {
				return fmt.Errorf("writing warnings: %w", err)
			}
		}
		return nil
	}
	var parts federation.Completeness
	if err := json.Unmarshal([]byte(text), &parts); err != nil {
		return fmt.Errorf("%s sent a header %s that can't be read: %w", c.Gateway, front.CompletenessHeader, err)
	}
	for i, p := range parts {
		if answer.Error == string(p.Org)+": "+p.Reason {
			parts[i].Reason = ""
		}
	}
	how := styleOf(w)
	if how.folded && answer.Error == "" {
		if _, err := fmt.Fprintln(w); err != nil { // the table ends here
			return fmt.Errorf("writing completeness: %w", err)
		}
	}
	if err := printParts(w, parts, how); err != nil {
		return err
	}
	for _, m := range ofNobody(parts) {
		if _, err := fmt.Fprintf(w, "%s is none of the organizations there are: %s\n", printable(m.String()), strings.Join(orgs(parts), ", ")); err != nil {
			return fmt.Errorf("writing completeness: %w", err)
		}
	}
	return nil
}

// ofNobody are the question's matchers on org that match no organization.
func (c *queryCommand) ofNobody(parts federation.Completeness) []*labels.Matcher {
	expr, err := parser.ParseExpr(c.Expression)
	if err != nil {
		return nil // the gateway says what is wrong with it
	}
	return matchingNobody(parts, parser.ExtractSelectors(expr)...)
}

// matchingNobody are matchers on org that match none of the organizations.
func matchingNobody(parts federation.Completeness, selectors ...[]*labels.Matcher) []*labels.Matcher {
	var out []*labels.Matcher
	for _, m := range slices.Concat(selectors...) {
		if m.Name == "org" && !slices.ContainsFunc(orgs(parts), m.Matches) {
			out = append(out, m)
		}
	}
	return out
}

func orgs(parts federation.Completeness) []string {
	names := make([]string, 0, len(parts))
	for _, p := range parts {
		names = append(names, string(p.Org))
	}
	return names
}

// style is how the lines about organizations are written: for programs, one
// each, when it is zero.
type style struct {
	folded, coloured bool
	wide             int // columns of the terminal; 0 where there is none
}

// columns are how wide what is drawn may be.
func (s style) columns() int { return cmp.Or(s.wide, lineWidth) }

// styleOf is for people when w is a terminal.
func styleOf(w io.Writer) style {
	f, ok := w.(*os.File)
	if !ok {
		return style{}
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return style{}
	}
	wide, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		wide = lineWidth // as of /dev/null
	}
	return style{folded: true, coloured: os.Getenv("NO_COLOR") == "", wide: wide}
}

// printParts prints, for each organization, its status, why, and what it gave.
func printParts(w io.Writer, parts federation.Completeness, how style) error {
	rows := make([][]string, 0, len(parts))
	for _, p := range parts {
		rows = append(rows, []string{string(p.Org), string(p.Status), ""})
	}
	beside := lineLength(rows)
	lines := strings.SplitAfter(align(rows), "\n")
	for i, p := range parts {
		what := printable(describePart(p))
		line := strings.TrimSuffix(lines[i], "\n")
		if what != "" {
			line += strings.Repeat(" ", beside-utf8.RuneCountInString(line))
		}
		if how.folded {
			what = fold(what, beside, lineWidth)
		}
		if how.coloured {
			line = strings.Replace(line, string(p.Status), paint(p.Status), 1)
		}
		if _, err := io.WriteString(w, line+what+"\n"); err != nil {
			return fmt.Errorf("writing completeness: %w", err)
		}
	}
	return nil
}

// fold breaks text that begins at a column into lines that end before another
// one, the next ones below the first.
func fold(text string, from, before int) string {
	var out strings.Builder
	at := from
	for i, word := range strings.Split(text, " ") {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+n > before:
			out.WriteString("\n" + strings.Repeat(" ", from))
			at = from
		default:
			out.WriteByte(' ')
			at++
		}
		out.WriteString(word)
		at += n
	}
	return out.String()
}

func describePart(p federation.Part) string {
	var says []string
	if p.Reason != "" {
		says = append(says, p.Reason)
	}
	if p.Status == federation.Complete || p.Status == federation.Partial {
		took := p.Cost.Latency.Round(100 * time.Microsecond).String()
		if gave := describeCost(p.Cost); gave != "" {
			took = gave + ", " + took
		}
		says = append(says, took)
	}
	if len(p.Notices) > 0 {
		says = append(says, "redacted: "+strings.ReplaceAll(strings.Join(p.Notices, "; "), "policy says: ", ""))
	}
	return strings.Join(says, "; ")
}

// describeCost is what an organization gave. What has a name alone, such as who
// keeps a trace, is said elsewhere.
func describeCost(c federation.Cost) string {
	switch {
	case c.Spans > 0:
		return count(c.Spans, "span")
	case c.Lines > 0:
		return count(c.Lines, "line")
	case c.Samples > 0:
		return fmt.Sprintf("%d series, %s", c.Series, count(c.Samples, "sample"))
	case c.Series == 0:
		return "nothing"
	}
	return ""
}

// paint colours a status: green for all of it, yellow for some, red for none.
func paint(s federation.Status) string {
	code := "31"
	switch s {
	case federation.Complete:
		code = "32"
	case federation.Partial, federation.NotAsked:
		code = "33"
	case federation.Denied, federation.Unreachable, federation.Timeout:
	}
	return "\x1b[" + code + "m" + string(s) + "\x1b[0m"
}
