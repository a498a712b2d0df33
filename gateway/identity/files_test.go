package identity_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/parley-gateway/parley/gateway/identity"
)

// replaceFile swaps a file's content in one step, as careful tools do.
func replaceFile(path string, data []byte) error {
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func serial(source x509svid.Source) string {
	svid, err := source.GetX509SVID()
	if err != nil {
		return err.Error()
	}
	return svid.Certificates[0].SerialNumber.String()
}

func TestFilesAreReadAgain(t *testing.T) {
	dir, log := t.TempDir(), &logBuffer{}
	config := identity.FilesConfig{
		TrustDomain: acme,
		CertFile:    filepath.Join(dir, "svid.pem"),
		KeyFile:     filepath.Join(dir, "svid.key"),
		BundleFile:  filepath.Join(dir, "ca", identity.DevCABundleFile),
		Every:       5 * time.Millisecond,
		Logger:      log.logger(),
	}
	files, err := identity.NewFiles(config)
	must(t, err)
	defer func() { must(t, files.Close()) }()
	refused(t, files.Ready(), "no SVID yet", "no such file")

	// The files come after the start.
	ca, err := identity.OpenDevCA(filepath.Join(dir, "ca"), identity.DevCAConfig{TrustDomain: acme})
	must(t, err)
	issue := func(td spiffeid.TrustDomain, from *identity.DevCA) *x509svid.SVID {
		svid, err := from.Issue(gatewayOf(td), time.Hour)
		must(t, err)
		must(t, identity.SaveSVID(svid, config.CertFile, config.KeyFile))
		return svid
	}
	first := issue(acme, ca)
	eventually(t, files.Ready)

	// A second SVID replaces it.
	second := issue(acme, ca)
	eventually(t, func() error {
		if got := serial(files); got != second.Certificates[0].SerialNumber.String() {
			return fmt.Errorf("still %s", got)
		}
		return nil
	})
	if first.Certificates[0].Equal(second.Certificates[0]) {
		t.Fatal("the same SVID was issued twice")
	}

	// What is bad is said and not taken.
	stranger, err := identity.NewDevCA(identity.DevCAConfig{TrustDomain: acme})
	must(t, err)
	other, err := identity.NewDevCA(identity.DevCAConfig{TrustDomain: globex})
	must(t, err)
	for _, bad := range []struct {
		do   func()
		says string
	}{
		{func() { must(t, replaceFile(config.CertFile, []byte("not PEM"))) }, "cannot parse PEM encoded certificate"},
		{func() { issue(acme, stranger) }, "is not valid by the bundle"},
		{func() { issue(globex, other) }, "not in our trust domain acme.example"},
		{func() { must(t, os.Remove(config.KeyFile)) }, "svid.key: no such file"},
	} {
		bad.do()
		eventually(t, func() error {
			if !strings.Contains(log.String(), bad.says) {
				return errors.New("the log doesn't say " + bad.says)
			}
			return nil
		})
		if got := serial(files); got != second.Certificates[0].SerialNumber.String() {
			t.Fatalf("after %q the SVID is %s", bad.says, got)
		}
		must(t, files.Ready())
	}
	if strings.Contains(log.String(), "PRIVATE KEY") {
		t.Error("a key is in the log")
	}

	third := issue(acme, ca)
	eventually(t, func() error {
		if got := serial(files); got != third.Certificates[0].SerialNumber.String() {
			return fmt.Errorf("still %s", got)
		}
		return nil
	})
}

// Partners' agreements name one SPIFFE ID: another one's certificate, though of
// our trust domain, would only be refused there.
func TestFilesAreOfTheGatewayThatWasNamed(t *testing.T) {
	dir := t.TempDir()
	ca, err := identity.OpenDevCA(dir, identity.DevCAConfig{TrustDomain: acme})
	must(t, err)
	config := identity.FilesConfig{
		TrustDomain: acme, CertFile: filepath.Join(dir, "svid.pem"), KeyFile: filepath.Join(dir, "svid.key"),
		BundleFile: filepath.Join(dir, identity.DevCABundleFile), Logger: slog.New(slog.DiscardHandler),
	}
	svid, err := ca.Issue(gatewayOf(acme), time.Hour)
	must(t, err)
	must(t, identity.SaveSVID(svid, config.CertFile, config.KeyFile))
	ready := func(id spiffeid.ID) error {
		config.ID = id
		files, err := identity.NewFiles(config)
		must(t, err)
		defer func() { must(t, files.Close()) }()
		return files.Ready()
	}
	must(t, ready(spiffeid.ID{}))
	must(t, ready(gatewayOf(acme)))
	other := spiffeid.RequireFromPath(acme, "/someone")
	refused(t, ready(other), gatewayOf(acme).String(), other.String())
}

func TestAnExpiredSVIDOfOursIsNotShown(t *testing.T) {
	now := newClock()
	ca, err := identity.NewDevCA(identity.DevCAConfig{TrustDomain: acme, Clock: now.Now})
	must(t, err)
	dir := t.TempDir()
	must(t, ca.Save(dir))
	svid, err := ca.Issue(gatewayOf(acme), time.Hour)
	must(t, err)
	must(t, identity.SaveSVID(svid, dir+"/svid.pem", dir+"/svid.key"))
	files, err := identity.NewFiles(identity.FilesConfig{
		TrustDomain: acme, CertFile: dir + "/svid.pem", KeyFile: dir + "/svid.key", BundleFile: dir + "/" + identity.DevCABundleFile, Clock: now.Now,
	})
	must(t, err)
	defer func() { must(t, files.Close()) }()
	must(t, files.Ready())
	now.Add(2 * time.Hour)
	refused(t, files.Ready(), "our SVID spiffe://acme.example/parley expired at")
}

func TestDevCAIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	config := identity.DevCAConfig{TrustDomain: acme}
	made, err := identity.OpenDevCA(dir, config)
	must(t, err)
	found, err := identity.OpenDevCA(dir, config)
	must(t, err)
	if !made.Bundle().Equal(found.Bundle()) {
		t.Error("opening the folder again made another CA")
	}
	svid, err := found.Issue(gatewayOf(acme), time.Hour)
	must(t, err)
	if _, _, err := x509svid.Verify(svid.Certificates, made.Bundle()); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(filepath.Join(dir, identity.DevCAKeyFile))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the CA's key has mode %v", info.Mode())
	}
	data, err := os.ReadFile(filepath.Join(dir, identity.DevCABundleFile))
	must(t, err)
	bundle, err := identity.ParseBundle(acme, data)
	if err != nil || !bundle.Equal(made.Bundle()) {
		t.Errorf("bundle.json: %v", err)
	}

	_, err = identity.OpenDevCA(dir, identity.DevCAConfig{TrustDomain: globex})
	refused(t, err, "is of the trust domain acme.example, not of globex.example")
	_, err = found.Issue(gatewayOf(globex), time.Hour)
	refused(t, err, "can't issue")
	must(t, os.Remove(filepath.Join(dir, identity.DevCAKeyFile)))
	_, err = identity.OpenDevCA(dir, config)
	refused(t, err, "not whole")
}

