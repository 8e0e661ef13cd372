package marketo

import (
	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
)

const pluginDoc = `Keeps leads in Adobe Marketo Engage: their fields, the opt-outs among them, and the static lists that they
are on. A lead is found by one field, which is the e-mail address unless ` + "`lookup_field`" + ` says otherwise.

**What is sent.** Up to 300 leads are read in as few calls as their addresses fit in, and only what differs is
written, by the leads' own ids (` + "`POST /rest/v1/leads.json`" + `). Each row's own result is the outcome of its
record. Lists take a call each, for all records that name them. A record of which nothing differs, and which
names no list, costs no call beyond the reading. The receipt's reference is the lead's id.

**Opting out.** ` + "`unsubscribed`, `marketingSuspended`, `doNotCall` and `blackListed`" + ` are inverted: true means *not*
allowed, so a rule writes ` + "`unsubscribed = !permission.newsletter_email.allowed`" + `. What a record takes away is
delivered even when Marketo refuses the rest of it, and from every lead of the same address where there are
several. Somebody whom Marketo does not know is not created, unless ` + "`create`" + ` is true.

**Opting in again.** A record that sets one of these fields to false, or clears it, is rejected with OPTED_OUT
where the lead holds true, unless ` + "`resubscribe = \"force\"`" + `. Other fields are as the record says: of them the plugin
does not know which ones are consent.

**Null, absent, false.** A null empties a field, an absent one is left alone, and false is false. An opt-out
cannot be empty, so there null is false; a null list is one that the lead is taken off.

**Reading and erasing.** Read-back tells the opt-outs and the fields that a rule names, and no lists. Erasing
deletes all leads with the lookup value, for good.

**Outcomes.** Marketo answers failures with 200. 606 (rate), 607 (the day's calls: until midnight US Central) and
615 (calls at once) throttle the target. A missing permission, an unknown field, list or partition pauses it.
Bad values, and several leads where one is needed, reject that one record.`

// policies are what resubscribe may say.
var policies = subscriber.Policies{subscriber.Never, subscriber.Force}

func configSchema() sdk.Schema {
	return sdk.Schema{Attributes: map[string]sdk.Attribute{
		"munchkin_id": {
			Type: "string",
			Doc:  "The Munchkin account id (`123-ABC-456`), from *Admin > Integration > Munchkin*. Required unless `base_url` is set.",
		},
		"base_url": {
			Type: "string", Default: `"https://{munchkin_id}.mktorest.com"`,
			Doc: "Where the API is, without `/rest` and `/identity`.",
		},
		"client_id": {
			Type: "string", Required: true,
			Doc: "The client id of a custom service, from *Admin > Integration > LaunchPoint*.",
		},
		"client_secret": {
			Type: "string", Required: true, Sensitive: true,
			Doc: "The client secret of that service.",
		},
		"lookup_field": {
			Type: "string", Default: `"email"`,
			Doc: "The REST API name of the field that leads are found by. It must be searchable.",
		},
		"partition": {
			Type: "string",
			Doc:  "The name of the lead partition that new leads go to, where the subscription has several.",
		},
		"resubscribe": policies.Attribute(
			"What a record does that takes back an opt-out which the lead holds. `never` rejects it. `force` writes it."),
		"create": {
			Type: "bool", Default: "false",
			Doc: "Whether somebody whom Marketo does not know becomes a lead when the record grants nothing.",
		},
	}}
}

func recordSchema() sdk.Schema {
	return sdk.Schema{Attributes: map[string]sdk.Attribute{
		"lookup_value": {
			Type: "string", Required: true,
			Doc: "The value of the lookup field: who it is.",
		},
		"fields": {
			Type: "map(any)",
			Doc:  "Fields by REST API name (`firstName`, `unsubscribed`), without the lookup field. Null empties one.",
		},
		"lists": {
			Type: "map(bool)",
			Doc:  "Static lists by id (`\"1021\"`): whether the lead is on it.",
		},
	}}
}
