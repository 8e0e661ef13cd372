package dispatch

import (
	"math"
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

// exhausted is whether a delivery with so many failures, the first at failingSince, has used up its budget.
func exhausted(r config.Retry, failures int, failingSince, now time.Time) bool {
	return r.MaxAttempts > 0 && failures >= r.MaxAttempts ||
		r.MaxElapsedTime > 0 && now.Sub(failingSince) >= r.MaxElapsedTime
}
