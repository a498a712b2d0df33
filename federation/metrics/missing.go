package metrics

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/parley-gateway/parley/federation"
	"github.com/parley-gateway/parley/federation/redact"
	"github.com/parley-gateway/parley/policy"
)

// Missing is what a dataset of a decision names and the store doesn't have: most
// often a slip of the pen. It is for the owner's eyes.
type Missing struct {
	// Dataset is the one that names it, by its index in the obligations.
	Dataset int
	What    MissingThing
	// Key is where the dataset names it: series, labels, dimensions or units.
	Key string
	// Name is that of a metric or a label; empty for series.
	Name string
	// Elsewhere says that series which aren't in the dataset have the label.
	Elsewhere bool
	// Among are the names that there are instead, sorted.
	Among []string
}

// MissingThing is what is missing.
type MissingThing string

// What can be missing.
const (
	MissingSeries MissingThing = "series" // the dataset matches none
	MissingMetric MissingThing = "metric"
	MissingLabel  MissingThing = "label"
)

// LookedIn is the time in which names are looked for, of a question whose data is of
// this time: up to its end, no less than an hour, since neither is a label on a
// series nor a line in a stream at every moment, and no more than a day.
func LookedIn(touched policy.Window) policy.Window {
	touched.Start = touched.End.Add(-min(max(touched.End.Sub(touched.Start), time.Hour), 24*time.Hour))
	return touched
}

// ofExemplars are labels that by convention exemplars have and series don't. See
// https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/.
var ofExemplars = []string{"trace_id", "span_id", "traceID", "spanID"}

// Missing looks in the store for what the datasets of a decision name: metrics,
// labels, dimensions and units. It looks where LookedIn says, of the time that an
// instant or range query touches, which it returns.
func (l *Local) Missing(ctx context.Context, q Question, o policy.Obligations, by Asking) ([]Missing, policy.Window, error) {
	v, err := l.view(o, by)
	if err != nil {
		return nil, policy.Window{}, err
	}
	if q.Lookback == 0 {
		q.Lookback = l.config.Lookback
	}
	asked, err := describe(q)
	if err != nil {
		return nil, policy.Window{}, err
	}
	window := LookedIn(asked.Window)
	s := &search{view: v, mint: window.Start.UnixMilli(), maxt: window.End.UnixMilli()}
	for i := range v.rules.datasets {
		if err := s.dataset(ctx, i); err != nil {
			return nil, window, federation.AsError(evaluationError(err))
		}
	}
	return s.missing, window, nil
}

// search looks for names in a span of time.
type search struct {
	*view
	mint, maxt int64
	// labels and metrics are the store's names, once they are needed.
	labels, metrics map[string]bool
	missing         []Missing
}

// named is a label and where a dataset names it.
type named struct{ key, label string }

func namesOf(d *policy.Dataset) []named {
	var out []named
	if d.Cells == nil {
		for _, label := range slices.Sorted(maps.Keys(d.Labels)) {
			out = append(out, named{"labels", label})
		}
	} else {
		for _, label := range d.Cells.Dimensions {
			out = append(out, named{"dimensions", label})
		}
		for _, label := range d.Cells.Units {
			out = append(out, named{"units", label})
		}
	}
	return slices.DeleteFunc(out, func(n named) bool { return ours(n.label) || slices.Contains(ofExemplars, n.label) })
}

// ours says whether a label is there by our own doing, or the metric's name.
func ours(label string) bool {
	return label == labels.MetricName || label == orgLabel || strings.HasSuffix(label, redact.ExportedOrgLabel) || federation.Reserved(label)
}

