package brevo

import (
	"net/http"
	"slices"
	"strings"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// The codes that are decided upon elsewhere too.
const (
	codeInvalidEmail  = "INVALID_EMAIL"
	codeContactExists = "CONTACT_EXISTS"
	codeNotFound      = "document_not_found"
	codeOptedOut      = "OPTED_OUT"
	codeNotApplied    = "NOT_APPLIED"
)

// problem is the body of every error that comes from Brevo itself. The code is from a closed vocabulary;
// the message may repeat what was sent.
type problem struct {
	Code     string `json:"code"`
	Message  string `json:"message"`
	Metadata struct {
		Duplicates []string `json:"duplicate_identifiers"`
	} `json:"metadata"`
}

// classify reads an answer.
func classify(res *httpclient.Response, o sdk.Outcome) sdk.Outcome {
	if res.OK() {
		return o
	}
	var p problem
	if res.Decode(&p) != nil || httpclient.Word(p.Code) == "" {
		if o.Kind == sdk.KindRejected {
			// No record is to blame for an address that Brevo does not know.
			o.Kind, o.Message = sdk.KindUnauthorized, o.Message+"; is base_url right?"
		}
		return o
	}
	o.Code = p.Code
	switch res.Status {
	case http.StatusUnauthorized:
		o.Message = "Brevo does not take the API key"
		if text := strings.ToLower(p.Message); strings.Contains(text, "ip address") {
			o.Message = "Brevo does not take calls from this machine's address: allow it among the account's authorized IPs"
		}
	case http.StatusPaymentRequired:
		o.Kind, o.Message = sdk.KindUnauthorized, "the account has no credits left"
	case http.StatusForbidden:
		o.Message = "the API key or the account may not do this"
	case http.StatusNotFound:
		if p.Code != codeNotFound {
			o.Kind = sdk.KindUnauthorized
			break
		}
		o.Kind, o.Message = sdk.KindRetry, "the contact was gone before they could be written"
	case http.StatusBadRequest:
		return p.bad()
	case http.StatusTooManyRequests:
		o.Code, o.Message = "TOO_MANY_REQUESTS", "too many calls in a short time"
	}
	return o
}

// bad tells 400 apart. Brevo has few codes for it and changes them, so its words are looked at too.
func (p problem) bad() sdk.Outcome {
	text := strings.ToLower(p.Message)
	about := func(identifier string) bool {
		return slices.ContainsFunc(p.Metadata.Duplicates, func(s string) bool { return strings.EqualFold(s, identifier) })
	}
	duplicate := p.Code == "duplicate_parameter" || len(p.Metadata.Duplicates) > 0 || strings.Contains(text, "already exist") || strings.Contains(text, "already associated")
	switch {
	case p.Code == "not_enough_credits" || p.Code == "permission_denied" || p.Code == "reseller_permission_denied" || p.Code == "account_under_validation":
		return sdk.Unauthorized(p.Code, "the API key or the account may not do this")
	case duplicate && (about("email") || strings.Contains(text, "contact already exist") || strings.Contains(text, "email is already")):
		return sdk.Rejected(codeContactExists, "another contact has this address")
	case duplicate:
		return sdk.Rejected("DUPLICATE_IDENTIFIER", "another contact has this telephone number or external id")
	case p.Code == codeNotFound, strings.Contains(text, "list") && (strings.Contains(text, "exist") || strings.Contains(text, "invalid")):
		return sdk.Unauthorized("LIST_NOT_FOUND", "the account has no list by an id that the record names")
	case strings.Contains(text, "phone"):
		return sdk.Rejected("INVALID_PHONE", "Brevo does not take the telephone number: it needs the country code")
	case strings.Contains(text, "email"):
		return sdk.Rejected(codeInvalidEmail, "Brevo does not take the address")
	}
	return sdk.Rejected(p.Code, "Brevo does not take the record")
}

// unexpected is for a success whose body is something else.
func unexpected() sdk.Outcome {
	return sdk.Retry("UNEXPECTED_ANSWER", "the answer is not one of Brevo's; is base_url right?")
}
