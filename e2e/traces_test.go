package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/parley-gateway/parley/e2e/servers"
	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/gateway/front"
)

// tracesWorld is three organizations whose services call one another. acme has its
// traces in a Jaeger of version 1, globex in one of version 2, and initech's gateway
// takes them itself. acme asks.
type tracesWorld struct {
	story                 *testing.T
	acme, globex, initech *org
	globexsJaeger         servers.Jaeger
	journeys              *journeys
	// paid is a trace of all three of them, broke one of an order that initech
	// refuses.
	paid, broke trace.TraceID
}

// TestTraces is one long story, told in order.
func TestTraces(t *testing.T) {
	w := newTracesWorld(t)
	for _, chapter := range []struct {
		title string
		tell  func(*testing.T, *tracesWorld)
	}{
		{"one trace of three organizations", oneTrace},
		{"the id under which a consumer went on finds it too", otherID},
		{"searches find what several organizations hold together", tracesFound},
		{"what is hidden can't be found", hiddenSpans},
		{"what there is to search for", tracesListed},
		{"Jaeger's clients get the same trace", jaegerAsks},
		{"the command line draws it", commandLine},
		{"globex tries what acme gets", spansTried},
		{"both sides have evidence of what was shown", spansShown},
		{"globex's gateway is down", globexsGatewayIsDown},
		{"globex's Jaeger is down", globexsJaegerIsDown},
	} {
		if !t.Run(chapter.title, func(t *testing.T) { chapter.tell(t, w) }) {
			return // what follows builds on it
		}
	}
}

func newTracesWorld(t *testing.T) *tracesWorld {
	w := &tracesWorld{
		story: t, acme: bareOrg(t, "acme"), globex: bareOrg(t, "globex"), initech: bareOrg(t, "initech"),
		globexsJaeger: servers.StartJaeger(t, servers.JaegerConfig{V2: true}),
	}
	acmesJaeger, initechsSpans := servers.StartJaeger(t, servers.JaegerConfig{}), freeAddress(t)
	for o, section := range map[*org]string{
		w.acme:    fmt.Sprintf(`{jaeger: {grpc: "%s", insecure: true}}`, acmesJaeger.QueryGRPC),
		w.globex:  fmt.Sprintf(`{jaeger: {grpc: "%s", insecure: true}}`, w.globexsJaeger.QueryGRPC),
		w.initech: fmt.Sprintf(`{store: {otlp_grpc_listen: "%s"}}`, initechsSpans),
	} {
		o.hasTraces(t, section)
	}
	for _, owner := range []*org{w.globex, w.initech} {
		owner.shows(t, w.acme, "traces")
		owner.starts(t)
	}
	w.acme.starts(t)
	w.journeys = newJourneys(t, map[string]string{"acme": acmesJaeger.OTLPGRPC, "globex": w.globexsJaeger.OTLPGRPC, "initech": initechsSpans})
	w.paid, w.broke = w.journeys.buys(t, "paid-1"), w.journeys.buys(t, "broke-1")
	for _, id := range []trace.TraceID{w.paid, w.broke} {
		eventually(t, func() string { return w.lacks(t, id) })
	}
	return w
}

// hasTraces writes the gateway's configuration, with a place for its traces.
func (o *org) hasTraces(t testing.TB, section string) {
	t.Helper()
	o.write(t, "gateway.yml", o.expand(t, "traces.yml", map[string]any{
		"Org": o.name, "Identity": o.identity, "Front": o.front, "Peer": o.peer, "Bundle": o.bundle, "Traces": section,
	}))
}

// lacks says what isn't at hand yet of a trace.
func (w *tracesWorld) lacks(t *testing.T, id trace.TraceID) string {
	a := w.acme.tempoTrace(t, id.String())
	if a.status != http.StatusOK {
		return a.body
	}
	if diff := gocmp.Diff(statuses(nil), a.statuses(t)); diff != "" {
		return diff
	}
	there := spanIDs(a.spans)
	for spanID, s := range w.journeys.spans(id) {
		if s.of != w.journeys.fraud && s.SpanKind != trace.SpanKindInternal && !slices.Contains(there, spanID.String()) {
			return fmt.Sprintf("%s of %s isn't there", s.Name, s.of.name)
		}
	}
	return ""
}

