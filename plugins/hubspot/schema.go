package hubspot

import (
	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
)

const pluginDoc = `Keeps HubSpot contacts: their properties, and the subscriptions that they get e-mail for, with the legal
basis. A contact is known by the e-mail address.

**What is sent.** Up to 100 contacts are read in one call, and only what differs is written: properties with
` + "`POST /crm/v3/objects/contacts/batch/upsert`" + `, whose results are matched by trace id, and subscriptions with
` + "`POST /communication-preferences/v4/statuses/{email}`" + `. That is a call for each person to read the subscriptions and one
for each change; with ` + "`batch_subscriptions`" + ` it is one for a hundred. Who already holds everything is *unchanged*. Calls
wait while HubSpot's rate headers say that none is left. The receipt's reference is the contact id.

**Opting out.** What a record takes away is written first, so that nothing that is wrong with the rest of it holds that
back. Somebody whom HubSpot does not know is not created by a record whose subscriptions are all false or null, nor by a
withdrawal without subscriptions, unless ` + "`create`" + ` is true; the record is *unchanged*. Any other record creates the contact.

**Opting in again.** HubSpot keeps two kinds of opt-out: from one subscription, and from all e-mail
(` + "`hs_email_optout`" + `). A grant overrules neither, unless ` + "`resubscribe = \"force\"`" + `: the record is rejected with
OPTED_OUT, after its properties and its other subscriptions were written. HubSpot does not tell who opted a person out,
so that includes those whom consentd itself unsubscribed. A person who opts out between the look and the write is
unsubscribed again.

**Null, absent, false.** A null clears: a property becomes empty, a subscription that was given becomes *not specified*,
and a null in place of all subscriptions does so with each that was given. No null takes back an opt-out. An absent name is
left alone. False unsubscribes. Without privacy settings HubSpot may mail people whose subscription is not specified, so a
withdrawal is written as false. A null in place of all properties leaves them alone.

**Legal basis.** It is written with each change of a subscription. An account with privacy settings asks for both
attributes, and the target pauses with LEGAL_BASIS_REQUIRED without them.

**Outcomes.** A token that HubSpot does not take, a missing scope, a property that does not exist or cannot be written,
and a subscription type that does not exist pause the target. A value that HubSpot does not take rejects that one record:
when it refuses a whole call, the call is halved until the record is alone. 429 throttles, for 15 minutes at a time when
the calls of the day are used up.

**Reading and erasing.** Read-back tells the properties that the record names, and all subscriptions. Erasing deletes
for good (` + "`gdpr-delete`" + `); HubSpot then does not take the address again.`

// policies are what resubscribe may say. HubSpot has no way to ask a person through the API.
var policies = subscriber.Policies{subscriber.Never, subscriber.Force}

func configSchema() sdk.Schema {
	return sdk.Schema{Attributes: map[string]sdk.Attribute{
		"access_token": {
			Type: "string", Sensitive: true,
			Doc: "The access token of a private app (`pat-...`). Either this, or `client_id`, `client_secret` and `refresh_token`.",
		},
		"client_id": {
			Type: "string",
			Doc:  "The client id of a public app, for OAuth 2.",
		},
		"client_secret": {
			Type: "string", Sensitive: true,
			Doc: "The client secret of that app.",
		},
		"refresh_token": {
			Type: "string", Sensitive: true,
			Doc: "The refresh token that the app got when it was installed in the account. Access tokens are fetched with it.",
		},
		"base_url": {
			Type: "string", Default: `"` + defaultBase + `"`,
			Doc: "Where the API is.",
		},
		"resubscribe": policies.Attribute(
			"What a grant does to somebody whom HubSpot holds as opted out. `never` rejects it. `force` subscribes, which HubSpot allows for people who asked for it."),
		"create": {
			Type: "bool", Default: "false",
			Doc: "Whether somebody who opts out, and whom HubSpot does not know, becomes a contact who is unsubscribed.",
		},
		"batch_subscriptions": {
			Type: "bool", Default: "false",
			Doc: "Whether subscriptions are read and written a hundred at once. Needs Marketing Hub Enterprise and the scopes `communication_preferences.statuses.batch.read` and `.write`.",
		},
	}}
}

func recordSchema() sdk.Schema {
	return sdk.Schema{Attributes: map[string]sdk.Attribute{
		"email": {
			Type: "string", Required: true,
			Doc: "The e-mail address, which is the identity of a contact.",
		},
		"properties": {
			Type: "map(any)",
			Doc:  "Values by the property's internal name (`firstname`). Numbers and bools are written as HubSpot spells them, a list as the choices of a multiple checkbox. Null empties a property. Not `email`, and not `hs_email_optout`, which only HubSpot writes.",
		},
		"subscriptions": {
			Type: "map(bool)",
			Doc:  "Subscription types by their ids (`39644612`): true subscribes, false unsubscribes, null makes a subscription not specified.",
		},
		"legal_basis": {
			Type: "string", Enum: []string{
				"LEGITIMATE_INTEREST_PQL", "LEGITIMATE_INTEREST_CLIENT", "PERFORMANCE_OF_CONTRACT",
				"CONSENT_WITH_NOTICE", "NON_GDPR", "PROCESS_AND_STORE", "LEGITIMATE_INTEREST_OTHER",
			},
			Doc: "Why a subscription may be changed, in HubSpot's words. Required where the account's privacy settings are on. It goes with changes, and is not written on its own.",
		},
		"legal_basis_explanation": {
			Type: "string",
			Doc:  "The explanation of the legal basis, kept with the subscription.",
		},
	}}
}
