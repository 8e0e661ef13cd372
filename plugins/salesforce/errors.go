package salesforce

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// apiError is one of Salesforce's errors. The same codes are called statusCode in the result of a row
// and errorCode in the answer to a whole call.
type apiError struct {
	StatusCode string   `json:"statusCode"`
	ErrorCode  string   `json:"errorCode"`
	Message    string   `json:"message"`
	Fields     []string `json:"fields"`
}

func (e apiError) code() string {
	if e.StatusCode != "" {
		return e.StatusCode
	}
	return e.ErrorCode
}

var (
	identifier = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.]{0,119}$`)
	noColumn   = regexp.MustCompile(`No such column '([A-Za-z][A-Za-z0-9_.]{0,119})'`)
)

// outcome reads one error. Salesforce's own message often repeats what was sent, so of it only field
// names are passed on.
func (e apiError) outcome() sdk.Outcome {
	code := e.code()
	if !identifier.MatchString(code) {
		code = "UNKNOWN_ERROR"
	}
	kind, text := e.meaning()
	fields := make([]string, 0, len(e.Fields)+1)
	for _, f := range e.Fields {
		if identifier.MatchString(f) {
			fields = append(fields, f)
		}
	}
	if m := noColumn.FindStringSubmatch(e.Message); m != nil && len(fields) == 0 {
		fields = append(fields, m[1])
	}
	if len(fields) > 0 {
		text += " (fields: " + strings.Join(fields, ", ") + ")"
	}
	return sdk.Outcome{Kind: kind, Code: code, Message: text}
}

// meaning sorts the codes of Salesforce's StatusCode and ExceptionCode lists. What is not named here
// is about the record: validation rules, formats, lengths, required fields.
func (e apiError) meaning() (sdk.Kind, string) {
	switch code := e.code(); code {
	case "UNABLE_TO_LOCK_ROW":
		return sdk.KindRetry, "another transaction holds the row"
	case "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY":
		// A trigger or flow failed, and its own error stands in the text only.
		if strings.Contains(e.Message, "UNABLE_TO_LOCK_ROW") {
			return sdk.KindRetry, "a trigger or flow of the org met a row that another transaction holds"
		}
		return sdk.KindRejected, "a trigger or flow of the org refused the record"
	case "DUPLICATE_VALUE":
		if strings.Contains(e.Message, "duplicates value on record with id") || strings.Contains(e.Message, "Duplicate external id specified") {
			return sdk.KindRetry, "another write of the same unique value came first"
		}
		return sdk.KindRejected, "a unique field has this value on another record"
	case "ALL_OR_NONE_OPERATION_ROLLED_BACK", "PROCESSING_HALTED":
		return sdk.KindRetry, "Salesforce dropped the row because of another one"
	case "SERVER_UNAVAILABLE", "UNKNOWN_EXCEPTION", "QUERY_TIMEOUT", "REQUEST_RUNNING_TOO_LONG", "API_CURRENTLY_DISABLED", "STORAGE_LIMIT_EXCEEDED":
		return sdk.KindRetry, "Salesforce cannot do it now"
	case "REQUEST_LIMIT_EXCEEDED":
		return sdk.KindThrottled, "the org's API requests are used up for now"
	case "INVALID_FIELD":
		switch {
		case strings.Contains(e.Message, "Foreign key external ID"):
			return sdk.KindRetry, "the record that a lookup names by external id is not in Salesforce yet"
		case strings.Contains(e.Message, "Json Deserialization failed"):
			return sdk.KindRejected, "Salesforce cannot read a value of the record"
		}
		return sdk.KindUnauthorized, "a field does not exist, or field-level security hides it from the integration user"
	case "INVALID_FIELD_FOR_INSERT_UPDATE":
		return sdk.KindUnauthorized, "a field cannot be written by the integration user"
	case "INVALID_TYPE", "NOT_FOUND", "UNSUPPORTED_API_VERSION":
		return sdk.KindUnauthorized, "the object, the external id field or the API version does not exist, or the integration user may not see it"
	case "INSUFFICIENT_ACCESS", "INSUFFICIENT_ACCESS_OR_READONLY", "API_DISABLED_FOR_ORG", "FUNCTIONALITY_NOT_ENABLED", "INVALID_ID_FIELD", "INVALID_OPERATION_WITH_EXPIRED_PASSWORD":
		return sdk.KindUnauthorized, "the integration user or the org may not do this"
	case "INVALID_SESSION_ID", "INVALID_AUTH_HEADER":
		return sdk.KindUnauthorized, "Salesforce does not take the token, also after signing in again"
	default:
		return sdk.KindRejected, "Salesforce does not take the record"
	}
}

// weight orders outcomes of one row: what a person must mend first, then what slows the target, then
// what no retry helps.
func weight(k sdk.Kind) int {
	switch k {
	case sdk.KindUnauthorized:
		return 3
	case sdk.KindThrottled:
		return 2
	case sdk.KindRejected:
		return 1
	default:
		return 0
	}
}

// worst is the outcome of a failed row or call by its errors.
func worst(errs []apiError) sdk.Outcome {
	if len(errs) == 0 {
		return sdk.Retry("NO_ERROR", "Salesforce reported a failure and gave no reason")
	}
	o := errs[0].outcome()
	for _, e := range errs[1:] {
		if next := e.outcome(); weight(next.Kind) > weight(o.Kind) {
			o = next
		}
	}
	return o
}

// refused reads an answer to a whole call that is not a success. Such an answer is a list of errors;
// anything else did not come from the API, or from one that is not well.
func refused(res *httpclient.Response) sdk.Outcome {
	byStatus := res.Outcome()
	aboutBody := res.Status == http.StatusBadRequest || res.Status == http.StatusRequestEntityTooLarge
	var errs []apiError
	if res.Decode(&errs) != nil || len(errs) == 0 || errs[0].code() == "" {
		switch {
		case res.Status == http.StatusMultipleChoices: // the body is a list of addresses
			return sdk.Rejected("DUPLICATE_EXTERNAL_ID", "several Salesforce records have this external id")
		case res.OK() || aboutBody:
			return sdk.Retry(byStatus.Code, "the answer, with status %d, is not one of the Salesforce API", res.Status)
		case byStatus.Kind == sdk.KindRejected:
			byStatus.Kind = sdk.KindUnauthorized // a wrong URL, method or version: no record is to blame
		}
		return byStatus
	}
	o := worst(errs)
	o.RetryAfter = byStatus.RetryAfter
	switch {
	case aboutBody || o.Kind == sdk.KindThrottled:
	case byStatus.Kind == sdk.KindRetry || byStatus.Kind == sdk.KindThrottled:
		o.Kind = byStatus.Kind
	default:
		o.Kind = sdk.KindUnauthorized
	}
	return o
}

// signInFailure reads an error of the token endpoint (RFC 6749, 5.2, with codes of Salesforce's own).
// Apart from those that pass by themselves, all are for a person to mend.
func signInFailure(res *httpclient.Response) error {
	o := res.Outcome()
	if o.Kind == sdk.KindThrottled || res.Status >= 500 || res.Status == http.StatusRequestTimeout {
		return &failure{o}
	}
	var answer struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if res.Decode(&answer) != nil || !identifier.MatchString(answer.Error) {
		return &failure{sdk.Unauthorized(o.Code, "login_url answered %d and is not a Salesforce token endpoint", res.Status)}
	}
	text := fmt.Sprintf("Salesforce refused to sign in: %.200s", sdk.Redact(answer.Description, nil))
	switch {
	case answer.Error == "rate_limit_exceeded", strings.Contains(answer.Description, "rate exceeded"):
		return &failure{sdk.Throttled(o.RetryAfter, answer.Error, "%s", text)}
	case answer.Error == "server_error", answer.Error == "temporarily_unavailable", answer.Error == "unknown_error":
		return &failure{sdk.Retry(answer.Error, "%s", text)}
	}
	return &failure{sdk.Unauthorized(answer.Error, "%s", text)}
}
