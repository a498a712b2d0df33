package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs testdata/script. Beside testscript's own commands there are:
//
//	addresses NAME N   sets NAME to host:port, where that and the next N-1 ports are free
//	nobody ADDRESS N   nobody listens on these
//	ready URL          waits until a gateway is ready and knows its partners
//	fetch URL FILE RE  keeps what is at a URL, once there is a match in it
//	expand FROM TO     copies a file with the environment's variables put in
//	[!] empty DIR      there is nothing in the folder
func TestScripts(t *testing.T) {
	bin := filepath.Dir(parley(t))
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+env.Getenv("PATH"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"addresses": addresses,
			"nobody":    nobody,
			"ready":     ready,
			"fetch":     fetch,
			"expand":    expand,
			"empty":     empty,
		},
	})
}

func addresses(ts *testscript.TestScript, _ bool, args []string) {
	name, n := args[0], number(ts, args[1])
	for {
		first := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		if taken(ts, first, n) == "" {
			ts.Setenv(name, first)
			return
		}
	}
}

func nobody(ts *testscript.TestScript, _ bool, args []string) {
	if address := taken(ts, args[0], number(ts, args[1])); address != "" {
		ts.Fatalf("somebody listens on %s", address)
	}
}

// taken is the first of n addresses that somebody listens on, or "".
func taken(ts *testscript.TestScript, first string, n int) string {
	host, port, err := net.SplitHostPort(first)
	ts.Check(err)
	for i := range n {
		address := net.JoinHostPort(host, strconv.Itoa(number(ts, port)+i))
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return address
		}
		ts.Check(listener.Close())
	}
	return ""
}

func number(ts *testscript.TestScript, text string) int {
	n, err := strconv.Atoi(text)
	ts.Check(err)
	return n
}

func ready(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, args[0]+"/-/ready", func(status int, body string) bool {
		return status == http.StatusOK && !strings.Contains(body, "not there yet")
	})
}

// until asks again and again until an answer is good, and returns it.
func until(ts *testscript.TestScript, url string, good func(status int, body string) bool) string {
	const within = time.Minute
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		status, body := get(ctx, client, url)
		if good(status, body) {
			return body
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("%s isn't as it should be after %s: %d %s", url, within, status, body)
		case <-again.C:
		}
	}
}

// get is the answer of a server, zero when there is none.
func get(ctx context.Context, client *http.Client, url string) (int, string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, body.String()
}

func fetch(ts *testscript.TestScript, _ bool, args []string) {
	wanted, err := regexp.Compile("(?m)" + args[2])
	ts.Check(err)
	body := until(ts, args[0], func(status int, body string) bool { return status == http.StatusOK && wanted.MatchString(body) })
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(body), 0o600))
}

func expand(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(os.Expand(ts.ReadFile(args[0]), ts.Getenv)), 0o600))
}

func empty(ts *testscript.TestScript, neg bool, args []string) {
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	if isEmpty := len(entries) == 0; isEmpty == neg {
		ts.Fatalf("%s holds %v", args[0], entries)
	}
}
