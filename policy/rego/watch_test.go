package rego

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWatchTakesUpAChange(t *testing.T) {
	w := mustOpen(t, "testdata/acme", agreements...)
	before := w.Status()
	ctx, cancel := context.WithCancel(t.Context())
	ticks, done := make(chan time.Time), make(chan struct{})
	go func() {
		defer close(done)
		w.Watch(ctx, ticks)
	}()

	// A tick is taken when the one before it has been dealt with.
	ticks <- noon
	ticks <- noon
	ticks <- noon
	if got := w.Status(); got != before {
		t.Errorf("nothing has changed, and yet: %+v", got)
	}
	w.write(t, "partners/globex.rego", "package parley.partners.globex\ndecision := {\"allow\": false, \"reasons\": [\"not any more\"]}")
	ticks <- noon
	ticks <- noon
	ticks <- noon
	denies(t, w.decide(t, globexAsks("slo-review")), "not any more")
	cancel()
	<-done
}

// A folder that is being written is not loaded by halves.
func TestAChangeUnderWayWaits(t *testing.T) {
	w := mustOpen(t, "testdata/acme", agreements...)
	before := w.Status().Revision
	seen := before
	for _, text := range []string{"a: 1", "a: 2", "a: 3"} {
		w.write(t, "more.yaml", text)
		seen = w.look(t.Context(), seen)
		if w.Status().Revision != before {
			t.Fatalf("loaded at %q", text)
		}
	}
	w.look(t.Context(), seen)
	if w.Status().Revision != seen || seen == before {
		t.Errorf("revision %s, seen %s", w.Status().Revision, seen)
	}
}

func TestABadChangeLeavesThePreviousPolicy(t *testing.T) {
	w := mustOpen(t, "testdata/acme", agreements...)
	good := w.Status()
	text, err := os.ReadFile(filepath.Join(w.dir, "partners/globex.rego"))
	if err != nil {
		t.Fatal(err)
	}

	w.write(t, "partners/globex.rego", "package parley.partners.globex\ndecision := {\"allow\": true")
	w.now = noon.Add(time.Minute)
	seen := w.look(t.Context(), w.look(t.Context(), ""))
	w.now = noon.Add(time.Hour)
	seen = w.look(t.Context(), seen)

	s := w.Status()
	if s.Revision != good.Revision || !s.Loaded.Equal(noon) || !s.Failed.Equal(noon.Add(time.Minute)) {
		t.Errorf("%+v", s)
	}
	if s.Err == nil || !strings.Contains(s.Err.Error(), filepath.Join(w.dir, "partners", "globex.rego")+":2: ") {
		t.Errorf("%v", s.Err)
	}
	if got := strings.Count(w.log.String(), "the previous one stays"); got != 1 {
		t.Errorf("the log has it %d times:\n%s", got, w.log)
	}
	if d := w.decide(t, globexAsks("slo-review")); !d.Allow {
		t.Errorf("%+v", d)
	}

	// An agreement that can't be kept changes nothing either.
	w.write(t, "partners/globex.rego", string(text))
	w.agreements = append(w.agreements, agreement("hooli", "parley.partners.hooli", "audit"))
	if err := w.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "agreements/hooli.yaml: ") {
		t.Errorf("%v", err)
	}
	if s := w.Status(); s.Revision != good.Revision || s.Err == nil {
		t.Errorf("%+v", s)
	}

	w.agreements = agreements
	w.look(t.Context(), w.look(t.Context(), seen))
	if s := w.Status(); s != good {
		t.Errorf("mended, and yet: %+v", s)
	}
}

func TestAFolderThatGoesAway(t *testing.T) {
	w := mustOpen(t, "testdata/acme", agreements...)
	good := w.Status()
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(w.dir, moved); err != nil {
		t.Fatal(err)
	}
	w.look(t.Context(), w.look(t.Context(), good.Revision))
	if s := w.Status(); s.Revision != good.Revision || s.Err == nil {
		t.Errorf("%+v", s)
	}
	if got := strings.Count(w.log.String(), "the previous one stays"); got != 1 {
		t.Errorf("the log has it %d times:\n%s", got, w.log)
	}
	if err := os.Rename(moved, w.dir); err != nil {
		t.Fatal(err)
	}
	w.look(t.Context(), w.look(t.Context(), ""))
	if s := w.Status(); s != good {
		t.Errorf("back, and yet: %+v", s)
	}
}

// Decisions go on, each of one revision, while policies change.
func TestDecisionsWhilePoliciesChange(t *testing.T) {
	w := mustOpen(t, "testdata/acme", agreements...)
	stop, done := make(chan struct{}), make(chan error)
	for range 4 {
		go func() {
			for {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				if d, err := w.Decide(t.Context(), globexAsks("slo-review")); err != nil || !d.Allow || d.Revision == "" {
					done <- err
					return
				}
			}
		}()
	}
	for _, text := range []string{"a: 1", "a: 2", "a: 3"} {
		w.write(t, "more.yaml", text)
		if err := w.Reload(t.Context()); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