// tempoAnswer is a trace as Tempo's API answers it in protobuf.
type tempoAnswer struct {
	reply
	spans   ptrace.Traces
	partial bool
	message string
}

// tempoTrace asks for a trace as Grafana's data source for Tempo does.
func (o *org) tempoTrace(t testing.TB, id string, headers ...string) tempoAnswer {
	t.Helper()
	a := tempoAnswer{reply: asks(t, o.url(), "/tempo/api/v2/traces/"+id, url.Values{}, append(headers, "Accept", "application/protobuf")...)}
	if a.status != http.StatusOK {
		return a
	}
	// Tempo's message TraceByIDResponse.
	for rest := []byte(a.body); len(rest) > 0; {
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			t.Fatalf("%v in %q", protowire.ParseError(n), a.body)
		}
		length := protowire.ConsumeFieldValue(number, kind, rest[n:])
		if length < 0 {
			t.Fatalf("%v in %q", protowire.ParseError(length), a.body)
		}
		field := rest[n : n+length]
		rest = rest[n+length:]
		switch number {
		case 1:
			text, _ := protowire.ConsumeBytes(field)
			var u ptrace.ProtoUnmarshaler
			var err error
			if a.spans, err = u.UnmarshalTraces(text); err != nil {
				t.Fatal(err)
			}
		case 3:
			status, _ := protowire.ConsumeVarint(field)
			a.partial = status == 1
		case 4:
			a.message, _ = protowire.ConsumeString(field)
		}
	}
	return a
}

// line is a span and whose it is.
type line struct {
	org, service string
	ptrace.Span
}

// has is an attribute of the span, empty if it isn't there.
func (l line) has(name string) string { return attributeOf(l.Attributes(), name) }

func attributeOf(attributes pcommon.Map, name string) string {
	value, there := attributes.Get(name)
	if !there {
		return ""
	}
	return value.AsString()
}

