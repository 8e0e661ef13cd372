// Package subscriber is what the plugins of mailing vendors have in common about the people on their
// lists. It is apart from package sdk because a target need not be about mail.
package subscriber

import (
	"slices"
	"strings"

	"github.com/consentd/consentd/sdk"
)

// Resubscribe is what a grant does to somebody whom the vendor holds as opted out.
type Resubscribe string

const (
	// Never leaves the vendor's opt-out standing: the grant is rejected.
	Never Resubscribe = "never"
	// Confirm has the vendor ask the person.
	Confirm Resubscribe = "confirm"
	// Force overrules the opt-out, as far as the vendor lets it.
	Force Resubscribe = "force"
)

// Policies are the words that the configuration's attribute "resubscribe" may hold, as far as the vendor
// can follow them. The first is the default.
type Policies []Resubscribe

// Attribute is the attribute in a schema. The doc says what each word does with this vendor.
func (p Policies) Attribute(doc string) sdk.Attribute {
	return sdk.Attribute{Type: "string", Enum: p.words(), Default: `"` + string(p[0]) + `"`, Doc: doc}
}

// Parse reads the attribute; empty is the default.
func (p Policies) Parse(value string) (Resubscribe, error) {
	switch {
	case value == "":
		return p[0], nil
	case slices.Contains(p, Resubscribe(value)):
		return Resubscribe(value), nil
	}
	return "", sdk.InvalidConfig("resubscribe", "must be one of: %s", strings.Join(p.words(), ", "))
}

func (p Policies) words() []string {
	all := make([]string, len(p))
	for i, w := range p {
		all[i] = string(w)
	}
	return all
}

// IsEmail is whether an address can be one. It refuses what would make a vendor look for somebody else
// than it mails, such as a stray space; whether the address is any good is for the vendor to say.
func IsEmail(s string) bool {
	name, domain, found := strings.Cut(s, "@")
	return found && name != "" && domain != "" && !strings.ContainsAny(s, " \t\r\n")
}
