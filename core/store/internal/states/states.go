// Package states keeps the newest states of citizens decoded.
package states

import (
	"sync"

	"github.com/consentd/consentd/core/consent"
)

// maximum bounds the cache; a decoded state has about 6 KB.
const maximum = 1024

// Cache holds newest states that came in lately, decoded. Most deliveries are claimed within moments of
// their update, and reading and decoding the body again would be a good part of their cost.
type Cache struct {
	mu sync.Mutex
	of map[int64]State // by citizen
}

// State is the one of a version.
type State struct {
	Version int64
	State   *consent.State
}

// Put keeps a state, at the cost of any other.
func (c *Cache) Put(citizen int64, state State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[int64]State{}
	}
	if _, known := c.of[citizen]; !known && len(c.of) >= maximum {
		for any := range c.of {
			delete(c.of, any)
			break
		}
	}
	c.of[citizen] = state
}

// Drop forgets a citizen.
func (c *Cache) Drop(citizen int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.of, citizen)
}

// Get is nil unless the state of that very version is there.
func (c *Cache) Get(citizen, version int64) *consent.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.of[citizen]; s.Version == version {
		return s.State
	}
	return nil
}