// linesOf are all spans in order of time.
func linesOf(spans ptrace.Traces) []line {
	var out []line
	for _, resource := range spans.ResourceSpans().All() {
		of := resource.Resource().Attributes()
		for _, scope := range resource.ScopeSpans().All() {
			for _, s := range scope.Spans().All() {
				out = append(out, line{attributeOf(of, "parley.org"), attributeOf(of, "service.name"), s})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b line) int { return cmp.Compare(a.StartTimestamp(), b.StartTimestamp()) })
	return out
}

func spanIDs(spans ptrace.Traces) []string {
	var out []string
	for _, l := range linesOf(spans) {
		out = append(out, l.SpanID().String())
	}
	return out
}

// shown is a span in words: what is recorded, or what is answered of it.
type shown struct {
	Org, Service, Parent, Name, Kind string
	Status, Message                  string
	Start, End                       int64
	Attributes                       map[string]any
	Events                           []string
}

// shownOf are the spans of an answer by their ids. Those of what is withheld aren't
// known: they are called by what they are in.
func shownOf(t *testing.T, spans ptrace.Traces) map[string]shown {
	t.Helper()
	names := map[string]string{}
	for _, l := range linesOf(spans) {
		names[l.SpanID().String()] = l.SpanID().String()
		if l.has("parley.redaction") == "withheld" {
			names[l.SpanID().String()] = "withheld in " + l.ParentSpanID().String()
		}
	}
	out := map[string]shown{}
	for _, l := range linesOf(spans) {
		is := shown{
			Org: l.org, Service: l.service, Parent: names[l.ParentSpanID().String()], Name: l.Name(), Kind: l.Kind().String(),
			Status: l.Status().Code().String(), Message: l.Status().Message(),
			Start: int64(l.StartTimestamp()), End: int64(l.EndTimestamp()), Attributes: l.Attributes().AsRaw(),
		}
		for _, e := range l.Events().All() {
			is.Events = append(is.Events, fmt.Sprint(e.Name(), " ", e.Attributes().AsRaw()))
		}
		name := names[l.SpanID().String()]
		if _, twice := out[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		out[name] = is
	}
	return out
}

// shownByPolicy are the spans of a trace as acme is to see them: what was recorded,
// and what policies say.
func (w *tracesWorld) shownByPolicy(id trace.TraceID) map[string]shown {
	out := map[string]shown{}
	all := w.journeys.spans(id)
	for spanID, s := range all {
		switch s.of {
		case w.journeys.shop, w.journeys.mailer:
			is := s.shown("", nil, s.parent(all))
			if !s.Parent.IsValid() {
				is.Attributes["parley.completeness"] = "complete"
			}
			out[spanID.String()] = is
		case w.journeys.bank, w.journeys.archive:
			is := s.shown("attributes", []string{"http.route", "http.response.status_code", "messaging.destination.name"}, s.parent(all))
			if is.Attributes["customer.id"] = nil; !s.has("customer.id") {
				delete(is.Attributes, "customer.id")
			}
			if s.SpanContext.TraceID() != id {
				is.Attributes["parley.trace_id"] = s.SpanContext.TraceID().String()
			}
			out[spanID.String()] = is
		case w.journeys.ledger:
			if s.SpanKind != trace.SpanKindInternal {
				out[spanID.String()] = s.shown("boundary", []string{"rpc.method", "messaging.destination.name"}, s.parent(all))
				continue
			}
			is := s.shown("withheld", []string{}, s.parent(all))
			is.Service, is.Name = "initech", "withheld"
			is.Attributes["parley.folded_spans"], is.Attributes["parley.status"] = int64(1), "withheld"
			out["withheld in "+is.Parent] = is
		}
	}
	// What looks for fraud is as if never recorded, and what it calls hangs on
	// something that nobody shows.
	for spanID, s := range all {
		if s.of != w.journeys.ledger || all[s.Parent.SpanID()].of != w.journeys.fraud {
			continue
		}
		out[s.Parent.SpanID().String()] = shown{
			Parent: w.root(all), Name: "missing", Kind: "Unspecified", Status: "Unset", Start: out[spanID.String()].Start, End: out[spanID.String()].End,
			Attributes: map[string]any{"parley.redaction": "placeholder", "parley.missing": "unknown", "parley.missing.orgs": "acme, globex, initech"},
		}
	}
	return out
}

func (w *tracesWorld) root(all map[trace.SpanID]span) string {
	for id, s := range all {
		if s.of == w.journeys.shop && !s.Parent.IsValid() {
			return id.String()
		}
	}
	return ""
}

// parent is what a span hangs on, which is withheld if it is inside of the ledger.
func (s span) parent(all map[trace.SpanID]span) string {
	id := s.Parent.SpanID()
	if len(s.Links) > 0 {
		id = s.Links[0].SpanContext.SpanID()
	}
	above, there := all[id]
	switch {
	case !there:
		return ""
	case above.of.org == "initech" && above.SpanKind == trace.SpanKindInternal:
		return "withheld in " + above.Parent.SpanID().String()
	}
	return id.String()
}

func (s span) has(name string) bool {
	return slices.ContainsFunc(s.Attributes, func(a attribute.KeyValue) bool { return string(a.Key) == name })
}

// shown is what is shown of a span, which keeps some of its attributes; nil: it is
// shown as it is.
func (s span) shown(redaction string, attributes []string, parent string) shown {
	is := shown{
		Org: s.of.org, Service: s.of.name, Parent: parent, Name: s.Name, Kind: strings.ToUpper(s.SpanKind.String()[:1]) + s.SpanKind.String()[1:],
		Status: s.Status.Code.String(), Start: s.StartTime.UnixNano(), End: s.EndTime.UnixNano(), Attributes: map[string]any{},
	}
	for _, a := range s.Attributes {
		if attributes == nil || slices.Contains(attributes, string(a.Key)) {
			is.Attributes[string(a.Key)] = a.Value.AsInterface()
		}
	}
	if redaction != "" {
		is.Attributes["parley.redaction"] = redaction
	}
	for _, e := range s.Events {
		switch redaction {
		case "":
			is.Events = append(is.Events, fmt.Sprintf("%s map[%s:%s]", e.Name, e.Attributes[0].Key, e.Attributes[0].Value.AsString()))
		case "attributes":
			is.Events = append(is.Events, e.Name+" map[]")
		}
	}
	if redaction == "" {
		is.Message = s.Status.Description
	}
	return is
}

func oneTrace(t *testing.T, w *tracesWorld) {
	for name, id := range map[string]trace.TraceID{"paid": w.paid, "broke": w.broke} {
		a := w.acme.tempoTrace(t, id.String())
		want, got := w.shownByPolicy(id), shownOf(t, a.spans)
		for spanID, s := range got {
			if pseudonym, is := s.Attributes["customer.id"].(string); is && strings.HasPrefix(pseudonym, "p-") {
				got[spanID].Attributes["customer.id"] = nil
			}
		}
		if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-as recorded, by policy +answered):\n%s", name, diff)
		}
		wantWhole(t, a.spans)
		if strings.Contains(a.body, "fraud") || strings.Contains(a.body, secret("globex", "")) || strings.Contains(a.body, secret("initech", "")) {
			t.Errorf("%s: what is hidden is in %q", name, a.body)
		}
		if !a.partial || !strings.Contains(a.message, "Redacted by the owner. globex: policy says:") || !strings.Contains(a.message, "only where requests enter and leave") {
			t.Errorf("%s: it is %t that it is partial: %s", name, a.partial, a.message)
		}
		wantStatuses(t, a.reply, nil)
	}
	if a := w.acme.tempoTrace(t, "00000000000000000000000000000001"); a.status != http.StatusNotFound {
		t.Errorf("a trace that isn't there: %d %s", a.status, a.body)
	}
}

