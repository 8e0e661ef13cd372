package hubspot

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// The words that are decided upon elsewhere too.
const (
	codeInvalidEmail = "INVALID_EMAIL"
	categoryNotFound = "OBJECT_NOT_FOUND"
)

// dailyPause is how long calls rest when those of the day are used up. They come back at midnight in
// the account's time zone, which the API does not tell.
const dailyPause = 15 * time.Minute

// problem is HubSpot's error, of a whole call or of one input of a batch. The messages repeat what was
// sent; the categories, codes and names of properties do not.
type problem struct {
	Category   string              `json:"category"`
	Message    string              `json:"message"`
	PolicyName string              `json:"policyName"`
	ErrorType  string              `json:"errorType"`
	Context    map[string][]string `json:"context"`
	Errors     []struct {
		Message string              `json:"message"`
		Code    string              `json:"code"`
		In      string              `json:"in"`
		Context map[string][]string `json:"context"`
	} `json:"errors"`
}

// invalid is one entry of the list that stands, as JSON, in the message of an invalid write.
type invalid struct {
	Error string `json:"error"`
	Name  string `json:"name"`
}

// faults are the codes of what is wrong with a write, and the properties they are about.
func (p problem) faults() (codes, properties []string) {
	for _, e := range p.Errors {
		codes = append(codes, e.Code)
		properties = append(append(properties, e.Context["propertyName"]...), e.In)
	}
	if _, list, found := strings.Cut(p.Message, "values were not valid: "); found {
		var all []invalid
		// Only the list itself is read: words may follow it.
		if json.NewDecoder(strings.NewReader(list)).Decode(&all) == nil {
			for _, one := range all {
				codes = append(codes, one.Error)
				properties = append(properties, one.Name)
			}
		}
	}
	return codes, properties
}

// scopes are those that the token lacks.
func (p problem) scopes() string {
	var all []string
	for _, e := range p.Errors {
		all = append(append(append(all, e.Context["missingScopes"]...), e.Context["requiredScopes"]...), e.Context["requiredGranularScopes"]...)
	}
	return httpclient.Words(append(all, p.Context["missingScopes"]...))
}

// outcome is what the error means, by its category.
func (p problem) outcome() sdk.Outcome {
	code := httpclient.Word(p.Category)
	switch p.Category {
	case "VALIDATION_ERROR":
		return p.validation()
	case "CONFLICT":
		return sdk.Retry(code, "another write of the same contact came first")
	case categoryNotFound:
		return sdk.Retry(code, "the contact was gone before they could be written")
	case "RATE_LIMITS", "RATE_LIMIT":
		if strings.EqualFold(p.PolicyName, "DAILY") {
			return sdk.Throttled(dailyPause, "DAILY_LIMIT", "the account's calls of the day are used up")
		}
		return sdk.Throttled(0, "RATE_LIMITS", "too many calls in a short time")
	case "MISSING_SCOPES":
		text := "the token lacks a scope"
		if s := p.scopes(); s != "" {
			text += ": " + s
		}
		return sdk.Unauthorized(code, "%s", text)
	case "INVALID_AUTHENTICATION", "EXPIRED_AUTHENTICATION":
		return sdk.Unauthorized(code, "HubSpot does not take the token")
	case "":
		return sdk.Retry("NO_CATEGORY", "HubSpot reported a failure and gave no reason")
	}
	if code == "" {
		code = "UNKNOWN_CATEGORY"
	}
	return sdk.Retry(code, "HubSpot reported a failure of another kind")
}

// configuration are the codes of a property for a person to mend. The others are about values.
var configuration = []string{"PROPERTY_DOESNT_EXIST", "READ_ONLY_VALUE"}

func (p problem) validation() sdk.Outcome {
	codes, properties := p.faults()
	about := ""
	if list := httpclient.Words(properties); list != "" {
		about = ": " + list
	}
	for _, code := range codes {
		if slices.Contains(configuration, code) {
			return sdk.Unauthorized(code, "a property does not exist, or cannot be written%s", about)
		}
	}
	text := strings.ToLower(p.Message)
	switch {
	// The words are inferred: the documents only say that privacy settings make a legal basis required.
	case strings.Contains(text, "legal basis"), strings.Contains(text, "legalbasis"):
		return sdk.Unauthorized("LEGAL_BASIS_REQUIRED", "the account's privacy settings ask for legal_basis and legal_basis_explanation with each change of a subscription")
	case strings.Contains(text, "subscription") && (strings.Contains(text, "not exist") || strings.Contains(text, "not found") || strings.Contains(text, "invalid subscription")):
		return sdk.Unauthorized("SUBSCRIPTION_DOESNT_EXIST", "the account has no subscription type by an id that the record names")
	case slices.Contains(codes, codeInvalidEmail), strings.Contains(text, "email address") && strings.Contains(text, "invalid"):
		return sdk.Rejected(codeInvalidEmail, "HubSpot does not take the address")
	}
	for _, code := range codes {
		if word := httpclient.Word(code); word != "" {
			return sdk.Rejected(word, "HubSpot does not take the record%s", about)
		}
	}
	return sdk.Rejected("VALIDATION_ERROR", "HubSpot does not take the record%s", about)
}

// classify reads an answer to a whole call.
func classify(res *httpclient.Response, o sdk.Outcome) sdk.Outcome {
	if res.OK() {
		return o
	}
	const migrating = 477 // the account moves to another data centre; Retry-After says for how long
	var p problem
	told := res.Decode(&p) == nil && (p.Category != "" || p.ErrorType != "" || p.PolicyName != "")
	if p.Category == "" {
		p.Category = p.ErrorType
	}
	switch {
	case res.Status == migrating:
		o.Kind, o.Code, o.Message = sdk.KindThrottled, "MIGRATION", "HubSpot is moving the account to another data centre"
		o.RetryAfter, _ = sdk.RetryAfter(res.Header.Get("Retry-After"), time.Now())
	case res.Status == http.StatusTooManyRequests:
		p.Category = "RATE_LIMITS"
		limit := p.outcome()
		if o.RetryAfter != 0 {
			limit.RetryAfter = o.RetryAfter
		}
		return limit
	case told && (res.Status == http.StatusBadRequest || res.Status == http.StatusUnauthorized || res.Status == http.StatusForbidden):
		means := p.outcome()
		if means.Kind == sdk.KindUnauthorized || means.Kind == sdk.KindThrottled || means.Kind == o.Kind {
			return means
		}
		if word := httpclient.Word(p.Category); word != "" {
			o.Code = word
		}
	case told && res.Status == http.StatusNotFound && p.Category == categoryNotFound:
		return p.outcome()
	case o.Kind == sdk.KindRejected && res.Status != http.StatusRequestEntityTooLarge && (!told || res.Status == http.StatusNotFound):
		// No record is to blame for an address or a method that HubSpot does not know.
		o.Kind, o.Message = sdk.KindUnauthorized, o.Message+"; is base_url right?"
	}
	return o
}
