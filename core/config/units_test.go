package config

import (
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	day := 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "500ms": 500 * time.Millisecond, "30s": 30 * time.Second, "1h30m": 90 * time.Minute, "72h": 3 * day,
		"90d": 90 * day, "1d12h": 36 * time.Hour, "0.5d": 12 * time.Hour, "0d": 0,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "10", "d", "-1h", "+1h", "1d-1h", "1 h", "1w", "12h1d", "999999999999d", "106751d24h", "1e3d"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "512": 512, "512B": 512, "1KiB": 1024, "1.5MiB": 3 << 19, "1MiB": 1 << 20, "2GiB": 2 << 30, "1MB": 1e6, "64 KiB": 64 << 10,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1MiB", "1mib", "1M", "1e3", "1TiB", "99999999999GiB"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]float64{"10/s": 10, "600/m": 10, "0.5/s": 0.5, "7200/h": 2, "86400/d": 1, "10 / s": 10} {
		if got, err := parseRate(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "10", "/s", "10/", "10/week", "0/s", "-1/s", "inf/s", "nan/s", "10/s/s"} {
		if got, err := parseRate(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"1h": time.Hour, "10m": 10 * time.Minute, "1h30m": 90 * time.Minute, "30s": 30 * time.Second, "3d": 72 * time.Hour, "1ms": time.Millisecond, "0s": 0,
		"1m30s": 90 * time.Second, "25h": 25 * time.Hour,
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