// wantWhole holds a trace to having one root, below which everything hangs, and to
// saying of each span whose it is.
func wantWhole(t *testing.T, spans ptrace.Traces) {
	t.Helper()
	there, roots := spanIDs(spans), 0
	for _, l := range linesOf(spans) {
		switch parent := l.ParentSpanID(); {
		case parent.IsEmpty():
			roots++
		case !slices.Contains(there, parent.String()):
			t.Errorf("%s of %s hangs on %s, which isn't there", l.Name(), l.service, parent)
		}
		if _, known := statuses(nil)[l.org]; !known && l.has("parley.redaction") != "placeholder" {
			t.Errorf("%s of %s is of the organization %q", l.Name(), l.service, l.org)
		}
	}
	if roots != 1 {
		t.Errorf("%d spans hang on nothing", roots)
	}
}

func otherID(t *testing.T, w *tracesWorld) {
	one := w.acme.tempoTrace(t, w.paid.String())
	for _, s := range w.journeys.spans(w.paid) {
		if s.of != w.journeys.archive {
			continue
		}
		other := w.acme.tempoTrace(t, s.SpanContext.TraceID().String())
		if diff := gocmp.Diff(spanIDs(one.spans), spanIDs(other.spans)); diff != "" {
			t.Errorf("under the other id:\n%s", diff)
		}
		wantWhole(t, other.spans)
		for _, l := range linesOf(other.spans) {
			if l.TraceID().String() != s.SpanContext.TraceID().String() {
				t.Errorf("%s is of %s", l.Name(), l.TraceID())
			}
		}
		return
	}
	t.Error("there is no other id")
}

// found are the ids of the traces that a search finds. Those that go on under
// another id may be found under that: they are called by the one of the shop.
func (w *tracesWorld) found(t *testing.T, o *org, query string) []string {
	t.Helper()
	r := asks(t, o.url(), "/tempo/api/search", url.Values{"q": {query}, "limit": {"20"}})
	var answer struct {
		Traces []struct{ TraceID, RootServiceName, RootTraceName string }
	}
	if err := json.Unmarshal([]byte(r.body), &answer); err != nil || r.status != http.StatusOK {
		t.Fatalf("%s: %d %s %v", query, r.status, r.body, err)
	}
	for name, status := range r.statuses(t) {
		// acme shows its traces to nobody.
		if status != federation.Complete && status != federation.NotAsked && (name != "acme" || o == w.acme) {
			t.Errorf("%s: %s is %s", query, name, status)
		}
	}
	var ids []string
	for _, trace := range answer.Traces {
		if o == w.acme && (trace.RootServiceName != "shop" || trace.RootTraceName != "GET /checkout") {
			t.Errorf("%s: it begins with %s of %s", query, trace.RootTraceName, trace.RootServiceName)
		}
		id := trace.TraceID
		for _, s := range w.journeys.spans(w.paid) {
			if id == s.SpanContext.TraceID().String() {
				id = w.paid.String()
			}
		}
		ids = append(ids, id)
	}
	return ids
}

