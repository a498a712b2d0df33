// Package servers runs real servers for tests and benchmarks: a Prometheus, a
// node_exporter, a Loki, a Jaeger and a registry of OCI artifacts, each of the
// version that its nested module pins, built into a cache when first needed:
//
//	node := servers.NodeExporter(t)
//	prom := servers.Prometheus(t, servers.PrometheusConfig{Config: `
//	scrape_configs:
//	  - job_name: node
//	    static_configs: [{targets: [` + node.Address + `]}]
//	`})
//	fmt.Print(servers.Promtool(t, "query", "instant", prom.URL, "up"))
//
// A server is ready when its function returns, listens on a loopback port that
// the kernel chose, and is gone when its test ends.
package servers

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/parley-gateway/parley/tools/pinned"
)

const (
	startWithin = 60 * time.Second
	stopWithin  = 20 * time.Second
	askEvery    = 20 * time.Millisecond
)

// Server is a running server.
type Server struct {
	URL     string // http://Address
	Address string // host:port
	PID     int

	name   string
	cmd    *exec.Cmd     // its ProcessState is readable once exited is closed
	exited chan struct{} // closed when the process has ended
	output *output
}

// Stop asks the server to end and waits until it has. Stopping twice is fine.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.end(t, syscall.SIGTERM)
}

// Kill ends the server at once, as a crash would.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	s.end(t, syscall.SIGKILL)
}

func (s *Server) end(t testing.TB, signal syscall.Signal) {
	t.Helper()
	// A process that has already ended needs no signal.
	_ = s.cmd.Process.Signal(signal)
	select {
	case <-s.exited:
	case <-time.After(stopWithin):
		_ = s.cmd.Process.Kill()
		<-s.exited
		t.Errorf("%s was still running %s after %s; killed it", s.name, stopWithin, signal)
	}
}

// ExitCode is what a server that has ended returned; -1 when a signal ended it.
func (s *Server) ExitCode() int {
	<-s.exited
	return s.cmd.ProcessState.ExitCode()
}

// Output is what the server has written so far, both streams.
func (s *Server) Output() string { return s.output.String() }

// Program returns the path of a program of a nested module of this folder,
// such as promtool of prometheus.
func Program(t testing.TB, module, program string) string {
	t.Helper()
	bin, err := pinned.Build(t.Context(), filepath.Join(root(t), "e2e", "servers", module), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(bin, program)
}

// Command is a run of a program of a nested module, not started yet. It is
// killed if it outlives the test.
func Command(t testing.TB, module, program string, arguments ...string) *exec.Cmd {
	t.Helper()
	return exec.CommandContext(t.Context(), Program(t, module, program), arguments...)
}

// root is the folder of parley's go.mod, above the one that tests run in.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("finding parley's folder: %v", err)
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(mod, []byte("module github.com/parley-gateway/parley\n")) {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("parley's go.mod is in no folder above this test; run it from within the tree")
		}
		dir = up
	}
}

// Start runs a program that isn't built here, and returns when it answers 200
// at a path of an address that its arguments tell it.
func Start(t testing.TB, address, ready, program string, arguments ...string) *Server {
	t.Helper()
	l := launch{
		name:      filepath.Base(program),
		program:   program,
		arguments: func(string) []string { return arguments },
		ready:     ready,
	}
	s, err := l.try(t, address)
	if err != nil {
		t.Fatalf("starting %s %s: %v", l.name, strings.Join(arguments, " "), err)
	}
	return s
}

// launch is how one kind of server is started.
type launch struct {
	name    string
	program string
	// arguments returns the command line for a server at address.
	arguments func(address string) []string
	ready     string // path that answers 200 when the server is ready
	// environment is added to that of the test.
	environment []string
}

// start runs the server and waits until it is ready. Between asking the kernel
// for a free port and the server's listening somebody else may take the port,
// so that is tried again.
func (l launch) start(t testing.TB) *Server {
	t.Helper()
	const tries = 5
	for try := 1; ; try++ {
		s, err := l.try(t, freeAddress(t))
		if err == nil {
			return s
		}
		if try == tries || !strings.Contains(err.Error(), "address already in use") {
			t.Fatalf("starting %s: %v", l.name, err)
		}
	}
}

func (l launch) try(t testing.TB, address string) (*Server, error) {
	s := &Server{
		URL:     "http://" + address,
		Address: address,
		name:    l.name,
		exited:  make(chan struct{}),
		output:  &output{},
	}
	s.cmd = exec.Command(l.program, l.arguments(address)...)
	s.cmd.Env = append(os.Environ(), l.environment...)
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	s.cmd.SysProcAttr = endWithParent()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.PID = s.cmd.Process.Pid
	go func() {
		defer close(s.exited)
		_ = s.cmd.Wait() // how it ended is in ProcessState
	}()
	t.Cleanup(func() {
		s.Stop(t)
		if t.Failed() {
			t.Logf("the end of what %s at %s wrote:\n%s", s.name, s.Address, lastLines(s.Output(), 30))
		}
	})
	return s, s.waitReady(s.URL + l.ready)
}

// waitReady returns when url answers 200, or an error that says why it won't.
func (s *Server) waitReady(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	again := time.NewTicker(askEvery)
	defer again.Stop()
	for {
		if answers200(ctx, client, url) {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("it ended before it was ready: %s; it wrote:\n%s", s.cmd.ProcessState, lastLines(s.Output(), 30))
		case <-ctx.Done():
			return fmt.Errorf("%s didn't answer 200 within %s; it wrote:\n%s", url, startWithin, lastLines(s.Output(), 30))
		case <-again.C:
		}
	}
}

func answers200(ctx context.Context, client *http.Client, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("asking for a free port: %v", err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// output collects what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer // under mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
