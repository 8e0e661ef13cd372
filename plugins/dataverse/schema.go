package dataverse

import (
	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
)

const pluginDoc = `Keeps rows of any Dataverse table (contacts and leads of Dynamics 365, your own tables), and the contact
point consents of Customer Insights - Journeys. A record is one row (` + "`table`" + `) or one consent (` + "`consent`" + `).
Up to 100 records go in one ` + "`$batch`" + ` of single operations with ` + "`odata.continue-on-error`" + `, so each has its own
result. The receipt's reference is the row's id, where Dataverse tells it.

**Signing in.** The client credentials flow of Microsoft Entra ID, with ` + "`client_secret`" + ` or with
` + "`certificate` and `private_key`" + `. The app needs an application user with a security role in the environment.

**Rows** are upserted by alternate key (` + "`PATCH /contacts(acme_cpmid='...')`" + `) or by id. The key must be defined on
the table and active. Dataverse takes no key with one of the characters ` + "`/ # < > * % & : \\ ? +`" + ` in its value; such
a record is rejected with KEY_CHARACTERS, so prefer ` + "`citizen.id`" + ` to an e-mail address. A row that is not there is
created, except by an opt-out; see ` + "`create`" + `.

**Do-not columns** (` + "`donotemail`, `donotbulkemail`, `donotphone`, `donotfax`, `donotpostalmail`, `donotbulkpostalmail`, `donotsendmm`" + `)
are inverted: true means *not* allowed, so a rule writes ` + "`donotemail = !permission.newsletter_email.allowed`" + `.
A record that sets some of them, all to true, is an opt-out. When Dataverse refuses the rest of a record, or the
row may not be opted in again, those that are true are sent alone; the record is then still rejected, so that
the fault is seen.

**Consents** belong to an address or number, a channel, and a purpose or topic, not to a contact. Dataverse has no key
for them: the active rows are looked up, and all that differ are changed; where there is none, one is created under an
id made from what it is about, so that a repeated delivery finds it again. An opt-out is created too, because a purpose
may allow mail to everybody without a row. A topic has no effect unless its purpose is opted in as well.

**Null, absent, false.** A null clears a column, an absent one is left alone, false is false. A choice (option set) is
written as its number, a lookup as ` + "`\"parentcustomerid_account@odata.bind\" = \"/accounts(accountnumber='A1')\"`" + `. A consent
is cleared with ` + "`status = \"not_set\"`" + `.

**Outcomes.** 429 (service protection) throttles the target for as long as Dataverse says. A table, column, key, purpose
or topic that does not exist, a missing privilege, and every refusal to sign in, pause the target. A lookup to a row
that is not there is retried. SQL timeouts and deadlocks are retried. All else that Dataverse finds wrong with
a row rejects that record alone.

**Reading and erasing.** Read-back tells all columns of a row, and of a consent its status. Erasing deletes the row, or
all rows of the consent.`

// policies are what resubscribe may say. Dataverse asks nobody to confirm.
var policies = subscriber.Policies{subscriber.Never, subscriber.Force}

func configSchema() sdk.Schema {
	return sdk.Schema{Attributes: map[string]sdk.Attribute{
		"base_url": {
			Type: "string", Required: true,
			Doc: "The environment's address, `https://acme.crm4.dynamics.com`. There is no default: every environment has its own.",
		},
		"tenant_id": {
			Type: "string", Required: true,
			Doc: "The directory (tenant) id in Microsoft Entra ID, or a domain of it.",
		},
		"client_id": {
			Type: "string", Required: true,
			Doc: "The application (client) id of the app registration.",
		},
		"client_secret": {
			Type: "string", Sensitive: true,
			Doc: "A client secret's value (not its id). Or set `certificate` and `private_key`.",
		},
		"certificate": {
			Type: "string",
			Doc:  "The certificate that was uploaded to the app registration, in PEM. Needs `private_key`.",
		},
		"private_key": {
			Type: "string", Sensitive: true,
			Doc: "The certificate's RSA key, in PEM without a passphrase. Needs `certificate`.",
		},
		"login_url": {
			Type: "string", Default: `"https://login.microsoftonline.com"`,
			Doc: "Where to sign in; national clouds have their own (`https://login.microsoftonline.us`).",
		},
		"api_version": {
			Type: "string", Default: `"` + defaultVersion + `"`,
			Doc: "The Web API's version.",
		},
		"resubscribe": policies.Attribute(
			"What a grant does where Dataverse holds an opt-out: a do-not column that is true and would become false, or a consent that is opted out. `never` rejects it with OPTED_OUT. `force` overrules it. With `never`, a row whose do-not columns would be lifted is read first."),
	}}
}

func recordSchema() sdk.Schema {
	return sdk.Schema{
		Attributes: map[string]sdk.Attribute{
			"table": {
				Type: "string",
				Doc:  "The table's entity set name: `contacts`, `leads`, `acme_memberships`. It is the plural in the Web API's address.",
			},
			"key": {
				Type: "map(any)",
				Doc:  "The columns of one alternate key and their values: `{ acme_cpmid = citizen.id }`. A lookup column is named `_acme_parent_value`.",
			},
			"id": {
				Type: "string",
				Doc:  "The row's id, a GUID, in place of `key`.",
			},
			"columns": {
				Type: "map(any)",
				Doc:  "The columns to set, by logical name, without those of the key. A null clears, an absent name is left alone.",
			},
			"create": {
				Type: "bool", Default: "true, except for rows by `id` and for opt-outs by do-not columns",
				Doc: "Whether what Dataverse does not hold is created. If not, an opt-out is unchanged, and any other record is rejected with NOT_FOUND.",
			},
		},
		Blocks: map[string]sdk.Block{
			"consent": {
				Doc: "A contact point consent of Customer Insights - Journeys (`msdynmkt_contactpointconsent4`), in place of a row.",
				Body: sdk.Schema{Attributes: map[string]sdk.Attribute{
					"contact_point": {
						Type: "string", Required: true,
						Doc: "The e-mail address or telephone number, as Dynamics 365 has it.",
					},
					"channel": {
						Type: "string", Required: true, Enum: []string{"email", "text", "voice"},
						Doc: "The channel.",
					},
					"purpose": {
						Type: "string", Required: true,
						Doc: "The id of the purpose, a GUID: it ends the address of the purpose's page, below the compliance profile.",
					},
					"topic": {
						Type: "string",
						Doc:  "The id of a topic of that purpose. The consent is then for the topic.",
					},
					"status": {
						Type: "string", Required: true, Enum: []string{"opted_in", "opted_out", "not_set"},
						Doc: "The wanted consent.",
					},
					"reason": {
						Type: "string", Default: `"consentd"`,
						Doc: "The reason description, written with each change. Flows that send consents back to DataGuard can leave out changes with this text, as Microsoft advises. Null empties it.",
					},
				}},
			},
		},
	}
}
