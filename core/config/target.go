package config

import (
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// maxGrants is the most that max_grants may be. What counts for a fuse is in memory.
const maxGrants = 10_000_000

// fuse is how many grants a target takes within an hour that says nothing of it.
func (p *parser) fuse(r *reader) int {
	if r == nil {
		return 0
	}
	defer r.done()
	return r.integer("max_grants", 0, 0, maxGrants)
}

func (p *parser) targets(c *Config, found []*reader, base Retry, fuse int) {
	for _, r := range found {
		p.identifier(r, 1)
		t := Target{
			Type: r.labels[0], Name: r.labels[1],
			MaxInFlight: r.integer("max_in_flight", 0, 1, 1000),
			Timeout:     r.duration("timeout", 30*time.Second, time.Millisecond, time.Hour),
			RateLimit:   p.rate(r, "rate_limit"),
			MaxGrants:   r.integer("max_grants", fuse, 0, maxGrants),
			Retry:       p.retry(r.single("retry"), base),
			Range:       r.header, typeRange: r.labelRanges[0],
			config: &hclsyntax.Body{Attributes: hclsyntax.Attributes{}}, configRange: r.header,
		}
		t.Erase, t.EraseRange = r.boolean("erase")
		if block := r.single("config"); block != nil {
			t.config, t.configRange = block.body, block.header
		}
		r.done()
		if p.first("target", t.Name, r.header) {
			c.Targets = append(c.Targets, t)
		}
	}
}

func (p *parser) rate(r *reader, name string) float64 {
	t := r.text(name)
	if !t.set {
		return 0
	}
	rate, err := parseRate(t.string)
	if err != nil {
		r.error(t.at, "Not a rate", "In %s, %q cannot be %s. %s", r.what, name, t.shown(), rateForm)
	}
	return rate
}
