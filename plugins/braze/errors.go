package braze

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// objectError is one entry of the errors array of /users/track. Type is a code, as Braze documents it, or
// a sentence, as it is met in the field.
type objectError struct {
	Type  string `json:"type"`
	Array string `json:"input_array"`
	Index *int   `json:"index"`
}

var notValid = regexp.MustCompile(`^'([^']+)' is not valid$`)

// outcome reads the error of one attributes object. Braze's own text is not passed on, since it may repeat
// what was sent.
func (e objectError) outcome(object map[string]any) sdk.Outcome {
	text := strings.ToLower(e.Type)
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("bad_subscription_group_id", "subscription_group_id"):
		return unknownGroup()
	case has("external_user_id_too_large", "must be fewer than"):
		return sdk.Rejected("EXTERNAL_USER_ID_TOO_LARGE", "the external_id is longer than %d bytes", maxExternalID)
	case has("blacklisted", "blocklisted"):
		return sdk.Rejected("BLACKLISTED_EXTERNAL_USER_ID", "Braze takes the external_id for that of a test user, and blocks it")
	case has("email_bad_format"):
		return sdk.Rejected("EMAIL_BAD_FORMAT", "Braze does not take the e-mail address")
	case documented[e.Type] != "":
		return sdk.Rejected(e.Type, "%s", documented[e.Type])
	}
	o := sdk.Rejected("INVALID_OBJECT", "Braze does not take the record")
	if m := notValid.FindStringSubmatch(e.Type); m != nil {
		if _, ours := object[m[1]]; ours && httpclient.Word(m[1]) != "" {
			o.Message += ": " + m[1]
		}
	}
	return o
}

// documented are the other codes that a record of ours can meet.
var documented = map[string]string{
	"BAD_EMAIL_SUBSCRIPTION_STATE":              "Braze does not take the value of email_subscribe",
	"BAD_PUSH_SUBSCRIPTION_STATE":               "Braze does not take the value of push_subscribe",
	"BAD_LOCATION_UPDATE":                       "current_location must hold longitude and latitude",
	"BAD_SUBSCRIPTION_GROUP_ARRAY":              "Braze does not take subscription_groups",
	"BAD_SUBSCRIPTION_GROUP_HASH":               "Braze does not take an element of subscription_groups",
	"BAD_SUBSCRIPTION_GROUP_STATE":              "Braze does not take a state in subscription_groups",
	"INVALID_ATTRIBUTE_EMAIL_SUBSCRIPTION_INFO": "email_subscription_info is no attribute",
}

func unknownGroup() sdk.Outcome {
	return sdk.Unauthorized("BAD_SUBSCRIPTION_GROUP_ID", "the workspace has no subscription group with an id that the record names")
}

// classify reads an answer to a whole call. Every answer of the API is JSON with a message; anything else did
// not come from it.
func classify(res *httpclient.Response, o sdk.Outcome) sdk.Outcome {
	var answer struct {
		Message string `json:"message"`
	}
	told := res.Decode(&answer) == nil && answer.Message != ""
	switch {
	case res.OK() && (answer.Message == "success" || answer.Message == "queued"):
		return o // queued, with 202, is said during maintenance
	case res.OK() && told:
		return sdk.Retry("NOT_SUCCESS", "Braze answered %d without success", res.Status)
	case res.OK():
		return sdk.Retry("UNEXPECTED_ANSWER", "the answer is not one of Braze's; is base_url right?")
	case res.Status >= 300 && res.Status < 400:
		o.Message = "the API at base_url answers with a redirect"
	case res.Status == http.StatusUnauthorized:
		o.Code, o.Message = "API_KEY_INVALID", "Braze does not take the API key: it is wrong, lacks a permission, or belongs to another instance than base_url"
	case res.Status == http.StatusForbidden:
		o.Code, o.Message = "FORBIDDEN", "the account's plan does not allow this, the account is inactive, or the key may not be used from this address"
	case res.Status == http.StatusNotFound:
		o = sdk.Unauthorized("NOT_FOUND", "Braze does not know the API key, or base_url is not the REST endpoint of an instance")
	case res.Status == http.StatusTooManyRequests:
		o.Code, o.Message = "RATE_LIMITED", "the workspace's rate limit is used up"
	case res.Status == http.StatusBadRequest && !told:
		return sdk.Retry(o.Code, "the answer, with status 400, is not one of Braze's")
	case res.Status == http.StatusBadRequest:
		o.Code, o.Message = "BAD_REQUEST", "Braze does not take the record"
	}
	return o
}