func tracesFound(t *testing.T, w *tracesWorld) {
	paid, broke := w.paid.String(), w.broke.String()
	for query, want := range map[string][]string{
		`{ resource.service.name = "shop" && kind = server && status != error } && { resource.service.name = "ledger" && status = error }`: nil,
		`{ resource.service.name = "shop" } && { resource.service.name = "ledger" && status = error }`:                                     {broke},
		`{ resource.service.name = "shop" } && { resource.service.name = "mailer" && status = ok }`:                                        {paid},
		`{ resource.parley.org = "acme" && kind = client } > { resource.parley.org = "globex" && kind = server }`:                          {broke, paid},
		`{ name = "GET /checkout" } >> { resource.parley.org = "initech" && kind = producer }`:                                             {paid},
		`{ name = "POST /pay" } >> { span.messaging.destination.name = "receipts" && kind = consumer }`:                                    {paid},
		`{ span.http.response.status_code = 500 && resource.service.name = "bank" }`:                                                       {broke},
		`{ span.customer.id =~ "p-.+" }`: {broke, paid},
		`{ resource.parley.org = "globex" } && { span.parley.redaction = "withheld" && resource.parley.org = "initech" }`: {broke, paid},
		`{ resource.service.name = "shop" && resource.service.name = "ledger" }`:                                          nil,
	} {
		if diff := gocmp.Diff(want, w.found(t, w.acme, query)); diff != "" {
			t.Errorf("%s (-want +found):\n%s", query, diff)
		}
	}
}

func hiddenSpans(t *testing.T, w *tracesWorld) {
	for _, query := range []string{
		`{ resource.service.name = "fraud" }`, `{ name = "POST /score" }`, `{ resource.parley.org = "globex" && resource.host.name != nil }`,
		`{ span.card.number != nil }`, `{ span.customer.id = "` + secret("globex", "ada") + `" }`, `{ name =~ "secret.*" }`,
		`{ resource.parley.org != "acme" && event.exception.stacktrace != nil }`, `{ resource.parley.org = "initech" && span.db.statement != nil }`,
		`{ statusMessage =~ ".*initech-balance.*" && resource.parley.org = "initech" }`, `{ resource.parley.org = "initech" && kind = internal && resource.service.name = "ledger" }`,
	} {
		if ids := w.found(t, w.acme, query); ids != nil {
			t.Errorf("%s finds %v", query, ids)
		}
		if w.found(t, w.globex, query) == nil && w.found(t, w.initech, query) == nil {
			t.Errorf("%s finds nothing at its owner's either: the test is blind", query)
		}
	}
}

func tracesListed(t *testing.T, w *tracesWorld) {
	names := asks(t, w.acme.url(), "/tempo/api/v2/search/tags", url.Values{})
	for name, want := range map[string]bool{
		"http.route": true, "db.statement": true, "host.name": true, // of acme's own
		"customer.id": true, "messaging.destination.name": true, "parley.org": true,
		"card.number": false, "order": false, "messaging.message.body": false,
	} {
		if strings.Contains(names.body, `"`+name+`"`) != want {
			t.Errorf("it is not %t that %s is in %s", want, name, names.body)
		}
	}
	services := asks(t, w.acme.url(), "/tempo/api/v2/search/tag/resource.service.name/values", url.Values{})
	var values struct{ TagValues []struct{ Value string } }
	if err := json.Unmarshal([]byte(services.body), &values); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range values.TagValues {
		got = append(got, v.Value)
	}
	// initech stands for what is withheld of it.
	if diff := gocmp.Diff([]string{"archive", "bank", "initech", "ledger", "mailer", "shop"}, got); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
}

