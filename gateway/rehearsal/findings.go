package rehearsal

import (
	"fmt"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/metrics"
	"github.com/parley-gateway/parley/policy"
	"github.com/parley-gateway/parley/policy/rego"
	"github.com/parley-gateway/parley/tenants/yamlstrict"
)

// Finding is something that a dataset of the decision names and the owner's data
// doesn't have. It may be misspelt.
type Finding struct {
	Dataset string               `json:"dataset"`
	Missing metrics.MissingThing `json:"missing"`
	Name    string               `json:"name,omitempty"`
	// Similar is what there is instead and was perhaps meant.
	Similar string     `json:"similar,omitempty"`
	Place   rego.Place `json:"place"`
	Text    string     `json:"text"`
}

// What policy names of spans.
const (
	missingService   metrics.MissingThing = "service"
	missingAttribute metrics.MissingThing = "attribute" // of the traces that are looked at
)

// look adds what a search for names found, in a time that is zero for any; the error is
// why it found nothing.
func (t *Trial) look(e Explanation, missing []metrics.Missing, looked policy.Window, err error) {
	if err != nil { // all else is known
		t.NotLooked = federation.AsError(err).Message
	}
	t.Looked = looked
	for _, m := range missing {
		t.Findings = append(t.Findings, finding(e.decision.Obligations.Datasets[m.Dataset], e.written[m.Dataset], m))
	}
}

func finding(d policy.Dataset, w rego.Written, m metrics.Missing) Finding {
	f := Finding{Dataset: d.Name, Missing: m.What, Name: m.Name, Place: w.Place}
	for _, key := range []string{m.Key, "include"} {
		if at, said := w.Keys[key]; said {
			f.Place = at
			break
		}
	}
	if at, said := w.Labels[m.Name]; said && m.Key == "labels" {
		f.Place = at
	}
	switch {
	case m.What == metrics.MissingSeries:
		f.Text = fmt.Sprintf("dataset %s matches no %s", d.Name, m.Key)
		return f
	case m.What == missingService:
		f.Text = fmt.Sprintf("in your data there is no service %q", m.Name)
	case m.What == missingAttribute:
		f.Text = fmt.Sprintf("no span of these traces has %q", m.Name)
	case m.What == metrics.MissingMetric:
		f.Text = fmt.Sprintf("in your data there is no metric %q", m.Name)
	case m.Elsewhere:
		f.Text = fmt.Sprintf("no series of dataset %s has the label %q, which others have", d.Name, m.Name)
	default:
		f.Text = fmt.Sprintf("in your data there is no label %q", m.Name)
	}
	if m.Key == "units" && len(d.Cells.Units) == 1 {
		f.Text += fmt.Sprintf(": as the unit of %s it is the same for all of its series, and no cell has enough", d.Name)
	}
	if f.Similar = yamlstrict.Nearest(m.Name, m.Among); f.Similar != "" {
		f.Text += "; did you mean " + f.Similar + "?"
	}
	return f
}
