// Package salesforce is the target type of Salesforce's core CRM: contacts, leads, individuals, the
// consent objects and any custom object, upserted by external id. Its simulator is package sim. It is
// apart from the other plugins because each vendor's API, errors and words are its own.
package salesforce

import (
	"context"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

const (
	// maxRows is what one sObject Collections call takes.
	maxRows = 200
	// maxInFlight keeps well under the 25 long-running requests that an org may have at once: they are
	// shared with everything else that is connected to it.
	maxInFlight = 5
	// defaultVersion is Winter '25. Salesforce serves a version for at least three years, and a record
	// means the same in all of them.
	defaultVersion = "v62.0"
	// minVersion is the first with the collections upsert.
	minVersion = 46
)

const pluginDoc = `Upserts records into Salesforce by external id, up to 200 in one call
(` + "`PATCH /composite/sobjects/{object}/{external id field}`" + ` with ` + "`allOrNone: false`" + `), and takes each
row's own result as the outcome of its record. One daily API request is spent on each call, not on
each record, and a second one on a call that holds opt-outs. The receipt's reference is the Salesforce
record id.

**Signing in.** Set exactly one of:

- ` + "`client_secret`" + `: the client credentials flow. ` + "`login_url`" + ` must then be your My Domain URL.
- ` + "`username` and `private_key`" + `: the JWT bearer flow.
- ` + "`refresh_token`" + `, with ` + "`client_secret`" + ` if the app asks for one. An app with refresh token
  rotation gives out a new token at each use and revokes everything when an old one comes again: the
  new one is kept in memory only. The log warns of it, and after a restart the target pauses with
  invalid_grant and says what to do. Prefer one of the other two.

**Values.** A null in ` + "`fields`" + ` clears the field, an absent name leaves it alone, and false is false.
A checkbox cannot be null. Opt-out checkboxes such as ` + "`HasOptedOutOfEmail`" + ` are inverted: true means
*not* allowed, so a rule writes ` + "`HasOptedOutOfEmail = !permission.newsletter_email.allowed`" + `.
A lookup is set by the other record's external id with an object under the relationship's name:
` + "`Individual = { CPM_Id__c = citizen.id }`" + `.

**Creating.** A record that Salesforce does not hold is created when it gives something, so the required
fields of the object must be in ` + "`fields`" + ` too; without them the record is rejected with
REQUIRED_FIELD_MISSING. One that only refuses is not created, unless ` + "`create`" + ` is true: Salesforce is
asked first which of a call's opt-outs it holds, and the others are *unchanged*. A record refuses if it has
at least one of Salesforce's own words for consent (` + "`HasOptedOut...`, `DoNotCall`, `PrivacyConsentStatus`" + `)
and each of them says no; without any of them, if it carries a withdrawal. With ` + "`create = false`" + ` in the
record nothing is created by it, and a grant for somebody who is not there is rejected with
NOT_IN_SALESFORCE, to be tried again like any dead letter.

**Withdrawals get through.** Where Salesforce refuses a record of somebody whom it holds, or a lookup leads
nowhere yet, what the record takes away in Salesforce's own words (` + "`HasOptedOut...`, `DoNotCall`, " + `
` + "`PrivacyConsentStatus = \"OptOut\"`" + `) is upserted by itself. The outcome stays, so that the fault is seen.

**Outcomes.** Locked rows, races between two upserts and lookups to a record that is not there yet are
retried. An exhausted API allowance, of 24 hours or of long requests at once (REQUEST_LIMIT_EXCEEDED),
throttles the target. Duplicate rules (DUPLICATES_DETECTED), validation rules and converted leads reject
the one record. A field, object or
external id field that does not exist or that the user may not see (INVALID_FIELD, INVALID_TYPE,
NOT_FOUND, INSUFFICIENT_ACCESS...), and every refusal to sign in, is configuration: the target pauses
and keeps its work. When Salesforce refuses a whole call because of one malformed row, the call is
halved until that row is alone, and only its record is rejected.

**Erasing** deletes the record. Salesforce keeps deleted records in the recycle bin for 15 days.`

// Plugin is the target type "salesforce".
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Type:    "salesforce",
		Version: "1.0.0",
		Doc:     pluginDoc,
		Config: sdk.Schema{Attributes: map[string]sdk.Attribute{
			"login_url": {
				Type: "string", Default: `"https://login.salesforce.com"`,
				Doc: "Where to sign in: `https://login.salesforce.com`, `https://test.salesforce.com` for sandboxes, or your My Domain URL (`https://acme.my.salesforce.com`), which the client credentials flow needs.",
			},
			"client_id": {
				Type: "string", Required: true,
				Doc: "The consumer key of the external client app or connected app.",
			},
			"client_secret": {
				Type: "string", Sensitive: true,
				Doc: "The app's consumer secret: alone for the client credentials flow, or beside `refresh_token`.",
			},
			"username": {
				Type: "string",
				Doc:  "The integration user to act as in the JWT bearer flow. Needs `private_key`.",
			},
			"private_key": {
				Type: "string", Sensitive: true,
				Doc: "The RSA private key, in PEM without a passphrase, whose certificate the app holds. Needs `username`.",
			},
			"audience": {
				Type: "string", Default: "by login_url",
				Doc: "The JWT's audience. By default `https://test.salesforce.com` for test.salesforce.com and for sandbox and scratch My Domains, else `https://login.salesforce.com`. Only beside `private_key`.",
			},
			"refresh_token": {
				Type: "string", Sensitive: true,
				Doc: "A refresh token of the app, for the refresh token flow. Not for apps with refresh token rotation.",
			},
			"create": {
				Type: "bool", Default: "false",
				Doc: "Whether a record that only refuses, and that Salesforce does not hold, is created. A record may say so itself.",
			},
			"api_version": {
				Type: "string", Default: `"` + defaultVersion + `"`,
				Doc: "The REST API version, `v46.0` or later.",
			},
		}},
		Record: sdk.Schema{Attributes: map[string]sdk.Attribute{
			"object": {
				Type: "string", Required: true,
				Doc: "API name of the object: `Contact`, `Lead`, `Individual`, `ContactPointTypeConsent`, `Membership__c`.",
			},
			"external_id_field": {
				Type: "string", Required: true,
				Doc: "API name of the text field that identifies the record, marked External ID and Unique: `CPM_Id__c`. Not `Id`: Salesforce does not upsert by record id.",
			},
			"external_id": {
				Type: "string", Required: true,
				Doc: "The value of that field: `citizen.id` or `citizen.external_ref`.",
			},
			"fields": {
				Type: "map(any)",
				Doc:  "The fields to set, by API name, without `Id` and the external id field. A null clears, an absent name is left alone.",
			},
			"create": {
				Type: "bool", Default: "true for what gives something, else the target's create",
				Doc: "Whether the record is created where Salesforce does not hold it.",
			},
		}},
		Limits: sdk.Limits{MaxBatch: maxRows, MaxInFlight: maxInFlight},
		New:    newTarget,
	}
}

