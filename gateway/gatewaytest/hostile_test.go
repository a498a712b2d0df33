package gatewaytest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/federation/metrics/metricstest"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/gateway/gatewaytest"
	"github.com/parley-gateway/parley/policy"
)

const unacceptable = "sent an answer that can't be accepted"

// What a partner sends that isn't an answer of its own is nobody's answer.
func TestPartnerSendsGarbage(t *testing.T) {
	t.Parallel()
	series := func(chunk chunkenc.Chunk, ls ...string) *metrics.Released {
		var all []chunks.Meta
		if chunk != nil {
			all = append(all, chunks.Meta{Chunk: chunk})
		}
		return metrics.Received([]metrics.ReleasedSeries{{Labels: labels.FromStrings(ls...), Chunks: all}}, nil, nil, nil)
	}
	chunk := func(encoding chunkenc.Encoding, data string) chunkenc.Chunk {
		return must(chunkenc.FromData(encoding, []byte(data)))
	}
	complete := federation.Part{Org: "globex", Status: federation.Complete}
	scripts := map[string]gatewaytest.Script{
		"another organization's series": func(_ context.Context, q gateway.Question) (*metrics.Released, federation.Part, error) {
			return released(t, q, 1000, "org", "initech")
		},
		"the asker's own series": func(_ context.Context, q gateway.Question) (*metrics.Released, federation.Part, error) {
			return released(t, q, 1000, "org", "acme")
		},
		"series of nobody": func(_ context.Context, q gateway.Question) (*metrics.Released, federation.Part, error) {
			return released(t, q, 1000, "region", "eu")
		},
		"a sample of another time": func(_ context.Context, q gateway.Question) (*metrics.Released, federation.Part, error) {
			asked := q.Asked.(metrics.Question)
			asked.Start = asked.Start.Add(-24 * time.Hour)
			q.Asked = asked
			return released(t, q, 1000, "org", "globex")
		},
		"a chunk of garbage": func(context.Context, gateway.Question) (*metrics.Released, federation.Part, error) {
			return series(chunk(chunkenc.EncXOR, "\x00\x09garbage"), "org", "globex"), complete, nil
		},
		"a histogram of billions of buckets": func(context.Context, gateway.Question) (*metrics.Released, federation.Part, error) {
			return series(chunk(chunkenc.EncFloatHistogram, "\x00\x01\x00\xff"+strings.Repeat("\xff", 60)), "org", "globex"), complete, nil
		},
		"metadata for series": func(context.Context, gateway.Question) (*metrics.Released, federation.Part, error) {
			return metrics.Received(nil, nil, map[string][]metadata.Metadata{"up": {{Help: "1000"}}}, nil), complete, nil
		},
		"a coverage that ends before it begins": func(_ context.Context, q gateway.Question) (*metrics.Released, federation.Part, error) {
			r, part, err := released(t, q, 1000, "org", "globex")
			part.Coverage = policy.Window{Start: metricstest.End(), End: metricstest.Start}
			return r, part, err
		},
	}
	var playing atomic.Pointer[gatewaytest.Script]
	world := three(t)
	acme := world.Org("acme")
	world.Org("globex").Plays(func(ctx context.Context, q gateway.Question) (*metrics.Released, federation.Part, error) {
		return (*playing.Load())(ctx, q)
	})
	acme.Start()
	world.Org("initech").Start()
	for name, script := range scripts {
		playing.Store(&script)
		t.Run(name, func(t *testing.T) {
			reply := acme.Asks(byOrg)
			missing(t, reply, "globex", federation.Unreachable, unacceptable)
			if strings.Contains(string(reply.Body), "1000") {
				t.Errorf("some of the garbage is in the answer: %s", reply.Body)
			}
			statusSeries(t, acme, "globex", federation.Unreachable)
		})
	}
	honest := gatewaytest.Script(func(_ context.Context, q gateway.Question) (*metrics.Released, federation.Part, error) {
		return released(t, q, 6, "org", "globex")
	})
	playing.Store(&honest)
	everybodyAnswers(t, acme)
}

