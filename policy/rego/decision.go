package rego

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

//go:embed decision.schema.json
var decisionSchemaText []byte

// DecisionSchema returns the published JSON Schema of what the rule decision
// of a policy package gives.
func DecisionSchema() []byte { return bytes.Clone(decisionSchemaText) }

// InputSchema returns the published JSON Schema of what a policy is told.
func InputSchema() []byte { return bytes.Clone(inputSchemaText) }

// verdict is a decision that does not depend on when it is asked for.
type verdict struct {
	decision policy.Decision
	// maxAge moves NotBefore along with the clock; zero is no bound.
	maxAge time.Duration
	// delay does the same to NotAfter.
	delay time.Duration
	// includes are the rules that give the selectors of datasets, by their index.
	includes map[int]string
	// size is about how many bytes it holds, with its reasons and selectors.
	size int
}

func (v verdict) bytes() int { return v.size }

// at returns the decision on a question asked now.
func (v verdict) at(now time.Time) policy.Decision {
	d := v.decision
	if oldest := now.Add(-v.maxAge); v.maxAge > 0 && oldest.After(d.Obligations.NotBefore) {
		d.Obligations.NotBefore, d.Obligations.MaxAge = oldest, v.maxAge
	}
	if newest := now.Add(-v.delay); v.delay > 0 && (d.Obligations.NotAfter.IsZero() || newest.Before(d.Obligations.NotAfter)) {
		d.Obligations.NotAfter, d.Obligations.Delay = newest, v.delay
	}
	return d
}

// about is what the verdict says of questions about a signal: with nothing to
// answer them with, they are denied.
func (v verdict) about(signal tenants.Signal) verdict {
	all, includes := v.decision.Obligations.Datasets, v.includes
	o := v.decision.Obligations.Of(signal)
	if len(o.Datasets) == 0 && len(o.Queries) == 0 {
		return verdict{decision: policy.Decision{Reasons: append(slices.Clone(v.decision.Reasons), "it releases nothing of the signal "+string(signal))}}
	}
	v.decision.Obligations, v.includes = o, map[int]string{}
	kept := 0
	for i := range all {
		if all[i].Signal() != signal {
			continue
		}
		if rule, ok := includes[i]; ok {
			v.includes[kept] = rule
		}
		kept++
	}
	return v
}

// denied is a verdict for a reason of ours rather than the policy's.
func denied(rev policy.Revision, format string, args ...any) verdict {
	return verdict{decision: policy.Decision{Revision: rev, Reasons: []string{fmt.Sprintf(format, args...)}}}
}

// shape checks results against decision.schema.json and reads them.
type shape struct{ schema *jsonschema.Schema }

func newShape() (shape, error) {
	text, err := jsonschema.UnmarshalJSON(bytes.NewReader(decisionSchemaText))
	if err != nil {
		return shape{}, fmt.Errorf("embedded decision.schema.json: %w", err)
	}
	const name = "decision.schema.json"
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(name, text); err != nil {
		return shape{}, fmt.Errorf("embedded decision.schema.json: %w", err)
	}
	schema, err := compiler.Compile(name)
	if err != nil {
		return shape{}, fmt.Errorf("embedded decision.schema.json: %w", err)
	}
	return shape{schema: schema}, nil
}

// decisionDocument is a result that passed the schema.
type decisionDocument struct {
	Allow          bool
	Reasons        []string
	Datasets       []datasetDocument
	NotBefore      *time.Time `json:"not_before"`
	NotAfter       *time.Time `json:"not_after"`
	MaxAge         duration   `json:"max_age"`
	Delay          duration
	Resolution     duration
	Functions      []string
	Queries        []queryDocument
	Differencing   differencingDocument
	PseudonymEpoch epoch `json:"pseudonym_epoch"`
	Limits         limitsDocument
}

type limitsDocument struct {
	Series, Samples, Bytes, Lines, Spans int

	KeptTraces int `json:"kept_traces"`

	Range duration
}

type differencingDocument struct {
	Budget int
	Within duration
	Action string
}

type datasetDocument struct {
	Name    string
	Series  []selector
	Include string
	of      *element // of the rule Include
	Streams []streamSelector
	Spans   []spanSelector
	Release policy.Release
	Labels  map[string]rule
	Line    line

	Span      spanMode
	Counts    bool
	Durations string

	Round struct {
		Digits int
		Base   float64
	}
	Dimensions      []string
	Units           []string
	Unit            string
	K               int
	Other           bool
	Dominance       float64
	HistogramSchema *int32 `json:"histogram_schema"`
}

// duration is one as Prometheus writes it. It is never zero where it is given:
// zero stands for no bound.
type duration time.Duration

func (d *duration) UnmarshalJSON(text []byte) error {
	var parsed model.Duration
	if err := parsed.UnmarshalJSON(text); err != nil {
		return err
	}
	if parsed <= 0 {
		return fmt.Errorf("duration %s: want more than zero", text)
	}
	*d = duration(parsed)
	return nil
}

