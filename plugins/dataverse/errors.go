package dataverse

import (
	"cmp"
	"net/http"
	"regexp"
	"strings"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// apiError is the one shape of the Web API's errors. The code is often a number of the web service error
// codes in hexadecimal, often 0x0 or empty.
type apiError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func readError(res *httpclient.Response) (apiError, bool) {
	var answer struct {
		Error *apiError `json:"error"`
	}
	if res.Decode(&answer) != nil || answer.Error == nil {
		return apiError{}, false
	}
	return *answer.Error, true
}

// named finds the name of a column or table in a message; messages may also quote values, so only what
// stands after these words is taken.
var named = regexp.MustCompile(`(?i)(?:property|property named|segment|attribute|length of the) '([A-Za-z_][A-Za-z0-9_.@]{0,119})'`)

// unknownName is how messages say that something is not there, whatever their code: it differs between
// versions.
var unknownName = regexp.MustCompile(`(?i)(could not find a property named|invalid property '|undeclared property '|does not exist on type|resource not found for the segment|key in the request uri is not valid|key attributes are not a defined key|no http resource was found)`)

// outcome reads one error. Dataverse's own message often repeats what was sent, so of it only the name
// of a column is passed on.
func (e apiError) outcome(byStatus sdk.Outcome) sdk.Outcome {
	kind, text := e.meaning(byStatus.Kind)
	if m := named.FindStringSubmatch(e.Message); m != nil {
		if name := httpclient.Word(m[1]); name != "" {
			text += " (" + name + ")"
		}
	}
	code := httpclient.Word(e.Code)
	if code == "0x0" {
		code = ""
	}
	return sdk.Outcome{Kind: kind, Code: cmp.Or(code, byStatus.Code), Message: text, RetryAfter: byStatus.RetryAfter}
}

// meaning sorts the codes of the web service error codes. What is not named here is by its status; a 400
// is about the record.
func (e apiError) meaning(byStatus sdk.Kind) (sdk.Kind, string) {
	switch strings.ToLower(e.Code) {
	case "0x80072321", "0x80072322", "0x80072326":
		return sdk.KindThrottled, "the service protection limits are reached"
	case "0x80044150", "0x80044151", "0x80040216":
		return sdk.KindRetry, "Dataverse failed, or its database is busy"
	case "0x80060882":
		return sdk.KindRetry, "another write of the row came first"
	case "0x80040217", "0x80060891":
		return sdk.KindRejected, "a row is not there"
	case "0x80060892", "0x80040237", "0x80040333":
		return sdk.KindRejected, "another row has a value that must be unique"
	case "0x80040265":
		return sdk.KindRejected, "a plug-in or flow of the environment refused the row"
	case "0x80040220", "0x80048306", "0x80040221":
		return sdk.KindUnauthorized, "the application user lacks a privilege: give it a security role that has it"
	case "0x80072560":
		return sdk.KindUnauthorized, "the app has no application user in the environment"
	}
	switch {
	case unknownName.MatchString(e.Message):
		return sdk.KindUnauthorized, "a table, column or key does not exist: names are in lower case, tables in the plural, and a key must be active"
	case byStatus == sdk.KindThrottled:
		return byStatus, "Dataverse asks to slow down"
	case byStatus == sdk.KindRetry:
		return byStatus, "Dataverse cannot do it now"
	case byStatus == sdk.KindUnauthorized:
		return byStatus, "the application user may not do this"
	}
	return sdk.KindRejected, "Dataverse does not take the record"
}

// classify reads an answer, to a whole call or to an operation of a batch.
func classify(res *httpclient.Response, byStatus sdk.Outcome) sdk.Outcome {
	if res.OK() {
		return byStatus
	}
	e, ok := readError(res)
	switch {
	case !ok && res.Status == http.StatusBadRequest:
		return sdk.Retry(byStatus.Code, "the answer, with status %d, is not one of the Dataverse Web API", res.Status)
	case !ok && byStatus.Kind == sdk.KindRejected && res.Status != http.StatusRequestEntityTooLarge:
		byStatus.Kind = sdk.KindUnauthorized // a wrong address, method or version: no record is to blame
		return byStatus
	case !ok:
		return byStatus
	}
	o := e.outcome(byStatus)
	wrongPlace := res.Status == http.StatusNotFound || res.Status == http.StatusMethodNotAllowed
	if o.Kind == sdk.KindRejected && wrongPlace && !missing(res) {
		o.Kind = sdk.KindUnauthorized
	}
	return o
}

// outcomeOf is what became of one operation of a batch.
func outcomeOf(res *httpclient.Response) sdk.Outcome {
	return classify(res, sdk.FromResponse(res.Status, res.Header))
}

// missing is whether an answer says that a row is not there: the one that was asked for, or one that a
// lookup names. Any other 404 is about a table or an address.
func missing(res *httpclient.Response) bool {
	if res.OK() {
		return false
	}
	e, _ := readError(res)
	switch strings.ToLower(e.Code) {
	case "0x80040217", "0x80060891":
		return true
	}
	return false
}

// weight orders the outcomes of several operations for one record: what a person must mend first, then
// what slows the target, then what no retry helps.
func weight(k sdk.Kind) int {
	switch k {
	case sdk.KindUnauthorized:
		return 4
	case sdk.KindThrottled:
		return 3
	case sdk.KindRetry:
		return 2
	case sdk.KindRejected:
		return 1
	default:
		return 0
	}
}

// worst is the outcome of a record by those of its operations.
func worst(all []sdk.Outcome) sdk.Outcome {
	o := all[0]
	for _, next := range all[1:] {
		if weight(next.Kind) > weight(o.Kind) {
			o = next
		}
	}
	return o
}
