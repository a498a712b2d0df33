package rego

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/tenants"
)

//go:embed input.schema.json
var inputSchemaText []byte

// document is the input of a policy, as input.schema.json has it. Marshalled
// it is also the key under which its decision is cached: what a policy can see
// is what the key holds, so a cached decision is the one it would make again.
//
// The last three differ from one refresh of a dashboard to the next. A policy
// is given only those that it reads (see reads).
type document struct {
	Principal principalDocument   `json:"principal"`
	Side      policy.Side         `json:"side"`
	Owner     string              `json:"owner"`
	Signal    string              `json:"signal"`
	Kind      policy.Kind         `json:"kind"`
	Query     string              `json:"query"`
	Selectors [][]matcherDocument `json:"selectors"`
	Metrics   []string            `json:"metrics"`
	Functions []string            `json:"functions"`
	Stages    []string            `json:"stages"`

	LineFilters []string `json:"line_filters"`

	Label string `json:"label"`

	Window      *windowDocument  `json:"window,omitempty"`
	StepSeconds *float64         `json:"step_seconds,omitempty"`
	Now         *instantDocument `json:"now,omitempty"`
}

type principalDocument struct {
	Org      string            `json:"org"`
	Workload string            `json:"workload"`
	User     string            `json:"user"`
	Proof    string            `json:"proof"`
	Purpose  string            `json:"purpose"`
	Purposes []tenants.Purpose `json:"purposes"`
	Case     string            `json:"case"`
	// BreakGlass says that there is a reason, and not which.
	BreakGlass bool `json:"break_glass"`
}

type matcherDocument struct {
	Name  string `json:"name"`
	Op    string `json:"op"`
	Value string `json:"value"`
}

// windowDocument lacks an end that the question leaves open, so that a policy
// which tests it is undefined.
type windowDocument struct {
	Start *instantDocument `json:"start,omitempty"`
	End   *instantDocument `json:"end,omitempty"`
}

type instantDocument struct {
	Time string  `json:"time"`
	Unix float64 `json:"unix"`
}

func instant(t time.Time) *instantDocument {
	if t.IsZero() {
		return nil
	}
	return &instantDocument{Time: t.UTC().Format(time.RFC3339Nano), Unix: float64(t.UnixMilli()) / 1000}
}

// describe returns the input for a policy that reads what is given, marshalled.
func describe(r policy.Request, now time.Time, reads reads) ([]byte, error) {
	d := document{
		Principal: principalDocument{
			Org:      string(r.Principal.Org),
			User:     r.Principal.User.Subject,
			Proof:    string(r.Principal.User.Proof),
			Purpose:  string(r.Principal.Purpose),
			Purposes: r.Purposes,
			Case:     string(r.Principal.Case),

			BreakGlass: r.Principal.BreakGlass != "",
		},
		Side:        r.Side,
		Owner:       string(r.Owner),
		Signal:      string(r.Signal),
		Kind:        r.Kind,
		Query:       r.Query,
		Selectors:   make([][]matcherDocument, len(r.Selectors)),
		Metrics:     []string{},
		Functions:   r.Functions,
		Stages:      r.Stages,
		LineFilters: r.LineFilters,
		Label:       r.Label,
	}
	if r.Principal.Workload != (spiffeid.ID{}) {
		d.Principal.Workload = r.Principal.Workload.String()
	}
	if d.Principal.Purposes == nil {
		d.Principal.Purposes = []tenants.Purpose{}
	}
	for _, names := range []*[]string{&d.Functions, &d.Stages, &d.LineFilters} {
		if *names == nil {
			*names = []string{}
		}
	}
	for i, s := range r.Selectors {
		d.Selectors[i] = make([]matcherDocument, len(s))
		for j, m := range s {
			d.Selectors[i][j] = matcherDocument{Name: m.Name, Op: m.Type.String(), Value: m.Value}
		}
		if name, ok := metric(s); ok {
			d.Metrics = append(d.Metrics, name)
		}
	}
	slices.Sort(d.Metrics)
	d.Metrics = slices.Compact(d.Metrics)
	if reads.window {
		d.Window = &windowDocument{Start: instant(r.Window.Start), End: instant(r.Window.End)}
	}
	if reads.step {
		seconds := r.Step.Seconds()
		d.StepSeconds = &seconds
	}
	if reads.now {
		d.Now = instant(now)
	}
	text, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("policy input: %w", err)
	}
	return text, nil
}

// metric is the name of the only metric that s can match: exactly one matcher
// is on the name, and it is an equality.
func metric(s policy.Selector) (string, bool) {
	var name string
	for _, m := range s {
		if m.Name != model.MetricNameLabel {
			continue
		}
		if m.Type != labels.MatchEqual || m.Value == "" || name != "" {
			return "", false
		}
		name = m.Value
	}
	return name, name != ""
}

// parseInput turns a marshalled document into OPA's form.
func parseInput(text []byte) (ast.Value, error) {
	var v any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		return nil, fmt.Errorf("policy input: %w", err)
	}
	return ast.InterfaceToValue(v)
}

// inputSchemas makes OPA's type checker refuse a policy that reads what the
// input does not have.
func inputSchemas() (*ast.SchemaSet, error) {
	var schema any
	if err := util.UnmarshalJSON(inputSchemaText, &schema); err != nil {
		return nil, fmt.Errorf("embedded input.schema.json: %w", err)
	}
	set := ast.NewSchemaSet()
	set.Put(ast.SchemaRootRef, schema)
	return set, nil
}