// epoch is a duration, or zero for a single question.
type epoch duration

func (e *epoch) UnmarshalJSON(text []byte) error {
	if string(text) == `"question"` {
		*e = 0
		return nil
	}
	return (*duration)(e).UnmarshalJSON(text)
}

// read turns the value of the rule decision, as OPA or encoding/json gives it,
// into a verdict. The error says where it does not have the published shape.
// elementOf says what an include rule is of; its error is returned as it is.
func (s shape) read(value any, side policy.Side, elementOf func(rule string, r policy.Release) (*element, error)) (verdict, error) {
	value, err := plain(value)
	if err != nil {
		return verdict{}, err
	}
	if err := s.schema.Validate(value); err != nil {
		return verdict{}, explain(value, err)
	}
	text, err := json.Marshal(value)
	if err != nil {
		return verdict{}, err
	}
	var d decisionDocument
	if err := unmarshalStrictly(text, &d); err != nil {
		return verdict{}, unreadable(value, err)
	}
	for i, ds := range d.Datasets {
		if ds.Include == "" || !d.Allow {
			continue
		}
		if d.Datasets[i].of, err = elementOf(ds.Include, ds.Release); err != nil {
			return verdict{}, fmt.Errorf("dataset %q: %w", ds.Name, err)
		}
		if err := d.Datasets[i].misplaced(decisionValue{value}, i); err != nil {
			return verdict{}, contradictory(err)
		}
	}
	v, err := d.verdict(side)
	if err != nil {
		return verdict{}, contradictory(err)
	}
	return v, nil
}

func (d decisionDocument) verdict(side policy.Side) (verdict, error) {
	v := verdict{decision: policy.Decision{Reasons: d.Reasons}}
	if !d.Allow {
		return v, nil
	}
	v.decision.Allow = true
	o, err := d.obligations()
	if err != nil {
		return verdict{}, err
	}
	obliges := d.Differencing != differencingDocument{} || len(d.Datasets) > 0 || len(d.Queries) > 0 || d.NotBefore != nil || d.NotAfter != nil || d.MaxAge > 0 || d.Delay > 0 ||
		d.Resolution > 0 || len(d.Functions) > 0 || d.PseudonymEpoch > 0 || d.Limits != limitsDocument{}
	switch {
	case side == policy.Ask && obliges:
		return verdict{}, errors.New("a decision on what may be asked has obligations; only allow and reasons can be kept there")
	case side == policy.Ask:
		return v, nil
	case len(o.Datasets) == 0 && len(o.Queries) == 0:
		return verdict{}, errors.New("allow is true without datasets or queries, so that there is nothing to answer with")
	}
	v.decision.Obligations, v.maxAge, v.delay = o, time.Duration(d.MaxAge), time.Duration(d.Delay)
	v.includes = map[int]string{}
	for i, ds := range d.Datasets {
		if ds.Include != "" {
			v.includes[i] = ds.Include
		}
	}
	return v, nil
}

func (d decisionDocument) obligations() (policy.Obligations, error) {
	o := policy.Obligations{
		Datasets:   make([]policy.Dataset, 0, len(d.Datasets)),
		Resolution: time.Duration(d.Resolution), Functions: d.Functions,
		Epoch:  time.Duration(d.PseudonymEpoch),
		Limits: tenants.Limits{Series: d.Limits.Series, Samples: d.Limits.Samples, Bytes: d.Limits.Bytes, Lines: d.Limits.Lines, Spans: d.Limits.Spans, KeptTraces: d.Limits.KeptTraces, Range: time.Duration(d.Limits.Range)},
	}
	for _, name := range d.Functions {
		if !isFunction(name) {
			return o, fmt.Errorf("functions: neither PromQL nor LogQL has a function %s", name)
		}
	}
	if d.NotBefore != nil {
		o.NotBefore = *d.NotBefore
	}
	if d.NotAfter != nil {
		o.NotAfter = *d.NotAfter
		if o.NotAfter.IsZero() || o.NotAfter.Before(o.NotBefore) {
			return o, errors.New("not_after leaves no time: it is before not_before or year 1")
		}
	}
	o.Differencing = policy.Differencing{
		Budget: d.Differencing.Budget, Within: time.Duration(d.Differencing.Within), Refuse: d.Differencing.Action == "refuse",
	}
	for _, query := range d.Queries {
		q, err := query.query()
		if err != nil {
			return o, err
		}
		o.Queries = append(o.Queries, q)
	}
	for i, ds := range d.Datasets {
		out := policy.Dataset{
			Name:    ds.Name,
			Release: ds.Release,
			Line:    policy.Line(ds.Line),
			Labels:  make(map[string]policy.LabelRule, len(ds.Labels)),
		}
		switch {
		case ds.Streams != nil || ds.includes(tenants.Logs):
			out.Streams = selectorsOf(ds.Streams)
		case ds.Spans != nil || ds.includes(tenants.Traces):
			out.Spans = selectorsOf(ds.Spans)
			if err := ds.span(&out, i); err != nil {
				return o, err
			}
		default:
			out.Series = selectorsOf(ds.Series)
		}
		for name, r := range ds.Labels {
			if name == "*" {
				out.Others = policy.LabelRule(r)
				continue
			}
			out.Labels[name] = policy.LabelRule(r)
		}
		out.Rounding = policy.Rounding{Digits: ds.Round.Digits, Base: ds.Round.Base}
		if ds.Release == policy.Aggregate {
			if err := ds.cells(&out); err != nil {
				return o, err
			}
			if len(out.Cells.Units) == 0 && o.Resolution == 0 {
				return o, fmt.Errorf("dataset %q: events are counted by intervals of the resolution, and the decision has none", ds.Name)
			}
		}
		o.Datasets = append(o.Datasets, out)
	}
	return o, nil
}