// bytesOnly is a codec under which messages are bytes: whatever they are.
type bytesOnly struct{}

func (bytesOnly) Name() string { return "proto" }

func (bytesOnly) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil //nolint:forcetypeassert // ours alone
}

func (bytesOnly) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize() //nolint:forcetypeassert // ours alone
	return nil
}

// A partner whose gateway isn't even a gateway.
func TestPartnerIsNoGateway(t *testing.T) {
	t.Parallel()
	garbage := make([]byte, 4096)
	random := rand.NewChaCha8([32]byte{7})
	_, _ = random.Read(garbage) // never fails

	t.Run("messages of random bytes", func(t *testing.T) {
		t.Parallel()
		world := three(t)
		acme, globex := world.Org("acme"), world.Org("globex")
		server := grpc.NewServer(
			grpc.Creds(credentials.NewTLS(serverTLS(globex))), grpc.ForceServerCodecV2(bytesOnly{}),
			grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error { return s.SendMsg(&garbage) }),
		)
		l := listen(t)
		done := make(chan error, 1)
		go func() { done <- server.Serve(l) }()
		t.Cleanup(func() { server.Stop(); <-done })
		acme.Agrees("globex", func(a *gatewaytest.Agreement) { a.Addresses = []string{l.Addr().String()} })
		acme.Start()
		world.Org("initech").Start()
		missing(t, acme.Asks(byOrg), "globex", federation.Unreachable, unacceptable)
	})
	t.Run("bytes instead of TLS", func(t *testing.T) {
		t.Parallel()
		world := three(t)
		acme := world.Org("acme")
		l := answering(t, garbage)
		acme.Agrees("globex", func(a *gatewaytest.Agreement) { a.Addresses = []string{l} })
		acme.Start()
		world.Org("initech").Start()
		missing(t, acme.Asks(byOrg), "globex", federation.Unreachable, "can't be reached")
	})
}

func serverTLS(o *gatewaytest.Org) *tls.Config {
	svid := o.Issue("/parley", time.Hour)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"h2"},
		Certificates: []tls.Certificate{{Certificate: [][]byte{svid.Certificates[0].Raw}, PrivateKey: svid.PrivateKey}},
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// answering is the address of a server that sends the bytes to everybody.
func answering(t *testing.T, b []byte) string {
	t.Helper()
	l := listen(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write(b) // who asked may have left
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close() // ends the loop
		<-done
	})
	return l.Addr().String()
}

// Bytes that aren't the protocol, before and after TLS and as a request, harm
// nobody else's question.
func TestGarbageAtThePeerDoor(t *testing.T) {
	t.Parallel()
	world := three(t)
	world.Start()
	acme, globex := world.Org("acme"), world.Org("globex")
	garbage := make([]byte, 64<<10)
	_, _ = rand.NewChaCha8([32]byte{8}).Read(garbage) // never fails

	plain, err := net.Dial("tcp", globex.PeerAddress())
	if err != nil {
		t.Fatal(err)
	}
	closedBy(t, plain, garbage)

	config := world.CallerTLS(acme.Issue("/parley", time.Hour), "globex")
	config.NextProtos = []string{"h2"}
	secured, err := tls.Dial("tcp", globex.PeerAddress(), config)
	if err != nil {
		t.Fatal(err)
	}
	closedBy(t, secured, garbage)

	conn, err := grpc.NewClient(globex.PeerAddress(),
		grpc.WithTransportCredentials(credentials.NewTLS(world.CallerTLS(acme.Issue("/parley", time.Hour), "globex"))),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesOnly{})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for method, want := range map[string]codes.Code{
		"/parley.federation.v1.Federation/Ask":                      codes.Internal,
		"/parley.federation.v1.Federation/Describe":                 codes.Internal,
		"/parley.federation.v2.Federation/Ask":                      codes.Unimplemented,
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": codes.Unimplemented,
		"/grpc.health.v1.Health/Check":                              codes.Unimplemented,
	} {
		request, response := bytes.Clone(garbage[:100]), []byte{}
		if err := conn.Invoke(t.Context(), method, &request, &response); status.Code(err) != want || len(response) > 0 {
			t.Errorf("%s: got %v and %q", method, err, response)
		}
	}
	globex.Eventually("the request that wasn't one is recorded", func() bool {
		records := globex.Audited()
		return len(records) == 1 && records[0].ErrorKind == federation.BadQuestion && records[0].Principal.Org == "acme"
	})
	everybodyAnswers(t, acme)
}