// dataset looks for what a dataset names.
func (s *search) dataset(ctx context.Context, i int) error {
	d := &s.rules.datasets[i]
	metrics, has := map[string]bool{}, map[string]bool{}
	unseen := map[string]bool{} // labels
	for _, n := range namesOf(d) {
		unseen[n.label] = true
	}
	var matched []string
	for _, selector := range d.Series {
		inName, inMatchers := mentionedBy(selector)
		for _, name := range inName {
			metrics[name] = true
		}
		for _, label := range inMatchers {
			unseen[label] = true
		}
		matched = append(matched, inMatchers...)
	}
	there := false
	for _, selector := range d.Series {
		err := s.each(ctx, selector, func(ls labels.Labels) error {
			there = true
			delete(metrics, ls.Get(labels.MetricName))
			ls.Range(func(l labels.Label) {
				if !has[l.Name] {
					has[strings.Clone(l.Name)] = true
				}
				delete(unseen, l.Name)
			})
			if len(unseen) == 0 && len(metrics) == 0 {
				return errEnough
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if !there {
		s.missing = append(s.missing, Missing{Dataset: i, What: MissingSeries, Key: "series"})
	}
	if len(unseen) == 0 && len(metrics) == 0 {
		return nil
	}
	if err := s.read(ctx); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		if !s.metrics[name] {
			s.missing = append(s.missing, Missing{Dataset: i, What: MissingMetric, Key: "series", Name: name, Among: meant(s.metrics)})
		}
	}
	slices.Sort(matched)
	for _, label := range slices.Compact(matched) {
		if unseen[label] && !s.labels[label] {
			s.missing = append(s.missing, Missing{Dataset: i, What: MissingLabel, Key: "series", Name: label, Among: meant(s.labels)})
		}
	}
	for _, n := range namesOf(d) {
		m := Missing{Dataset: i, What: MissingLabel, Key: n.key, Name: n.label, Elsewhere: s.labels[n.label]}
		switch {
		case !unseen[n.label], m.Elsewhere && !there: // that there are no series is said
			continue
		case there:
			m.Among = meant(has)
		default:
			m.Among = meant(s.labels)
		}
		s.missing = append(s.missing, m)
	}
	return nil
}

// meant are those of names that a policy's author could have meant, sorted.
func meant(names map[string]bool) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(names)), ours)
}

// mentionedBy are the metrics that a selector names one by one, and the labels of
// its matchers.
func mentionedBy(s policy.Selector) (metrics, others []string) {
	for _, m := range s {
		switch {
		case m.Name != labels.MetricName:
			if !ours(m.Name) {
				others = append(others, m.Name)
			}
		case m.Type == labels.MatchEqual:
			metrics = append(metrics, m.Value)
		case m.Type == labels.MatchRegexp:
			metrics = append(metrics, m.SetMatches()...)
		}
	}
	return metrics, others
}

// read reads the names of the store.
func (s *search) read(ctx context.Context) error {
	if s.labels != nil {
		return nil
	}
	s.labels, s.metrics = map[string]bool{}, map[string]bool{}
	if listed, err := s.listed(ctx); listed || err != nil {
		return err
	}
	return s.each(ctx, nil, func(ls labels.Labels) error {
		ls.Range(func(l labels.Label) {
			if !s.labels[l.Name] {
				s.labels[strings.Clone(l.Name)] = true
			}
			if l.Name == labels.MetricName && !s.metrics[l.Value] {
				s.metrics[strings.Clone(l.Value)] = true
			}
		})
		return nil
	})
}

// listed has the source list its names, if it can.
func (s *search) listed(ctx context.Context) (bool, error) {
	source, can := s.source.(lister)
	if !can {
		return false, nil
	}
	for label, into := range map[string]map[string]bool{"": s.labels, labels.MetricName: s.metrics} {
		names, err := source.listRaw(ctx, selection{mint: s.mint, maxt: s.maxt}, label, 0)
		if errors.Is(err, errNotListed) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		for _, name := range names {
			into[name] = true
		}
	}
	return true, nil
}

// errEnough ends a reading of series.
var errEnough = errors.New("enough series were read")

// each calls take with the labels, org among them, of the store's series that
// match, some perhaps twice, until it returns errEnough.
func (s *search) each(ctx context.Context, asked []*labels.Matcher, take func(labels.Labels) error) error {
	sel := selection{mint: s.mint, maxt: s.maxt, labelsOnly: true}
	sel.matchers = slices.DeleteFunc(slices.Clone(asked), func(m *labels.Matcher) bool { return strings.HasSuffix(m.Name, orgLabel) })
	read := func(series storage.ChunkSeries) error {
		if ls := s.rules.WithOrg(series.Labels()); redact.Matches(asked, ls) {
			if err := take(ls); err != nil {
				return err
			}
		}
		return ctx.Err()
	}
	release, err := s.source.selectRaw(ctx, sel, read)
	if errors.Is(err, errNotListed) {
		sel.labelsOnly = false
		release, err = s.source.selectRaw(ctx, sel, read)
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	if err != nil {
		return err
	}
	return release()
}
