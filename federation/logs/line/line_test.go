package line

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/policy"
)

// pseudonymOf is easy to read in tests.
func pseudonymOf(value string) string { return "p-" + strings.ToUpper(value) }

func byRules(rules ...policy.LineRule) policy.Line {
	return policy.Line{Mode: policy.LineByRules, Rules: rules}
}

func mustNew(tb testing.TB, l policy.Line) *Redactor {
	tb.Helper()
	r, err := New(l, pseudonymOf)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

var statusClass = policy.LabelRule{Mode: policy.Generalize, Mapping: &policy.Mapping{Regexp: regexp.MustCompile("^(?s:([1-5])..)$"), Replacement: "${1}xx"}}

// fields are rules by name: keep, drop, pseudonym, or class for a status code.
func fields(rules map[string]string) *policy.Fields {
	out := &policy.Fields{Named: map[string]policy.LabelRule{}}
	for name, mode := range rules {
		rule := map[string]policy.LabelRule{
			"keep": {Mode: policy.Keep}, "drop": {Mode: policy.Drop}, "pseudonym": {Mode: policy.Pseudonym}, "class": statusClass,
		}[mode]
		if name == "*" {
			out.Others = rule
			continue
		}
		out.Named[name] = rule
	}
	return out
}

func TestFieldsOfJSON(t *testing.T) {
	named := map[string]string{
		"message": "keep", "user": "pseudonym", "status": "class", "request.path": "keep", "request.query": "drop", "tags": "keep", "a.b.c": "pseudonym",
	}
	const unparsable = ""
	for _, test := range []struct {
		rules      map[string]string
		line, want string
	}{
		{named, `{"message":"hi","level":"info","user":"ada"}`, `{"message":"hi","user":"p-ADA"}`},
		{named, " \t{ \"level\" : \"info\" , \"message\" : \"hi\" }\n", `{"message":"hi"}`},
		{named, `{"message":"a \"b\" \u00e9 \ud83d\ude00 \/"}`, `{"message":"a \"b\" \u00e9 \ud83d\ude00 \/"}`},
		{named, `{}`, `{}`},
		{named, `{"level":"info"}`, `{}`},
		{named, `{"status":404,"user":17}`, `{"status":"4xx","user":"p-17"}`},
		{named, `{"status":"teapot","user":null}`, `{"user":"p-NULL"}`},
		{named, `{"status":200,"status":503}`, `{"status":"2xx","status":"5xx"}`},
		// An escaped key is the key it says.
		{named, `{"us\u0065r":"ada","m\u0065ssage":"hi"}`, `{"us\u0065r":"p-ADA","m\u0065ssage":"hi"}`},
		{named, `{"message":{"deep":[1,{"x":null}]}}`, `{"message":{"deep":[1,{"x":null}]}}`},
		{named, `{"request":{"path":"/x","query":"q","other":1}}`, `{"request":{"path":"/x"}}`},
		{named, `{"request.path":"/x","request.query":"q","request.other":1}`, `{"request.path":"/x"}`},
		{named, `{"request":[{"path":"/x","query":"q"},{"query":"r"},7,{"path":["/y",{"z":1}]}]}`, `{"request":[{"path":"/x"},{"path":["/y",{"z":1}]}]}`},
		// What has nothing left in it isn't there.
		{named, `{"request":{"query":"q"},"message":1}`, `{"message":1}`},
		{named, `{"request":[{"query":"q"},7],"a":{"b":{"d":1}}}`, `{}`},
		{named, `{"request":{},"tags":{}}`, `{"tags":{}}`},
		{named, `{"a":{"b":{"c":["x",["y"],{"d":"z"}]}},"a.b":{"c":"u"},"a":{"b.c":"v"}}`, `{"a":{"b":{"c":["p-X",["p-Y"]]}},"a.b":{"c":"p-U"},"a":{"b.c":"p-V"}}`},
		// An object has no pseudonym, and its keys are data.
		{named, `{"user":{"name":"ada"},"status":[404,{"x":500},503]}`, `{"status":["4xx","5xx"]}`},
		{named, `{"message":1e999999,"tags":-0.00000000000000000000000000000000001}`, `{"message":1e999999,"tags":-0.00000000000000000000000000000000001}`},
		{named, `{"message":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`, `{"message":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`},
		{named, `{"User":"ada","MESSAGE":"x","":1,".":2,"message.":3,"request..path":4}`, `{"message.":3}`},

		{named, ``, unparsable},
		{named, `hello`, unparsable},
		{named, `"message"`, unparsable},
		{named, `[{"message":"hi"}]`, unparsable},
		{named, `null`, unparsable},
		{named, `{"message":"hi"} {"user":"ada"}`, unparsable},
		{named, `{"message":"hi"}x`, unparsable},
		{named, `{"message":"hi"`, unparsable},
		{named, `{"message":"hi",}`, unparsable},
		{named, `{"message" "hi"}`, unparsable},
		{named, `{message:"hi"}`, unparsable},
		{named, `{'message':'hi'}`, unparsable},
		{named, `{"message":"hi","level":}`, unparsable},
		{named, `{"message":01}`, unparsable},
		{named, `{"message":+1}`, unparsable},
		{named, `{"message":1.}`, unparsable},
		{named, `{"message":1e}`, unparsable},
		{named, `{"message":NaN}`, unparsable},
		{named, `{"message":tru}`, unparsable},
		{named, `{"message":"a` + "\n" + `b"}`, unparsable},
		{named, `{"message":"a` + "\x00" + `b"}`, unparsable},
		{named, `{"message":"\x41"}`, unparsable},
		{named, `{"message":"\u12"}`, unparsable},
		{named, `{"message":"\ud800"}`, unparsable},
		{named, `{"message":"\udc00\ud800"}`, unparsable},
		{named, `{"message":"a` + "\xff" + `"}`, unparsable},
		{named, `{"level":"a` + "\xff" + `","message":"x"}`, unparsable},
		{named, "\ufeff" + `{"message":"x"}`, unparsable},
		{named, `{"message":[1,2}`, unparsable},
		{named, `{"message":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`, unparsable},
		{named, `{"level":` + strings.Repeat("[", 100000), unparsable},

		{map[string]string{"*": "keep", "user": "drop", "a.b": "drop"}, `{"user":1,"a":{"b":1},"c":{"user":2},"d":[]}`, `{"a":{},"c":{"user":2},"d":[]}`},
		{map[string]string{"*": "keep", "a": "drop", "a.b": "keep"}, `{"a":{"b":1,"c":2},"d":3,"a.c":4,"a.b":5}`, `{"a":{"b":1},"d":3,"a.b":5}`},
		{map[string]string{"*": "pseudonym", "a.b": "keep"}, `{"x":"y","z":{"k":1},"a":{"b":1,"c":"v"}}`, `{"x":"p-Y","a":{"b":1,"c":"p-V"}}`},
		{map[string]string{"a": "keep", "a.b": "drop", "a.b.c": "keep"}, `{"a":{"x":1,"b":{"y":2,"c":3}}}`, `{"a":{"x":1,"b":{"c":3}}}`},
		{map[string]string{"*": "keep"}, `{"a":[1,{"b":"\u0041"}]}`, `{"a":[1,{"b":"\u0041"}]}`},
		{
			map[string]string{"a": "keep", "b": "keep", "c": "keep", "d": "keep", "e": "keep", "f": "keep", "g": "keep", "h": "keep", "i": "pseudonym", "j.k": "keep"},
			`{"a":1,"i":"x","j":{"k":2,"l":3},"z":4}`, `{"a":1,"i":"p-X","j":{"k":2}}`,
		},
	} {
		var fired Fired
		r := mustNew(t, byRules(policy.LineRule{JSON: fields(test.rules)}))
		if got := r.Redact(test.line, &fired); got != test.want {
			t.Errorf("%v of %.100q:\n%s, want\n%s", test.rules, test.line, got, test.want)
		}
		failed := slicesContainsRule(fired.Counts(), "unparsable")
		if failed != (test.want == unparsable) {
			t.Errorf("%.100q: counted as unparsable: %t", test.line, failed)
		}
	}
}

func slicesContainsRule(counts []Count, rule string) bool {
	for _, c := range counts {
		if c.Rule == rule {
			return true
		}
	}
	return false
}

func TestFieldsOfLogfmt(t *testing.T) {
	named := map[string]string{"msg": "keep", "user": "pseudonym", "status": "class", "a.b": "keep"}
	for _, test := range []struct {
		rules      map[string]string
		line, want string
		unparsable bool
	}{
		{named, `ts=1 msg="hello world" user=ada  status=404	x=y`, `msg="hello world" user=p-ADA status=4xx`, false},
		{named, `msg= user="ada b" status=x`, `msg= user="p-ADA B"`, false},
		{named, `msg="a \"b\" \u0041" a.b=1 a=2 status=""`, `msg="a \"b\" \u0041" a.b=1`, false},
		{named, `url=/x?a=b msg=/x?a=b`, `msg=/x?a=b`, false},
		{named, ``, ``, false},
		{named, ` x=1 `, ``, false},
		{map[string]string{"*": "keep", "user": "drop"}, `a=1 user=2 User=3`, `a=1 User=3`, false},

		{named, `msg=hello world`, ``, true},
		{named, `hello`, ``, true},
		{named, `=x msg=y`, ``, true},
		{named, `msg="x`, ``, true},
		{named, `msg="x"y`, ``, true},
		{named, `msg=x"y`, ``, true},
		{named, `m"sg=x`, ``, true},
		{named, `msg="\x"`, ``, true},
		{named, "msg=\"a\nb\"", ``, true},
		{named, "msg=a\x00", ``, true},
		{named, "msg=\xff", ``, true},
	} {
		var fired Fired
		r := mustNew(t, byRules(policy.LineRule{Logfmt: fields(test.rules)}))
		if got := r.Redact(test.line, &fired); got != test.want {
			t.Errorf("%v of %q:\n%s, want\n%s", test.rules, test.line, got, test.want)
		}
		if failed := slicesContainsRule(fired.Counts(), "unparsable"); failed != test.unparsable {
			t.Errorf("%q: counted as unparsable: %t", test.line, failed)
		}
	}
}

func TestMasks(t *testing.T) {
	ticket := policy.LineRule{Masks: []policy.Mask{{Name: "ticket", Pattern: regexp.MustCompile(`\bTCK-[0-9]+|x*`)}}}
	ticket.Masks[0].Pattern = regexp.MustCompile(`\bTCK-[0-9]+`)
	everything := policy.LineRule{JSON: fields(map[string]string{"*": "keep"})}
	for _, test := range []struct {
		rules      []policy.LineRule
		line, want string
	}{
		{[]policy.LineRule{masksOf("email")}, `to ada@example.com, bob@example.org`, `to <email>, <email>`},
		{[]policy.LineRule{masksOf("email"), ticket}, `TCK-12 by ada@example.com; ATCK-3`, `<ticket> by <email>; ATCK-3`},
		// Of JSON the strings are masked as they read, whatever is said of it.
		{[]policy.LineRule{masksOf("email")}, `{"a":"ada\u0040example.com","b":[1,"\"bob@example.com\""]}`, `{"a":"<email>","b":[1,"\"<email>\""]}`},
		{[]policy.LineRule{everything, masksOf("email")}, `{"a":"ad\u0061\u0040example.com \u00e9"}`, `{"a":"<email> \u00e9"}`},
		{[]policy.LineRule{everything, masksOf("email")}, `{"ada@example.com":1,"x":"{\"mail\":\"ada@example.com\"}"}`, `{"<email>":1,"x":"{\"mail\":\"<email>\"}"}`},
		{[]policy.LineRule{everything, masksOf("card")}, `{"n":4111111111111111,"m":1234}`, `{"n":"<card>","m":1234}`},
		{[]policy.LineRule{{JSON: fields(map[string]string{"ada@example.com": "keep", "user": "pseudonym"})}, masksOf("email")}, `{"ada@example.com":1,"user":"bob@example.com"}`, `{"ada@example.com":1,"user":"p-BOB@EXAMPLE.COM"}`},
		{[]policy.LineRule{{Logfmt: fields(map[string]string{"*": "keep"})}, masksOf("email", "ipv4")}, `a=ada@example.com b="x ada\u0040example.com" c=10.0.0.1:80 ada@example.com=1`, `a=<email> b="x <email>" c=<ipv4>:80 <email>=1`},
		// What masks don't find stays as it stands.
		{[]policy.LineRule{masksOf("email")}, ` { "a" : "\u00e9\n\nada@example.com\t" , "n":[ 1 , true ] } `, ` { "a" : "\u00e9\n\n<email>\t" , "n":[ 1 , true ] } `},
		{[]policy.LineRule{masksOf("email", "card")}, `{"n": 4111111111111111, "a\u0040example.com":-1}`, `{"n": "<card>", "<email>":-1}`},
		// A line that only looks like JSON is text.
		{[]policy.LineRule{masksOf("email")}, `{"a":"ada@example.com"} and ad\u0061@example.com`, `{"a":"<email>"} and <email>`},
		// What is encoded or in other letters is masked as it reads.
		{[]policy.LineRule{masksOf("email")}, `q=ada%40example.com&x=1`, `q=<email>&x=1`},
		{[]policy.LineRule{masksOf("ipv4")}, "from １０.0.0.１ and 10%2E0%2e0%2e7 and 1\u200b0.0.0.1", `from <ipv4> and <ipv4> and <ipv4>`},
		{[]policy.LineRule{masksOf("email")}, "ü \xff ada@example.com", "ü \xff <email>"},
	} {
		var fired Fired
		r := mustNew(t, byRules(test.rules...))
		if got := r.Redact(test.line, &fired); got != test.want {
			t.Errorf("%q:\n%s, want\n%s", test.line, got, test.want)
		}
		if len(fired.Counts()) == 0 {
			t.Errorf("%q: nothing is counted", test.line)
		}
	}
}

func TestShape(t *testing.T) {
	for line, want := range map[string]string{
		``:                                     ``,
		`request failed`:                       `request failed`,
		`Request failed: connection refused`:   `Request failed: connection refused`,
		`ERROR request 17 failed after 30ms`:   `ERROR request <_> failed after <_>`,
		`user ada logged in from 10.0.0.1`:     `user <_> logged in from <_>`,
		`user ada ben carl logged in`:          `user <_> logged in`,
		`user=ada status=failed`:               `user=<_> status=failed`,
		`user= status=failed`:                  `user=<_> status=failed`,
		`user: "connection refused" failed`:    `user: <_> failed`,
		`2026-03-14T11:59:58Z info started`:    `<_> info started`,
		`ada`:                                  `<_>`,
		`---`:                                  `<_>`,
		`reading workflow_id of content-type`:  `reading workflow_id of content-type`,
		`reading workflow_ada`:                 `reading <_>`,
		`reading /api/users/17`:                `reading <_>`,
		`fAiled FAILED Failed US`:              `<_> FAILED Failed <_>`,
		`failed...`:                            `<_>`,
		`failed. (failed) [failed]: failed!`:   `failed. (failed) [failed]: failed!`,
		`fe80::in failed,failed {failed} -`:    `<_>`,
		`user=failed=failed user=`:             `user=<_> user=<_>`,
		`user=ada ben failed "unclosed failed`: `user=<_> failed <_>`,
		`msg="a \" user failed" failed`:        `msg=<_> failed`,
		`failed (timeout) for müller`:          `failed (timeout) for <_>`,
		`failed error5 5error`:                 `failed <_>`,
		`{"level":"info","message":"user ada failed","user_id":17,"ada":"x","tags":["a"],"request":{"path":"/x","ok":true}}`: `{"level":"info","message":"user <_> failed","user_id":"<_>","tags":"<_>","request":{"path":"<_>","ok":"<_>"}}`,
		`{"level":"info"`:                         `<_>`,
		`{"level":"info","message":"a\u0064a"} x`: `<_>`,
	} {
		var fired Fired
		if got := mustNew(t, policy.Line{Mode: policy.LineShape}).Redact(line, &fired); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
		if diff := cmp.Diff([]Count{{"shape", 1}}, fired.Counts()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestKeepAndNone(t *testing.T) {
	var fired Fired
	for _, line := range []string{"", "x", "\xff\n", `{"a":`} {
		if got := mustNew(t, policy.Line{Mode: policy.LineKeep}).Redact(line, &fired); got != line {
			t.Errorf("%q became %q", line, got)
		}
	}
	if len(fired.Counts()) > 0 {
		t.Errorf("%v", fired.Counts())
	}
	if got := mustNew(t, policy.Line{}).Redact("x", &fired); got != "" {
		t.Errorf("%q leaves", got)
	}
	if diff := cmp.Diff([]Count{{"none", 1}}, fired.Counts()); diff != "" {
		t.Error(diff)
	}
}

func TestWhatFiredIsCounted(t *testing.T) {
	r := mustNew(t, byRules(policy.LineRule{JSON: fields(map[string]string{"user": "pseudonym", "message": "keep", "status": "class", "secret": "drop"})}, masksOf("email", "ipv4")))
	other := mustNew(t, byRules(masksOf("email")))
	var fired Fired
	for range 2 {
		r.Redact(`{"user":"ada","message":"a@b.ch and c@d.ch","status":200,"secret":1,"x":[1,2],"y":2}`, &fired)
		r.Redact(`{`, &fired)
		other.Redact(`a@b.ch`, &fired)
	}
	want := []Count{
		{"json drop *", 4}, {"json drop secret", 2}, {"json generalize status", 2}, {"json pseudonym user", 2}, {"mask email", 6}, {"unparsable", 2},
	}
	if diff := cmp.Diff(want, fired.Counts()); diff != "" {
		t.Error(diff)
	}
}

func TestWhatCannotBeCompiled(t *testing.T) {
	x := fields(map[string]string{"x": "keep"})
	for because, l := range map[string]policy.Line{
		"line-mode-9 is not known":      {Mode: 9},
		"rules with 0 rules":            {Mode: policy.LineByRules},
		"keep with 1 rules":             {Mode: policy.LineKeep, Rules: []policy.LineRule{masksOf("email")}},
		"rule 1 of 1":                   byRules(policy.LineRule{}),
		"rule 1 of 1: want json":        byRules(policy.LineRule{JSON: x, Logfmt: x}),
		"rule 1 of 1: want json or":     byRules(policy.LineRule{JSON: x, Masks: masksOf("email").Masks}),
		"rule 2 of 2":                   byRules(masksOf("email"), policy.LineRule{JSON: x}),
		`mask "e-mail" is not known`:    byRules(masksOf("e-mail")),
		"matches empty text":            byRules(policy.LineRule{Masks: []policy.Mask{{Name: "x", Pattern: regexp.MustCompile("a*")}}}),
		"a name without":                byRules(policy.LineRule{Masks: []policy.Mask{{Name: "a b", Pattern: regexp.MustCompile("a")}}}),
		"has an empty name in it":       byRules(policy.LineRule{JSON: fields(map[string]string{"a..b": "keep"})}),
		"with a mapping or without one": byRules(policy.LineRule{JSON: &policy.Fields{Others: policy.LabelRule{Mode: policy.Generalize}}}),
		"mode-9, which is not known":    byRules(policy.LineRule{JSON: &policy.Fields{Others: policy.LabelRule{Mode: 9}}}),
	} {
		if _, err := New(l, pseudonymOf); err == nil || !strings.Contains(err.Error(), because) {
			t.Errorf("%v: %v, want %q", l, err, because)
		}
	}
	if _, err := New(byRules(policy.LineRule{JSON: fields(map[string]string{"x": "pseudonym"})}), nil); err == nil {
		t.Error("pseudonyms made by nothing")
	}
}

// A redactor is one for all goroutines.
func TestRedactorsAreShared(t *testing.T) {
	r := mustNew(t, byRules(policy.LineRule{JSON: fields(map[string]string{"message": "keep", "user": "pseudonym"})}, masksOf("email", "card")))
	done := make(chan error)
	for n := range 4 {
		go func() {
			var fired Fired
			for i := range 500 {
				got := r.Redact(fmt.Sprintf(`{"message":"%d ada%d@example.com","user":"u%d"}`, n, i, i), &fired)
				if want := fmt.Sprintf(`{"message":"%d <email>","user":"p-U%d"}`, n, i); got != want {
					done <- fmt.Errorf("%s, want %s", got, want)
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Whoever writes lines can't keep a gateway busy: time is in proportion to length.
func TestHostileLinesTakeNoLonger(t *testing.T) {
	const size = 200_000
	var masks policy.LineRule
	for _, d := range policy.Detectors {
		masks.Masks = append(masks.Masks, policy.Mask{Name: string(d)})
	}
	for name, line := range map[string]policy.Line{
		"masks":  byRules(masks),
		"json":   byRules(policy.LineRule{JSON: fields(map[string]string{"*": "keep", "a.b": "drop"})}, masks),
		"logfmt": byRules(policy.LineRule{Logfmt: fields(map[string]string{"*": "keep"})}, masks),
		"shape":  {Mode: policy.LineShape},
	} {
		r := mustNew(t, line)
		for _, part := range []string{
			"a:", "1 ", "1-", "1.", "@", `"@`, "a@", "a@b.", "eyJ", "eyJa.", "bearer ", "DE89", "DE89 ", "+1", "(", "(2", "phone ", "%", "%25", "%41", `\`, `\u0041`, "&#", "&#6", "１", "\u200b",
			`"`, "'", "`", "a=", `a="`, "[", "{", `{"a":`, `{"b":1},`, "::", "00", "4111111111111111 ", "fe80::1 ", "x.",
		} {
			text := strings.Repeat(part, size/len(part))
			if name == "json" {
				text = `{"a":` + quoteFor(text) + `}`
			}
			var fired Fired
			before := processorTime(t)
			r.Redact(text, &fired)
			if took := processorTime(t) - before; took > time.Second {
				t.Errorf("%s of %q takes %s", name, part, took)
			}
		}
	}
}
