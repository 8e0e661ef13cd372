// Package mentions finds out whether a text that was not understood names somebody.
package mentions

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Any is whether a body names somebody by one of the names, as a whole word or as a JSON string however
// escaped. Bodies that were not understood may be anything.
func Any(body []byte, names []string) bool {
	for _, name := range names {
		if hasWord(body, []byte(name)) {
			return true
		}
	}
	if !bytes.ContainsRune(body, '\\') {
		return false
	}
	tokens := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for {
		token, err := tokens.ReadToken()
		if err != nil {
			return false // the end, or no JSON from here on
		}
		if token.Kind() != '"' {
			continue
		}
		for _, name := range names {
			if hasWord([]byte(token.String()), []byte(name)) {
				return true
			}
		}
	}
}

// hasWord is whether the word is in the text with no letter or digit right before or after it.
func hasWord(text, word []byte) bool {
	for len(word) > 0 {
		i := bytes.Index(text, word)
		if i < 0 {
			return false
		}
		before, _ := utf8.DecodeLastRune(text[:i])
		after, _ := utf8.DecodeRune(text[i+len(word):])
		if !wordRune(before) && !wordRune(after) {
			return true
		}
		text = text[i+1:]
	}
	return false
}

func wordRune(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
}