func newTarget(_ context.Context, cfg sdk.Config, log hclog.Logger) (sdk.Target, error) {
	s, err := readSettings(cfg)
	if err != nil {
		return nil, err
	}
	client, err := httpclient.New(httpclient.Options{
		Auth: httpclient.SignIn(httpclient.OAuth2{
			TokenURL: s.login.String() + "/services/oauth2/token",
			Grant:    s.grant,
			Instance: "instance_url",
			Classify: s.classifySignIn,
		}),
		MaxInFlight: maxInFlight,
		Classify:    classify,
		Log:         log,
	})
	if err != nil {
		return nil, sdk.InvalidConfig("login_url", "%v", err)
	}
	return &target{client: client, root: "/services/data/" + s.version, create: s.create, log: log}, nil
}

// target is one Salesforce org. It implements all of the optional verbs.
type target struct {
	client *httpclient.Client
	root   string // path of the REST API in the configured version
	create bool   // whether an opt-out makes a record
	usage  usage
	log    hclog.Logger
}

// call makes one exchange with the REST API, at a path below its root.
func (t *target) call(ctx context.Context, method, path string, body any) (*httpclient.Response, error) {
	res, err := t.client.Do(ctx, httpclient.Request{Method: method, Path: t.root + path, Body: body})
	if err == nil {
		t.usage.watch(res.Header, t.log)
	}
	return res, err
}

func (t *target) Close() error {
	t.client.Close()
	return nil
}
