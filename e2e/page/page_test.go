package page

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWrite(t *testing.T) {
	p := Page{File: filepath.Join(t.TempDir(), "PAGE.md"), Command: "go run ./report"}
	const begin = "<!-- measured: written by go run ./report -->\n"
	if err := os.WriteFile(p.File, []byte("before\n"+begin+"old\n"+end+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Write("new\n"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(p.File)
	if want := "before\n" + begin + "new\n" + end + "after\n"; err != nil || string(text) != want {
		t.Errorf("%s, %v; want %s", text, err, want)
	}
	p.Command = "go run ./other"
	if err := p.Write("new\n"); err == nil {
		t.Error("a page without a place was accepted")
	}
	p.File += ".old"
	if err := p.Write("new\n"); err == nil {
		t.Error("a page that isn't there was written")
	}
}
