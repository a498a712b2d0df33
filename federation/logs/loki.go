package logs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/federation"
)

// LokiConfig says where a Loki is.
type LokiConfig struct {
	// URL is the base under which /loki/api/v1 is found.
	URL *url.URL
	// Client sends the requests, credentials and tenant header included. It has
	// no timeout of its own: a tail takes as long as it is wanted.
	Client *http.Client
	// PageEntries is how many entries are asked for at once, no more than the
	// server's max_entries_limit_per_query; default 5000, which is the server's.
	PageEntries int
	// NoPushDown reads all entries of a selection's streams and time, also where
	// the server may filter or aggregate them.
	NoPushDown bool
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

const defaultPageEntries = 5000

// Loki is a Source on a real Loki, version 3.0 or later, over its HTTP API. See
// https://grafana.com/docs/loki/latest/reference/loki-http-api/.
//
// Labels are as Loki holds them. When a line is pushed, Loki adds service_name
// to the labels of its stream and detected_level, which it takes from the line,
// to its structured metadata, unless limits_config says otherwise: they are then
// labels like others, and leave only if policy names them.
type Loki struct {
	config    LokiConfig
	maxAnswer int64 // bytes
}

// NewLoki returns a source. Nothing is asked of the server yet.
func NewLoki(c LokiConfig) (*Loki, error) {
	if c.URL == nil {
		return nil, errors.New("a Loki source needs a URL")
	}
	if c.PageEntries < 0 {
		return nil, fmt.Errorf("a Loki source can't ask for %d entries at once", c.PageEntries)
	}
	if c.PageEntries == 0 {
		c.PageEntries = defaultPageEntries
	}
	if c.Client == nil {
		c.Client = &http.Client{}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Loki{config: c, maxAnswer: defaultMaxAnswer}, nil
}

func (l *Loki) selectRaw(ctx context.Context, s selection, take func(rawEntry) error) error {
	selectors, err := l.selectors(ctx, s)
	if err != nil {
		return err
	}
	if l.config.NoPushDown {
		s.contains, s.filters = nil, nil
	}
	var all []*pages
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		for _, p := range all {
			p.done()
		}
	}()
	for _, selector := range selectors {
		p := l.pages(s, selector)
		p.alone = len(selectors) == 1
		all = append(all, p)
	}
	for {
		var next *pages
		for _, p := range all {
			if err := p.fill(ctx); err != nil {
				return l.unavailable("read entries", err)
			}
			if len(p.page) > 0 && (next == nil || p.before(p.page[0].at, next.page[0].at)) {
				next = p
			}
		}
		if next == nil {
			return nil
		}
		if err := take(next.pop()); err != nil {
			return err
		}
	}
}

// selectStreams may be answered by Loki from what it kept of an earlier list: of
// what is older than a day, and by default for a day.
func (l *Loki) selectStreams(ctx context.Context, s selection) ([]labels.Labels, error) {
	if s.start >= s.end {
		return nil, nil
	}
	found := map[string]labels.Labels{}
	// Loki keeps what it listed by milliseconds, and divides a list at midnight
	// with a millisecond between that it doesn't look at.
	start, end := time.Unix(0, s.start).UTC().Truncate(time.Millisecond), time.Unix(0, s.end).UTC()
	if whole := end.Truncate(time.Millisecond); whole.Before(end) {
		end = whole.Add(time.Millisecond)
	}
	for start.Before(end) {
		next := start.Truncate(24 * time.Hour).Add(24 * time.Hour)
		if next.After(end) {
			next = end
		}
		if err := l.series(ctx, s, start, next, found); err != nil {
			return nil, l.unavailable("list streams", err)
		}
		start = next
	}
	return slices.SortedFunc(maps.Values(found), labels.Compare), nil
}

// maxCover is how many questions the streams are divided into when none of the
// labels is on all of them.
const maxCover = 16

// selectors are LogQL stream selectors of which each stream of the selection
// that there is use for has exactly one; another stream may have one as well. Loki wants each to have
// a matcher that doesn't match an absent label. If the selection has none, it
// is found out which labels the streams have.
func (l *Loki) selectors(ctx context.Context, s selection) ([]string, error) {
	known := pushable(s.matchers)
	if demanding(known) {
		return []string{selectorText(known)}, nil
	}
	streams, err := l.selectStreams(ctx, s)
	if err != nil {
		return nil, err
	}
	streams = slices.DeleteFunc(streams, func(ls labels.Labels) bool { return !s.held(ls) })
	var selectors []string
	for len(streams) > 0 {
		name := commonest(streams)
		if name == "" || len(selectors) == maxCover {
			return nil, &federation.Error{
				Kind: federation.Unavailable, Message: "the logs store can't be asked for streams of all kinds at once; ask for some by their labels",
				Err: fmt.Errorf("the streams have no %d labels of which each stream has one", maxCover),
			}
		}
		present := labels.MustNewMatcher(labels.MatchRegexp, name, ".+")
		selectors = append(selectors, selectorText(append(slices.Clone(known), present)))
		known = append(known, labels.MustNewMatcher(labels.MatchEqual, name, ""))
		streams = slices.DeleteFunc(streams, func(ls labels.Labels) bool { return ls.Has(name) })
	}
	return selectors, nil
}

// commonest is the label that most streams have, of those that LogQL can name;
// empty when there is none.
func commonest(streams []labels.Labels) string {
	count, most := map[string]int{}, ""
	for _, ls := range streams {
		ls.Range(func(label labels.Label) {
			if isLogQLName(label.Name) {
				count[label.Name]++
			}
		})
	}
	for _, name := range slices.Sorted(maps.Keys(count)) {
		if count[name] > count[most] {
			most = name
		}
	}
	return most
}

// unavailable is the error of what couldn't be had from the server. Its text
// has nothing of what the server says but the status.
func (l *Loki) unavailable(doing string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return err
	}
	var known *federation.Error
	if errors.As(err, &known) {
		return known
	}
	// The URL of a request holds what was asked for, which is not for the log.
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	e := &federation.Error{
		Kind: federation.Unavailable, Message: "the logs store can't be read now",
		Err: fmt.Errorf("%s at %s: %w", doing, l.config.URL.Redacted(), err),
	}
	var status statusError
	if errors.As(err, &status) && status == http.StatusGatewayTimeout {
		e.Kind, e.Message = federation.DeadlineExceeded, "the logs store ran out of time"
	}
	return e
}
