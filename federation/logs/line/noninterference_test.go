package line

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/parley-gateway/parley/policy"
)

// pair makes two lines that differ only in what rules hide: what is dropped is
// there or not and anything, what gets a pseudonym is renamed, what is
// generalized or masked is another of its class, and space stands elsewhere.
type pair struct {
	gen
	fields *policy.Fields
	masked bool // masks see what is kept
}

// renamed is what a value that gets a pseudonym is called in the second world.
func renamed(value string) string { return value + "′" }

func pseudonymOfRenamed(value string) string { return pseudonymOf(strings.TrimSuffix(value, "′")) }

func (p pair) space() string { return p.of("", "", "", " ", "\t", "  ") }

// anything is a value that nobody should see.
func (p pair) anything(depth int) string {
	switch p.IntN(7) {
	case 0:
		return p.of("null", "true", "1e999", "-0")
	case 1:
		if depth < 3 {
			return "[" + p.anything(depth+1) + "," + p.anything(depth+1) + "]"
		}
	case 2:
		if depth < 3 {
			return "{" + p.quoted("message") + ":" + p.anything(depth+1) + "}"
		}
	case 3:
		return "1" + p.from(decimal, p.IntN(20)) + ".5"[2*p.IntN(2):]
	case 4:
		return p.quoted(p.sample(policy.EmailDetector))
	}
	return p.quoted(p.from("abc é\"\\\u0000<>☃", p.IntN(9)))
}

// quoted spells a string in one of the ways JSON has.
func (p pair) quoted(s string) string {
	if p.IntN(3) > 0 {
		text, _ := json.Marshal(s)
		return string(text)
	}
	return `"` + spellings[`JSON escapes (\u0040)`](p.gen, s) + `"`
}

// text is free text of two worlds: the same but for what masks replace.
func (p pair) text() (a, b string) {
	for range 1 + p.IntN(4) {
		word := p.of("paid by", "refused", "ok", "é", "from", "17 of 20")
		a, b = a+word+" ", b+word+" "
		if p.masked && p.IntN(2) == 0 {
			kind := policy.Detectors[p.IntN(3)] // those whose matches don't depend on what is around
			a, b = a+p.sample(kind)+" ", b+p.sample(kind)+" "
		}
	}
	return a, b
}

// value is one at a path, in two worlds; empty where there is none.
func (p pair) value(path string, depth int) (a, b string) {
	rule, within := said(p.fields, path)
	if !within {
		switch rule.Mode {
		case policy.Keep:
			textA, textB := p.text()
			if p.masked {
				// What is masked is written anew, and what isn't as it stands.
				return quoteFor(textA), quoteFor(textB)
			}
			one := p.anything(0)
			return one, one
		case policy.Pseudonym:
			if p.IntN(4) == 0 && depth < 4 {
				a, b = p.value(path, depth+1)
				return "[" + a + "]", "[" + b + "]"
			}
			name := p.of("ada", "bob", "17")
			return p.quoted(name), p.quoted(renamed(name))
		case policy.Generalize:
			hundreds := p.of("2", "4", "5")
			return hundreds + p.from(decimal, 2), p.quoted(hundreds + p.from(decimal, 2))
		case policy.Drop:
			return p.anything(0), p.anything(0)
		}
	}
	if p.IntN(3) == 0 && depth < 4 {
		a1, b1 := p.value(path, depth+1)
		a2, b2 := p.value(path, depth+1)
		return "[" + a1 + p.space() + "," + a2 + "]", "[" + b1 + "," + p.space() + b2 + "]"
	}
	return p.object(path, depth+1)
}

func quoteFor(s string) string {
	text, _ := json.Marshal(s)
	return string(text)
}

var pairKeys = []string{"message", "user", "status", "a", "b", "c", "d", "e", "secret", "x.y", "a.b", ""}

