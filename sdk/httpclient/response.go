package httpclient

import (
	"bytes"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/consentd/consentd/sdk"
)

// Response is a whole answer.
type Response struct {
	Status int
	Header http.Header
	Body   []byte

	classify func(*Response, sdk.Outcome) sdk.Outcome
	refill   time.Duration
}

// OK is whether the status is 2xx.
func (r *Response) OK() bool { return r.Status >= 200 && r.Status < 300 }

// Decode reads the body as JSON into v; numbers that land in an any are json.Number, so that no 64-bit
// id is rounded. The error is fit for sdk.FromError and quotes nothing.
func (r *Response) Decode(v any) error {
	d := json.NewDecoder(bytes.NewReader(r.Body))
	d.UseNumber()
	if d.Decode(v) != nil {
		return sdk.Retry("UNREADABLE_ANSWER", "the vendor's answer is not the JSON it should be").Err()
	}
	return nil
}

// Outcome is what the answer means for the whole call: sdk.FromResponse, corrected by Options.Classify.
func (r *Response) Outcome() sdk.Outcome {
	o := sdk.FromResponse(r.Status, r.Header)
	if r.classify != nil {
		o = r.classify(r, o)
	}
	if o.Kind == sdk.KindThrottled && o.RetryAfter == 0 {
		o.RetryAfter = r.refill
	}
	return o
}

// Err is the outcome of a call that failed, for sdk.FromError, and nil for one that did not.
func (r *Response) Err() error { return r.Outcome().Err() }

// word is a code or the name of a field, as vendors write them. Digits alone are short, so that no
// telephone number passes for one.
var word = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_.-]{0,119}|[0-9]{1,5}|0x[0-9A-Fa-f]{1,8})$`)

// Word returns s if it looks like a vendor's code or the name of a field, else "". What a vendor sends
// where its documents promise a code may still be a sentence that quotes a person.
func Word(s string) string {
	if !word.MatchString(s) {
		return ""
	}
	return s
}

// Words lists, for a message, at most ten of the names that Word lets pass.
func Words(names []string) string {
	var kept []string
	for _, n := range names {
		if Word(n) != "" && len(kept) < 10 {
			kept = append(kept, n)
		}
	}
	return strings.Join(kept, ", ")
}

// Printable is whether s is what keys and tokens are: at least one visible ASCII character, and nothing
// else. A key that was read from a file with its line end is none.
func Printable(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
