package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Line is what leaves of the lines of a dataset of streams. Its zero value lets
// none leave.
type Line struct {
	Mode LineMode
	// Rules are set exactly when Mode is LineByRules: at most one of fields, as
	// the first, and masks after it, applied in their order.
	Rules []LineRule
}

// LineMode is how much of a line leaves.
type LineMode uint8

// The modes. They are not in an order: neither of shape and rules hides more
// than the other.
const (
	// LineNone lets no line leave, only counts: a question whose answer has lines
	// is refused by its shape, and any other sees lines that are empty.
	LineNone LineMode = iota
	// LineShape leaves the line's template, all that varies masked.
	LineShape
	// LineByRules leaves what the rules leave.
	LineByRules
	// LineKeep leaves lines as they are.
	LineKeep
)

func (m LineMode) String() string {
	names := [...]string{"none", "shape", "rules", "keep"}
	if int(m) < len(names) {
		return names[m]
	}
	return fmt.Sprintf("line-mode-%d", uint8(m))
}

// LineRule is one step of what becomes of a line. Exactly one of JSON, Logfmt
// and Masks is set.
type LineRule struct {
	// JSON says of a line that is a JSON object which of its fields stay, by path:
	// keys from the outermost inwards, joined by dots. A dot within a key counts
	// as one between two, and an array is passed through to its elements. Of a
	// line that is none, nothing is left.
	JSON *Fields
	// Logfmt says the same of a line in logfmt by key.
	Logfmt *Fields
	// Masks replace what they find, in their order. After fields they look at the
	// values, decoded.
	Masks []Mask
}

// Fields are the rules of the fields of a line.
type Fields struct {
	// Named are rules by path or key. One of a field holds for all that is in it
	// and isn't named itself.
	Named map[string]LabelRule
	// Others is the rule of fields not named; its zero value drops.
	Others LabelRule
}

// Mask replaces every text of a kind by the kind's name, such as <email>.
type Mask struct {
	// Name is the name of a Detector, or where there is a Pattern any other.
	Name string
	// Pattern is what the owner looks for, and matches no empty text; nil means
	// the detector of that name.
	Pattern *regexp.Regexp
}

// Detector finds texts of one kind in lines. What each finds, and what it
// doesn't, is in POLICY.md.
type Detector string

// The detectors.
const (
	EmailDetector  Detector = "email"
	IPv4Detector   Detector = "ipv4"
	IPv6Detector   Detector = "ipv6"
	BearerDetector Detector = "bearer" // bearer tokens and JSON Web Tokens
	CardDetector   Detector = "card"   // payment cards, by check digit
	IBANDetector   Detector = "iban"   // by check digits
	PhoneDetector  Detector = "phone"
)

// Detectors are all of them.
var Detectors = []Detector{EmailDetector, IPv4Detector, IPv6Detector, BearerDetector, CardDetector, IBANDetector, PhoneDetector}

// StrictestLine is what leaves of a line that is in several datasets: what each
// of them says where they say the same or all others keep it, and nothing
// otherwise, since two rules have no common one. Of no datasets nothing is seen.
func StrictestLine(datasets []*Dataset) Line {
	if len(datasets) == 0 {
		return Line{}
	}
	out := Line{Mode: LineKeep}
	for _, d := range datasets {
		switch {
		case out.Mode == LineKeep:
			out = d.Line
		case d.Line.Mode != LineKeep && !d.Line.Equal(out):
			return Line{}
		}
	}
	return out
}

// Equal says whether both leave the same of every line, as far as can be seen
// from how they are written.
func (l Line) Equal(o Line) bool {
	return l.Mode == o.Mode && slices.EqualFunc(l.Rules, o.Rules, LineRule.equal)
}

func (r LineRule) equal(o LineRule) bool {
	return r.JSON.equal(o.JSON) && r.Logfmt.equal(o.Logfmt) && slices.EqualFunc(r.Masks, o.Masks, Mask.equal)
}

func (f *Fields) equal(o *Fields) bool {
	if f == nil || o == nil {
		return f == o
	}
	return f.Others.equal(o.Others) && maps.EqualFunc(f.Named, o.Named, LabelRule.equal)
}

func (m Mask) equal(o Mask) bool { return m.Name == o.Name && sameExpression(m.Pattern, o.Pattern) }

func (r LabelRule) equal(o LabelRule) bool {
	a, b := r.Mapping, o.Mapping
	if r.Mode != o.Mode || a == nil || b == nil {
		return r.Mode == o.Mode && a == b
	}
	return sameExpression(a.Regexp, b.Regexp) && a.Replacement == b.Replacement && a.Else == b.Else && a.Prefix == b.Prefix && slices.Equal(a.Buckets, b.Buckets)
}

func sameExpression(a, b *regexp.Regexp) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.String() == b.String()
}

// String says it in words, for its owner.
func (l Line) String() string {
	if l.Mode != LineByRules {
		return l.Mode.String()
	}
	rules := make([]string, len(l.Rules))
	for i, r := range l.Rules {
		rules[i] = r.String()
	}
	return strings.Join(rules, "; ")
}

func (r LineRule) String() string {
	switch {
	case r.JSON != nil:
		return "json " + r.JSON.String()
	case r.Logfmt != nil:
		return "logfmt " + r.Logfmt.String()
	}
	masks := make([]string, len(r.Masks))
	for i, m := range r.Masks {
		masks[i] = m.Name
		if m.Pattern != nil {
			masks[i] += " " + strconv.Quote(m.Pattern.String())
		}
	}
	return "mask " + strings.Join(masks, ", ")
}

func (f *Fields) String() string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(f.Named)) {
		out = append(out, strconv.Quote(name)+" "+f.Named[name].String())
	}
	return strings.Join(append(out, "* "+f.Others.String()), ", ")
}
