package front

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/parley-gateway/parley/federation/traces"
	"github.com/parley-gateway/parley/federation/traces/traceql"
	"github.com/parley-gateway/parley/policy"
)

// tempoTagNamesJSON is what /api/search/tags answers.
type tempoTagNamesJSON struct {
	TagNames []string `json:"tagNames"`
	Metrics  struct{} `json:"metrics"`
}

// tempoScopes is what /api/v2/search/tags answers.
type tempoScopes struct {
	Scopes  []tempoScopeTags `json:"scopes"`
	Metrics struct{}         `json:"metrics"`
}

type tempoScopeTags struct {
	Name traceql.Scope `json:"name"`
	Tags []string      `json:"tags"`
}

// tempoTagValues is what /api/search/tag/<tag>/values answers.
type tempoTagValues struct {
	TagValues []string `json:"tagValues"`
	Metrics   struct{} `json:"metrics"`
}

// tempoTagValuesV2 is what /api/v2/search/tag/<tag>/values answers.
type tempoTagValuesV2 struct {
	TagValues []tempoTagValue `json:"tagValues"`
	Metrics   struct{}        `json:"metrics"`
}

type tempoTagValue struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// tempoScopeOrder are the scopes of tags, in the order of an answer.
var tempoScopeOrder = []traceql.Scope{
	traceql.ScopeResource, traceql.ScopeSpan, traceql.ScopeEvent, traceql.ScopeLink, traceql.ScopeInstrumentation, traceql.ScopeIntrinsic,
}

func serveTempoTags(f *Front, w http.ResponseWriter, r *http.Request) {
	scopes, ok := f.tempoNames(w, r)
	if !ok {
		return
	}
	out := tempoTagNamesJSON{TagNames: []string{}}
	for _, s := range scopes {
		if s.Name != traceql.ScopeIntrinsic || r.FormValue("scope") != "" {
			out.TagNames = append(out.TagNames, s.Tags...)
		}
	}
	slices.Sort(out.TagNames)
	out.TagNames = slices.Compact(out.TagNames)
	writeJSON(w, out)
}

func serveTempoTagsV2(f *Front, w http.ResponseWriter, r *http.Request) {
	if scopes, ok := f.tempoNames(w, r); ok {
		writeJSON(w, tempoScopes{Scopes: scopes})
	}
}

// tempoNames are the names of tags by scope. Those of intrinsics are the
// language's, whatever there is. ok is false when the client has been told what is
// wrong.
func (f *Front) tempoNames(w http.ResponseWriter, r *http.Request) (scopes []tempoScopeTags, ok bool) {
	scope := traceql.Scope(r.FormValue("scope"))
	if scope == "all" || scope == "none" {
		scope = ""
	}
	if scope != "" && !slices.Contains(tempoScopeOrder, scope) {
		writeError(w, badRequest(fmt.Errorf("invalid parameter %q: want one of %v", "scope", tempoScopeOrder)))
		return nil, false
	}
	byScope := map[traceql.Scope][]string{}
	if scope != traceql.ScopeIntrinsic {
		released, ok := f.tempoListing(w, r, traces.Question{Kind: policy.LabelNames, Label: string(scope)})
		if !ok {
			return nil, false
		}
		for _, name := range released.Names() {
			if a, err := traceql.ParseAttribute(name); err == nil {
				byScope[a.Scope] = append(byScope[a.Scope], a.Name)
			}
		}
	}
	if scope == "" || scope == traceql.ScopeIntrinsic {
		byScope[traceql.ScopeIntrinsic] = traceql.Intrinsics()
	}
	scopes = []tempoScopeTags{}
	for _, s := range tempoScopeOrder {
		if tags := byScope[s]; len(tags) > 0 {
			scopes = append(scopes, tempoScopeTags{Name: s, Tags: tags})
		}
	}
	return scopes, true
}

