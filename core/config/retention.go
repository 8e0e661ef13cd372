package config

import (
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
)

// What is kept in the store, how long, and how it is sealed.

func (p *parser) retention(c *Config, r *reader) {
	c.Retention = Retention{Quarantine: 90 * 24 * time.Hour}
	if r == nil {
		return
	}
	c.Retention.Receipts = r.durationOrNone("receipts", c.Retention.Receipts)
	c.Retention.Quarantine = r.durationOrNone("quarantine", c.Retention.Quarantine)
	r.done()
}

// durationOrNone is a duration of a minute and more, or "0" for ever.
func (r *reader) durationOrNone(name string, fallback time.Duration) time.Duration {
	d := r.duration(name, fallback, 0, long)
	if d > 0 && d < time.Minute {
		r.error(r.body.Attributes[name].Expr.Range(), "Duration out of range", "In %s, %q must be at least \"1m\". Write \"0\" to keep for ever.", r.what, name)
	}
	return d
}

const makeKey = "Make one with: openssl rand -base64 32"

func (p *parser) encryption(c *Config, r *reader) {
	if r == nil {
		return
	}
	all, at := r.texts("keys")
	if r.absent("keys") {
		r.error(r.header, "Missing attribute", "In %s, %q is missing. Add keys = [env(\"CONSENTD_KEY\")]. %s.", r.what, "keys", makeKey)
	}
	var places []hcl.Range
	for n, t := range all {
		if t.string == "" {
			continue // env(NAME, ""): a key that may be missing
		}
		key, ok := parseKey(t.string)
		if !ok {
			r.error(t.at, "Not an encryption key", "In %s, the entry %d of %q is not 32 bytes in base64 or hex. %s.", r.what, n+1, "keys", makeKey)
			continue
		}
		if before := slices.IndexFunc(c.Encryption.Keys, func(k []byte) bool { return slices.Equal(k, key) }); before >= 0 {
			r.error(t.at, "Same key twice", "In %s, this is the key that is already at %s. Remove one of the two; to change keys, put the new one first and the old one after it.", r.what, place(places[before]))
			continue
		}
		c.Encryption.Keys, places = append(c.Encryption.Keys, key), append(places, t.at)
	}
	if len(c.Encryption.Keys) == 0 && !r.absent("keys") && !p.failedAt(at) {
		r.error(at, "No key is left", "In %s, every entry of %q is empty, so nothing would be sealed. Set the variable, or remove the block to keep the store in clear. %s.", r.what, "keys", makeKey)
	}
	r.done()
}

// parseKey reads 32 bytes in hex, or in base64 of either alphabet, padded or not.
func parseKey(s string) ([]byte, bool) {
	s = strings.TrimSpace(s)
	if key, err := hex.DecodeString(s); err == nil && len(key) == 32 {
		return key, true
	}
	s = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(s, "="))
	key, err := base64.RawStdEncoding.DecodeString(s)
	return key, err == nil && len(key) == 32
}
