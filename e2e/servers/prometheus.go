package servers

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// PrometheusConfig says what a Prometheus does. The zero value scrapes itself
// every second into a folder that goes with the test.
type PrometheusConfig struct {
	// Config is the text of prometheus.yml, in which $ADDRESS stands for the
	// server's own host:port. Empty is prometheus/prometheus.yml beside this
	// package.
	Config string
	// Data is the folder of the TSDB, blocks that are there included. Empty is
	// a new one. It isn't removed.
	Data string
	// Flags are added to the command line.
	Flags []string
}

// Prometheus starts a Prometheus.
func Prometheus(t testing.TB, c PrometheusConfig) *Server {
	t.Helper()
	if c.Config == "" {
		text, err := os.ReadFile(filepath.Join(root(t), "e2e", "servers", "prometheus", "prometheus.yml"))
		if err != nil {
			t.Fatalf("reading Prometheus's default configuration: %v", err)
		}
		c.Config = string(text)
	}
	if c.Data == "" {
		c.Data = t.TempDir()
	}
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	return launch{
		name:    "prometheus",
		program: Program(t, "prometheus", "prometheus"),
		arguments: func(address string) []string {
			text := strings.ReplaceAll(c.Config, "$ADDRESS", address)
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatalf("writing Prometheus's configuration: %v", err)
			}
			return append([]string{
				"--config.file=" + config,
				"--storage.tsdb.path=" + c.Data,
				"--web.listen-address=" + address,
				// Scraping starts when targets are next looked at, by default 5 s from now.
				"--scrape.discovery-reload-interval=100ms",
			}, c.Flags...)
		},
		ready: "/-/ready",
	}.start(t)
}

// Promtool runs Prometheus's own client and returns what it printed. A
// failure of promtool is one of the test.
func Promtool(t testing.TB, arguments ...string) string {
	t.Helper()
	cmd := Command(t, "prometheus", "promtool", arguments...)
	var failed bytes.Buffer
	cmd.Stderr = &failed
	printed, err := cmd.Output()
	if err != nil {
		t.Fatalf("promtool %s: %v\n%s%s", strings.Join(arguments, " "), err, printed, failed.Bytes())
	}
	return string(printed)
}
