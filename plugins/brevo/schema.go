package brevo

import (
	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
)

const pluginDoc = `Keeps Brevo contacts: their attributes, the lists they are on, and whether campaigns may reach them by
e-mail and SMS. A contact is known by the e-mail address.

**What is sent.** The contact is read first, and only what differs is written (` + "`POST /contacts`" + ` or
` + "`PUT /contacts/{email}`" + `). Where attributes were written, the contact is read again, because Brevo confirms and ignores
a value that is not of the attribute's type: the record is then rejected with NOT_APPLIED. One record is two or three
calls, of which Brevo takes ten a second in the smaller plans. Calls wait while its rate headers say that none is left.
The receipt's reference is the contact id.

**Flags are inverted.** ` + "`email_blacklisted`" + ` true means that the person gets no campaigns, so a rule writes
` + "`email_blacklisted = !permission.newsletter_email.allowed`" + `.

**Opting out.** Somebody whom Brevo does not know is not created by a record that only takes away, nor by a withdrawal
without flags and lists, unless ` + "`create`" + ` is true; the record is *unchanged*. What a record takes away from a contact
is delivered even when the rest of it is refused.

**Opting in again.** Brevo keeps opt-outs from all e-mail campaigns, from SMS and, where the account has that, from single
lists. A grant overrules none of them unless ` + "`resubscribe = \"force\"`" + `: the record is rejected with OPTED_OUT, after the
rest of it was written. Brevo does not tell who opted a person out, so that includes those whom consentd itself did.

**Null, absent, false.** A null empties an attribute, takes the person off a list, and in place of all lists off each of
them; for lists false is the same. A null in place of a flag, the external id or all attributes is the same as absent,
which leaves alone.

**Outcomes.** A key that Brevo does not take, credits that are used up, and attributes and lists that do not exist pause
the target. An address or a telephone number that Brevo does not take, or that another contact has, rejects that one
record. 429 throttles for as long as the headers say.

**Reading and erasing.** Read-back tells all fields. Erasing deletes the contact.`

// policies are what resubscribe may say.
var policies = subscriber.Policies{subscriber.Never, subscriber.Force}

func configSchema() sdk.Schema {
	return sdk.Schema{Attributes: map[string]sdk.Attribute{
		"api_key": {
			Type: "string", Required: true, Sensitive: true,
			Doc: "The account's API key (`xkeysib-...`).",
		},
		"base_url": {
			Type: "string", Default: `"` + defaultBase + `"`,
			Doc: "Where the API is.",
		},
		"resubscribe": policies.Attribute(
			"What a grant does to somebody whom Brevo holds as opted out. `never` rejects it. `force` overrules the opt-out."),
		"create": {
			Type: "bool", Default: "false",
			Doc: "Whether somebody who opts out, and whom Brevo does not know, becomes a contact who is blacklisted.",
		},
	}}
}

func recordSchema() sdk.Schema {
	return sdk.Schema{Attributes: map[string]sdk.Attribute{
		"email": {
			Type: "string", Required: true,
			Doc: "The e-mail address, which is the identity of a contact.",
		},
		"ext_id": {
			Type: "string",
			Doc:  "Your own id of the contact.",
		},
		"attributes": {
			Type: "map(any)",
			Doc:  "Values by the attribute's name (`FIRSTNAME`), which is always in capitals. `SMS` is the telephone number, with the country code. A list is the choices of a multiple-choice attribute. Null empties an attribute.",
		},
		"lists": {
			Type: "map(bool)",
			Doc:  "Lists by their ids (`36`): whether the contact is on it.",
		},
		"email_blacklisted": {
			Type: "bool",
			Doc:  "Whether the person gets no e-mail campaigns.",
		},
		"sms_blacklisted": {
			Type: "bool",
			Doc:  "Whether the person gets no SMS campaigns.",
		},
	}}
}