// jaegerAsks asks what Jaeger's UI and Grafana's data source for Jaeger do.
func jaegerAsks(t *testing.T, w *tracesWorld) {
	var answer struct {
		Data []struct {
			TraceID   string
			Processes map[string]struct{ ServiceName string }
			Spans     []struct {
				SpanID, ProcessID string
				References        []struct{ RefType, SpanID string }
				Warnings          []string
			}
		}
	}
	byID := w.acme.tempoTrace(t, w.paid.String()).spans
	under := spanIDs(byID)
	for _, l := range linesOf(byID) {
		if l.has("parley.trace_id") != "" {
			under = slices.DeleteFunc(under, func(id string) bool { return id == l.SpanID().String() })
		}
	}
	for path, want := range map[string][]string{
		"/jaeger/api/traces/" + w.paid.String(): spanIDs(byID),
		// What is found isn't followed under other ids.
		"/jaeger/api/traces?service=bank&operation=POST+%2Fpay&tags=%7B%22http.response.status_code%22%3A%22200%22%7D": under,
	} {
		text := w.acme.get(t, path, http.StatusOK)
		if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer.Data) != 1 || answer.Data[0].TraceID != w.paid.String() {
			t.Errorf("%s: %v %s", path, err, text)
			continue
		}
		var got, warnings []string
		for _, s := range answer.Data[0].Spans {
			got, warnings = append(got, s.SpanID), append(warnings, s.Warnings...)
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-Tempo's door +Jaeger's):\n%s", path, diff)
		}
		if said := strings.Join(warnings, "\n"); !strings.Contains(said, "Redacted by the owner. globex") || !strings.Contains(said, "Withheld") || !strings.Contains(said, "Placeholder") {
			t.Errorf("%s warns of %q", path, warnings)
		}
	}
	if services := w.acme.get(t, "/jaeger/api/services", http.StatusOK); !strings.Contains(services, `["archive","bank","initech","ledger","mailer","shop"]`) {
		t.Errorf("services: %s", services)
	}
}

// parleyTrace asks with the command line.
func (w *tracesWorld) parleyTrace(t *testing.T, arguments ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), parley(t), append([]string{"trace"}, arguments...)...)
	cmd.Env = append(os.Environ(), "PARLEY_GATEWAY="+w.acme.url())
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func commandLine(t *testing.T, w *tracesWorld) {
	id := w.paid.String()
	drawn, said, err := w.parleyTrace(t, id)
	if err != nil {
		t.Fatal(err, said)
	}
	for _, want := range []string{
		"trace " + id + ", ", " 15 spans\n", "shop: GET /checkout ", "bank: POST /pay ", "ledger: initech.Ledger/", "withheld ", "missing: ", "mailer: process re", "archive: process r",
		"\nwho spent the time: acme ", " is part of it: recognized by a link",
	} {
		if !strings.Contains(drawn, want) {
			t.Errorf("without %q:\n%s", want, drawn)
		}
	}
	for _, want := range []string{"acme     complete  4 spans", "globex   complete  6 spans, ", "initech  complete  5 spans, ", "redacted: keep "} {
		if !strings.Contains(said, want) {
			t.Errorf("without %q:\n%s", want, said)
		}
	}
	if strings.Contains(drawn+said, "fraud") || strings.Contains(drawn+said, "secret") {
		t.Errorf("what is hidden is in\n%s\n%s", drawn, said)
	}

	otlp, _, err := w.parleyTrace(t, "-o", "otlp", id)
	if err != nil {
		t.Fatal(err)
	}
	var u ptrace.JSONUnmarshaler
	spans, err := u.UnmarshalTraces([]byte(otlp))
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(shownOf(t, w.acme.tempoTrace(t, id).spans), shownOf(t, spans)); diff != "" {
		t.Errorf("-o otlp (-Tempo's door +printed):\n%s", diff)
	}
	// What is printed of Jaeger's API is what is at its door.
	if printed, _, err := w.parleyTrace(t, "-o", "jaeger", id); err != nil || strings.TrimSpace(printed) != strings.TrimSpace(w.acme.get(t, "/jaeger/api/traces/"+id, http.StatusOK)) {
		t.Errorf("-o jaeger: %v %s", err, printed)
	}
	if found, _, err := w.parleyTrace(t, "search", `{ name = "POST /pay" } >> { kind = producer }`); err != nil || strings.Count(found, "\n") != 2 || !strings.Contains(found, id) {
		t.Errorf("search: %v %s", err, found)
	}
	if kept, _, err := w.parleyTrace(t, "keep", id); err != nil || kept != "kept by acme, globex, initech\n" {
		t.Errorf("keep: %v %s", err, kept)
	}
	if _, said, err := w.parleyTrace(t, strings.Repeat("0", 31)+"1"); err == nil || !strings.Contains(said, "nobody shows a trace of the id "+strings.Repeat("0", 31)+"1") {
		t.Errorf("a trace that isn't there: %v %s", err, said)
	}
}

