package faults

import (
	"strings"
	"testing"
)

func TestQueue(t *testing.T) {
	var q Queue[string]
	q.Add("never", 0)
	q.Add("once", 1)
	q.Add("other", 1)
	q.Add("always", -1)
	next := func(prefix string) string {
		if f := q.Next(func(f *string) bool { return strings.HasPrefix(*f, prefix) }); f != nil {
			return *f
		}
		return ""
	}
	for i, tc := range []struct{ prefix, want string }{
		{"n", ""}, {"ot", "other"}, {"", "once"}, {"", "always"}, {"", "always"}, {"once", ""},
	} {
		if got := next(tc.prefix); got != tc.want {
			t.Errorf("%d: %q, want %q", i, got, tc.want)
		}
	}
	if q.Clear(); next("") != "" {
		t.Error("a fault is left after Clear")
	}
}
