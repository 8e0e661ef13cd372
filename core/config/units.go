package config

import (
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	durationForm = `Write a number and a unit: "500ms", "30s", "10m", "72h" or "90d"; "0" is none.`
	sizeForm     = `Write a number and a unit: "512KiB", "1MiB", "2GiB", or a plain number of bytes.`
	rateForm     = `Write a number per second, minute, hour or day: "10/s", "600/m", "5000/h", "100000/d".`
)

var errForm = errors.New("not in the form")

// ParseDuration reads a duration as the configuration has it: "90m", "2h", "1d12h".
func ParseDuration(s string) (time.Duration, error) { return parseDuration(s) }

var days = regexp.MustCompile(`^(\d+(?:\.\d+)?)d`)

// parseDuration is time.ParseDuration that knows days, and nothing negative.
func parseDuration(s string) (time.Duration, error) {
	var total time.Duration
	if m := days.FindStringSubmatch(s); m != nil {
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil || n > math.MaxInt64/float64(24*time.Hour) {
			return 0, errForm
		}
		total = time.Duration(n * float64(24*time.Hour))
		if s = s[len(m[0]):]; s == "" {
			return total, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || strings.HasPrefix(s, "+") || strings.HasPrefix(s, "-") || total > math.MaxInt64-d {
		return 0, errForm
	}
	return total + d, nil
}

var sizes = map[string]float64{
	"": 1, "B": 1,
	"KB": 1e3, "MB": 1e6, "GB": 1e9,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
}

var quantity = regexp.MustCompile(`^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$`)

// parseSize reads a number of bytes.
func parseSize(s string) (int64, error) {
	m := quantity.FindStringSubmatch(s)
	if m == nil {
		return 0, errForm
	}
	unit, ok := sizes[m[2]]
	n, err := strconv.ParseFloat(m[1], 64)
	if !ok || err != nil || n*unit > 1<<53 {
		return 0, errForm
	}
	return int64(n * unit), nil
}

var periods = map[string]float64{"s": 1, "m": 60, "h": 3600, "d": 86400}

// parseRate reads a rate as a number per second.
func parseRate(s string) (float64, error) {
	count, period, ok := strings.Cut(s, "/")
	n, err := strconv.ParseFloat(strings.TrimSpace(count), 64)
	seconds := periods[strings.TrimSpace(period)]
	if !ok || err != nil || seconds == 0 || !(n > 0) || math.IsInf(n, 0) {
		return 0, errForm
	}
	return n / seconds, nil
}

// formatDuration writes whole days with d, and leaves out what is zero.
func formatDuration(d time.Duration) string {
	if d >= 24*time.Hour && d%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
