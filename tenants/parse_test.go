package tenants_test

import (
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/tenants"
	"github.com/parley-gateway/parley/tenants/yamlstrict"
)

var update = flag.Bool("update", false, "rewrite the expected problems in testdata/agreements")

var acme = tenants.Self{Org: "acme", TrustDomain: spiffeid.RequireTrustDomainFromString("acme.example")}

// Each archive is a folder of agreements with, in `want`, what is said of it.
func TestReadAgreementsSaysAllThatIsWrong(t *testing.T) {
	archives, err := filepath.Glob("testdata/agreements/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, path := range archives {
		t.Run(filepath.Base(path), func(t *testing.T) {
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := txtar.Write(ar, dir); err != nil {
				t.Fatal(err)
			}
			got := ""
			if _, err := tenants.ReadAgreements(dir, acme); err != nil {
				got = strings.ReplaceAll(err.Error(), dir+"/", "") + "\n"
			}
			want := &ar.Files[len(ar.Files)-1]
			if *update {
				want.Data = []byte(got)
				if err := os.WriteFile(path, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(want.Data), got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadAgreements(t *testing.T) {
	ar, err := txtar.ParseFile("testdata/agreements/good.txtar")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := txtar.Write(ar, dir); err != nil {
		t.Fatal(err)
	}
	got, err := tenants.ReadAgreements(dir, acme)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 {
		t.Fatalf("got %d agreements, want globex's and initech's", len(got))
	}
	globex, initech := got[0], got[1]
	if globex.Partner != "globex" || globex.Limits.OrDefault() != tenants.DefaultLimits || globex.Policy != "" {
		t.Errorf("globex, which states no limits and no policy: %+v", globex)
	}
	if want := time.Date(2027, 12, 31, 0, 0, 0, 0, time.UTC); !globex.NotAfter.Equal(want) {
		t.Errorf("globex ends %s, want %s", globex.NotAfter, want)
	}
	wantLimits := tenants.Limits{Concurrent: 2, QueriesPerMinute: 1000, Series: 10, Samples: 20, Bytes: 30, Range: 31 * 24 * time.Hour}
	if initech.Limits != wantLimits {
		t.Errorf("initech's limits %+v, want %+v", initech.Limits, wantLimits)
	}
	if want := filepath.Join(dir, "bundles/initech.json"); initech.Bundle.File != want {
		t.Errorf("initech's bundle is at %s, want %s", initech.Bundle.File, want)
	}
	if initech.File != filepath.Join(dir, "initech.yaml") {
		t.Errorf("initech was read from %s", initech.File)
	}
	if want := spiffeid.RequireFromString("spiffe://initech.example/parley"); initech.Bundle.EndpointID != want {
		t.Errorf("initech's endpoint is %s, want %s", initech.Bundle.EndpointID, want)
	}
}

// testdata/example.yml is for newcomers to copy: it is an agreement, has every
// key, and states the limits that hold without it.
func TestExampleAgreement(t *testing.T) {
	data, err := os.ReadFile("testdata/example.yml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := tenants.ParseAgreement("testdata/example.yml", data, acme)
	if err != nil {
		t.Fatal(err)
	}
	if got.Limits != tenants.DefaultLimits {
		t.Errorf("the limits are called the defaults: %+v, want %+v", got.Limits, tenants.DefaultLimits)
	}
	for _, of := range []reflect.Type{
		reflect.TypeFor[tenants.Agreement](), reflect.TypeFor[tenants.BundleSource](), reflect.TypeFor[tenants.Limits](), reflect.TypeFor[tenants.BreakGlass](),
		reflect.TypeFor[tenants.TracesTerms](),
	} {
		for i := range of.NumField() {
			key := of.Field(i).Tag.Get("yaml")
			if key != "-" && !regexp.MustCompile(`(?m)^\s*`+key+`:`).Match(data) {
				t.Errorf("%s is not in the example", key)
			}
		}
	}
}

func TestReadAgreementsOfFilesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "dangling.yml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "folder.yml")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "huge.yml"), make([]byte, yamlstrict.MaxBytes+1), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := tenants.ReadAgreements(dir, acme)
	var problems yamlstrict.Problems
	if !errors.As(err, &problems) || len(problems) != 3 {
		t.Fatalf("want one problem for each file, got %v", err)
	}
	if _, err := tenants.ReadAgreements(filepath.Join(dir, "nowhere"), acme); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that isn't there: %v", err)
	}
}

func FuzzParseAgreement(f *testing.F) {
	archives, err := filepath.Glob("testdata/agreements/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range archives {
		ar, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range ar.Files {
			f.Add(file.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := tenants.ParseAgreement("fuzz.yml", data, acme)
		if err != nil {
			var problems yamlstrict.Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("an error without problems: %v", err)
			}
			return
		}
		// What was accepted is whole, however odd the file.
		switch {
		case a.Partner == "" || a.Partner == acme.Org:
			t.Errorf("accepted the partner %q", a.Partner)
		case a.TrustDomain.IsZero() || a.TrustDomain == acme.TrustDomain:
			t.Errorf("accepted the trust domain %q", a.TrustDomain)
		case !a.GatewayID.MemberOf(a.TrustDomain) || a.GatewayID.Path() == "":
			t.Errorf("accepted the gateway %q in %q", a.GatewayID, a.TrustDomain)
		case len(a.Signals) == 0 || len(a.Purposes) == 0:
			t.Errorf("accepted signals %q, purposes %q", a.Signals, a.Purposes)
		case slices.ContainsFunc(slices.Collect(maps.Keys(a.Terms)), func(p tenants.Purpose) bool {
			_, err := tenants.ParsePurpose(string(p))
			return err != nil || slices.ContainsFunc(a.Terms[p], func(broader tenants.Purpose) bool { return slices.Contains(a.Under(broader), p) })
		}):
			t.Errorf("accepted the terms %q", a.Terms)
		case !a.NotBefore.Before(a.NotAfter):
			t.Errorf("accepted %s to %s", a.NotBefore, a.NotAfter)
		case a.Bundle.Endpoint == nil && a.Bundle.File == "":
			t.Error("accepted an agreement without a bundle source")
		case a.Bundle.Endpoint != nil && a.Bundle.Endpoint.Scheme != "https":
			t.Errorf("accepted the endpoint %s", a.Bundle.Endpoint)
		}
		l := a.Limits.OrDefault()
		if l.Concurrent <= 0 || l.QueriesPerMinute <= 0 || l.Series <= 0 || l.Samples <= 0 || l.Bytes <= 0 || l.Range <= 0 {
			t.Errorf("accepted the limits %+v", a.Limits)
		}
	})
}