// closedBy sends bytes that nobody understands and waits for the end.
func closedBy(t *testing.T, conn net.Conn, b []byte) {
	t.Helper()
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = conn.Write(b) // may be closed already
	_, err := io.Copy(io.Discard, conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("the connection stays open")
	}
}

// A partner asks for what is another's. It gets nothing, and nobody is asked
// in its name: the peer door never relays.
func TestAskingForAnotherOrganizationsData(t *testing.T) {
	t.Parallel()
	world := three(t)
	world.Start()
	globex, initech := world.Org("globex"), world.Org("initech")
	acme := world.Caller(world.Org("acme").Issue("/parley", time.Hour), "globex", "")
	initechs := policy.Selector{labels.MustNewMatcher(labels.MatchEqual, "org", "initech")}
	all := policy.Selector{labels.MustNewMatcher(labels.MatchEqual, "__name__", "http_requests_total")}
	span := metrics.Question{Start: metricstest.Start, End: metricstest.End()}
	of := func(kind policy.Kind, s policy.Selector) metrics.Question {
		q := span
		q.Kind, q.Selectors = kind, []policy.Selector{s}
		return q
	}
	values := of(policy.LabelValues, all)
	values.Label = "org"
	for _, c := range []struct {
		q    metrics.Question
		want string
	}{
		{instant(`http_requests_total{org="initech"}`), ""},
		{instant(`sum by (org) (http_requests_total{org!="globex"})`), ""},
		{instant(`sum by (org) (http_requests_total)`), `{org="globex"}`},
		{instant(`parley_completeness`), ""},
		{of(policy.Series, initechs), ""},
		{of(policy.LabelNames, initechs), ""},
		{values, "globex"},
	} {
		got, part, err := acme.Asks(c.q)
		if err != nil {
			t.Fatalf("%s %s: %v", c.q.Kind, c.q.Expression, err)
		}
		var seen []string
		for _, s := range got.Series() {
			seen = append(seen, s.Labels.String())
		}
		seen = append(seen, got.Names()...)
		if strings.Join(seen, " ") != c.want {
			t.Errorf("%s %s: got %q, want %q", c.q.Kind, c.q.Expression, seen, c.want)
		}
		if record := last(t, globex); record.Series != part.Cost.Series || record.Exchange != string(acme.ExchangeID) {
			t.Errorf("globex recorded %+v", record)
		}
	}
	if n := len(initech.Audited()); n != 0 {
		t.Errorf("initech was asked %d questions", n)
	}
}

// memory is what is used by user and pod, which are nobody's business but the owner's.
func memory(users ...string) []metricstest.Series {
	var out []metricstest.Series
	for i, user := range users {
		values := make([]float64, metricstest.Samples)
		for j := range values {
			values[j] = float64(1000 * (i + 1))
		}
		out = append(out, metricstest.Series{
			Labels: labels.FromStrings("__name__", "mem", "job", "api", "region", []string{"eu", "us"}[i%2], "user", user, "pod", "pod-"+user),
			Values: values,
		})
	}
	return out
}

