package rego

import (
	"fmt"
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/policy"
)

// maxCachedBytes bounds about what all that a cache keeps holds, with its keys:
// some of the largest, thousands of usual ones.
const maxCachedBytes = 128 << 20

// cache keeps what was decided or translated, the latest used, by what it depends
// on.
type cache[V interface{ bytes() int }] struct {
	entries *lru.Cache[string, V]
	held    atomic.Int64 // bytes of all of them
}

func newCache[V interface{ bytes() int }](entries int) (*cache[V], error) {
	c := &cache[V]{}
	var err error
	c.entries, err = lru.NewWithEvict(entries, func(key string, v V) { c.held.Add(-int64(len(key) + v.bytes())) })
	if err != nil {
		return nil, fmt.Errorf("cache of %T: %w", *new(V), err)
	}
	return c, nil
}

func (c *cache[V]) get(key string) (V, bool) { return c.entries.Get(key) }

func (c *cache[V]) add(key string, v V) {
	if there, _ := c.entries.ContainsOrAdd(key, v); there {
		return
	}
	for held := c.held.Add(int64(len(key) + v.bytes())); held > maxCachedBytes; held = c.held.Load() {
		c.entries.RemoveOldest()
	}
}

// matcherBytes is about what a matcher takes beside its name and value; as a pattern
// it takes several times its text.
const (
	matcherBytes = 100
	patternTimes = 4
)

// selectorBytes is about how many bytes selectors take.
func selectorBytes(list []policy.Selector) int {
	bytes := 0
	for _, s := range list {
		for _, m := range s {
			text := len(m.Value)
			if m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp {
				text *= patternTimes
			}
			bytes += matcherBytes + len(m.Name) + text
		}
	}
	return bytes
}
