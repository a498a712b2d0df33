package inspect

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/parley-gateway/parley/policy"
)

// freeText are the places of a span in which anything may stand: messages, stack
// traces, statements and addresses (OpenTelemetry semantic conventions, old and
// new).
var freeText = []string{
	policy.SpanStatusMessage, "event.exception.message", "event.exception.stacktrace",
	"span.db.statement", "span.db.query.text", "span.url.full", "span.url.query", "span.http.url", "span.http.target",
}

// spans looks at what leaves of spans beside what is named.
func (l *linter) spans(d decidedFor, i int) {
	ds, at := d.Decision.Obligations.Datasets[i], d.Datasets[i]
	if ds.Release != policy.Row || !ruled(ds) {
		return
	}
	var hidden, kept []string
	for _, name := range slices.Sorted(maps.Keys(ds.Labels)) {
		switch {
		case ds.Labels[name].Mode != policy.Keep:
			hidden = append(hidden, name)
		case slices.Contains(freeText, name):
			kept = append(kept, name)
		}
	}
	if len(hidden) == 0 || len(kept) == 0 {
		return
	}
	l.add(Finding{
		ID: FreeTextOfSpans, Severity: Warning, Place: at.Of(kept[0]),
		Text:   fmt.Sprintf("dataset %s hides %s and keeps %s as they are, which may have it", ds.Name, strings.Join(hidden, ", "), strings.Join(kept, ", ")),
		Advice: "generalize or drop them; event.exception.type and span.http.route say what happened where",
	}, d.String())
}

// ruled says whether rules decide what is seen of a dataset's spans.
func ruled(ds policy.Dataset) bool {
	return ds.Span.Mode == policy.SpanAttributes || ds.Span.Mode == policy.SpanBoundary
}

// acrossSpans looks for what is kept in one of a dataset of metrics or logs and one
// of spans alone, where an attribute seems to be what a label is: user.id and
// user_id.
func (l *linter) acrossSpans(a, b decidedFor, i, j int) {
	other, spans := a.Decision.Obligations.Datasets[i], b.Decision.Obligations.Datasets[j]
	if other.Release == policy.Deny || spans.Release == policy.Deny || !ruled(spans) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(spans.Labels)) {
		label, ok := asLabel(name)
		if !ok {
			continue
		}
		ofSpans, ofOther := spans.Labels[name], other.Labels[label]
		if _, named := other.Labels[label]; !named || (ofSpans.Mode == policy.Keep) == (ofOther.Mode == policy.Keep) {
			continue
		}
		also := a.Datasets[i].Of(label)
		l.add(Finding{
			ID: OtherInTraces, Severity: Warning, Place: b.Datasets[j].Of(name), Also: &also,
			Text: fmt.Sprintf("%s is %s in dataset %s, of traces, and the label %s is %s in %s, of %s",
				name, ofSpans, spans.Name, label, ofOther, other.Name, a.signal()),
			Advice: "say the same of it in both, if it is the same",
		}, a.String())
	}
}

// asLabel is what metrics and logs call an attribute, as OpenTelemetry's exporters
// write it. A span's own name and status are no labels.
func asLabel(name string) (label string, ok bool) {
	for _, prefix := range []string{"resource.", "span."} {
		if key, is := strings.CutPrefix(name, prefix); is {
			return strings.ReplaceAll(key, ".", "_"), true
		}
	}
	return "", false
}
