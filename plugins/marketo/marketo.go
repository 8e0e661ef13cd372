// Package marketo is the target type of Adobe Marketo Engage: leads, with their opt-outs, and the static
// lists that they are on. Its simulator is package sim. It is apart from the other plugins because each
// vendor's API, errors and words are its own.
//
// Adobe's own description of the API is the source of what is sent and read; what each error code means is
// from its documentation.
package marketo

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

const (
	// maxRows is what one call takes.
	maxRows = 300
	// maxRequest is the longest body that Marketo takes, in bytes.
	maxRequest = 1 << 20
	// maxCalls is how many calls a subscription may have at once, over all that use it.
	maxCalls = 10
	// maxInFlight leaves some of these to others.
	maxInFlight = 4
	// A subscription may make 100 calls in any 20 seconds, and by default 50,000 a day, which is less than one
	// a second.
	callsASecond, burst = 1, 80

	email = "email" // the field that leads are found by if nothing else is said
)

// Plugin is the target type "marketo".
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Type:    "marketo",
		Version: "1.0.0",
		Doc:     pluginDoc,
		Config:  configSchema(),
		Record:  recordSchema(),
		Limits:  sdk.Limits{MaxBatch: maxRows, MaxInFlight: maxInFlight},
		New:     newTarget,
	}
}

type config struct {
	MunchkinID   string `json:"munchkin_id"`
	BaseURL      string `json:"base_url"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	LookupField  string `json:"lookup_field"`
	Partition    string `json:"partition"`
	Resubscribe  string `json:"resubscribe"`
	Create       bool   `json:"create"`
}

type target struct {
	client      *httpclient.Client
	lookupField string
	partition   string
	resubscribe subscriber.Resubscribe
	create      bool
}

var (
	munchkinID = regexp.MustCompile(`^[0-9]{3}-[A-Za-z]{3}-[0-9]{3}$`)
	fieldName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)
)

func newTarget(_ context.Context, cfg sdk.Config, log hclog.Logger) (sdk.Target, error) {
	var c config
	if err := cfg.Decode(&c); err != nil {
		return nil, sdk.InvalidConfig("", "%v", err)
	}
	var wrong []error
	report := func(path, format string, args ...any) {
		wrong = append(wrong, sdk.InvalidConfig(path, format, args...))
	}
	c.LookupField = cmp.Or(c.LookupField, email)
	if c.MunchkinID != "" && !munchkinID.MatchString(c.MunchkinID) {
		report("munchkin_id", "must look like 123-ABC-456, as Admin > Munchkin shows it")
	} else if c.MunchkinID == "" && c.BaseURL == "" {
		report("munchkin_id", "is missing: it says where the API is; or set base_url")
	}
	base := cmp.Or(c.BaseURL, "https://"+c.MunchkinID+".mktorest.com")
	if u, err := httpclient.Endpoint(base); err != nil && c.BaseURL != "" {
		report("base_url", "%v", err)
	} else if err == nil {
		base = u.String()
	}
	if !httpclient.Printable(c.ClientID) {
		report("client_id", "must be the client id of a LaunchPoint service, without spaces or line ends")
	}
	if !httpclient.Printable(c.ClientSecret) {
		report("client_secret", "must be the client secret of a LaunchPoint service, without spaces or line ends")
	}
	if !fieldName.MatchString(c.LookupField) {
		report("lookup_field", "must be the REST API name of a field, such as email")
	}
	resubscribe, err := policies.Parse(c.Resubscribe)
	if err := errors.Join(append(wrong, err)...); err != nil {
		return nil, err
	}
	client, err := httpclient.New(httpclient.Options{
		BaseURL: base,
		Auth: httpclient.SignIn(httpclient.OAuth2{
			TokenURL: base + "/identity/oauth/token",
			Grant:    httpclient.ClientCredentials(c.ClientID, c.ClientSecret, ""),
			Query:    true,
		}),
		MaxInFlight: maxCalls,
		MaxRequest:  maxRequest,
		Limiter:     rate.NewLimiter(callsASecond, burst),
		Classify:    classify,
		Expired:     expired,
		Log:         log,
	})
	if err != nil {
		return nil, sdk.InvalidConfig("base_url", "%v", err)
	}
	return &target{client: client, lookupField: c.LookupField, partition: c.Partition, resubscribe: resubscribe, create: c.Create}, nil
}

// Close ends a sign-in that is under way, and frees the connections.
func (t *target) Close() error {
	t.client.Close()
	return nil
}

// result is one element of an answer: a lead as it is held, or what became of one that was sent.
type result map[string]any

// call makes one exchange, and returns the results.
func (t *target) call(ctx context.Context, method, path string, query url.Values, body any) ([]result, error) {
	res, err := t.client.Do(ctx, httpclient.Request{Method: method, Path: "/rest/v1" + path, Query: query, Body: body})
	if err != nil {
		return nil, err
	}
	if err := res.Err(); err != nil {
		return nil, err
	}
	var answer struct {
		Success bool     `json:"success"`
		Result  []result `json:"result"`
	}
	if res.Status != http.StatusOK || res.Decode(&answer) != nil || !answer.Success {
		return nil, unexpected().Err()
	}
	return answer.Result, nil
}
