package console

import (
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
)

// functions are what templates can call. Numbers come with their units.
var functions = template.FuncMap{
	"ago":     ago,
	"span":    func(d time.Duration) string { return long(d) },
	"seconds": seconds,
	"rate":    perSecond,
	"count":   count,
	"bytes":   bytesOf,
	"short":   func(s string) string { return s[:min(len(s), 12)] },
	"stamp":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"until":   until,
	"json":    pretty,
	"list":    func(all ...any) []any { return all },
	"plural":  plural,
	"join":    strings.Join,
	"tone":    toneOf,
	"zero":    func(t *time.Time) bool { return t == nil || t.IsZero() },
}

// long is a span in its two largest units.
func long(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return pair(int(d.Minutes()), "min", int(d.Seconds())%60, "s")
	case d < 24*time.Hour:
		return pair(int(d.Hours()), "h", int(d.Minutes())%60, "min")
	}
	return pair(int(d.Hours())/24, "d", int(d.Hours())%24, "h")
}

func pair(n int, unit string, m int, smaller string) string {
	if m == 0 {
		return fmt.Sprintf("%d %s", n, unit)
	}
	return fmt.Sprintf("%d %s %d %s", n, unit, m, smaller)
}

// ago is of a time or of a pointer to one.
func ago(t any, now time.Time) string {
	at, ok := instant(t)
	if !ok {
		return "never"
	}
	if d := now.Sub(at); d >= time.Second {
		return long(d) + " ago"
	}
	return "just now"
}

func until(t any, now time.Time) string {
	at, ok := instant(t)
	if !ok {
		return "on demand"
	}
	if d := at.Sub(now); d >= time.Second {
		return "in " + long(d)
	}
	return "now"
}

func instant(t any) (time.Time, bool) {
	switch t := t.(type) {
	case time.Time:
		return t, !t.IsZero()
	case *time.Time:
		if t != nil {
			return *t, !t.IsZero()
		}
	}
	return time.Time{}, false
}

// seconds is a duration that may be short; below zero there is none.
func seconds(s float64) string {
	switch {
	case s < 0 || math.IsNaN(s):
		return "–"
	case s < 0.0095:
		return fmt.Sprintf("%.1f ms", s*1e3)
	case s < 0.9995:
		return fmt.Sprintf("%.0f ms", s*1e3)
	case s < 10:
		return fmt.Sprintf("%.1f s", s)
	}
	return long(time.Duration(s * float64(time.Second)))
}

func perSecond(r float64) string {
	switch {
	case r == 0:
		return "0/s"
	case r < 9.95:
		return fmt.Sprintf("%.1f/s", r)
	}
	return count(int64(math.Round(r))) + "/s"
}

// count groups digits by three, with a narrow space that does not break.
func count(n any) string {
	var digits string
	switch n := n.(type) {
	case int64:
		digits = strconv.FormatInt(n, 10)
	case int:
		digits = strconv.Itoa(n)
	case uint64:
		digits = strconv.FormatUint(n, 10)
	}
	var grouped strings.Builder
	for i, d := range digits {
		if rest := len(digits) - i; i > 0 && rest%3 == 0 && digits[i-1] != '-' {
			grouped.WriteRune('\u202f')
		}
		grouped.WriteRune(d)
	}
	return grouped.String()
}

func bytesOf(n float64) string {
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if n < 1024 || unit == "GiB" {
			if n < 10 && unit != "B" {
				return fmt.Sprintf("%.1f %s", n, unit)
			}
			return fmt.Sprintf("%.0f %s", n, unit)
		}
		n /= 1024
	}
	return ""
}

func plural(n any, one, many string) string {
	if s := count(n); s != "1" {
		return s + " " + many
	}
	return "1 " + one
}

// pretty indents JSON; what is none stays as it is.
func pretty(text []byte) string {
	var v any
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	if d.Decode(&v) != nil || d.More() {
		return string(text)
	}
	var out strings.Builder
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if e.Encode(v) != nil {
		return string(text)
	}
	return strings.TrimSpace(out.String())
}

// toneOf is how a word of the API is shown: ok, wait, bad or idle. Beside it there is always the word.
func toneOf(word string) string {
	switch word {
	case "running", "settled", "delivered", "unchanged", "accepted":
		return "ok"
	case "pending", "throttled", "backing off", "paused", "superseded", "duplicate", "retry":
		return "wait"
	case "unauthorized", "down", "failing", "store", "dead", "rejected", "quarantined", "not in the configuration":
		return "bad"
	}
	return "idle"
}
