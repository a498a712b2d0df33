package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/parley-gateway/parley/gateway/config"
	"github.com/parley-gateway/parley/tenants/yamlstrict"
)

var update = flag.Bool("update", false, "rewrite the expected problems in testdata/bad")

// install puts a sample file into a folder where all it names is there.
func install(t *testing.T, sample string) (path string) {
	t.Helper()
	text, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, sub := range []string{"agreements", "policies"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	named := regexp.MustCompile(`(?m)^\s*\w+_file: (\S+)$`)
	for _, m := range append(named.FindAllStringSubmatch(string(text), -1), []string{"", "secrets/pseudonyms.key"}) {
		path := filepath.Join(dir, m[1])
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, 32), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path = filepath.Join(dir, "gateway.yml")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExampleLoads(t *testing.T) {
	path := install(t, "testdata/example.yml")
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	if c.Org != "acme" || c.TrustDomain.Name() != "acme.example" || c.Identity.WorkloadAPI == nil || c.Identity.Files != nil {
		t.Errorf("who we are: %+v", c)
	}
	if c.Agreements.Dir != filepath.Join(dir, "agreements") || c.Front.TLS.KeyFile != filepath.Join(dir, "tls/front.key") {
		t.Errorf("paths are not those of the file's folder: %+v %+v", c.Agreements, c.Front.TLS)
	}
	if c.Audit.Dir != filepath.Join(dir, "audit") || c.State.Dir != filepath.Join(dir, "state") {
		t.Errorf("evidence in %s, state in %s", c.Audit.Dir, c.State.Dir)
	}
	if key, err := c.Pseudonyms.Key(); err != nil || len(key) != 32 {
		t.Errorf("the pseudonym key: %d bytes, %v", len(key), err)
	}
	if a := c.Front.Authentication; len(a.TrustedProxies) != 1 || a.JWT.SubjectClaim != "email" || len(a.JWT.Algorithms) != 1 {
		t.Errorf("authentication: %+v", a)
	}
}

func TestMinimalHasTheDefaults(t *testing.T) {
	c, err := config.Load(install(t, "testdata/minimal.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Front.Listen != "127.0.0.1:9480" || c.Front.QueryTimeout != 30*time.Second || c.Front.Pprof {
		t.Errorf("front: %+v", c.Front)
	}
	if c.Peer != nil || c.BundleEndpoint != nil || c.Policy.Dir != "" || c.Telemetry.OTLP != nil {
		t.Error("sections that were left out are there")
	}
	if c.State.Dir != c.Audit.Dir || !filepath.IsAbs(c.State.Dir) {
		t.Errorf("bundles were kept in %s; they would be in %s", c.Audit.Dir, c.State.Dir)
	}
	if c.Metrics.LookbackDelta != 5*time.Minute || c.Metrics.MaxSamples != 50_000_000 || c.Metrics.TSDB.Retention != 15*24*time.Hour {
		t.Errorf("metrics: %+v %+v", c.Metrics, c.Metrics.TSDB)
	}
}

// Every key is in the manual with a comment, and in the example.
func TestManual(t *testing.T) {
	manual, err := config.Manual()
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("testdata/example.yml")
	if err != nil {
		t.Fatal(err)
	}
	var comment bool
	for line := range strings.Lines(manual) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			comment = true
			continue
		}
		key, _, _ := strings.Cut(line, ":")
		if !comment {
			t.Errorf("%s has no comment", key)
		}
		if !strings.Contains(string(example), " "+key+":") && !strings.Contains(string(example), "\n"+key+":") {
			t.Errorf("%s is not in the example", key)
		}
		comment = false
	}
	for _, want := range []string{"  listen: 127.0.0.1:9480\n", "      # What the claim iss must be. Required.\n      issuer:\n", "  retention: 15d\n"} {
		if !strings.Contains(manual, want) {
			t.Errorf("the manual lacks %q:\n%s", want, manual)
		}
	}
}

// Each archive is a folder with a gateway.yml and, in `want`, what is said of it.
func TestLoadSaysAllThatIsWrong(t *testing.T) {
	archives, err := filepath.Glob("testdata/bad/*.txtar")
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
			for _, f := range ar.Files { // whatever the umask
				if err := os.Chmod(filepath.Join(dir, f.Name), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			_, err = config.Load(filepath.Join(dir, "gateway.yml"))
			if err == nil {
				t.Fatal("accepted")
			}
			got := strings.ReplaceAll(err.Error(), dir+"/", "") + "\n"
			if strings.Contains(got, "hunter2") {
				t.Error("the message tells a password")
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

func TestLoadOfAFileThatIsNotThere(t *testing.T) {
	_, err := config.Load("nowhere/gateway.yml")
	if err == nil || err.Error() != "nowhere/gateway.yml: the file can't be read: there is no such file or folder" {
		t.Error(err)
	}
}

func TestPseudonymKeyOfOurOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, make([]byte, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, ok := range map[os.FileMode]bool{0o400: true, 0o600: true, 0o440: true, 0o640: true, 0o660: false, 0o644: false, 0o604: false, 0o602: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := (config.Pseudonyms{KeyFile: path}).Key(); (err == nil) != ok {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	samples, err := filepath.Glob("testdata/*.yml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range samples {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	archives, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range archives {
		ar, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(ar.Files[0].Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Decode("gateway.yml", data)
		if err != nil {
			var problems yamlstrict.Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("an error without problems: %v", err)
			}
			return
		}
		// What was accepted is safe to start, however odd the file.
		a := c.Front.Authentication
		open := !a.MTLS && a.JWT == nil && len(a.TrustedProxies) == 0
		switch {
		case open && exposed(c.Front.Listen):
			t.Errorf("anybody may ask at %q", c.Front.Listen)
		case c.Org == "" || c.TrustDomain.IsZero():
			t.Errorf("accepted org %q of %q", c.Org, c.TrustDomain)
		case c.Pseudonyms.KeyFile == "" || c.Audit.Dir == "" || c.Agreements.Dir == "":
			t.Errorf("accepted a gateway without key, audit or agreements: %+v", c)
		case (c.Metrics.Prometheus == nil) == (c.Metrics.TSDB == nil):
			t.Error("accepted none or two places for metrics")
		case c.Logs != nil && (c.Logs.Loki == nil || c.Logs.Loki.URL == nil || c.Logs.Loki.PageEntries < 1):
			t.Errorf("accepted the logs %+v", c.Logs)
		case c.Traces != nil && !oneOf(c.Traces.Jaeger != nil, c.Traces.Tempo != nil, c.Traces.Store != nil):
			t.Errorf("accepted the traces %+v", c.Traces)
		case c.Traces != nil && c.Traces.Store != nil && (c.Traces.Store.MaxAge <= 0 || c.Traces.Store.MaxBytes <= 0 || exposed(c.Traces.Store.OTLPGRPCListen) || exposed(c.Traces.Store.OTLPHTTPListen)):
			t.Errorf("accepted the traces %+v", c.Traces.Store)
		case c.Front.QueryTimeout <= 0 || c.Metrics.MaxSamples <= 0 || c.Metrics.LookbackDelta <= 0:
			t.Errorf("accepted %+v %+v", c.Front, c.Metrics)
		}
	})
}

// exposed says whether others may reach an address; none is none.
func exposed(addr string) bool {
	return addr != "" && !strings.HasPrefix(addr, "127.") && !strings.HasPrefix(addr, "localhost:") && !strings.HasPrefix(addr, "[")
}

func oneOf(are ...bool) bool {
	n := 0
	for _, is := range are {
		if is {
			n++
		}
	}
	return n == 1
}
