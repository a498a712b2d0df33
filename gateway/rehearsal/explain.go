package rehearsal

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/gateway"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/inspect"
	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants"
)

// Explanation is what policy makes of a question, and where it says so.
type Explanation struct {
	Partner tenants.OrgID   `json:"partner"`
	Purpose tenants.Purpose `json:"purpose"`
	Case    tenants.CaseID  `json:"case,omitempty"`
	// BreakGlass says that it is asked in an emergency.
	BreakGlass bool           `json:"break_glass,omitempty"`
	Signal     tenants.Signal `json:"signal"`
	Query      string         `json:"query"` // canonical
	Window     policy.Window  `json:"window,omitzero"`

	// Allow is the policy's decision; the question may still be refused.
	Allow    bool            `json:"allow"`
	Reasons  []string        `json:"reasons,omitempty"`
	Package  string          `json:"package,omitempty"`
	Revision policy.Revision `json:"revision,omitempty"`
	Rules    []rego.Rule     `json:"rules,omitempty"`
	Refused  *Refusal        `json:"refused,omitempty"`

	Obligations *Obligations `json:"obligations,omitempty"`
	Plan        *Plan        `json:"plan,omitempty"`
	// Labels are those that the datasets name which the query meets, and those of
	// which the query speaks: of spans their names and attributes.
	Labels []Label `json:"labels,omitempty"`
	// Contents are what becomes of lines, or of spans, by dataset.
	Contents []Content `json:"contents,omitempty"`

	// decision has the limits that count.
	decision policy.Decision
	// written says where its datasets are.
	written []rego.Written
}

// Obligations are a decision's, in words.
type Obligations struct {
	Datasets  []Dataset `json:"datasets"`
	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after,omitzero"`
	// PseudonymEpoch is a duration, or "question".
	PseudonymEpoch string        `json:"pseudonym_epoch"`
	Resolution     time.Duration `json:"resolution_ns,omitzero"`
	Functions      []string      `json:"functions,omitempty"`
	Limits         Limits        `json:"limits"`
}

// Limits are those that count: of the agreement and the decision together.
type Limits struct {
	Series  int           `json:"series"`
	Samples int           `json:"samples"`
	Bytes   int           `json:"bytes"`
	Range   time.Duration `json:"range_ns"`
	// Lines are of questions about logs, Spans of those about traces.
	Lines int `json:"lines,omitzero"`
	Spans int `json:"spans,omitzero"`
}

// Dataset is one of a decision.
type Dataset struct {
	Name    string         `json:"name"`
	Release policy.Release `json:"release"`
	// Series, Streams or Spans are its selectors, by what it is of.
	Series  []string   `json:"series,omitzero"`
	Streams []string   `json:"streams,omitzero"`
	Spans   []string   `json:"spans,omitzero"`
	Place   rego.Place `json:"place"`
	// Met says whether the query can meet it.
	Met bool `json:"met"`

	Dimensions []string `json:"dimensions,omitempty"`
	Units      []string `json:"units,omitempty"`
	K          int      `json:"k,omitempty"`
}

// Label is what becomes of a label, and what says so.
type Label struct {
	inspect.LabelFate

	Dataset string `json:"dataset"`
	Says    string `json:"says"`
	// In is where the query speaks of it, such as by, on or a matcher.
	In []string `json:"in,omitempty"`
	// Why is why it is so, where the dataset doesn't give it a mode by its name.
	Why   string     `json:"why,omitempty"`
	Place rego.Place `json:"place,omitzero"`
	// Partly is what becomes of it in series that are in other datasets, too.
	Partly []PartialLabel `json:"partly,omitempty"`
}

// Content is what becomes of the lines, or the spans, of a dataset.
type Content struct {
	inspect.ContentFate

	Dataset string     `json:"dataset"`
	Says    string     `json:"says"`
	Place   rego.Place `json:"place,omitzero"`
	// Partly is what becomes of those that are in other datasets, too.
	Partly []PartialLabel `json:"partly,omitempty"`
}

// PartialLabel is what becomes of a label of the series, streams or spans that another
// dataset chooses as well, or of what these hold, and where it says so.
type PartialLabel struct {
	What   string     `json:"mode"`
	Also   string     `json:"dataset"`
	Series []string   `json:"series"`
	Place  rego.Place `json:"place"`
}