func spansShown(t *testing.T, w *tracesWorld) {
	id := w.paid.String()
	a := w.acme.tempoTrace(t, id, front.CaseHeader, "INC-42")
	exchange, shown := a.header.Get(front.ExchangeHeader), map[string]int{}
	for _, l := range linesOf(a.spans) {
		shown[l.org]++
	}
	asked := records(t, w.acme, exchange)
	if len(asked) != 1 || asked[0].Door != "front" || asked[0].Query != id || asked[0].Outcome != "answered" || len(asked[0].Completeness) != 3 {
		t.Errorf("acme recorded %+v", asked)
	}
	for _, o := range []*org{w.globex, w.initech} {
		spans := 0
		for _, record := range records(t, o, exchange) {
			p := record.Principal
			if record.Door != "peer" || p.Org != "acme" || p.Workload != "spiffe://acme.example/parley" || p.Case != "INC-42" || !record.Decision.Allow || record.Decision.Revision == "" {
				t.Errorf("%s recorded %+v", o.name, record)
			}
			// What follows the trace under other ids is of no trace, or of another.
			spans += record.Spans
		}
		if spans < shown[o.name] || shown[o.name] == 0 {
			t.Errorf("%s showed %d spans, and recorded %d", o.name, shown[o.name], spans)
		}
	}
}

func globexsGatewayIsDown(t *testing.T, w *tracesWorld) {
	w.globex.gateway.Kill(t)
	without := map[string]federation.Status{"globex": federation.Unreachable}
	a := w.acme.tempoTrace(t, w.paid.String())
	if a.status != http.StatusOK || !a.partial || !strings.Contains(a.message, "globex is unreachable") {
		t.Fatalf("status %d, it is %t that it is partial: %s %s", a.status, a.partial, a.message, a.body)
	}
	wantStatuses(t, a.reply, without)
	wantWhole(t, a.spans)
	missing := 0
	for _, l := range linesOf(a.spans) {
		if l.ParentSpanID().IsEmpty() && !strings.Contains(l.has("parley.completeness"), "globex is unreachable") {
			t.Errorf("%s says it is %q", l.Name(), l.has("parley.completeness"))
		}
		if l.has("parley.redaction") != "placeholder" {
			continue
		}
		if missing++; l.has("parley.missing") != "unreachable" || l.has("parley.missing.orgs") != "globex" {
			t.Errorf("a placeholder says %v", l.Attributes().AsRaw())
		}
	}
	if missing != 2 { // of what called the ledger twice
		t.Errorf("%d placeholders", missing)
	}
	for _, path := range []string{
		"/tempo/api/search?q=%7B%7D", "/tempo/api/v2/search/tags", "/tempo/api/v2/search/tag/resource.service.name/values", "/tempo/api/v2/traces/" + w.paid.String(),
		"/jaeger/api/services", "/jaeger/api/traces?service=shop", "/jaeger/api/traces/" + w.paid.String(), "/jaeger/api/dependencies",
	} {
		path, query, _ := strings.Cut(path, "?")
		form, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		r := asks(t, w.acme.url(), path, form)
		if r.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, r.status, r.body)
			continue
		}
		wantStatuses(t, r, without)
		if strict := asks(t, w.acme.url(), path, form, "X-Parley-Partial", "refuse"); strict.status != http.StatusServiceUnavailable || !strings.Contains(strict.body, "globex") {
			t.Errorf("%s: who wants no partial answer got %d %s", path, strict.status, strict.body)
		}
	}
	drawn, said, err := w.parleyTrace(t, w.paid.String())
	if err != nil || !strings.Contains(said, "globex   unreachable") || !strings.Contains(drawn, "missing: ") || strings.Contains(drawn, "bank") {
		t.Errorf("the command line: %v\n%s\n%s", err, drawn, said)
	}
	w.globex.starts(w.story)
	eventually(t, func() string { return w.lacks(t, w.paid) })
}

func globexsJaegerIsDown(t *testing.T, w *tracesWorld) {
	w.globexsJaeger.Kill(t)
	a := w.acme.tempoTrace(t, w.paid.String())
	if a.status != http.StatusOK || !a.partial || !strings.Contains(a.message, "globex") || strings.Contains(a.message, w.globexsJaeger.QueryGRPC) {
		t.Errorf("status %d, it is %t that it is partial: %s", a.status, a.partial, a.message)
	}
	wantStatuses(t, a.reply, map[string]federation.Status{"globex": federation.Unreachable})
	wantWhole(t, a.spans)
}
