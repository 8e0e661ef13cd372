// Package mailchimp is the target type of Mailchimp Marketing: the members of one audience, with their
// subscription, groups, tags, marketing permissions and merge fields. Its simulator is package sim. It
// is apart from the other plugins because each vendor's API, errors and words are its own.
//
// Mailchimp's own description of the API is the source of what is sent and read; what the description
// does not say (which errors mean what, what a null does) is noted where it is used.
package mailchimp

import (
	"context"
	"errors"
	"net/url"
	"regexp"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// maxConnections is how many calls Mailchimp takes at once; the eleventh is answered with 429.
const maxConnections = 10

// Plugin is the target type "mailchimp".
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Type:    "mailchimp",
		Version: "1.0.0",
		Doc:     pluginDoc,
		Config:  configSchema(),
		Record:  recordSchema(),
		// One record a call: a slow answer holds up nobody else, and max_in_flight of the target is
		// then the number of connections. The vendor's call for 500 members saves no reading, and has no
		// way to leave a status as it is.
		Limits: sdk.Limits{MaxBatch: 1, MaxInFlight: maxConnections},
		New:    newTarget,
	}
}

type config struct {
	APIKey      string `json:"api_key"`
	ListID      string `json:"list_id"`
	BaseURL     string `json:"base_url"`
	Resubscribe string `json:"resubscribe"`
	Create      bool   `json:"create"`
}

type target struct {
	client      *httpclient.Client
	list        string // path of the audience: "/lists/a1b2c3d4e5"
	resubscribe subscriber.Resubscribe
	create      bool
}

var (
	// dataCenter is the end of an API key, after the last hyphen: "us21".
	dataCenter = regexp.MustCompile(`-([a-z]+[0-9]+)$`)
	listID     = regexp.MustCompile(`^[0-9A-Za-z]+$`)
)

func newTarget(_ context.Context, cfg sdk.Config, _ hclog.Logger) (sdk.Target, error) {
	var c config
	if err := cfg.Decode(&c); err != nil {
		return nil, sdk.InvalidConfig("", "%v", err)
	}
	var wrong []error
	center := dataCenter.FindStringSubmatch(c.APIKey)
	auth := httpclient.Basic("consentd", c.APIKey) // any user name will do
	if center == nil {
		auth = httpclient.Bearer(c.APIKey) // an OAuth 2 access token has no data centre in it
	}
	var client *httpclient.Client
	switch {
	case !httpclient.Printable(c.APIKey):
		wrong = append(wrong, sdk.InvalidConfig("api_key", "must be an API key, without spaces or line ends"))
	case c.BaseURL == "" && center == nil:
		wrong = append(wrong, sdk.InvalidConfig("api_key",
			"must end with the account's data centre (-us21), as Mailchimp shows it; for a key or an access token without one, set base_url"))
	default:
		if c.BaseURL == "" {
			c.BaseURL = "https://" + center[1] + ".api.mailchimp.com/3.0"
		}
		var err error
		client, err = httpclient.New(httpclient.Options{BaseURL: c.BaseURL, Auth: auth, MaxInFlight: maxConnections, Classify: classify})
		if err != nil {
			wrong = append(wrong, sdk.InvalidConfig("base_url", "%v", err))
		}
	}
	if !listID.MatchString(c.ListID) {
		wrong = append(wrong, sdk.InvalidConfig("list_id", "must be the audience id: letters and digits, such as a1b2c3d4e5"))
	}
	resubscribe, err := policies.Parse(c.Resubscribe)
	if err := errors.Join(append(wrong, err)...); err != nil {
		return nil, err
	}
	return &target{
		client:      client,
		list:        "/lists/" + url.PathEscape(c.ListID),
		resubscribe: resubscribe,
		create:      c.Create,
	}, nil
}

// Close frees the connections.
func (t *target) Close() error {
	t.client.Close()
	return nil
}

// call makes one exchange. The error is fit for sdk.FromError.
func (t *target) call(ctx context.Context, method, path string, body any) (*httpclient.Response, error) {
	return t.client.Do(ctx, httpclient.Request{Method: method, Path: path, Body: body})
}
