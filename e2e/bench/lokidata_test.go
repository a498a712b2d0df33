package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/parley-gateway/parley/e2e/servers"
)

// tenant is whose the lines are in the Loki.
const tenant = "globex"

// lokiWithLines starts a Loki that has all lines in its store, as lines of some
// hours ago are.
func lokiWithLines(t testing.TB) servers.Loki {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(lokiData(t))); err != nil {
		t.Fatalf("copying the lines: %v", err)
	}
	return servers.StartLoki(t, servers.LokiConfig{Data: dir, Flags: []string{
		// A question over all lines may take longer than a Loki waits by default.
		"-querier.query-timeout=5m", "-server.http-write-timeout=5m", "-server.http-read-timeout=5m",
		"-ingester.query-store-max-look-back-period=0s", // which tests set, and has the store read twice
	}})
}

// lokiData returns the folder of a Loki that has ended.
func lokiData(t testing.TB) string {
	t.Helper()
	name := filepath.Join("logs-"+logsVersion, strconv.Itoa(*howManyLines))
	return kept(t, name, func(dir string) {
		// Without its journal a Loki writes what it holds to its store as it ends.
		loki := servers.StartLoki(t, servers.LokiConfig{Data: dir, Flags: []string{"-ingester.wal-enabled=false", "-shard-streams.enabled=false"}})
		if err := pushLines(t.Context(), newClient(t).with("X-Scope-OrgID", tenant), loki); err != nil {
			t.Fatalf("pushing lines: %v", err)
		}
		loki.Stop(t)
	})
}

// Lines are pushed in batches, several at once.
const pushedAtOnce, batchLines = 4, 10_000

func pushLines(ctx context.Context, c client, loki servers.Loki) error {
	of := *howManyLines
	pushes, ctx := errgroup.WithContext(ctx)
	pushes.SetLimit(pushedAtOnce)
	for first := 0; first < of && ctx.Err() == nil; first += batchLines {
		if first%500_000 == 0 {
			fmt.Fprintf(os.Stderr, "pushing to Loki: %d of %d lines\n", first, of)
		}
		pushes.Go(func() error {
			return c.push(ctx, loki.URL, batch(first, min(first+batchLines, of), of))
		})
	}
	return pushes.Wait()
}

// batch is the body of a push of lines.
func batch(first, end, of int) []byte {
	var (
		random  rand.PCG
		line    logLine
		streams [logPods][4]bytes.Buffer
	)
	for i := first; i < end; i++ {
		line.set(&random, i, of)
		b := &streams[line.pod][line.level]
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(b, `["%d",%q]`, line.at.UnixNano(), line.text)
	}
	var body bytes.Buffer
	body.WriteString(`{"streams":[`)
	between := ""
	for pod := range streams {
		for level := range streams[pod] {
			if values := &streams[pod][level]; values.Len() > 0 {
				fmt.Fprintf(&body, `%s{"stream":{"service":"checkout","region":"eu-west","pod":"checkout-%d","level":%q},"values":[`, between, pod, logLevels[level])
				_, _ = values.WriteTo(&body) // a buffer takes all
				body.WriteString("]}")
				between = ","
			}
		}
	}
	body.WriteString("]}")
	return body.Bytes()
}

func (c client) push(ctx context.Context, loki string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, loki+"/loki/api/v1/push", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	maps.Copy(request.Header, c.header)
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return fmt.Errorf("%s: %s", response.Status, text)
	}
	return nil
}
