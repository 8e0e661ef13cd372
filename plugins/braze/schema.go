package braze

import (
	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
)

const pluginDoc = `Keeps user profiles of one Braze workspace: their e-mail and push subscription, subscription groups,
e-mail address, telephone number and attributes. A profile is known by one of ` + "`external_id`, `user_alias` and `braze_id`" + `;
only without any of those by ` + "`email`" + `, and without that by ` + "`phone`" + `.

**What is sent.** Up to 75 records go in one call (` + "`POST /users/track`" + `), and each object that Braze finds fault
with rejects its own record. When Braze refuses a whole call, it is halved until the culprit is alone.

**Accepted.** Braze queues what it is sent and does not tell what became of it, so the outcome is *accepted*, never
*delivered*. Usually it shows on the profile within a second; Braze promises no time, and no order of two calls.

**Opting out.** A record that gives no subscription never makes a profile, unless ` + "`create`" + ` is true. What a
record takes away is sent even when the rest of it may not be; the record is then still rejected, so that the fault is
seen.

**Opting in again.** Braze keeps the newest state, whoever set it, and would undo an opt-out without a question. So with
` + "`resubscribe = \"never\"`" + ` records that give something are held against what Braze has before they are sent: who is
unsubscribed from the same channel or group stays so, and the record is rejected with OPTED_OUT. That includes people
whom consentd itself unsubscribed, and groups that were ever written as false; a preference centre needs a target of its
own with ` + "`force`" + `. With ` + "`force`" + ` nothing is read. Both ` + "`opted_in` and `subscribed`" + ` give something:
Braze mails people of both states.

**Null, absent, false.** A null removes an attribute, the e-mail address or the telephone number. In
` + "`email_subscribe` and `push_subscribe`" + ` it unsubscribes, since Braze's neutral state gets mail. In a group it does
the same as false, and in place of all groups it takes away each that the person is in. An absent name is left alone.
` + "`attributes`" + ` itself cannot be null.

**Reading and erasing.** Read-back tells all fields; of several profiles with one e-mail address it tells the first,
and an opt-out in any of them. Groups of people with neither an external id nor an address cannot be read. Erasing
deletes the profile (` + "`POST /users/delete`" + `); by ` + "`email` or `phone`" + ` all profiles that have it.

**Outcomes.** A wrong key, a missing permission, another instance and an unknown subscription group pause the target.
429 throttles it, until the time that Braze names. Each endpoint has a rate of its own, and when nothing is left of it
calls wait.`

// policies are what resubscribe may say. Braze asks nobody to confirm, but for some SMS groups.
var policies = subscriber.Policies{subscriber.Never, subscriber.Force}

func configSchema() sdk.Schema {
	return sdk.Schema{Attributes: map[string]sdk.Attribute{
		"api_key": {
			Type: "string", Required: true, Sensitive: true,
			Doc: "A REST API key of the workspace, with the permissions `users.track`, `users.export.ids` and `subscription.groups.get`, and `users.delete` if consentd is to erase.",
		},
		"base_url": {
			Type: "string", Required: true,
			Doc: "The REST endpoint of your instance, such as `https://rest.fra-01.braze.eu`. There is no default: each instance has its own, and does not know the keys of the others.",
		},
		"resubscribe": policies.Attribute(
			"What a grant does to somebody whom Braze holds as unsubscribed, from the channel or from the group. `never` rejects it. `force` subscribes."),
		"create": {
			Type: "bool", Default: "false",
			Doc: "Whether a record that gives no subscription, such as an opt-out, makes a profile for somebody whom Braze does not know.",
		},
	}}
}

func recordSchema() sdk.Schema {
	state := []string{optedIn, subscribed, unsubscribed}
	return sdk.Schema{Attributes: map[string]sdk.Attribute{
		"external_id": {
			Type: "string",
			Doc:  "The profile's external id. Braze never removes one, so choose what stays, such as `citizen.id`.",
		},
		"user_alias": {
			Type: "map(string)",
			Doc:  "The profile's alias, in place of an external id: `{ alias_name = citizen.id, alias_label = \"cpm\" }`.",
		},
		"braze_id": {
			Type: "string",
			Doc:  "Braze's own id of the profile, in place of an external id.",
		},
		"email": {
			Type: "string",
			Doc:  "The e-mail address: a value to set where there is another identifier, else the identifier. Null removes it.",
		},
		"phone": {
			Type: "string",
			Doc:  "The telephone number as `+4930123456`: a value to set where there is another identifier, else the identifier. Null removes it.",
		},
		"email_subscribe": {
			Type: "string", Enum: state,
			Doc: "The wanted e-mail subscription, which Braze keeps by address. `subscribed` is Braze's word for a person who has chosen neither, and gets mail. Null unsubscribes.",
		},
		"push_subscribe": {
			Type: "string", Enum: state,
			Doc: "The wanted push subscription, in the same words.",
		},
		"subscription_groups": {
			Type: "map(bool)",
			Doc:  "Subscription groups by their ids: whether the person is subscribed. Null takes away every group that the person is in.",
		},
		"attributes": {
			Type: "map(any)",
			Doc:  "Custom attributes, and Braze's own such as `first_name`, by name. A null removes one. `inc` and `$add` are refused, because a delivery may be repeated.",
		},
	}}
}
