package logs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// A span is read in slices: short ones first, so that there is soon something
// to give, and none longer than a server accepts (max_query_length, by default
// 721 hours) or can search while a client waits. After a full page the next is
// asked of the time that fills it, if entries go on as they did: a Loki looks at
// several hours at once, and when the first has all that is wanted it breaks off
// the others, after which what it broke off with rests for half a second.
const (
	firstSlice = time.Hour
	minSlice   = time.Second
	maxSlice   = 24 * time.Hour
)

// pages reads the entries of one stream selector, a page at a time.
type pages struct {
	loki       *Loki
	selection  selection
	query      string
	start, end int64         // what is left to be read, Unix nanoseconds
	slice      time.Duration // how much of it is asked for next
	limit      int           // entries in the next page
	most       int           // entries in any
	alone      bool          // no others are read beside it
	page       []rawEntry    // read and not given yet, in the order of the selection
	// ahead gives the next page, which is being read: until then what is above
	// belongs to who reads it, but for page. Nil: none is.
	ahead chan readPage
}

// readPage is a page, or why there is none.
type readPage struct {
	entries []rawEntry
	err     error
	// crowded says that a page had no place for all entries of one moment, which
	// has to be read in another way.
	crowded bool
	at      int64
}

// leastPage is how many entries are asked for at first where few are wanted.
const leastPage = 100

func (l *Loki) pages(s selection, selector string) *pages {
	p := &pages{
		loki: l, selection: s, query: queryText(selector, s), start: s.start, end: s.end, slice: firstSlice,
		limit: l.config.PageEntries, most: l.config.PageEntries,
	}
	if s.wanted > 0 {
		// Those of the last moment of a page are left for the next one, and the view
		// waits for one of another moment.
		p.limit = min(max(s.wanted+2, leastPage), p.limit)
	}
	return p
}

// fill reads until there is an entry to give, if there still is any. If all
// entries are wanted, and of these pages alone, the next page is read meanwhile: done has to be called.
func (p *pages) fill(ctx context.Context) error {
	for len(p.page) == 0 {
		var read readPage
		switch {
		case p.ahead != nil:
			read = <-p.ahead
			p.ahead = nil
		case p.start < p.end:
			read = p.read(ctx)
		default:
			return nil
		}
		if read.crowded {
			read.entries, read.err = p.moment(ctx, read.at)
		}
		if read.err != nil {
			return read.err
		}
		p.page = read.entries
		if p.alone && p.selection.wanted == 0 && p.start < p.end {
			ahead := make(chan readPage, 1)
			go func() { ahead <- p.read(ctx) }()
			p.ahead = ahead
		}
	}
	return nil
}

// done waits for a page that is being read with a context that has ended.
func (p *pages) done() {
	if p.ahead != nil {
		<-p.ahead
	}
}

func (p *pages) pop() rawEntry {
	e := p.page[0]
	p.page = p.page[1:]
	return e
}

// before says whether an entry of time a comes before one of time b.
func (p *pages) before(a, b int64) bool {
	if p.selection.backward {
		return a > b
	}
	return a < b
}