// Explain says what becomes of a question. No data is read.
func (s Stage) Explain(ctx context.Context, a Ask) (Explanation, error) {
	decider := &explainer{policies: s.Folder.Policies}
	r, err := gateway.Rehearse(ctx, gateway.RehearsalConfig{
		Org: s.Folder.Org, Directory: agreements(s.Folder.Agreements), Decider: decider, Now: s.Folder.Now,
	}, s.question(a))
	if err != nil {
		return Explanation{}, err
	}
	why := decider.why
	out := Explanation{
		Partner: a.Partner, Purpose: a.Purpose, Case: a.Case, BreakGlass: a.BreakGlass != "",
		Signal: a.Question.Signal(), Query: r.Request.Query, Window: r.Request.Window,
		Allow: why.Decision.Allow, Reasons: why.Decision.Reasons, Package: why.Package, Revision: why.Decision.Revision,
		Rules: why.Rules, Refused: refusal(r.Told), decision: r.Decision, written: why.Datasets,
	}
	if out.Query == "" {
		out.Query = a.Question.Asked().Query
	}
	if !out.Allow {
		return out, nil
	}
	o := r.Decision.Obligations
	plan, meets, err := s.plan(a, o)
	if err != nil && r.Told == nil {
		out.Refused = refusal(federation.AsError(err))
	}
	out.Plan = &plan
	var met []int
	var asked []policy.Selector
	speaks := mentions{}
	for _, m := range meets {
		asked = append(asked, m.raw)
		*m.datasets = slices.DeleteFunc(*m.datasets, func(d int) bool {
			return !inspect.Meet([]policy.Selector{m.raw}, o.Datasets[d])
		})
		met = append(met, *m.datasets...)
		speaks.add(*m.datasets, m.mentions)
	}
	slices.Sort(met)
	met = slices.Compact(met)
	out.Obligations = obligations(out.Signal, o, why.Datasets, met)
	for _, fate := range inspect.Fates(o.Datasets, met, asked, speaks.labels()) {
		l := label(s.Folder.Org, o.Datasets, why.Datasets, fate)
		if l.In = speaks[fate.Dataset][fate.Label]; writes(l.In) {
			l.Why = strings.TrimPrefix(l.Why+"; what the query writes into it is its own", "; ")
		} else if l.Why != "" && parses(r.Request.Stages) && ofLines(l.In) {
			l.Why += "; of what a parser finds, what is left of lines decides"
		}
		out.Labels = append(out.Labels, l)
	}
	for _, fate := range inspect.Contents(o.Datasets, met, asked) {
		out.Contents = append(out.Contents, content(o.Datasets, why.Datasets, fate))
	}
	return out, nil
}

func obligations(of tenants.Signal, o policy.Obligations, written []rego.Written, met []int) *Obligations {
	out := &Obligations{
		Datasets: []Dataset{}, NotBefore: o.NotBefore, NotAfter: o.NotAfter, PseudonymEpoch: "question",
		Resolution: o.Resolution, Functions: o.Functions,
		Limits: Limits{Series: o.Limits.Series, Samples: o.Limits.Samples, Bytes: o.Limits.Bytes, Range: o.Limits.Range},
	}
	switch of {
	case tenants.Logs:
		out.Limits.Lines = o.Limits.OrDefault().Lines
	case tenants.Traces:
		out.Limits.Spans = o.Limits.OrDefault().Spans
	}
	if o.Epoch > 0 {
		out.PseudonymEpoch = model.Duration(o.Epoch).String()
	}
	for i, d := range o.Datasets {
		ds := Dataset{Name: d.Name, Release: d.Release, Met: slices.Contains(met, i), Place: written[i].Place}
		selectors := make([]string, len(d.Selectors()))
		for i, selector := range d.Selectors() {
			selectors[i] = metrics.FormatSelector(selector)
		}
		switch d.Signal() {
		case tenants.Metrics:
			ds.Series = selectors
		case tenants.Logs:
			ds.Streams = selectors
		case tenants.Traces:
			ds.Spans = selectors
		}
		if c := d.Cells; c != nil {
			ds.Dimensions, ds.Units, ds.K = c.Dimensions, c.Units, c.K
		}
		out.Datasets = append(out.Datasets, ds)
	}
	return out
}
