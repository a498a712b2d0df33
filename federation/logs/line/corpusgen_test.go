package line

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/parley-gateway/parley/policy"
)

// gen makes synthetic texts. Nothing of it is anybody's: names are invented,
// domains and networks are those reserved for documentation where there are
// such, and cards and accounts are digits with the right check digits.
type gen struct{ *rand.Rand }

func newGen(seed uint64) gen { return gen{rand.New(rand.NewPCG(seed, 4))} }

func (g gen) of(list ...string) string { return list[g.IntN(len(list))] }

func (g gen) from(alphabet string, n int) string {
	runes := []rune(alphabet)
	var b strings.Builder
	for range n {
		b.WriteRune(runes[g.IntN(len(runes))])
	}
	return b.String()
}

const (
	decimal           = "0123456789"
	lowerCase         = "abcdefghijklmnopqrstuvwxyz"
	base64URLAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
)

func (g gen) name() string {
	return g.of("ada", "Grete", "m.lovelace", "j_doe", "o'brien", "anna-maria", "x", "user+tag", "sales", "no-reply", "k9", "li.wei", "jörg", "иван", "first.last")
}

// sample is a text of a kind as anybody would write it.
func (g gen) sample(kind policy.Detector) string {
	switch kind {
	case policy.EmailDetector:
		return g.name() + g.from(decimal, g.IntN(3)) + "@" + g.of("", "mail.", "eu-1.") + g.of("example.com", "example.org", "example.co.uk", "xn--bcher-kva.example", "bücher.example", "test-9.example.museum", "EXAMPLE.NET")
	case policy.IPv4Detector:
		return fmt.Sprintf("%d.%d.%d.%d", g.IntN(256), g.IntN(256), g.IntN(256), g.IntN(256))
	case policy.IPv6Detector:
		var bytes [16]byte
		for i := range bytes {
			bytes[i] = byte(g.Uint32())
		}
		copy(bytes[:], []byte{0x20, 0x01, 0x0d, 0xb8})
		switch g.IntN(5) {
		case 0:
			clear(bytes[4:14])
		case 1:
			bytes = [16]byte{0: 0xfe, 1: 0x80, 15: byte(1 + g.IntN(255))}
		case 2:
			a := netip.AddrFrom16(bytes)
			return a.StringExpanded()
		case 3:
			return fmt.Sprintf("::ffff:%s", g.sample(policy.IPv4Detector))
		}
		return netip.AddrFrom16(bytes).String()
	case policy.BearerDetector:
		if g.IntN(2) == 0 {
			part := func(v any) string {
				text, _ := json.Marshal(v)
				return base64.RawURLEncoding.EncodeToString(text)
			}
			return part(map[string]string{"alg": g.of("RS256", "none", "ES256"), "typ": "JWT"}) + "." +
				part(map[string]any{"sub": g.name(), "exp": g.IntN(2e9)}) + "." + g.from(base64URLAlphabet, g.of2(0, 43))
		}
		return g.from(base64URLAlphabet, 20+g.IntN(40))
	case policy.CardDetector:
		prefix := g.of("4", "51", "55", "2221", "2720", "34", "37", "36", "3528", "6011", "65", "62", "2200")
		size := 16
		if prefix[0] == '3' && prefix != "3528" {
			size = map[string]int{"34": 15, "37": 15, "36": 14}[prefix]
		}
		digits := []byte(prefix + g.from(decimal, size-len(prefix)))
		for c := byte('0'); c <= '9'; c++ {
			if digits[size-1] = c; luhn(digits) {
				break
			}
		}
		card := string(digits)
		if sep := g.of("", "", " ", "-"); sep != "" {
			if size == 15 {
				return card[:4] + sep + card[4:10] + sep + card[10:]
			}
			var groups []string
			for ; len(card) > 4; card = card[4:] {
				groups = append(groups, card[:4])
			}
			return strings.Join(append(groups, card), sep)
		}
		return card
	case policy.IBANDetector:
		c := g.of("DE", "GB", "FR", "NL", "CH", "AT", "NO", "MT", "ES", "PL", "SE")
		body := map[string]string{"GB": "WEST", "NL": "ABNA", "MT": "MALT"}[c]
		body += g.from(decimal, ibanSizes[country{c[0], c[1]}]-4-len(body))
		rest := 0
		for _, r := range body + c + "00" {
			if r >= 'A' {
				rest = (rest*100 + int(r-'A') + 10) % 97
			} else {
				rest = (rest*10 + int(r-'0')) % 97
			}
		}
		iban := fmt.Sprintf("%s%02d%s", c, 98-rest, body)
		if g.IntN(2) == 0 {
			var groups []string
			for ; len(iban) > 4; iban = iban[4:] {
				groups = append(groups, iban[:4])
			}
			return strings.Join(append(groups, iban), " ")
		}
		return iban
	case policy.PhoneDetector:
		a, b, c := g.from("23456789", 1)+g.from(decimal, 2), "01"+g.from(decimal, 1), g.from(decimal, 4)
		return g.of("+1"+a+b+c, "+1 "+a+" "+b+" "+c, "+1-"+a+"-"+b+"-"+c, "("+a+") "+b+"-"+c, a+"-"+b+"-"+c, a+"."+b+"."+c, "1-"+a+"-"+b+"-"+c,
			"+49 30 "+g.from(decimal, 6), "+49170"+g.from(decimal, 7), "+44 20 7946 0"+g.from(decimal, 3), "0044 20 7946 0"+g.from(decimal, 3), "+33 1 "+g.from("0123456789", 2)+" 55 12 34",
			"+86 138 "+g.from(decimal, 4)+" "+g.from(decimal, 4), "+41 (0)44 668 18 "+g.from(decimal, 2))
	}
	return ""
}