// read asks for the next page. One that is full may lack entries that have the
// time of its last, so all of those are left for the next. There may be none in
// it though there are more pages.
func (p *pages) read(ctx context.Context) (read readPage) {
	// A defect that one page meets is an error of its question.
	defer func() {
		if cause := recover(); cause != nil {
			read = readPage{err: fmt.Errorf("panic: %v\n%s", cause, debug.Stack())}
		}
	}()
	start, end := p.start, after(p.start, p.slice, p.end)
	if p.selection.backward {
		start, end = before(p.end, p.slice, p.start), p.end
	}
	page, err := p.loki.queryRange(ctx, rangeQuery{query: p.query, start: start, end: end, limit: p.limit, backward: p.selection.backward})
	if errors.Is(err, errTooLong) && p.limit > 1 {
		p.limit = max(1, p.limit/4) // long lines: fewer at once
		p.most = p.limit
		return readPage{}
	}
	if err != nil {
		return readPage{err: err}
	}
	p.sort(page)
	if len(page) < p.limit {
		if p.selection.backward {
			p.end = start
		} else {
			p.start = end
		}
		p.slice = min(2*p.slice, maxSlice)
	} else {
		last := page[len(page)-1].at
		page = page[:slices.IndexFunc(page, func(e rawEntry) bool { return e.at == last })]
		if len(page) == 0 && p.limit < p.most {
			p.limit = min(4*p.limit, p.most)
			return readPage{}
		}
		if len(page) == 0 {
			if p.selection.backward {
				p.end = last
			} else {
				p.start = last + 1
			}
			return readPage{crowded: true, at: last}
		}
		filled := time.Duration(last - start)
		if p.selection.backward {
			filled = time.Duration(end - last)
			p.end = last + 1
		} else {
			p.start = last
		}
		p.most = min(2*p.most, p.loki.config.PageEntries) // lines needn't all be long
		more := min(4*p.limit, p.most)                    // it wasn't enough
		p.slice = min(max(filled/time.Duration(p.limit)*time.Duration(more), minSlice), p.slice)
		p.limit = more
	}
	return readPage{entries: slices.DeleteFunc(page, func(e rawEntry) bool { return !p.selection.matches(e.stream) })}
}

// sort puts entries in the order of the selection.
func (p *pages) sort(page []rawEntry) {
	slices.SortFunc(page, func(a, b rawEntry) int {
		order := cmp.Or(cmp.Compare(a.at, b.at), labels.Compare(a.stream, b.stream), labels.Compare(a.metadata, b.metadata), cmp.Compare(a.line, b.line))
		if p.selection.backward {
			return -order
		}
		return order
	})
}

// maxCrowded is how many streams are asked for one by one.
const maxCrowded = 1000

// moment reads the entries of one moment stream by stream, those that whoever
// asks has no use for left out: how many they are is not to show.
func (p *pages) moment(ctx context.Context, at int64) ([]rawEntry, error) {
	found := map[string]labels.Labels{}
	begin := time.Unix(0, at).UTC().Truncate(time.Millisecond)
	if err := p.loki.series(ctx, p.selection, begin, begin.Add(time.Millisecond), found); err != nil {
		return nil, err
	}
	var names []string
	var streams []labels.Labels
	for _, stream := range found {
		stream.Range(func(l labels.Label) { names = append(names, l.Name) })
		if p.selection.held(stream) {
			streams = append(streams, stream)
		}
	}
	names = compacted(names)
	if len(streams) > maxCrowded {
		return nil, fmt.Errorf("more than %d streams have entries at one nanosecond, and more than are asked for at once", maxCrowded)
	}
	var all []rawEntry
	for _, stream := range streams {
		// A selector of its labels alone is also of streams that have others.
		var only []*labels.Matcher
		for _, name := range names {
			only = append(only, labels.MustNewMatcher(labels.MatchEqual, name, stream.Get(name)))
		}
		query := queryText(selectorText(pushable(only)), p.selection)
		entries, err := p.loki.queryRange(ctx, rangeQuery{query: query, start: at, end: at + 1, limit: p.loki.config.PageEntries, backward: p.selection.backward})
		if err != nil {
			return nil, err
		}
		if len(entries) == p.loki.config.PageEntries {
			return nil, fmt.Errorf("a stream may have more entries at one nanosecond than the %d that are asked for at once", len(entries))
		}
		all = append(all, slices.DeleteFunc(entries, func(e rawEntry) bool { return !labels.Equal(e.stream, stream) })...)
	}
	p.sort(all)
	return all, nil
}

// after is d after t, or limit if that is sooner.
func after(t int64, d time.Duration, limit int64) int64 {
	if uint64(limit)-uint64(t) <= uint64(d) { // a difference may be more than an int64 holds
		return limit
	}
	return t + int64(d)
}

// before is d before t, or limit if that is later.
func before(t int64, d time.Duration, limit int64) int64 {
	if uint64(t)-uint64(limit) <= uint64(d) {
		return limit
	}
	return t - int64(d)
}
