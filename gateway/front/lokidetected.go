package front

import (
	"net/http"
	"slices"
	"strings"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/logs"
	"github.com/parley-gateway/parley/policy"
)

var detectedParams = append([]param{lokiQuery, one("limit"), one("field_limit"), one("line_limit"), noStep}, lokiTimes...)

// lokiDetected say which labels and fields there are.
var lokiDetected = []endpoint{
	{path: "detected_labels", methods: getOrPost, params: append([]param{lokiQuery, one("limit")}, lokiTimes...), serve: serveLokiDetectedLabels},
	{path: "detected_fields", methods: getOrPost, params: detectedParams, serve: serveLokiDetectedFields},
	{path: "detected_field/<name>/values", methods: getOrPost, params: detectedParams, serve: serveLokiDetectedValues},
}

type lokiDetectedLabel struct {
	Label       string `json:"label"`
	Cardinality int    `json:"cardinality"`
}

// placeLabels say where something runs, and are told whatever their values are.
var placeLabels = []string{"cluster", "namespace", "instance", "pod"}

func serveLokiDetectedLabels(f *Front, w http.ResponseWriter, r *http.Request) {
	q := logs.Question{Kind: policy.DetectedLabels}
	var err error
	if q.Start, q.End, err = lokiSpan(r, f.config.Now()); err != nil {
		writeError(w, badRequest(err))
		return
	}
	if text := r.FormValue("query"); text != "" && text != "{}" {
		selector, err := logs.ParseSelector(text)
		if err != nil {
			writeError(w, render(federation.AsError(err)))
			return
		}
		q.Selectors = []policy.Selector{selector}
	}
	limit, err := positive(r, "limit", logs.MaxFields)
	if err != nil {
		writeError(w, badRequest(err))
		return
	}
	s := sessionOf(r.Context())
	released, err := s.askLogs(r.Context(), q)
	if err != nil {
		writeError(w, render(s.failed()))
		return
	}
	found := []lokiDetectedLabel{}
	for _, field := range released.Fields() {
		// Identifiers are of no use to whoever looks for something to choose by.
		if field.Type != logs.IDField || slices.Contains(placeLabels, field.Name) {
			found = append(found, lokiDetectedLabel{Label: field.Name, Cardinality: len(field.Values)})
		}
	}
	writeJSON(w, struct {
		DetectedLabels []lokiDetectedLabel `json:"detectedLabels"`
		noted
	}{found[:min(limit, len(found))], notedOf(s)})
}

type lokiDetectedField struct {
	Label       string         `json:"label"`
	Type        logs.FieldType `json:"type"`
	Cardinality int            `json:"cardinality"`
	Parsers     []logs.Parser  `json:"parsers"` // null for structured metadata
	JSONPath    []string       `json:"jsonPath,omitempty"`
}

func serveLokiDetectedFields(f *Front, w http.ResponseWriter, r *http.Request) {
	limit, released, ok := f.detectFields(w, r, "")
	if !ok {
		return
	}
	found := []lokiDetectedField{}
	for _, field := range released.Fields() {
		found = append(found, lokiDetectedField{
			Label: field.Name, Type: field.Type, Cardinality: len(field.Values), Parsers: field.Parsers, JSONPath: field.Path,
		})
	}
	writeJSON(w, struct {
		Fields []lokiDetectedField `json:"fields"`
		Limit  int                 `json:"limit"`
		noted
	}{found[:min(limit, len(found))], limit, notedOf(sessionOf(r.Context()))})
}

func serveLokiDetectedValues(f *Front, w http.ResponseWriter, r *http.Request) {
	name := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, lokiPrefix+"detected_field/"), "/values")
	limit, released, ok := f.detectFields(w, r, name)
	if !ok {
		return
	}
	values := nonNil(released.Names())
	writeJSON(w, struct {
		Values []string `json:"values"`
		Limit  int      `json:"limit"`
		noted
	}{values[:min(limit, len(values))], limit, notedOf(sessionOf(r.Context()))})
}

// detectFields asks for fields, or the values of one. ok is false when the
// client has been told what is wrong.
func (f *Front) detectFields(w http.ResponseWriter, r *http.Request, name string) (limit int, released *logs.Released, ok bool) {
	q := logs.Question{Kind: policy.DetectedFields, Expression: r.FormValue("query"), Label: name}
	var err error
	if q.Start, q.End, err = lokiSpan(r, f.config.Now()); err == nil {
		q.Limit, err = positive(r, "line_limit", defaultLokiLimit)
	}
	if err == nil {
		of := "limit"
		if r.FormValue(of) == "" {
			of = "field_limit" // as it was called once
		}
		limit, err = positive(r, of, logs.MaxFields)
	}
	if err != nil {
		writeError(w, badRequest(err))
		return 0, nil, false
	}
	s := sessionOf(r.Context())
	if released, err = s.askLogs(r.Context(), q); err != nil {
		writeError(w, render(s.failed()))
		return 0, nil, false
	}
	return limit, released, true
}