// What a partner's gateway can ask that no user of ours would: questions
// straight to the peer door. Whether users are called this or that, not a byte
// of what it gets differs.
func TestHostileQuestionsLearnNothing(t *testing.T) {
	t.Parallel()
	selector := policy.Selector{labels.MustNewMatcher(labels.MatchEqual, "__name__", "mem")}
	raw := metrics.Question{Kind: policy.Series, Start: metricstest.Start, End: metricstest.End(), Selectors: []policy.Selector{selector}}
	labelsOnly, ofAlice, names, users := raw, raw, raw, raw
	labelsOnly.LabelsOnly = true
	ofAlice.Selectors = []policy.Selector{append(policy.Selector{labels.MustNewMatcher(labels.MatchEqual, "user", "alice")}, selector...)}
	names.Kind = policy.LabelNames
	users.Kind, users.Label = policy.LabelValues, "user"
	questions := []metrics.Question{raw, labelsOnly, ofAlice, names, users}
	for _, expr := range []string{
		`mem`, `mem{user="alice"}`, `count(mem{user="alice"})`, `count(mem{user=~"[a-m].*"})`, `absent(mem{user="alice"})`,
		`sum(mem) - sum(mem{user!="alice"})`, `sum(mem) - sum(mem{pod!~".*alice"})`,
		`label_replace(mem, "job", "$1", "user", "(.*)")`, `label_join(mem, "job", "-", "user", "pod")`,
		`sum by (user) (mem)`, `sum without (pod) (mem)`, `mem * on (region) group_left (user) mem`, `mem * on (region) mem`,
		`sum(mem) and on () (mem{user="alice"} > 1)`, `scalar(mem{user="alice"})`, `vector(scalar(count(mem{user="alice"})))`,
		`topk by (user) (1, mem)`, `count_values("job", mem)`, `quantile by (region, user) (1, mem)`, `sort_by_label(mem, "user")`,
		`{__name__=~".+",user="alice"}`, `{__parley_surrogate__!=""}`, `sum by (__parley_surrogate__) (mem)`,
		`label_replace(mem, "region", "$1", "__parley_surrogate__", "(.*)")`, `mem{exported_org!=""}`, `mem offset 1m`, `mem[1m]`,
	} {
		questions = append(questions, instant(expr))
	}

	learns := func(t *testing.T, people ...string) map[string]string {
		world := gatewaytest.New(t, "acme", "globex")
		globex := world.Org("globex")
		globex.Holds(memory(people...)...)
		globex.Releases("acme", `{"allow": true, "datasets": [{"name": "mem", "series": ["mem"], "release": "row", "labels": {"job": "keep", "region": "keep"}}]}`)
		globex.Start()
		caller := world.Caller(world.Org("acme").Issue("/parley", time.Hour), "globex", "")
		out := map[string]string{}
		for _, q := range questions {
			key := string(q.Kind) + " " + q.Expression + metricsSelectors(q)
			got, part, err := caller.Asks(q)
			text := ""
			if err != nil {
				text = err.Error()
			} else {
				for _, s := range got.Series() {
					text += s.Labels.String()
					for _, c := range s.Chunks {
						text += string(c.Chunk.Bytes())
					}
				}
				text += strings.Join(got.Names(), " ")
			}
			text += part.Reason + strings.Join(part.Notices, " ")
			for _, secret := range append(people, "surrogate") {
				if strings.Contains(text, secret) && !strings.Contains(key, secret) {
					t.Errorf("%s names %s: %s", key, secret, text)
				}
			}
			out[key] = text
		}
		return out
	}
	ours := learns(t, "alice", "bob", "carol")
	if diff := cmp.Diff(ours, learns(t, "xaver", "yvonne", "zoe")); diff != "" {
		t.Errorf("two stores that differ in what is hidden (-one +other):\n%s", diff)
	}
	told := ours["series "+metricsSelectors(raw)]
	if !strings.Contains(told, "needs-aggregation") || !strings.Contains(told, "series of the result differ only in labels that globex's policy hides") {
		t.Errorf("raw series with hidden labels: %q", told)
	}
}

func metricsSelectors(q metrics.Question) string {
	out := ""
	for _, s := range q.Selectors {
		out += metrics.FormatSelector(s)
	}
	if q.LabelsOnly {
		out += " labels only"
	}
	return out
}
