package line

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/parley-gateway/parley/policy"
)

// mask replaces what it finds by its name.
type mask struct {
	find find
	// needs are classes of bytes of which a text must have every one in which
	// something is to be found.
	needs  class
	as     []byte // <name>
	counts int
}

// span is a part of a text.
type span struct{ start, end int }

// find adds to spans what it finds in text, in order and apart from each other.
type find func(text []byte, spans []span) []span

func (r *Redactor) addMasks(masks []policy.Mask) error {
	for _, m := range masks {
		out := mask{as: []byte("<" + m.Name + ">"), counts: r.counted("mask " + m.Name)}
		if m.Pattern != nil {
			if m.Pattern.MatchString("") {
				return fmt.Errorf("line: mask %s: its pattern %s matches empty text", m.Name, m.Pattern)
			}
			out.find = pattern(m.Pattern)
		} else {
			d, ok := detectors[policy.Detector(m.Name)]
			if !ok {
				return fmt.Errorf("line: mask %q is not known; want one of %v, or a pattern", m.Name, policy.Detectors)
			}
			out.find, out.needs = d.find, d.needs
		}
		if m.Name == "" || strings.ContainsAny(m.Name, "<> \"'=\\\t\r\n") {
			return fmt.Errorf("line: mask %q: a name without space, quotes and brackets is wanted", m.Name)
		}
		r.masks = append(r.masks, out)
	}
	return nil
}

// pattern finds what an expression matches, empty matches aside.
func pattern(re *regexp.Regexp) find {
	return func(text []byte, spans []span) []span {
		for _, at := range re.FindAllIndex(text, -1) {
			if at[1] > at[0] {
				spans = append(spans, span{at[0], at[1]})
			}
		}
		return spans
	}
}

// detector is a mask of our own.
type detector struct {
	find  find
	needs class
}

var detectors = map[policy.Detector]detector{
	policy.EmailDetector:  {findEmail, at},
	policy.IPv4Detector:   {findIPv4, digit | dot},
	policy.IPv6Detector:   {findIPv6, colon},
	policy.BearerDetector: {findBearer, letterE},
	policy.CardDetector:   {findCard, digit},
	policy.IBANDetector:   {findIBAN, digit | letter},
	policy.PhoneDetector:  {findPhone, digit},
}

// class is a set of kinds of bytes.
type class uint32

const (
	at class = 1 << iota
	digit
	dot
	colon
	letter
	letterE   // of bearer, access_token and the eyJ of JSON in base64
	encoded   // what may begin another spelling of a byte: %, \ and &
	elsewhere // not ASCII
)

var classes = func() (out [256]class) {
	for c := range out {
		switch {
		case c == '@':
			out[c] = at
		case c >= '0' && c <= '9':
			out[c] = digit
		case c == '.':
			out[c] = dot
		case c == ':':
			out[c] = colon
		case c|0x20 == 'e':
			out[c] = letter | letterE
		case c|0x20 >= 'a' && c|0x20 <= 'z':
			out[c] = letter
		case c == '%' || c == '\\' || c == '&':
			out[c] = encoded
		case c >= 0x80:
			out[c] = elsewhere
		}
	}
	return out
}()

func classesIn(text []byte) (out class) {
	for _, c := range text {
		out |= classes[c]
	}
	return out
}

// masked returns text with what masks find replaced, and whether that is
// anything; the rest is as it was. The result is valid until the next call; it may
// be text itself.
func (p *pass) masked(text []byte) (out []byte, hit bool) {
	if len(p.masks) == 0 || len(text) == 0 {
		return text, false
	}
	in := classesIn(text)
	out = text
	if in&elsewhere != 0 || in&encoded != 0 && spells(text) {
		out, hit = p.maskedAs(out, p.folded)
		in = classesIn(out)
	}
	for i := range p.masks {
		m := &p.masks[i]
		if m.needs&^in != 0 {
			continue
		}
		spans := m.find(out, p.fired.spans[:0])
		if p.fired.spans = spans; len(spans) > 0 {
			out, hit = p.cut(m, out, spans), true
			in |= classesIn(m.as)
		}
	}
	return out, hit
}

// maskedString does the same to the content of a string of JSON, which masks see
// decoded and which stays one.
func (p *pass) maskedString(content []byte, escaped bool) (out []byte, hit bool) {
	if !escaped || len(p.masks) == 0 {
		return p.masked(content)
	}
	out, folded := p.maskedAs(content, p.foldedString)
	out, unescaped := p.maskedAs(out, p.fired.reading.unescape)
	return out, folded || unescaped
}

func (p *pass) folded(text []byte) *traced {
	return p.fired.reading.fold(p.fired.reading.plain(text))
}

func (p *pass) foldedString(content []byte) *traced {
	return p.fired.reading.fold(p.fired.reading.unescape(content))
}

// maskedAs returns text with what masks find in it as it is read replaced.
func (p *pass) maskedAs(text []byte, read func([]byte) *traced) (out []byte, hit bool) {
	out = text
	t := read(out)
	for i := range p.masks {
		m := &p.masks[i]
		spans := m.find(t.text, p.fired.spans[:0])
		if p.fired.spans = spans; len(spans) == 0 {
			continue
		}
		done := 0
		for i, s := range spans {
			// What a match was made of may be more than the match.
			spans[i] = span{max(t.from[s.start], done), t.to[s.end-1]}
			done = spans[i].end
		}
		out, hit = p.cut(m, out, spans), true
		t = read(out)
	}
	return out, hit
}

// other is memory that text isn't in.
func (f *Fired) other(text []byte) *[]byte {
	if len(text) > 0 && len(f.masking[0]) > 0 && &text[0] == &f.masking[0][0] {
		return &f.masking[1]
	}
	return &f.masking[0]
}

// cut replaces parts of a text by the name of a mask.
func (p *pass) cut(m *mask, text []byte, spans []span) []byte {
	memory := p.fired.other(text)
	out := (*memory)[:0]
	done := 0
	for _, s := range spans {
		out = append(append(out, text[done:s.start]...), m.as...)
		done = s.end
	}
	p.counts[m.counts] += uint64(len(spans))
	out = append(out, text[done:]...)
	*memory = out
	return out
}
