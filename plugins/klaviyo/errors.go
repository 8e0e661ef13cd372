package klaviyo

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// problem is one of the errors of an answer (JSON:API). Title and detail repeat values, so only code and
// pointer are read.
type problem struct {
	Code   string `json:"code"`
	Source struct {
		Pointer   string `json:"pointer"`
		Parameter string `json:"parameter"`
	} `json:"source"`
}

func problems(res *httpclient.Response) []problem {
	var body struct {
		Errors []problem `json:"errors"`
	}
	if res.Decode(&body) != nil || len(body.Errors) == 0 || body.Errors[0].Code == "" {
		return nil
	}
	return body.Errors
}

// partialFailure names the identifiers that Klaviyo left out of a call that it took: a telephone number
// that is none, beside an address that is fine.
const partialFailure = "X-Klaviyo-Partial-Failure"

// classify reads an answer.
func classify(res *httpclient.Response, o sdk.Outcome) sdk.Outcome {
	if res.OK() {
		if left := res.Header.Get(partialFailure); left != "" {
			return sdk.Rejected("PARTIAL_FAILURE", "Klaviyo left out an identifier of the profile that it does not take: %s", httpclient.Words(strings.Split(left, ",")))
		}
		return o
	}
	all := problems(res)
	if all == nil {
		return withoutReason(res, o)
	}
	p := all[0]
	if code := httpclient.Word(p.Code); code != "" {
		o.Code = strings.ToUpper(code)
	}
	switch {
	case res.Status == http.StatusUnauthorized:
		o.Message = "Klaviyo does not take the API key"
	case res.Status == http.StatusForbidden:
		o.Message = "the API key lacks a scope that the call needs, or the account may not make it"
	case res.Status == http.StatusTooManyRequests:
		o.Message = "the account's calls are used up for this second or minute"
	case strings.HasPrefix(p.Source.Pointer, "/data/relationships/list"), res.Status == http.StatusNotFound && strings.Contains(p.Source.Pointer, "list"):
		return listNotFound()
	case strings.EqualFold(p.Source.Parameter, "revision"), res.Status == http.StatusGone:
		o.Kind, o.Message = sdk.KindUnauthorized, "Klaviyo no longer serves the API in revision "+revision
	case res.Status == http.StatusNotFound, res.Status == http.StatusMethodNotAllowed, res.Status == http.StatusNotAcceptable, res.Status == http.StatusUnsupportedMediaType:
		o.Kind, o.Message = sdk.KindUnauthorized, "Klaviyo does not know the list or the call; are list_id and base_url right?"
	case res.Status == http.StatusConflict && p.Code == "duplicate_profile":
		o.Kind, o.Message = sdk.KindRejected, "another profile has one of the record's identifiers"
	case o.Kind == sdk.KindRejected:
		o.Message = "Klaviyo does not take the record" + pointedAt(all)
	}
	return o
}

// withoutReason is for an answer that is not one of the API's own.
func withoutReason(res *httpclient.Response, o sdk.Outcome) sdk.Outcome {
	switch {
	case res.Status == http.StatusForbidden:
		// A guard before the API answers in HTML, now and then, and lets the next call pass.
		return sdk.Throttled(o.RetryAfter, "FORBIDDEN_WITHOUT_REASON", "Klaviyo turns calls away without a reason")
	case res.Status == http.StatusNotFound || res.Status == http.StatusMethodNotAllowed || res.Status == http.StatusGone:
		o.Kind = sdk.KindUnauthorized
	}
	return o
}

// unexpected is for a success whose body is something else.
func unexpected() sdk.Outcome {
	return sdk.Retry("UNEXPECTED_ANSWER", "the answer is not one of Klaviyo's; is base_url right?")
}

func listNotFound() sdk.Outcome {
	return sdk.Unauthorized("LIST_NOT_FOUND", "the account has no list with this list_id")
}

// row is the place in a job's body that an error points at.
var row = regexp.MustCompile(`^/data/attributes/profiles/data/([0-9]{1,4})(/|$)`)

// badRows are the profiles of a refused job that are to blame, by their place. Nil means that they are not
// told.
func badRows(res *httpclient.Response, rows int) map[int]sdk.Outcome {
	if res.Status != http.StatusBadRequest {
		return nil
	}
	named := map[int][]problem{}
	for _, p := range problems(res) {
		m := row.FindStringSubmatch(p.Source.Pointer)
		if m == nil {
			return nil // something else is wrong as well
		}
		at, _ := strconv.Atoi(m[1])
		if at >= rows {
			return nil
		}
		named[at] = append(named[at], p)
	}
	if len(named) == 0 {
		return nil
	}
	bad := make(map[int]sdk.Outcome, len(named))
	for at, all := range named {
		code := strings.ToUpper(httpclient.Word(all[0].Code))
		if code == "" {
			code = "INVALID"
		}
		bad[at] = sdk.Rejected(code, "Klaviyo does not take the record%s", pointedAt(all))
	}
	return bad
}

// pointedAt lists the attributes that errors point at: the last names of their pointers.
func pointedAt(all []problem) string {
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.Source.Pointer[strings.LastIndex(p.Source.Pointer, "/")+1:]
	}
	if list := httpclient.Words(names); list != "" {
		return ": " + list
	}
	return ""
}

// identifierWord is an identifier as a code has it.
func identifierWord(c channel) string { return strings.ToUpper(c.identifier) }
