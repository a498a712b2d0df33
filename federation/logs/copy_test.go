package logs

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs/line"
	"github.com/parley-gateway/parley/federation/logs/logql/logqltest"
	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/policy"
)

var (
	copySeed      = flag.Int64("logs.seed", 1, "seed of random lines, policies and questions; 0 takes one from the clock")
	copyQuestions = flag.Int("logs.questions", 1500, "how many random questions are asked")
)

var copySecret = []byte(strings.Repeat("s", minSecret))

// randomDatasets hide some of the streams, labels and lines of logqltest's
// entries. Every app has one dataset at most; its own label is kept, since a
// stream has one.
func randomDatasets(r *rand.Rand) map[string]*policy.Dataset {
	out := map[string]*policy.Dataset{}
	modes := []policy.Mode{policy.Keep, policy.Keep, policy.Pseudonym, policy.Drop}
	mode := func() policy.LabelRule { return policy.LabelRule{Mode: modes[r.IntN(len(modes))]} }
	others := func() policy.LabelRule {
		return policy.LabelRule{Mode: []policy.Mode{policy.Keep, policy.Drop}[r.IntN(2)]}
	}
	fields := func() *policy.Fields {
		f := &policy.Fields{Named: map[string]policy.LabelRule{}, Others: others()}
		for _, name := range []string{"level", "status", "msg", "user.id", "user", "latency", "addr", "trace", "a.b", "duration_ms"} {
			if r.IntN(2) == 0 {
				f.Named[name] = mode()
			}
		}
		return f
	}
	masks := policy.LineRule{Masks: []policy.Mask{{Name: string(policy.IPv4Detector)}, {Name: string(policy.IPv6Detector)}}}
	for _, app := range []string{"shop", "pay", "auth"} {
		if r.IntN(5) == 0 {
			continue // nothing of it is released
		}
		d := &policy.Dataset{
			Name: app, Release: policy.Row, Others: others(),
			Streams: []policy.Selector{{labels.MustNewMatcher(labels.MatchEqual, "app", app)}},
			Labels:  map[string]policy.LabelRule{"app": {Mode: policy.Keep}},
		}
		for _, name := range []string{"env", "format", "pod", "trace", "level", "status", "app_extracted"} {
			if r.IntN(3) > 0 {
				d.Labels[name] = mode()
			}
		}
		switch r.IntN(6) {
		case 0:
			d.Line = policy.Line{Mode: policy.LineNone}
		case 1:
			d.Line = policy.Line{Mode: policy.LineShape}
		case 2:
			d.Line = policy.Line{Mode: policy.LineByRules, Rules: []policy.LineRule{masks}}
		case 3:
			d.Line = policy.Line{Mode: policy.LineByRules, Rules: []policy.LineRule{{JSON: fields()}}}
		case 4:
			d.Line = policy.Line{Mode: policy.LineByRules, Rules: []policy.LineRule{{Logfmt: fields()}, masks}}
		case 5:
			d.Line = policy.Line{Mode: policy.LineKeep}
		}
		out[app] = d
	}
	return out
}

// redactedCopy writes what datasets show of entries to a store of its own: as it
// was read in POLICY.md, and not by the view.
func redactedCopy(t *testing.T, entries []logqltest.Entry, datasets map[string]*policy.Dataset, pseudonym func(string) string) *Store {
	t.Helper()
	store := NewStore(StoreConfig{})
	var fired line.Fired
	for _, e := range entries {
		d := datasets[e.Stream.Get("app")]
		if d == nil {
			continue
		}
		mode := func(name string) policy.Mode {
			if rule, named := d.Labels[name]; named {
				return rule.Mode
			}
			return d.Others.Mode
		}
		seen := func(b *labels.ScratchBuilder, m policy.Mode, name, value string) {
			switch m {
			case policy.Keep:
				b.Add(name, value)
			case policy.Pseudonym:
				b.Add(name, pseudonym(value))
			case policy.Drop, policy.Generalize:
			}
		}
		var stream, metadata labels.ScratchBuilder
		e.Stream.Range(func(l labels.Label) { seen(&stream, mode(l.Name), l.Name, l.Value) })
		e.Metadata.Range(func(l labels.Label) {
			if !e.Stream.Has(l.Name) {
				seen(&metadata, mode(l.Name), l.Name, l.Value)
			} else if mode(l.Name) == policy.Keep {
				// A store calls it otherwise, which is a name of its own.
				seen(&metadata, mode(l.Name+renamedSuffix), l.Name+renamedSuffix, l.Value)
			}
		})
		redactor, err := line.New(d.Line, pseudonym)
		if err != nil {
			t.Fatal(err)
		}
		stream.Sort()
		metadata.Sort()
		if err := store.Append(time.Unix(0, e.At), redactor.Redact(e.Line, &fired), stream.Labels(), metadata.Labels()); err != nil {
			t.Fatal(err)
		}
	}
	return store
}