// includes says whether it includes what there is of a signal.
func (ds datasetDocument) includes(signal tenants.Signal) bool {
	return ds.of != nil && ds.of.signal == signal
}

// misplaced is what a dataset at an index has that is not for what its include
// rule is of, which the schema can't know.
func (ds datasetDocument) misplaced(decision decisionValue, at int) error {
	for _, key := range []struct {
		name string
		of   tenants.Signal
	}{
		{"line", tenants.Logs}, {"span", tenants.Traces}, {"counts", tenants.Traces}, {"durations", tenants.Traces}, {"round", tenants.Metrics},
	} {
		path := []string{"datasets", strconv.Itoa(at), key.name}
		if decision.get(path) == nil || ds.of.signal == key.of {
			continue
		}
		i := slices.IndexFunc(elements, func(e *element) bool { return e.signal == key.of })
		return &contradiction{path: path, text: fmt.Sprintf("dataset %q: %s is for datasets of %s; the rule %s, which it includes, is of %s", ds.Name, key.name, elements[i].key, ds.Include, ds.of.key)}
	}
	if ds.Release == policy.Aggregate && ds.of.signal != tenants.Metrics {
		path := []string{"datasets", strconv.Itoa(at), "release"}
		return &contradiction{path: path, text: fmt.Sprintf("dataset %q: the release aggregate is for datasets of series; the rule %s, which it includes, is of %s", ds.Name, ds.Include, ds.of.key)}
	}
	return nil
}

// selectorsOf are those of a dataset, whatever they select; never nil.
func selectorsOf[S ~[]*labels.Matcher](list []S) []policy.Selector {
	out := make([]policy.Selector, 0, len(list))
	for _, s := range list {
		out = append(out, policy.Selector(s))
	}
	return out
}

// logFunctions are those of LogQL that PromQL doesn't have.
var logFunctions = []string{"bytes_over_time", "bytes_rate", "rate_counter", "approx_topk"}

// isFunction says whether PromQL or LogQL has a function or aggregation of that
// name.
func isFunction(name string) bool {
	if _, ok := parser.Functions[name]; ok || slices.Contains(logFunctions, name) {
		return true
	}
	for item, text := range parser.ItemTypeStr {
		if text == name && item.IsAggregator() {
			return true
		}
	}
	return false
}

// cells reads what is an aggregate's alone.
func (ds datasetDocument) cells(out *policy.Dataset) error {
	for name := range out.Labels {
		if !slices.Contains(ds.Dimensions, name) {
			return fmt.Errorf("dataset %q: label %q is not one of its dimensions; of an aggregate no other label is seen", ds.Name, name)
		}
	}
	for _, name := range ds.Dimensions {
		if slices.Contains(ds.Units, name) {
			return fmt.Errorf("dataset %q: %q is both a dimension, which is seen, and a unit, which never is", ds.Name, name)
		}
		if _, said := out.Labels[name]; !said {
			out.Labels[name] = policy.LabelRule{Mode: policy.Keep}
		}
	}
	out.Cells = &policy.Cells{
		Dimensions: slices.Sorted(slices.Values(ds.Dimensions)),
		Units:      slices.Sorted(slices.Values(ds.Units)),
		K:          ds.K, Other: ds.Other, Dominance: ds.Dominance, Schema: ds.HistogramSchema,
	}
	return nil
}

// plain returns v with every number as a float64, which bounds what the schema
// and the reader can be given.
func plain(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		if err != nil {
			return nil, errors.New("a number is out of range")
		}
		return f, nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, errors.New("a number is not finite")
		}
		return v, nil
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			var err error
			if out[i], err = plain(item); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			var err error
			if out[key], err = plain(item); err != nil {
				return nil, err
			}
		}
		return out, nil
	case nil, bool, string:
		return v, nil
	}
	return nil, fmt.Errorf("a %T is not JSON", v)
}

func unmarshalStrictly(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}
