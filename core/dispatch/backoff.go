package dispatch

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/consentd/consentd/core/config"
)

// delay is how long to wait after the given number of earlier failures, with jitter.
func delay(r config.Retry, failures int) time.Duration {
	b := backoff.NewExponentialBackOff()
	grown := float64(r.InitialInterval) * math.Pow(r.Multiplier, float64(failures))
	b.InitialInterval = time.Duration(min(grown, float64(r.MaxInterval)))
	b.MaxInterval = r.MaxInterval
	b.RandomizationFactor = r.Jitter
	b.MaxElapsedTime = 0
	b.Reset()
	return b.NextBackOff()
}

// fullJitter is how long to wait after the given number of earlier throttles: anything up to what the
// back-off has grown to, so that those who were throttled together come back spread out. A quarter of the first
// interval is the least, or it would be no wait.
func fullJitter(r config.Retry, failures int) time.Duration {
	r.Jitter = 0
	least := r.InitialInterval / 4
	return least + rand.N(delay(r, failures)-least+1)
}

// named is the wait that a vendor named and a little more, a tenth within bounds, as it names the same one to
// everybody.
func named(wait time.Duration) time.Duration {
	if wait <= 0 {
		return 0
	}
	return wait + rand.N(min(max(wait/10, time.Second), 30*time.Second))
}

// exhausted is whether a delivery with so many failures, the first at failingSince, has used up its budget.
func exhausted(r config.Retry, failures int, failingSince, now time.Time) bool {
	return r.MaxAttempts > 0 && failures >= r.MaxAttempts ||
		r.MaxElapsedTime > 0 && now.Sub(failingSince) >= r.MaxElapsedTime
}
