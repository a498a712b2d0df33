package rego

import (
	"fmt"
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"
)

// maxCachedValues bounds the values of all decisions that are kept: ten of the
// largest, thousands of usual ones.
const maxCachedValues = 10 * maxValues

// cache keeps decisions, the latest used ones.
type cache struct {
	verdicts *lru.Cache[string, verdict]
	values   atomic.Int64 // of all of them
}

func newCache(entries int) (*cache, error) {
	c := &cache{}
	var err error
	c.verdicts, err = lru.NewWithEvict(entries, func(_ string, v verdict) { c.values.Add(-int64(v.values)) })
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
	for held := c.values.Add(int64(v.values)); held > maxCachedValues; held = c.values.Load() {
		c.verdicts.RemoveOldest()
	}
}
