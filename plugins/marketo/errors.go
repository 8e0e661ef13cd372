package marketo

import (
	"net/http"
	"time"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// problem is an error of a call, or the reason why a row was skipped. The message repeats values.
type problem struct {
	Code string `json:"code"`
}

// problems are the errors of an answer that says of itself, with status 200, that it is a failure.
func problems(res *httpclient.Response) []problem {
	var body struct {
		Success *bool     `json:"success"`
		Errors  []problem `json:"errors"`
	}
	if res.Decode(&body) != nil || body.Success == nil || *body.Success {
		return nil
	}
	if len(body.Errors) == 0 {
		return []problem{{}}
	}
	return body.Errors
}

// expired tells an answer that means that a token is no longer taken.
func expired(res *httpclient.Response) bool {
	for _, p := range problems(res) {
		if p.Code == "601" || p.Code == "602" {
			return true
		}
	}
	return res.Status == http.StatusUnauthorized
}

// classify reads an answer. HTTP's own status says next to nothing.
func classify(res *httpclient.Response, o sdk.Outcome) sdk.Outcome {
	if all := problems(res); all != nil {
		return outcome(all[0].Code, time.Now())
	}
	if res.Status == http.StatusNotFound || res.Status == http.StatusMethodNotAllowed {
		o.Kind = sdk.KindUnauthorized // not an answer of the API's own
	}
	return o
}

// unexpected is for a success whose body is something else.
func unexpected() sdk.Outcome {
	return sdk.Retry("UNEXPECTED_ANSWER", "the answer is not one of Marketo's; is base_url right?")
}

// The codes that are decided upon elsewhere too.
const (
	notFound  = "1004"
	notInList = "1015"
)

// outcome reads a code of a call or of a row. Those below 1000 are of calls.
func outcome(code string, now time.Time) sdk.Outcome {
	named := func(kind sdk.Kind, text string) sdk.Outcome {
		if word := httpclient.Word(code); word != "" {
			return sdk.Outcome{Kind: kind, Code: "MARKETO_" + word, Message: text}
		}
		return sdk.Outcome{Kind: sdk.KindRetry, Code: "NO_CODE", Message: "Marketo reports a failure and gives no code"}
	}
	switch code {
	case "601", "602":
		return named(sdk.KindUnauthorized, "Marketo does not take the token, also after signing in again")
	case "603":
		return named(sdk.KindUnauthorized, "the API user's role lacks a permission, or calls are allowed from other addresses only")
	case "600", "605", "610", "612", "616", "703":
		return named(sdk.KindUnauthorized, "Marketo does not know the call, or the subscription may not make it; is base_url right?")
	case "606":
		o := named(sdk.KindThrottled, "more than 100 calls in 20 seconds, over all that use the subscription")
		o.RetryAfter = 20 * time.Second
		return o
	case "607":
		o := named(sdk.KindThrottled, "the subscription's calls are used up for today")
		o.RetryAfter = untilMidnight(now)
		return o
	case "615":
		return named(sdk.KindThrottled, "more than 10 calls at once, over all that use the subscription")
	case "500", "502", "604", "608", "611", "614", "713", "719", "1016", "1019", "1029":
		return named(sdk.KindRetry, "Marketo cannot do it now")
	case notFound:
		return named(sdk.KindRetry, "the lead was gone before it could be written")
	case "1006", "1011":
		return named(sdk.KindUnauthorized, "the subscription has no field by a name that the record or lookup_field gives, or it cannot be used so")
	case "1008", "1009", "1010":
		return named(sdk.KindUnauthorized, "the lead partition is not one that the API user may write to; is partition right?")
	case "1013":
		return named(sdk.KindUnauthorized, "the subscription has no list by an id that the record names")
	case "1007":
		return named(sdk.KindRejected, "several leads match")
	case "1001", "1002", "1003":
		return named(sdk.KindRejected, "Marketo does not take a value of the record")
	case "":
		return named(sdk.KindRetry, "")
	}
	return named(sdk.KindRejected, "Marketo does not take the record")
}

// untilMidnight is until calls are counted anew: midnight in US Central standard time. In summer that may
// be an hour late, and a call too early is counted for nothing.
func untilMidnight(now time.Time) time.Duration {
	central := time.FixedZone("CST", -6*60*60)
	y, m, d := now.In(central).Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, central).Sub(now)
}

// reason is the outcome of a row that was skipped.
func (r result) reason(now time.Time) sdk.Outcome {
	reasons, _ := r["reasons"].([]any)
	for _, one := range reasons {
		entry, _ := one.(map[string]any)
		if code, _ := entry["code"].(string); code != "" {
			return outcome(code, now)
		}
	}
	return outcome("", now)
}