func (p pair) object(path string, depth int) (a, b string) {
	var left, right []string
	for range p.IntN(6) {
		key := pairKeys[p.IntN(len(pairKeys))]
		inner := path + "." + key
		rule, within := said(p.fields, inner)
		if !within && rule.Mode == policy.Drop {
			for _, members := range []*[]string{&left, &right} {
				for range p.IntN(3) {
					*members = append(*members, p.quoted(key)+p.space()+":"+p.space()+p.anything(0))
				}
			}
			continue
		}
		if depth > 6 {
			continue
		}
		valueA, valueB := p.value(inner, depth)
		spelled := quoteFor(key)
		left = append(left, spelled+p.space()+":"+valueA)
		right = append(right, spelled+":"+p.space()+valueB)
	}
	join := func(members []string) string {
		return "{" + p.space() + strings.Join(members, p.space()+","+p.space()) + "}"
	}
	return join(left), join(right)
}

var rulesOfPairs = []map[string]string{
	{"message": "keep", "user": "pseudonym", "status": "class", "a.b": "keep", "a.c.d": "pseudonym"},
	{"*": "keep", "secret": "drop", "user": "pseudonym", "status": "class", "a.b": "drop", "x": "drop"},
	{"message": "keep", "a": "keep", "a.b": "drop", "a.b.c": "keep", "d.e": "class", "e": "pseudonym"},
	{"*": "pseudonym", "secret": "drop", "message": "keep"},
}

// Two lines that differ only in what rules hide leave the same bytes.
func TestNonInterferenceOfFields(t *testing.T) {
	differ, left := 0, 0
	for seed := range uint64(12000) {
		p := pair{gen: newGen(seed), masked: seed%3 == 0, fields: fields(rulesOfPairs[seed%4])}
		rules := []policy.LineRule{{JSON: p.fields}}
		if p.masked {
			rules = append(rules, masksOf("email", "ipv6", "ipv4"))
		}
		first, err := New(byRules(rules...), pseudonymOf)
		if err != nil {
			t.Fatal(err)
		}
		second, err := New(byRules(rules...), pseudonymOfRenamed)
		if err != nil {
			t.Fatal(err)
		}
		a, b := p.object("", 0)
		var fired Fired
		gotA, gotB := first.Redact(a, &fired), second.Redact(b, &fired)
		if gotA != gotB || gotA == "" {
			t.Fatalf("seed %d, rules %s:\n%s\nleaves %s\n%s\nleaves %s", seed, p.fields, a, gotA, b, gotB)
		}
		if a != b {
			differ++
		}
		if len(gotA) > 2 {
			left++
		}
	}
	if differ < 10000 || left < 7000 {
		t.Errorf("of 12000 pairs %d differ, and something is left of %d", differ, left)
	}
}

func TestNonInterferenceOfLogfmt(t *testing.T) {
	rules := fields(map[string]string{"msg": "keep", "user": "pseudonym", "status": "class"})
	line := byRules(policy.LineRule{Logfmt: rules}, masksOf("email", "ipv6", "ipv4"))
	first := mustNew(t, line)
	second, err := New(line, pseudonymOfRenamed)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(3000) {
		p := pair{gen: newGen(seed), masked: true}
		var left, right []string
		for range p.IntN(7) {
			switch p.IntN(4) {
			case 0:
				a, b := p.text()
				left, right = append(left, "msg="+quoteFor(a)), append(right, "msg="+quoteFor(b))
			case 1:
				name := p.of("ada", "b b", "")
				left, right = append(left, "user="+p.quoted(name)), append(right, "user="+p.quoted(renamed(name)))
			case 2:
				left, right = append(left, "status=4"+p.from(decimal, 2)), append(right, `status="4`+p.from(decimal, 2)+`"`)
			case 3:
				left, right = append(left, "secret="+p.from("abc=/", p.IntN(9))), append(right, "other="+p.quoted(p.from("ab \"=", p.IntN(9))), "secret=")
			}
		}
		var fired Fired
		a, b := strings.Join(left, " "), strings.Join(right, "  ")
		if gotA, gotB := first.Redact(a, &fired), second.Redact(b, &fired); gotA != gotB || gotA == "" && strings.Contains(a, "msg=") {
			t.Fatalf("seed %d:\n%s\nleaves %s\n%s\nleaves %s", seed, a, gotA, b, gotB)
		}
	}
}

