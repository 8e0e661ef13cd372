package mailchimp

import (
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// The codes that are decided upon elsewhere too.
const (
	codeInvalidEmail     = "INVALID_EMAIL"
	codeCompliance       = "COMPLIANCE_STATE"
	codeForgotten        = "FORGOTTEN_EMAIL"
	codeMethodNotAllowed = "METHOD_NOT_ALLOWED"
	codeListNotFound     = "LIST_NOT_FOUND"
	codeOptedOut         = "OPTED_OUT"
)

// tooManySignups is how long an address rests that joined many audiences. Mailchimp does not say;
// reports range from minutes to days.
const tooManySignups = 6 * time.Hour

// problem is the body of every error that comes from Mailchimp itself (RFC 7807). Title is from a
// closed vocabulary; Detail repeats the e-mail address and values.
type problem struct {
	Title    string `json:"title"`
	Detail   string `json:"detail"`
	Instance string `json:"instance"`
	Errors   []struct {
		Field string `json:"field"`
	} `json:"errors"`
}

var instanceID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// classify reads an answer. A 404 is taken for a member who was there a moment ago: whether the audience
// is there is another question, see listMissing.
func classify(res *httpclient.Response, o sdk.Outcome) sdk.Outcome {
	if res.OK() {
		return o
	}
	var p problem
	told := res.Decode(&p) == nil && p.Title != ""
	o = byStatus(res, o, told)
	if told {
		byTitle(&o, p)
		if instanceID.MatchString(p.Instance) {
			o.Message += " (instance " + p.Instance + ")"
		}
	}
	return o
}

// unexpected is for a success whose body is something else.
func unexpected() sdk.Outcome {
	return sdk.Retry("UNEXPECTED_ANSWER", "the answer is not one of Mailchimp's; is base_url right?")
}

func byStatus(res *httpclient.Response, o sdk.Outcome, told bool) sdk.Outcome {
	switch {
	case res.Status >= 300 && res.Status < 400:
		o = sdk.Unauthorized("REDIRECTED", "the API at base_url answers with a redirect (%d)", res.Status)
	case res.Status == http.StatusUnauthorized:
		o.Code, o.Message = "API_KEY_INVALID", "Mailchimp does not take the API key, or the account is in another data centre"
	case res.Status == http.StatusForbidden && !told:
		// At very high volume a guard before the API answers, and it says nothing in JSON.
		o.Kind, o.Code, o.Message = sdk.KindThrottled, "FORBIDDEN_WITHOUT_REASON", "Mailchimp turns calls away without a reason, as it does at high volume"
	case res.Status == http.StatusForbidden:
		o.Code, o.Message = "FORBIDDEN", "the API key may not do this, or the account is in another data centre"
	case res.Status == http.StatusNotFound:
		o.Kind, o.Code, o.Message = sdk.KindRetry, "NOT_FOUND", "the member was gone before they could be written"
	case res.Status == http.StatusMethodNotAllowed:
		o.Code, o.Message = codeMethodNotAllowed, "Mailchimp does not allow this for the member as they are"
	case res.Status == http.StatusTooManyRequests:
		o.Code, o.Message = "TOO_MANY_REQUESTS", "more than 10 calls at once for this account"
	}
	return o
}

// byTitle refines what Mailchimp says with 400 and 403. The titles are matched without spaces and case,
// as they are written both ways.
func byTitle(o *sdk.Outcome, p problem) {
	detail := strings.ToLower(p.Detail)
	switch strings.ToLower(strings.ReplaceAll(p.Title, " ", "")) {
	case "memberincompliancestate":
		o.Code, o.Message = codeCompliance, "the person unsubscribed, or their mail bounced: only they themselves can come back"
	case "forgottenemailnotsubscribed":
		o.Code, o.Message = codeForgotten, "the address was permanently deleted: only its owner can bring it back, through a Mailchimp form"
	case "memberexists":
		o.Code, o.Message = "MEMBER_EXISTS", "Mailchimp holds this address under another one's id"
	case "wrongdatacenter":
		o.Kind, o.Code, o.Message = sdk.KindUnauthorized, "WRONG_DATACENTER", "the account is in another data centre than base_url, or the key, says"
	case "userdisabled":
		o.Kind, o.Code, o.Message = sdk.KindUnauthorized, "USER_DISABLED", "the account is disabled"
	case "invalidresource":
		invalidResource(o, p, detail)
	default:
		if strings.Contains(detail, "signed up to a lot of") {
			manySignups(o)
		}
	}
}

// invalidResource tells by the detail, since the title covers all that can be wrong with a body.
func invalidResource(o *sdk.Outcome, p problem, detail string) {
	switch {
	case strings.Contains(detail, "signed up to a lot of"):
		manySignups(o)
	case strings.Contains(detail, "fake or invalid"), strings.Contains(detail, "valid email address"):
		o.Code, o.Message = codeInvalidEmail, "Mailchimp takes the address for fake or invalid"
	case strings.HasPrefix(detail, "invalid interest id"):
		// The ids may come from one citizen's choices, so it is this record that is wrong.
		o.Code, o.Message = "INVALID_INTEREST", "the audience has no interest by an id that the record names"
	case strings.Contains(detail, "merge fields were invalid"):
		o.Code, o.Message = "INVALID_MERGE_FIELDS", "Mailchimp does not take the merge fields"+named(p)
	default:
		o.Code, o.Message = "INVALID_RESOURCE", "Mailchimp does not take the record"+named(p)
	}
}

func manySignups(o *sdk.Outcome) {
	*o = sdk.Retry("TOO_MANY_SIGNUPS", "the address signed up to many audiences lately, and Mailchimp lets it rest")
	o.RetryAfter = tooManySignups
}

// named lists the fields that Mailchimp complains of. Its messages are left out: they repeat values.
func named(p problem) string {
	names := make([]string, len(p.Errors))
	for i, e := range p.Errors {
		names[i] = e.Field
	}
	if list := httpclient.Words(names); list != "" {
		return ": " + list
	}
	return ""
}

// optedOut is the refusal to bring back somebody whom Mailchimp holds as gone. A status that is not
// known counts as that.
func optedOut(held *member) sdk.Outcome {
	const standing = "and resubscribe does not let a grant overrule it"
	switch {
	case held.Status == cleaned:
		return sdk.Rejected("CLEANED", "the person's mail bounced, %s", standing)
	case held.Status == archived:
		return sdk.Rejected("ARCHIVED", "the person was archived, %s", standing)
	case held.Reason == byAdmin:
		return sdk.Rejected(codeOptedOut, "the account unsubscribed the person, and no timestamp_opt shows that they opted in later")
	default:
		return sdk.Rejected(codeOptedOut, "the person is unsubscribed, %s", standing)
	}
}
