package config

import (
	"fmt"
	"time"
)

// The bounds of what store "postgres" may be set to. The store has its own defaults.
const (
	leastConnections = 6
	mostConnections  = 1000
	leastLease       = 3 * time.Second
	mostLease        = time.Hour
)

// Format keeps the password out of whatever prints a Config.
func (s Store) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "{%s %s %s}", s.Type, s.Path, hidden) }

// postgres reads store "postgres". Whether the dsn can be read the store itself says.
func (p *parser) postgres(c *Config, r *reader) {
	c.Store = Store{Type: "postgres"}
	dsn := r.need("dsn", `env("CONSENTD_DSN")`)
	c.Store.DSN, c.DSNRange = dsn.string, dsn.at
	c.Store.MaxConnections = r.integer("max_connections", 0, leastConnections, mostConnections)
	c.Store.Lease = r.duration("lease", 0, leastLease, mostLease)
	r.done()
}
