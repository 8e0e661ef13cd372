package sdk

import (
	"encoding/json"
	"regexp"
	"strings"
)

const redacted = "[redacted]"

// email is wide on purpose: a word too many is cut rather than an address too few.
var email = regexp.MustCompile(`[^\s"'<>(),;:=/]+(@|%40)[^\s"'<>(),;:/]+`)

// Redact cuts from text every string value of at least four bytes in the JSON given, and everything
// that looks like an e-mail address. Vendors' error texts like to repeat both.
func Redact(text string, fields json.RawMessage) string {
	var v any
	if len(fields) > 0 && decodeExact(fields, &v) == nil {
		text = cut(text, stringsIn(v, nil))
	}
	return email.ReplaceAllString(text, redacted)
}

// cut replaces every stretch of text that values cover. Values may overlap and contain one another, so
// all are found before any is cut: cutting the shorter first would leave the rest of the longer.
func cut(text string, values []string) string {
	covered := make([]bool, len(text))
	found := false
	for _, value := range values {
		if len(value) < 4 {
			continue
		}
		for from := 0; ; {
			at := strings.Index(text[from:], value)
			if at < 0 {
				break
			}
			found = true
			for i := from + at; i < from+at+len(value); i++ {
				covered[i] = true
			}
			from += at + 1
		}
	}
	if !found {
		return text
	}
	var out strings.Builder
	for i := range len(text) {
		switch {
		case !covered[i]:
			out.WriteByte(text[i])
		case i == 0 || !covered[i-1]:
			out.WriteString(redacted)
		}
	}
	return out.String()
}

// stringsIn appends the strings in a decoded JSON value to found.
func stringsIn(v any, found []string) []string {
	switch v := v.(type) {
	case string:
		found = append(found, v)
	case []any:
		for _, e := range v {
			found = stringsIn(e, found)
		}
	case map[string]any:
		for _, e := range v {
			found = stringsIn(e, found)
		}
	}
	return found
}

// secretsIn collects the strings of sensitive attributes in a configuration of the shape given.
func secretsIn(shape Schema, fields json.RawMessage) []string {
	var v map[string]any
	if decodeExact(fields, &v) != nil {
		return nil
	}
	return collectSecrets(shape, v, nil)
}

func collectSecrets(shape Schema, fields map[string]any, found []string) []string {
	for name, a := range shape.Attributes {
		if a.Sensitive {
			found = stringsIn(fields[name], found)
		}
	}
	for name, b := range shape.Blocks {
		switch v := fields[name].(type) {
		case map[string]any:
			found = collectSecrets(b.Body, v, found)
		case []any:
			for _, e := range v {
				if one, ok := e.(map[string]any); ok {
					found = collectSecrets(b.Body, one, found)
				}
			}
		}
	}
	return found
}
