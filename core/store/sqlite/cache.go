package sqlite

import (
	"sync"

	"github.com/consentd/consentd/core/consent"
)

// maxStates bounds the cache; a decoded state has about 6 KB.
const maxStates = 1024

// stateCache holds newest states that came in lately, decoded. Most deliveries are claimed within moments of
// their update, and reading and decoding the body again would be a good part of their cost.
type stateCache struct {
	mu sync.Mutex
	of map[int64]cachedState // by citizen
}

type cachedState struct {
	version int64
	state   *consent.State
}

func (c *stateCache) put(citizen, version int64, state *consent.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[int64]cachedState{}
	}
	if _, known := c.of[citizen]; !known && len(c.of) >= maxStates {
		for any := range c.of {
			delete(c.of, any)
			break
		}
	}
	c.of[citizen] = cachedState{version, state}
}

func (c *stateCache) drop(citizen int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.of, citizen)
}

// get is nil unless the state of that very version is there.
func (c *stateCache) get(citizen, version int64) *consent.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.of[citizen]; s.version == version {
		return s.state
	}
	return nil
}