func (g gen) of2(a, b int) int {
	if g.IntN(2) == 0 {
		return a
	}
	return b
}

// harmless is a text that resembles what detectors look for, and isn't.
func (g gen) harmless() string {
	hex := func(n int) string { return g.from("0123456789abcdef", n) }
	return g.of(
		fmt.Sprintf("v%d.%d.%d", g.IntN(20), g.IntN(20), g.IntN(200)), fmt.Sprintf("v1.%d.3.%d", g.IntN(9), g.IntN(9)), "1.2.3.4.5", fmt.Sprintf("%d.%d", g.IntN(99), g.IntN(99)),
		fmt.Sprintf("10.0.%d.%d", 256+g.IntN(99), g.IntN(9)), "12:34:56", "11:59:58.123456", "2026-03-14T11:59:58Z", "2026-03-14 11:59:58,123", "[14/Mar/2026:11:59:58 +0100]",
		hex(8)+"-"+hex(4)+"-4"+hex(3)+"-a"+hex(3)+"-"+hex(12), hex(32), hex(16), hex(40), "sha256:"+hex(64), strings.Join([]string{hex(2), hex(2), hex(2), hex(2), hex(2), hex(2)}, ":"),
		"std::vector", "abc::def", "crate::net::tcp", "17"+g.from(decimal, 11), "17"+g.from(decimal, 17), "0."+g.from(decimal, 16), g.from(decimal, 1)+"."+g.from(decimal, 15), "1"+g.from(decimal, 15),
		"order-"+g.from(decimal, 10), "#"+g.from(decimal, 8), "id="+g.from(decimal, 12), g.from("123456789", 1)+g.from(decimal, 6), "wf-2026-0314-"+g.from(decimal, 5), "port 8080", "pid 4711", "200 5123 17ms",
		"root@web-1", "@channel", "@Override", "a @ b", "git@", "key@2x.", "DE44", "GB29 NWBK", "AL 35", "XX89370400440532013000", "DE00370400440532013000",
		"bearer of bad news", "the bearer token is missing", "Bearer undefined", "access_token missing", "eyJ", "eyes.on.it", "4111111111111112", "5555-5555-5555-5555", "1234 5678 9012 3456",
		"-273.15", "1e10", "+5", "+0200", "(42)", "555-1234", "2026-03-14", "12-34-56", "2,147,483,647", "0x7fffffff", "rgb(120, 130, 140)", "192.168/16", "3.14.15",
	)
}

// around writes texts into a line as programs do.
func (g gen) around(kind policy.Detector, text string) string {
	before := ""
	switch {
	case kind == policy.BearerDetector && !strings.HasPrefix(text, "eyJ"):
		before = g.of("Authorization: Bearer ", "authorization: bearer ", "GET /x?access_token=", "Bearer ")
	case kind == policy.BearerDetector:
		before = g.of("Authorization: Bearer ", "token=", "jwt ", "id_token: ")
	}
	text = before + text
	switch g.IntN(6) {
	case 0:
		return fmt.Sprintf("%s info %s user action %s done in %dms", "2026-03-14T11:59:58.123Z", g.harmless(), text, g.IntN(999))
	case 1:
		return fmt.Sprintf(`level=warn ts=1773489598.5 msg="%s refused for %s" code=%d`, g.harmless(), text, g.IntN(600))
	case 2:
		return fmt.Sprintf("%s, %s", text, g.harmless())
	case 3:
		return fmt.Sprintf("[%s] (%s) failed: <%s>", g.harmless(), text, g.harmless())
	}
	message, _ := json.Marshal(g.of("seen ", "", "from: ", "contact=") + text + g.of("", ".", ", retrying", "; "+g.harmless()))
	return fmt.Sprintf(`{"timestamp":"2026-03-14T11:59:58.123456Z","level":"info","trace_id":%q,"message":%s,"duration_ms":%d.%s}`,
		g.from("0123456789abcdef", 32), message, g.IntN(9999), g.from(decimal, 2+g.IntN(14)))
}

