package mailchimp

import (
	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
)

const pluginDoc = `Keeps the members of one Mailchimp audience: their subscription, groups (interests), tags, marketing
permissions, merge fields and language. A member is known by the e-mail address, in whatever case it is
written.

**What is sent.** The member is read first, and only what differs is written
(` + "`PUT /lists/{list_id}/members/{hash}`" + `, then ` + "`POST .../tags`" + ` where tags differ). A member that already
holds everything is *unchanged*. The status is sent only when it must change, so nobody is subscribed
again by an update of their name. One call carries one record, and a target uses at most the 10
connections that Mailchimp allows. Targets that share an account share those 10: set
` + "`max_in_flight`" + ` so that the sum stays below.

**Opting out.** ` + "`unsubscribed`" + ` unsubscribes a member who is subscribed, pending, archived or transactional.
Somebody whom the audience does not know is not created, unless ` + "`create`" + ` is true. What a record takes
away (the subscription, groups, tags, permissions) is delivered even when Mailchimp refuses the rest of
it; the record is then still rejected, so that the fault is seen. Required merge fields never hold back
a change of somebody who is already a member.

**Opting in again.** Mailchimp holds people as *unsubscribed* (by themselves, or by the account: the API or
somebody at work in it), *cleaned* (their mail bounced) or *archived* (put away; what they were before is not
told). A grant does not overrule that: see ` + "`resubscribe`" + `. One case is no opt-out that stands against it:
where the account unsubscribed the member, as consentd does after a withdrawal, and the person opted in later
than that. It takes ` + "`timestamp_opt`" + ` to show it; Mailchimp's reason "N/A (Unsubscribed by an admin)" tells
who did it, and the time of the member's last change when. Without either the opt-out stands. A grant that is not delivered is rejected with the code OPTED_OUT,
CLEANED or ARCHIVED. Those who unsubscribed by themselves are in Mailchimp's *compliance state*: no setting
subscribes them, the code is COMPLIANCE_STATE, and only they themselves can come back, through a form or
a confirmation mail. A member who is pending stays pending (the outcome is *accepted*) unless
` + "`resubscribe = \"force\"`" + `.

**Null, absent, false.** A null clears: a merge field or the language becomes empty, a group, tag or
permission is taken away, and a null in place of a whole map does so with everything in it. An absent name
is left alone. Mailchimp has no third state beside yes and no, so false and null do the same in groups,
tags and permissions.

**Reading and erasing.** Read-back tells all fields; *cleaned*, *archived* and *transactional* read as
` + "`unsubscribed`" + `, since they get no marketing mail. Erasing deletes the member for good
(` + "`actions/delete-permanent`" + `). Mailchimp then takes that address back through its own sign-up forms only:
a later grant is rejected with FORGOTTEN_EMAIL.

**Outcomes.** A wrong key or data centre, and an audience that does not exist, pause the target. 429, and
the 403 without a reason that Mailchimp gives at high volume, throttle it. An address that Mailchimp takes
for fake, and groups, permissions or merge fields that the audience lacks, reject that one record. An
address that signed up to many audiences lately is tried again after six hours. The receipt's reference is
Mailchimp's contact id.`

// policies are what resubscribe may say.
var policies = subscriber.Policies{subscriber.Never, subscriber.Confirm, subscriber.Force}

func configSchema() sdk.Schema {
	return sdk.Schema{Attributes: map[string]sdk.Attribute{
		"api_key": {
			Type: "string", Required: true, Sensitive: true,
			Doc: "The account's API key, with the data centre at its end (`...-us21`). An OAuth 2 access token will do too; `base_url` must then be set.",
		},
		"list_id": {
			Type: "string", Required: true,
			Doc: "The audience id, from *Audience > Settings > Audience name and defaults*.",
		},
		"base_url": {
			Type: "string", Default: `"https://{dc}.api.mailchimp.com/3.0"`,
			Doc: "Where the API is. `{dc}` is the data centre at the end of the key.",
		},
		"resubscribe": policies.Attribute(
			"What a grant does to somebody whom Mailchimp holds as unsubscribed, cleaned or archived. `never` rejects it. `confirm` makes the member pending, and Mailchimp mails a request to confirm. `force` subscribes; Mailchimp refuses that for people who unsubscribed by themselves or whose mail bounced."),
		"create": {
			Type: "bool", Default: "false",
			Doc: "Whether somebody who opts out, and whom the audience does not know, becomes an unsubscribed member. Mailchimp bills unsubscribed members.",
		},
	}}
}

func recordSchema() sdk.Schema {
	return sdk.Schema{Attributes: map[string]sdk.Attribute{
		"email": {
			Type: "string", Required: true,
			Doc: "The e-mail address, which is the identity of a member.",
		},
		"status": {
			Type: "string", Enum: []string{subscribed, unsubscribed, pending},
			Doc: "The wanted subscription. `pending` has Mailchimp mail a request to confirm, and is satisfied by a member who has confirmed; an audience with double opt-in wants it in place of `subscribed`. Null is the same as absent, because a subscription cannot be empty: to take one away, write `unsubscribed`. A record without a status changes members only, and is rejected with NOT_A_MEMBER where it gives something to somebody the audience does not know.",
		},
		"merge_fields": {
			Type: "map(any)",
			Doc:  "Values by merge tag (`FNAME`). The audience must have each tag. An address is an object with `addr1`, `city`, `state` and `zip`. Null empties a field.",
		},
		"interests": {
			Type: "map(bool)",
			Doc:  "Group names by their API ids (`9143cf3bd1`): whether the member is in it.",
		},
		"tags": {
			Type: "map(bool)",
			Doc:  "Tags by name: whether the member has it. A tag that does not exist is made.",
		},
		"marketing_permissions": {
			Type: "map(bool)",
			Doc:  "GDPR marketing permissions by their API ids: whether the member gave it. GDPR fields must be on in the audience.",
		},
		"language": {
			Type: "string",
			Doc:  "The member's language, as Mailchimp abbreviates it (`de`, `pt_PT`). Null empties it.",
		},
		"timestamp_opt": {
			Type: "string",
			Doc:  "When the person opted in (`permission.NAME.obtained_at`), RFC 3339. Mailchimp keeps it with a subscription, and it shows whether a grant came after the account unsubscribed the member. Null is the same as absent.",
		},
	}}
}