func TestParseBundle(t *testing.T) {
	ca, err := identity.NewDevCA(identity.DevCAConfig{TrustDomain: acme})
	must(t, err)
	dir := t.TempDir()
	must(t, ca.Save(dir))
	svid, err := ca.Issue(gatewayOf(acme), time.Hour)
	must(t, err)
	leaf, key, err := svid.Marshal()
	must(t, err)
	authority, err := os.ReadFile(filepath.Join(dir, identity.DevCACertFile))
	must(t, err)
	if _, err := identity.ParseBundle(acme, authority); err != nil {
		t.Errorf("PEM: %v", err)
	}
	if _, err := identity.ParseBundle(acme, []byte(` {"keys":[]}`)); err != nil {
		t.Errorf("everything revoked: %v", err)
	}
	for _, c := range []struct{ data, says string }{
		{"", "is empty"},
		{"hello", "neither a SPIFFE bundle"},
		{"{}", "no authorities"},
		{"{", "JSON"},
		{`{"keys":[{"kty":"EC","crv":"P-256","use":"sig","x":"fK-wKTnKL7KFLM27lqq5DC-bxrVaH6rDV-IcCSEOeL4","y":"wq-g3TQWxYlV51TCPH030yXsRxvujD4hUUaIQrXk4KI"}]}`, "no SPIFFE bundle"},
		{string(leaf), "not a CA's"},
		{string(authority) + string(key), "only certificates belong"},
	} {
		_, err := identity.ParseBundle(acme, []byte(c.data))
		refused(t, err, c.says)
	}
	_, err = identity.ParseBundle(globex, authority)
	refused(t, err, "belongs to the trust domain acme.example")
}

func FuzzParseBundle(f *testing.F) {
	f.Add([]byte(`{"keys":[]}`))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		bundle, err := identity.ParseBundle(acme, data)
		if (err == nil) != (bundle != nil) {
			t.Errorf("a bundle and an error, or neither: %v, %v", bundle, err)
		}
	})
}
