package rego

import (
	"fmt"
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/parley-gateway/parley/policy"
)

// maxCachedBytes bounds about what all decisions that are kept hold, with the
// questions: some of the largest, thousands of usual ones.
const maxCachedBytes = 128 << 20

// cache keeps decisions, the latest used ones.
type cache struct {
	verdicts *lru.Cache[string, verdict]
	bytes    atomic.Int64 // of all of them
}

func newCache(entries int) (*cache, error) {
	c := &cache{}
	var err error
	c.verdicts, err = lru.NewWithEvict(entries, func(key string, v verdict) { c.bytes.Add(-int64(len(key) + v.size)) })
	if err != nil {
		return nil, fmt.Errorf("decision cache: %w", err)
	}
	return c, nil
}

func (c *cache) get(key string) (verdict, bool) { return c.verdicts.Get(key) }

func (c *cache) add(key string, v verdict) {
	if there, _ := c.verdicts.ContainsOrAdd(key, v); there {
		return
	}
	for held := c.bytes.Add(int64(len(key) + v.size)); held > maxCachedBytes; held = c.bytes.Load() {
		c.verdicts.RemoveOldest()
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