// Whatever stands for what varies, and however much of it there is, the template
// is the same.
func TestNonInterferenceOfShape(t *testing.T) {
	r := mustNew(t, policy.Line{Mode: policy.LineShape})
	templates := map[string]bool{}
	for seed := range uint64(6000) {
		g := newGen(seed)
		variable := func() (out string) {
			for i := range 1 + g.IntN(3) {
				if i > 0 {
					out += " "
				}
				kind := policy.Detectors[g.IntN(len(policy.Detectors))]
				out += g.of("ada", "Müller", "x"+g.from(lowerCase, 6), g.from(decimal, 5), g.sample(kind), `"user failed"`, "'request'", "user_ada", "error5", "ERRor", "_")
			}
			return out
		}
		var a, b string
		for i := range 1 + g.IntN(6) {
			sep := " "
			if i > 0 && g.IntN(4) == 0 {
				sep = g.of("=", ": ")
			}
			if i == 0 {
				sep = ""
			}
			if g.IntN(2) == 0 || strings.HasSuffix(a, "\x00") {
				word := g.of("request", "failed", "User", "ERROR", "workflow_id")
				a, b = strings.TrimSuffix(a, "\x00")+sep+word, strings.TrimSuffix(b, "\x00")+sep+word
				continue
			}
			a, b = a+sep+variable()+"\x00", b+sep+variable()+"\x00"
		}
		a, b = strings.TrimSuffix(a, "\x00"), strings.TrimSuffix(b, "\x00")
		if g.IntN(3) == 0 {
			a, b = jsonLine(g, a), jsonLine(g, b)
		}
		var fired Fired
		gotA, gotB := r.Redact(a, &fired), r.Redact(b, &fired)
		if gotA != gotB || gotA == "" {
			t.Fatalf("seed %d:\n%s\nhas the template %s\n%s\nhas %s", seed, a, gotA, b, gotB)
		}
		templates[gotA] = true
	}
	if len(templates) < 500 {
		t.Errorf("%d templates", len(templates))
	}
}

func jsonLine(g gen, message string) string {
	return fmt.Sprintf(`{"%s":1,"message":%s,"user_id":%s,"tags":[%d],"enabled":%s}`, g.from(lowerCase, 7), quoteFor(message), g.of("17", `"x"`, "null", "[]"), g.IntN(9), g.of("true", "false"))
}

// What masks don't replace stands in the line as it did: a source may leave out
// lines that don't have a text which somebody looks for in what is left.
func TestMasksLeaveTheRestAsItStands(t *testing.T) {
	r := mustNew(t, byRules(masksOf("email", "ipv6", "ipv4", "card", "phone")))
	for seed := range uint64(4000) {
		p := pair{gen: newGen(seed), masked: true, fields: fields(rulesOfPairs[1])}
		line, _ := p.object("", 0)
		if seed%3 == 0 {
			line, _ = p.text()
		}
		var fired Fired
		rest := line
		for part := range strings.SplitSeq(r.Redact(line, &fired), "<") {
			if _, after, replaced := strings.Cut(part, ">"); replaced {
				part = after
			}
			part = strings.TrimPrefix(part, `"`) // of a number that became a string
			for _, text := range []string{part, strings.TrimSuffix(part, `"`)} {
				if _, after, found := strings.Cut(rest, text); found {
					rest = after
					break
				} else if text != part || !strings.HasSuffix(part, `"`) {
					t.Fatalf("seed %d: %q is not in %q", seed, text, line)
				}
			}
		}
	}
}

func FuzzMasksLeaveTheRest(f *testing.F) {
	for _, seed := range []string{`{"a":"\u00e9\n\nada@example.com\t" , "n":[ 1 , 4111111111111111]} `, `ada@example.com, 10.0.0.1 x`, `{"a":"\\u0061da%40example.com"`} {
		f.Add(seed)
	}
	r, err := New(byRules(masksOf("email", "ipv6", "ipv4", "card", "phone", "bearer", "iban")), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, line string) {
		var fired Fired
		out := r.Redact(line, &fired)
		for part := range strings.SplitSeq(out, "<") {
			if _, after, replaced := strings.Cut(part, ">"); replaced {
				part = after
			}
			if part = strings.Trim(part, `"`); !strings.Contains(line, part) {
				t.Fatalf("%q is not in %q", part, line)
			}
		}
		if isObject([]byte(line)) && utf8.ValidString(line) && !json.Valid([]byte(out)) {
			t.Fatalf("%q was JSON, and %q isn't", line, out)
		}
	})
}
