package yamlstrict_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parley-gateway/parley/tenants/yamlstrict"
)

type color string

func parseColor(s string) (color, error) {
	if s != "red" && s != "green" {
		return "", fmt.Errorf("want red or green, not %q", s)
	}
	return color(s), nil
}

type door struct {
	Name   string            `yaml:"name"`
	Open   bool              `yaml:"open"`
	Width  int               `yaml:"width"`
	Serial int64             `yaml:"serial"`
	Share  float64           `yaml:"share"`
	Delay  time.Duration     `yaml:"delay"`
	Since  time.Time         `yaml:"since"`
	Color  color             `yaml:"color"`
	Tags   []string          `yaml:"tags"`
	Lock   *lock             `yaml:"lock"`
	Panes  []pane            `yaml:"panes"`
	Signs  map[string]string `yaml:"signs"`
	Secret string            `yaml:"-"`
	Note   string
}

type lock struct {
	Keys int   `yaml:"keys"`
	Kind color `yaml:"kind" default:"red"`
	Bolt struct {
		Delay time.Duration `yaml:"delay" default:"3s"`
	} `yaml:"bolt"`
}

type pane struct {
	Glass string `yaml:"glass"`
}

func decode(text string) (door, *yamlstrict.Document) {
	d := door{Width: 80, Tags: []string{"default"}}
	doc := yamlstrict.Decode("door.yml", []byte(text), &d, yamlstrict.Parse(parseColor))
	return d, doc
}

func Example() {
	var d door
	doc := yamlstrict.Decode("door.yml", []byte("nmae: front\nwidth: wide\n"), &d, yamlstrict.Parse(parseColor))
	if !doc.Has("color") {
		doc.Problemf("color", "is required")
	}
	fmt.Println(doc.Err())
	// Output:
	// door.yml:1: unknown key "nmae"; did you mean "name"?
	// door.yml:1: color: is required
	// door.yml:2: width: want a whole number such as 50_000, not "wide"
}

func TestDecode(t *testing.T) {
	got, doc := decode(`
name: 0x10
open: true
serial: 9_000_000_000
share: 0.25
delay: 1d12h
since: 2027-01-31T12:00:00+01:00
color: green
tags: [a, 'b', 1.10, yes]
lock: {keys: 2}
panes:
  - glass: clear
  - {glass: "no"}
signs: {north: way out, 2: 010}
`)
	if err := doc.Err(); err != nil {
		t.Fatal(err)
	}
	want := door{
		Name: "0x10", Open: true, Width: 80, Serial: 9_000_000_000, Share: 0.25, Delay: 36 * time.Hour,
		Color: "green", Tags: []string{"a", "b", "1.10", "yes"}, Lock: &lock{Keys: 2, Kind: "red"}, Panes: []pane{{"clear"}, {"no"}},
		Signs: map[string]string{"north": "way out", "2": "010"},
	}
	if since := time.Date(2027, 1, 31, 11, 0, 0, 0, time.UTC); !got.Since.Equal(since) {
		t.Errorf("since %s, want %s", got.Since, since)
	}
	want.Lock.Bolt.Delay = 3 * time.Second
	got.Since = time.Time{}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
	if !doc.Has("panes[1].glass") || doc.Has("width") || doc.Line("panes[1].glass") != 13 || doc.Line("lock.pin[3].x") != 10 {
		t.Error("the document does not know where its keys are")
	}
}

