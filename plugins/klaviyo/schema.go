package klaviyo

import (
	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
)

const pluginDoc = `Keeps profiles in Klaviyo: consent by channel, suppression, attributes and custom properties. A profile is
found by ` + "`email`, or else `phone_number`, or else `external_id`" + `.

**What is sent.** Up to 50 people are looked up in one call, and only what differs is written: who leaves a
channel in one job (` + "`profile-subscription-bulk-delete-jobs`" + `), attributes by one call a profile
(` + "`profile-import`" + `), who joins a channel in one job (` + "`profile-subscription-bulk-create-jobs`" + `). Klaviyo
answers jobs with 202 and nothing else. So the profiles are read again, for up to four seconds: the outcome is
*delivered* when they hold what was asked for, and *accepted* when they do not yet. The receipt's reference is
Klaviyo's profile id.

**Opting out.** A channel that is false or null is unsubscribed everywhere, not for one list: it goes first,
and is delivered even when Klaviyo refuses the rest of the record. Somebody whom Klaviyo does not know is not
created, unless ` + "`create`" + ` is true. A channel that the profile has no address or number for has nothing to take
away.

**Opting in again.** A subscribe call of Klaviyo takes away opt-outs, spam complaints and suppressions. So a
grant is rejected with OPTED_OUT where the profile holds one of these (for the channel, or for the list of
` + "`list_id`" + `), unless ` + "`resubscribe = \"force\"`" + `. A bounced or invalid address stays suppressed in any case.
Where ` + "`list_id`" + ` is a list with double opt-in, Klaviyo asks the person first, and the outcome is *accepted*.
Without a list, the account's own opt-in setting decides.

**Null, absent, false.** A null clears an attribute or removes a custom property; in place of a whole map it
does so with everything in it. An absent name is left alone. Consent has no third state that can be set, so
false and null do the same in ` + "`subscriptions` and `suppressed`" + `.

**Reading and erasing.** Read-back tells all fields. Erasing asks for a deletion for reasons of data privacy
(` + "`data-privacy-deletion-jobs`" + `), which Klaviyo does later; *delivered* means that the profile is gone.

**Outcomes.** A wrong key, a missing scope and an unknown list pause the target. 429, and a 403 that is not
the API's own, throttle it. A job that is refused because of one profile is sent again without it.`

// policies are what resubscribe may say.
var policies = subscriber.Policies{subscriber.Never, subscriber.Force}

func configSchema() sdk.Schema {
	return sdk.Schema{Attributes: map[string]sdk.Attribute{
		"api_key": {
			Type: "string", Sensitive: true,
			Doc: "A private API key with the scopes profiles:read, profiles:write, lists:read, lists:write, subscriptions:write and, to erase, data-privacy:write. Required unless an app signs in.",
		},
		"client_id": {
			Type: "string",
			Doc:  "The client id of an OAuth app, in place of `api_key`. Needs `client_secret` and `refresh_token`.",
		},
		"client_secret": {
			Type: "string", Sensitive: true,
			Doc: "The client secret of that app.",
		},
		"refresh_token": {
			Type: "string", Sensitive: true,
			Doc: "The refresh token that the app was given when it was installed, with the same scopes.",
		},
		"list_id": {
			Type: "string",
			Doc:  "The list that who subscribes is added to. Its opt-in setting says whether Klaviyo asks them first. Opt-outs are not about a list.",
		},
		"base_url": {
			Type: "string", Default: `"` + defaultBase + `"`,
			Doc: "Where the API is.",
		},
		"resubscribe": policies.Attribute(
			"What a grant does to somebody whom Klaviyo holds as opted out or suppressed. `never` rejects it. `force` subscribes, which takes the opt-out away; a list with double opt-in still asks the person."),
		"create": {
			Type: "bool", Default: "false",
			Doc: "Whether somebody whom Klaviyo does not know becomes a profile when the record grants nothing. Klaviyo bills active profiles.",
		},
	}}
}

func recordSchema() sdk.Schema {
	text := func(doc string) sdk.Attribute { return sdk.Attribute{Type: "string", Doc: doc + " Null empties it."} }
	return sdk.Schema{Attributes: map[string]sdk.Attribute{
		"email": {
			Type: "string",
			Doc:  "The e-mail address. It identifies the profile if it is there. Null is the same as absent, here and in the other two identifiers.",
		},
		"phone_number": {
			Type: "string",
			Doc:  "The telephone number in the form of E.164 (`+441632960961`). It identifies the profile if there is no email.",
		},
		"external_id": {
			Type: "string",
			Doc:  "Your own id of the person. It identifies the profile if there is neither email nor phone_number.",
		},
		"subscriptions": {
			Type: "map(bool)",
			Doc:  "Consent by channel: `email_marketing`, `email_open_tracking`, `sms_marketing`, `sms_transactional`, `whatsapp_marketing`, `whatsapp_transactional`. True subscribes, false unsubscribes. Any other name pauses the target.",
		},
		"suppressed": {
			Type: "bool",
			Doc:  "Whether the profile is suppressed by hand: no marketing mail, whatever the consent. False takes such a suppression away, and leaves those that are Klaviyo's own.",
		},
		"first_name":   text("The given name."),
		"last_name":    text("The family name."),
		"organization": text("Whom the person works for."),
		"title":        text("The job title."),
		"locale":       text("The language and region (`de-DE`)."),
		"image":        text("The address of a picture."),
		"location": {
			Type: "map(any)",
			Doc:  "Parts of the place by Klaviyo's names: address1, address2, city, region, zip, country, timezone, ip, latitude, longitude. Null empties a part.",
		},
		"properties": {
			Type: "map(any)",
			Doc:  "Custom properties by name. A property that does not exist is made. Null removes one.",
		},
	}}
}