// serveTempoValues answers values of a tag, which is named without its scope.
func serveTempoValues(f *Front, w http.ResponseWriter, r *http.Request) {
	name := tempoTagIn(r, tempoValues)
	a, err := traceql.ParseAttribute(name)
	if err != nil || a.Scope != traceql.ScopeIntrinsic {
		a = traceql.Attribute{Name: name}
	}
	released, ok := f.tempoListing(w, r, traces.Question{Kind: policy.LabelValues, Label: a.String()})
	if !ok {
		return
	}
	out := tempoTagValues{TagValues: []string{}}
	for _, v := range released.Values() {
		out.TagValues = append(out.TagValues, v.Text)
	}
	out.TagValues = slices.Compact(out.TagValues)
	writeJSON(w, out)
}

// serveTempoValuesV2 answers values of an attribute or an intrinsic.
func serveTempoValuesV2(f *Front, w http.ResponseWriter, r *http.Request) {
	a, err := traceql.ParseAttribute(tempoTagIn(r, tempoValuesV2))
	if err != nil {
		writeError(w, badRequest(err))
		return
	}
	released, ok := f.tempoListing(w, r, traces.Question{Kind: policy.LabelValues, Label: a.String()})
	if !ok {
		return
	}
	out := tempoTagValuesV2{TagValues: []tempoTagValue{}}
	for _, v := range released.Values() {
		out.TagValues = append(out.TagValues, tempoTagValue{Type: v.Type, Value: v.Text})
	}
	writeJSON(w, out)
}

func tempoTagIn(r *http.Request, path string) string {
	return strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, tempoPrefix+path), "/values")
}

// tempoListing reads what listings have in common, and asks. ok is false when
// the client has been told what is wrong.
func (f *Front) tempoListing(w http.ResponseWriter, r *http.Request, q traces.Question) (*traces.Released, bool) {
	var err error
	now := f.config.Now()
	if q.Start, q.End, err = tempoSpan(r, now, now.Add(-defaultTracesSpan)); err == nil {
		q.Limit, err = listingLimit(r)
	}
	if err != nil {
		writeError(w, badRequest(err))
		return nil, false
	}
	q.Expression = listingFilter(r.FormValue("q"))
	s := sessionOf(r.Context())
	released, err := s.askTraces(r.Context(), q)
	if err != nil {
		writeError(w, render(s.failed()))
		return nil, false
	}
	return released, true
}

// listingLimit is how many are wanted; none, or 0, is all.
func listingLimit(r *http.Request) (int, error) {
	if r.FormValue("limit") == "0" {
		return 0, nil
	}
	return positive(r, "limit", 0)
}

// listingFilter is of which spans names and values are listed: a filter, or
// nothing for all. As in Tempo a query that is being typed is no error: of one
// that can't be read yet those conditions are taken that can, and of what is more
// than a filter of spans, nothing is.
func listingFilter(text string) string {
	expr, err := traceql.Parse(text)
	if err != nil {
		expr, err = traceql.Parse(whatIsTyped(text))
	}
	if err != nil || !expr.OneFilter() || len(expr.Filters()) != 1 {
		return ""
	}
	if filter := expr.Filters()[0].String(); filter != "{ }" && filter != "{ true }" {
		return filter
	}
	return ""
}

// whatIsTyped is a filter of the conditions between && that can be read.
func whatIsTyped(text string) string {
	inside, ok := strings.CutPrefix(strings.TrimSpace(text), "{")
	if !ok {
		return ""
	}
	inside = strings.TrimSuffix(inside, "}")
	var conditions []string
	for _, part := range betweenAnds(inside) {
		if _, err := traceql.Parse("{ " + part + " }"); err == nil && strings.TrimSpace(part) != "" {
			conditions = append(conditions, part)
		}
	}
	return "{ " + strings.Join(conditions, " && ") + " }"
}

// betweenAnds cuts a text at each && outside of quotes. With a || in it, of which
// a part would say less than the whole, nothing is left.
func betweenAnds(text string) []string {
	var out []string
	begin, quote := 0, byte(0)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quote != 0:
			if c == '\\' && quote == '"' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '"' || c == '`':
			quote = c
		case strings.HasPrefix(text[i:], "||"):
			return nil
		case strings.HasPrefix(text[i:], "&&"):
			out, begin = append(out, text[begin:i]), i+2
			i++
		}
	}
	return append(out, text[begin:])
}