// randomQuestion is of any kind; those with an expression are half of them.
func randomQuestion(r *rand.Rand, g *logqltest.Generator, start, end time.Time) Question {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	label := func() string {
		return pick("app", "env", "format", "pod", "trace", "level", "status", "org", "app_extracted", "user_id", "msg")
	}
	selector := func() []policy.Selector {
		text := pick(`{app="shop"}`, `{app=~".+"}`, `{env="prod"}`, `{env!="prod", app!=""}`, `{format=~"json|odd", app=~"pay|auth"}`, `{org="globex"}`, `{pod="", app="pay"}`)
		s, err := ParseSelector(text)
		if err != nil {
			return nil
		}
		return []policy.Selector{s}
	}
	q := Question{Start: start, End: end}
	switch r.IntN(16) {
	case 0, 1, 2, 3:
		q.Kind, q.Expression, q.Limit, q.Backward = policy.Range, g.Log(), 1+r.IntN(500), r.IntN(2) == 0
		if r.IntN(4) == 0 {
			// What a line has only once it is redacted.
			text := pick("<ipv4>", "ipv", "<_>", `"status":"`, `","`, `{"level"`, "p-", "level=info status=", `"status":"<_>"`)
			q.Expression = fmt.Sprintf(`{app=~"%s"} |= %q`, pick("shop", "pay", "auth", ".+"), text)
		}
	case 4, 5:
		q.Kind, q.Expression, q.Step = policy.Range, []func() string{g.Range, g.SumOfRange, g.Metric}[r.IntN(3)](), time.Minute
	case 6, 7:
		q.Kind, q.Expression, q.Start = policy.Instant, []func() string{g.Range, g.SumOfRange, g.Metric}[r.IntN(3)](), end
	case 8:
		q.Kind, q.Expression, q.Limit = policy.DetectedFields, g.Log(), 1+r.IntN(300)
		if r.IntN(2) == 0 {
			q.Label = label()
		}
	case 9:
		q.Kind, q.Selectors = policy.Series, selector()
	case 10:
		q.Kind, q.Selectors, q.Limit = policy.LabelNames, selector(), r.IntN(3)
	case 11:
		q.Kind, q.Selectors, q.Label = policy.LabelValues, selector(), label()
	case 12:
		q.Kind, q.Selectors = policy.Stats, selector()
	case 13:
		q.Kind, q.Selectors, q.Step, q.ByName = policy.Volume, selector(), time.Duration(r.IntN(2))*time.Minute, r.IntN(2) == 0
		if r.IntN(2) == 0 {
			q.By = []string{label()}
		}
	case 14:
		q.Kind, q.Selectors, q.Step = policy.Patterns, selector(), time.Minute
	case 15:
		q.Kind, q.Selectors = policy.DetectedLabels, selector()
	}
	return q
}

// told is all that an answer tells, and whether there is something in it.
func told(t *testing.T, store *Store, datasets []policy.Dataset, by federation.Asking, q Question) (text string, something bool) {
	t.Helper()
	local, err := NewLocal(LocalConfig{Org: "globex", Source: store, Secret: copySecret})
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := local.Answer(t.Context(), q, policy.Decision{Allow: true, Obligations: policy.Obligations{Datasets: datasets}}, by)
	if err != nil {
		e := federation.AsError(err)
		return string(e.Kind) + ": " + e.Message, false
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%q %v %+v %+v\n", r.Names(), r.Streams(), r.Fields(), r.Stats())
	for _, e := range r.Entries() {
		fmt.Fprintf(&b, "%d %s %s %s %q\n", e.At, e.Stream, e.Metadata, e.Parsed, e.Line)
	}
	points := 0
	if r.Numbers() != nil {
		all := rows(t, r)
		points = len(all)
		b.WriteString(strings.Join(all, "\n"))
	}
	return b.String(), len(r.Entries())+len(r.Names())+len(r.Streams())+len(r.Fields())+points > 0 || r.Stats() != Stats{}
}

// byChance says whether an answer is another one each time: which of equal ones
// are among the largest is the engine's chance, if something is between them and
// the series.
func byChance(q Question, answer string, ask func() string) bool {
	if !strings.Contains(q.Expression, "topk") && !strings.Contains(q.Expression, "bottomk") {
		return false
	}
	for range 20 {
		if ask() != answer {
			return true
		}
	}
	return false
}

// An answer through policy over a store is the answer without policy over a copy
// of the store in which what is hidden was never written.
func TestAnswersEqualThoseOfARedactedCopy(t *testing.T) {
	seed := *copySeed
	if seed == 0 {
		seed = time.Now().UnixNano()
	}
	t.Logf("seed %d (repeat with -logs.seed=%d)", seed, seed)
	r := rand.New(rand.NewPCG(uint64(seed), 7))
	g := logqltest.New(r)
	start := time.Unix(1_767_323_000, 0).Truncate(time.Minute)
	end := start.Add(8 * time.Minute)
	by := federation.Asking{Org: "acme", ExchangeID: federation.NewExchangeID(start)}
	pseudonyms, err := redact.NewPseudonyms(copySecret, by, 0)
	if err != nil {
		t.Fatal(err)
	}
	const rounds = 10
	open := openly
	open.Release, open.Streams = policy.Row, []policy.Selector{{}}
	answered, refused, chances := 0, 0, 0
	for range rounds {
		entries := logqltest.Entries(r, 400, start, time.Second)
		hiding := randomDatasets(r)
		full, redacted := written(t, entries), redactedCopy(t, entries, hiding, pseudonyms.Of)
		var datasets []policy.Dataset
		for _, d := range hiding {
			datasets = append(datasets, *d)
		}
		for range *copyQuestions / rounds {
			q := randomQuestion(r, g, start, end)
			got, something := told(t, full, datasets, by, q)
			if strings.HasPrefix(got, string(federation.NeedsAggregation)) {
				refused++ // policy and the question say so, of lines that are counted only
				continue
			}
			ask := func() string {
				text, _ := told(t, redacted, []policy.Dataset{open}, by, q)
				return text
			}
			want := ask()
			switch {
			case got == want:
			case byChance(q, want, ask):
				chances++
			default:
				t.Errorf("%+v\n(-the redacted copy +through policy)\n%s", q, cmp.Diff(want, got))
			}
			if something {
				answered++
			}
		}
	}
	t.Logf("%d questions: %d answers with something in them, %d refused, %d by chance", *copyQuestions, answered, refused, chances)
	if answered < *copyQuestions/3 || chances > *copyQuestions/100 {
		t.Errorf("only %d answers had something in them: the test is blind", answered)
	}
}
