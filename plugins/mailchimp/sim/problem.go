package sim

import "net/http"

// Problem is an error as the vendor words it. The functions below make those that are known from its
// documentation and from recorded answers.
type Problem struct {
	Type     string       `json:"type"`
	Title    string       `json:"title"`
	Status   int          `json:"status"`
	Detail   string       `json:"detail"`
	Instance string       `json:"instance"`
	Errors   []FieldError `json:"errors,omitempty"`
}

// FieldError is one entry of a Problem's errors.
type FieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

func newProblem(status int, title, detail string) *Problem {
	return &Problem{
		Type:     "https://mailchimp.com/developer/marketing/docs/errors/",
		Title:    title,
		Status:   status,
		Detail:   detail,
		Instance: "0b1c7c9e-3f5a-4e7b-9d21-6a5f1c2e8d40",
	}
}

func (p *Problem) write(w http.ResponseWriter) {
	writeJSON(w, "application/problem+json; charset=utf-8", p.Status, p)
}

// ComplianceState refuses to subscribe who left by themselves or bounced.
func ComplianceState(email string) *Problem {
	return newProblem(400, "Member In Compliance State",
		email+" is in a compliance state due to unsubscribe, bounce, or compliance review and cannot be subscribed.")
}

// Forgotten refuses an address that was permanently deleted.
func Forgotten(email string) *Problem {
	return newProblem(400, "Forgotten Email Not Subscribed",
		email+" was permanently deleted and cannot be re-imported. The contact must re-subscribe to get back on the list.")
}

// FakeEmail refuses an address that looks made up.
func FakeEmail(email string) *Problem {
	return newProblem(400, "Invalid Resource", email+" looks fake or invalid, please enter a real email address.")
}

// ManySignups refuses an address that joined many audiences of late.
func ManySignups(email string) *Problem {
	return newProblem(400, "Invalid Resource",
		email+" has signed up to a lot of lists very recently; we're not allowing more signups for now")
}

// MemberExists refuses to write an address under another's hash.
func MemberExists(email string) *Problem {
	return newProblem(400, "Member Exists", email+" is already a list member. Use PUT to insert or update list members.")
}

// InvalidInterest refuses an interest that the audience has not.
func InvalidInterest(id string) *Problem {
	return newProblem(400, "Invalid Resource", "Invalid interest ID: '"+id+"'.")
}

// InvalidMergeFields refuses merge fields.
func InvalidMergeFields(errors ...FieldError) *Problem {
	p := newProblem(400, "Invalid Resource", "Your merge fields were invalid.")
	p.Errors = errors
	return p
}

// InvalidResource refuses a body that is not of the schema.
func InvalidResource(errors ...FieldError) *Problem {
	p := newProblem(400, "Invalid Resource",
		"The resource submitted could not be validated. For field-specific details, see the 'errors' array.")
	p.Errors = errors
	return p
}

// JSONParseError refuses a body that is no JSON.
func JSONParseError() *Problem {
	return newProblem(400, "JSON Parse Error", "We encountered an unspecified JSON parsing error.")
}

// APIKeyInvalid refuses a key.
func APIKeyInvalid() *Problem {
	return newProblem(401, "API Key Invalid",
		"Your API key may be invalid, or you've attempted to access the wrong datacenter.")
}

// WrongDatacenter refuses a key that belongs to another host.
func WrongDatacenter() *Problem {
	return newProblem(403, "Wrong Datacenter", "The API key provided is linked to a different data center.")
}

// Forbidden refuses a key without the permission.
func Forbidden() *Problem {
	return newProblem(403, "Forbidden", "You don't have permission to access the requested resource.")
}

// UserDisabled refuses every call of a disabled account.
func UserDisabled() *Problem {
	return newProblem(403, "User Disabled", "This account has been disabled.")
}

// NotFound is for an unknown audience and an unknown member alike.
func NotFound() *Problem {
	return newProblem(404, "Resource Not Found", "The requested resource could not be found.")
}

// MethodNotAllowed is also for a member who cannot be archived once more.
func MethodNotAllowed() *Problem {
	return newProblem(405, "Method Not Allowed",
		"The requested method and resource are not compatible. See the Allow header for this resource's available methods.")
}

// TooManyRequests is for the eleventh call at once.
func TooManyRequests() *Problem {
	return newProblem(429, "Too Many Requests", "You have exceeded the limit of 10 simultaneous connections.")
}

// InternalServerError is a failure of the vendor's own.
func InternalServerError() *Problem {
	return newProblem(500, "Internal Server Error", "An unexpected internal error has occurred.")
}