func TestProblems(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"number", "width: 1.5", `1: width: want a whole number such as 50_000, not "1.5"`},
		{"octal", "width: 010", `1: width: want a whole number such as 50_000, not "010"`},
		{"overflow", "serial: 9223372036854775808", `1: serial: the number 9223372036854775808 is too large`},
		{"not a number", "share: .nan", `1: share: want a number such as 0.1, not ".nan"`},
		{"bool", "open: yes", `1: open: want true or false, not "yes"`},
		{"duration", "delay: 30", `1: delay: want a duration such as 30s, 5m or 31d, not "30"`},
		{"time", "since: 2027-02-30", `1: since: want a date such as 2027-01-31 or a time such as 2027-01-31T12:00:00Z, not "2027-02-30"`},
		{"own type", "color: blue", `1: color: want red or green, not "blue"`},
		{"element", "tags: [a, [b]]", `1: tags[1]: holds a list, where one value belongs`},
		{"section", "lock: 3", `1: lock: holds the value "3", where keys with values belong`},
		{"null", "lock:", `1: lock: has no value: give it one or leave the key out`},
		{"tilde", "name: ~", `1: name: has no value: give it one or leave the key out`},
		{"twice", "name: a\nname: b", `2: name: was given on line 1 already`},
		{"alias", "name: &n a\ntags: *n", `2: tags: aliases (*n) are not accepted: write the value out`},
		{"merge", "<<: {name: a}", `1: unknown key "<<"; the keys here are name, open, width, serial, share, delay, since, color, tags, lock, panes, signs`},
		{"key of another shape", "[a]: b", `1: a key is a list, where a name belongs`},
		{"hidden field", "secret: b\nNote: c", ""},
		{"map", "signs: 3", `1: signs: holds the value "3", where keys with values belong`},
		{"entry", "signs: {a: [b]}", `1: signs.a: holds a list, where one value belongs`},
		{"entry twice", "signs:\n a: b\n a: c", `3: signs.a: was given on line 2 already`},
		{"entry without a name", "signs: {[a]: b}", `1: signs: a key is a list, where a name belongs`},
		{"deep", "panes:\n - glass: a\n - glas: b", `3: panes[1]: unknown key "glas"; did you mean "glass"?`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, doc := decode(c.text + "\n")
			if c.want == "" {
				if n := len(doc.Problems()); n != 2 {
					t.Errorf("%d problems, want one for each key: %v", n, doc.Err())
				}
				return
			}
			if got := fmt.Sprint(doc.Err()); got != "door.yml:"+c.want {
				t.Errorf("got  %s\nwant door.yml:%s", got, c.want)
			}
		})
	}
}

// Of a value that could not be read, nothing else is said.
// A map that was left out is not an empty one.
func TestEmptyMap(t *testing.T) {
	for text, want := range map[string]map[string]string{"name: a": nil, "signs: {}": {}} {
		got, doc := decode(text)
		if diff := cmp.Diff(want, got.Signs); diff != "" || doc.Err() != nil {
			t.Errorf("%s: %v (-want +got):\n%s", text, doc.Err(), diff)
		}
	}
}

func TestOneProblemForOneMistake(t *testing.T) {
	_, doc := decode("lock: {kyes: 1}\ntags: [[a]]\nwidth: x\n")
	doc.Problemf("lock.keys", "is required")
	doc.Problemf("tags", "is empty")
	doc.Problemf("tags[0]", "is short")
	doc.Problemf("width", "is too small")
	if n := len(doc.Problems()); n != 3 {
		t.Errorf("%d problems, want 3:\n%v", n, doc.Err())
	}
	doc.Problemf("lock", "is open")
	doc.Problemf("panes[4].glass", "is missing")
	want := "door.yml:1: lock: unknown key \"kyes\"; did you mean \"keys\"?\n" +
		"door.yml:1: lock: is open\n" +
		"door.yml:1: panes[4].glass: is missing\n" +
		"door.yml:2: tags[0]: holds a list, where one value belongs\n" +
		"door.yml:3: width: want a whole number such as 50_000, not \"x\""
	if diff := cmp.Diff(want, fmt.Sprint(doc.Err())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFileThatIsTooLarge(t *testing.T) {
	_, doc := decode("# " + strings.Repeat("x", yamlstrict.MaxBytes))
	doc.Problemf("name", "is required")
	if got, want := fmt.Sprint(doc.Err()), "door.yml: the file has 1048578 bytes, at most 1048576 are read"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzDecode(f *testing.F) {
	for _, text := range []string{
		"name: a\nlock: {keys: 1}\n", "a: &a [*a]\n", "--- {}\n...\n--- x", "? [a]\n: b\n", "!!binary x", "%YAML 9.9\n---\na: b",
		"name: |\n  x\n  y\n", "\t", "{", "delay: 9999999999y", "since: 0000-00-00", "<<: *x", "\xff\xfe", "name: !!null x", "panes: [{}, {glass: 1}]",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, doc := decode(string(data))
		doc.Problemf("name", "is odd")
		err := doc.Err()
		if (err == nil) != (len(doc.Problems()) == 0) {
			t.Fatalf("error %v with the problems %v", err, doc.Problems())
		}
		var problems yamlstrict.Problems
		if err != nil && !errors.As(err, &problems) {
			t.Fatalf("not problems: %v", err)
		}
		// YAML 1.1 has five line breaks.
		lines := 2 + strings.Count(strings.NewReplacer("\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n").Replace(string(data)), "\n")
		for _, p := range problems {
			if p.Line < 0 || p.Line > lines {
				t.Errorf("line %d of a file of %d: %s", p.Line, lines, p)
			}
		}
	})
}
