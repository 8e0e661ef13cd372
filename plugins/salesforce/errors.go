package salesforce

import (
	"cmp"
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

// codeInvalidField is the code of a field that is not there, and of a lookup that leads nowhere.
const codeInvalidField = "INVALID_FIELD"

func (e apiError) code() string {
	if e.StatusCode != "" {
		return e.StatusCode
	}
	return e.ErrorCode
}

var noColumn = regexp.MustCompile(`No such column '([A-Za-z][A-Za-z0-9_.]{0,119})'`)

// outcome reads one error. Salesforce's own message often repeats what was sent, so of it only field
// names are passed on.
func (e apiError) outcome() sdk.Outcome {
	kind, text := e.meaning()
	names := httpclient.Words(e.Fields)
	if m := noColumn.FindStringSubmatch(e.Message); m != nil && names == "" {
		names = m[1]
	}
	if names != "" {
		text += " (fields: " + names + ")"
	}
	code := cmp.Or(httpclient.Word(e.code()), "UNKNOWN_ERROR")
	return sdk.Outcome{Kind: kind, Code: code, Message: text}
}

// meaning sorts the codes of Salesforce's StatusCode and ExceptionCode lists. What is not named here
// is about the record: validation rules, formats, lengths, required fields.
func (e apiError) meaning() (sdk.Kind, string) {
	switch code := e.code(); code {
	case "UNABLE_TO_LOCK_ROW":
		return sdk.KindRetry, "another transaction holds the row"
	case "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "CANNOT_EXECUTE_FLOW_TRIGGER":
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
		if strings.Contains(e.Message, "Concurrent") {
			return sdk.KindThrottled, "the org has as many long requests under way as it may"
		}
		return sdk.KindThrottled, "the org's API requests of 24 hours are used up"
	case "DUPLICATES_DETECTED":
		return sdk.KindRejected, "a duplicate rule of the org blocks the record: merge the two, or let the rule allow what the API writes"
	case "DUPLICATE_EXTERNAL_ID":
		return sdk.KindRejected, "several Salesforce records have this external id"
	case "CANNOT_UPDATE_CONVERTED_LEAD":
		return sdk.KindRejected, "the lead was converted: give its contact the external id"
	case codeInvalidField:
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

// classify reads an answer to a whole call. That of a failure is a list of errors; anything else did not
// come from the API, or from one that is not well.
func classify(res *httpclient.Response, byStatus sdk.Outcome) sdk.Outcome {
	if res.OK() {
		return byStatus
	}
	aboutBody := res.Status == http.StatusBadRequest || res.Status == http.StatusRequestEntityTooLarge
	var errs []apiError
	if res.Decode(&errs) != nil || len(errs) == 0 || errs[0].code() == "" {
		switch {
		case res.Status == http.StatusMultipleChoices: // the body is a list of addresses
			return sdk.Rejected("DUPLICATE_EXTERNAL_ID", "several Salesforce records have this external id")
		case aboutBody:
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

// classifySignIn knows the codes of the token endpoint that are Salesforce's own and pass by themselves.
func (s settings) classifySignIn(_ *httpclient.Response, o sdk.Outcome) sdk.Outcome {
	switch {
	case o.Code == "rate_limit_exceeded", strings.Contains(o.Message, "rate exceeded"):
		o.Kind = sdk.KindThrottled
	case o.Code == "unknown_error":
		o.Kind = sdk.KindRetry
	case o.Code == "invalid_grant" && s.refresh:
		o.Message += `; the refresh token was revoked, has ended, or was used up because the app rotates refresh tokens. ` +
			`Turn the rotation off, authorize the app anew and set the new refresh_token, or sign in with client_secret or private_key instead`
	}
	return o
}
