package sdk

import (
	"encoding/json"
	"regexp"
	"strings"
)

const redacted = "[redacted]"

// email is wide on purpose: a word too many is cut rather than an address too few.
var email = regexp.MustCompile(`[^\s"'<>(),;:=/]+(@|%40)[^\s"'<>(),;:/]+`)

// Redact cuts from text every string value of at least four characters in the JSON given, and
// everything that looks like an e-mail address. Vendors' error texts like to repeat both.
func Redact(text string, fields json.RawMessage) string {
	var v any
	if len(fields) > 0 && decodeExact(fields, &v) == nil {
		text = redactValue(text, v)
	}
	return email.ReplaceAllString(text, redacted)
}

func redactValue(text string, v any) string {
	switch v := v.(type) {
	case string:
		if len(v) >= 4 {
			text = strings.ReplaceAll(text, v, redacted)
		}
	case []any:
		for _, e := range v {
			text = redactValue(text, e)
		}
	case map[string]any:
		for _, e := range v {
			text = redactValue(text, e)
		}
	}
	return text
}
