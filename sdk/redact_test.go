package sdk

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRedact(t *testing.T) {
	for _, c := range []struct{ text, fields, want string }{
		{"Ann Lee <ann@example.com> is in compliance state", `{"name":"Ann Lee"}`, "[redacted] <[redacted]> is in compliance state"},
		{"abcdef and abcd", `{"a":"abcd","b":"abcdef"}`, "[redacted] and [redacted]"},
		{"abcdef", `{"a":"abcd","b":"cdef"}`, "[redacted]"},
		{"aaaaaa!", `{"a":"aaaa"}`, "[redacted]!"},
		{"deep: value one", `{"a":[{"b":"value one"}]}`, "deep: [redacted]"},
		{"short: abc", `{"a":"abc"}`, "short: abc"},
		{"mail%40example.com", `{}`, "[redacted]"},
		{"nothing here", `not JSON`, "nothing here"},
		{"no fields", ``, "no fields"},
	} {
		if got := Redact(c.text, json.RawMessage(c.fields)); got != c.want {
			t.Errorf("%q without %s: %q, want %q", c.text, c.fields, got, c.want)
		}
	}
}

// Whatever the values are and wherever they stand in the text, none is left.
func TestRedactLeavesNoValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// A small alphabet without the letters of the replacement makes values overlap.
		values := rapid.SliceOfN(rapid.StringMatching(`[xyzé ]{4,8}`), 1, 4).Draw(t, "values")
		parts := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(values), rapid.StringMatching(`[xyz ,;!]{0,3}`)), 0, 8).Draw(t, "parts")
		fields, err := json.Marshal(map[string]any{"list": values, "deep": map[string]any{"one": values[0]}})
		if err != nil {
			t.Fatal(err)
		}
		got := Redact(strings.Join(parts, ""), fields)
		for _, v := range values {
			if strings.Contains(got, v) {
				t.Fatalf("%q is left in %q", v, got)
			}
		}
	})
}

func TestRedactLeavesNoAddress(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		address := rapid.StringMatching(`[a-z0-9._+-]{1,12}@[a-z0-9-]{1,10}(\.[a-z]{2,6}){1,2}`).Draw(t, "address")
		before := rapid.SampledFrom([]string{"", "for ", "<", "email=", `"`, "(", "x:"}).Draw(t, "before")
		after := rapid.SampledFrom([]string{"", " failed", ">", "&x=1", `"`, ")", ", try again"}).Draw(t, "after")
		for _, form := range []string{address, strings.Replace(address, "@", "%40", 1)} {
			if got := Redact(before+form+after, nil); strings.Contains(got, form) {
				t.Fatalf("%q is left in %q", form, got)
			}
		}
	})
}
