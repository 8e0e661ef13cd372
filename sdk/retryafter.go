package sdk

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxRetryAfter is the longest wait that is believed. Vendors' daily quotas end within it.
const MaxRetryAfter = 24 * time.Hour

// epochFrom is where a number stops being a plausible wait and starts being a Unix time: 2001-09-09.
const epochFrom = 1e9

// RetryAfter reads how long to wait from a header value in any form that vendors use: seconds, with
// or without a fraction, a Unix time in seconds, or an HTTP date (RFC 9110, 10.2.3). What is missing,
// malformed or in the past is zero, and said tells whether the value could be read at all. Longer
// waits than MaxRetryAfter are cut to it.
func RetryAfter(value string, now time.Time) (wait time.Duration, said bool) {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0, false
	}
	if n, err := strconv.ParseFloat(value, 64); err == nil {
		if math.IsNaN(n) || math.IsInf(n, 0) {
			return 0, false
		}
		if n >= epochFrom {
			n -= float64(now.UnixMilli()) / 1000
		}
		return clampWait(n), true
	}
	if at, err := http.ParseTime(value); err == nil {
		return clampWait(at.Sub(now).Seconds()), true
	}
	return 0, false
}

func clampWait(seconds float64) time.Duration {
	switch {
	case seconds <= 0:
		return 0
	case seconds >= MaxRetryAfter.Seconds():
		return MaxRetryAfter
	}
	return time.Duration(seconds * float64(time.Second))
}