// spellings are how an adversary, or another program, may write a text.
var spellings = map[string]func(g gen, text string) string{
	"percent-encoded":            func(_ gen, s string) string { return percent(s, "@.:+ ") },
	"percent-encoded as a whole": func(_ gen, s string) string { return percent(s, "") },
	"percent-encoded twice":      func(_ gen, s string) string { return strings.ReplaceAll(percent(s, ""), "%", "%25") },
	"base64":                     func(_ gen, s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"hexadecimal":                func(_ gen, s string) string { return fmt.Sprintf("%x", s) },
	"full-width letters and digits": func(_ gen, s string) string {
		return strings.Map(func(r rune) rune {
			if r > ' ' && r < 0x7f {
				return r + 0xfee0
			}
			return r
		}, s)
	},
	"letters of other scripts": func(_ gen, s string) string {
		return strings.NewReplacer("a", "а", "e", "е", "o", "о", "x", "х", "c", "с").Replace(s)
	},
	"digits of other scripts": func(_ gen, s string) string {
		return strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return r - '0' + '٠'
			}
			return r
		}, s)
	},
	"invisible characters within": func(_ gen, s string) string { return s[:len(s)/2] + "\u200b" + s[len(s)/2:] },
	"spaces within":               func(_ gen, s string) string { return strings.Join(strings.Split(s, ""), " ") },
	"words for signs": func(_ gen, s string) string {
		return strings.NewReplacer("@", " at ", ".", " dot ", "+", "plus ").Replace(s)
	},
	"reversed": func(_ gen, s string) string {
		r := []rune(s)
		for i, j := 0, len(r)-1; i < j; i, j = i+1, j-1 {
			r[i], r[j] = r[j], r[i]
		}
		return string(r)
	},
	`JSON escapes (\u0040)`: func(_ gen, s string) string {
		var b strings.Builder
		for _, r := range s {
			if r < 0x10000 {
				fmt.Fprintf(&b, `\u%04x`, r)
			}
		}
		return b.String()
	},
	"HTML entities": func(_ gen, s string) string {
		return strings.NewReplacer("@", "&#64;", ".", "&#46;", ":", "&#58;", "+", "&#43;", "1", "&#49;", "0", "&#48;").Replace(s)
	},
}

func percent(s, only string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if only == "" || c >= 0x80 || strings.IndexByte(only, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// corpus makes the generated part of the corpus.
func corpus() []labelled {
	g := newGen(1)
	var out []labelled
	for _, kind := range policy.Detectors {
		for range 120 {
			text := g.sample(kind)
			l := labelled{Line: g.around(kind, text), Labels: []label{{kind, text}}}
			if mapped, ok := strings.CutPrefix(text, "::ffff:"); ok {
				l.Labels = append(l.Labels, label{policy.IPv4Detector, mapped})
			}
			out = append(out, l)
		}
	}
	for range 600 {
		out = append(out, labelled{Line: g.around("", g.harmless())})
	}
	for _, spelling := range sortedKeys(spellings) {
		for _, kind := range policy.Detectors {
			for range 5 {
				plain := g.adversarialSample(kind)
				text := spellings[spelling](g, plain)
				if text == plain {
					continue
				}
				out = append(out, labelled{Line: g.cue(kind) + text + " done", Labels: []label{{kind, text}}, Spelling: spelling})
			}
		}
	}
	for _, kind := range policy.Detectors {
		for range 5 {
			text := g.adversarialSample(kind)
			inner, _ := json.Marshal(map[string]string{"v": g.cue(kind) + text})
			outer, _ := json.Marshal(map[string]string{"payload": string(inner)})
			out = append(out, labelled{Line: string(outer), Labels: []label{{kind, text}}, Spelling: "JSON within a string of JSON"})
			escaped := strings.ReplaceAll(string(inner), text, spellings[`JSON escapes (\u0040)`](g, text))
			outer, _ = json.Marshal(map[string]string{"payload": escaped})
			out = append(out, labelled{Line: string(outer), Labels: []label{{kind, spellings[`JSON escapes (\u0040)`](g, text)}}, Spelling: "JSON escapes within a string of JSON"})
			half := len(text) / 2
			split, _ := json.Marshal(map[string]string{"a": g.cue(kind) + text[:half], "b": text[half:]})
			out = append(out, labelled{Line: string(split), Labels: []label{{kind, text[half:]}}, Spelling: "split over two fields"})
		}
	}
	return out
}

// cue is what stands before a text that is nothing without it.
func (g gen) cue(kind policy.Detector) string {
	if kind == policy.BearerDetector {
		return "Bearer "
	}
	return "x "
}

// adversarialSample is one in letters that can be spelled otherwise.
func (g gen) adversarialSample(kind policy.Detector) string {
	switch kind {
	case policy.EmailDetector:
		return g.of("ada", "grete", "alexa") + g.from(decimal, 2) + "@example.com"
	case policy.PhoneDetector:
		return "+49 170 " + g.from(decimal, 7)
	}
	return g.sample(kind)
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// The generated part of the corpus is what the generator makes.
func TestTheCorpusIsGenerated(t *testing.T) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, l := range corpus() {
		if err := e.Encode(l); err != nil {
			t.Fatal(err)
		}
	}
	if *writeCorpus {
		if err := os.WriteFile(generated, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(generated)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != b.String() {
		t.Error("the corpus is another one; write it with -write-corpus")
	}
}
