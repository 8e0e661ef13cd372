package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// acme is the plugin of the package comment.
func acme() sdk.Plugin {
	return sdk.Plugin{
		Type: "acme", Version: "1.0.0", Doc: "Keeps the subscribers of Acme.",
		Config: sdk.Schema{Attributes: map[string]sdk.Attribute{
			"base_url": {Type: "string", Required: true, Doc: "Where the API is."},
			"token":    {Type: "string", Required: true, Sensitive: true, Doc: "The API token."},
		}},
		Record: sdk.Schema{Attributes: map[string]sdk.Attribute{
			"email":      {Type: "string", Required: true, Doc: "Who it is about."},
			"newsletter": {Type: "bool", Doc: "Whether they may get the newsletter."},
		}},
		New: func(_ context.Context, cfg sdk.Config, _ hclog.Logger) (sdk.Target, error) {
			var c struct {
				BaseURL string `json:"base_url"`
				Token   string `json:"token"`
			}
			if err := cfg.Decode(&c); err != nil {
				return nil, err
			}
			if c.Token == "" {
				return nil, sdk.InvalidConfig("token", "must not be empty")
			}
			client, err := httpclient.New(httpclient.Options{BaseURL: c.BaseURL, Auth: httpclient.Bearer(c.Token), MaxInFlight: 8})
			if err != nil {
				return nil, sdk.InvalidConfig("base_url", "%v", err)
			}
			return &target{client}, nil
		},
	}
}

type target struct{ client *httpclient.Client }

func (t *target) Deliver(ctx context.Context, records []sdk.Record) []sdk.Outcome {
	return sdk.Each(ctx, records, 8, func(ctx context.Context, r sdk.Record) sdk.Outcome {
		var who struct{ Email string }
		if err := r.Decode(&who); err != nil {
			return sdk.Rejected("INVALID_RECORD", "%v", err)
		}
		res, err := t.client.Do(ctx, httpclient.Request{Method: "PATCH", Path: "/people/" + url.PathEscape(who.Email), Body: r.Fields})
		if err != nil {
			return sdk.FromError(err)
		}
		return res.Outcome()
	})
}

func (t *target) Close() error {
	t.client.Close()
	return nil
}

// A plugin's main is this one line.
func ExampleServe() {
	main := func() { sdk.Serve(acme()) }
	_ = main
}

// The plugin of the package comment, against a vendor that is well and then is not.
func Example() {
	down := false
	vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down {
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Println(r.Method, r.URL.Path, string(body))
	}))
	defer vendor.Close()

	config, _ := json.Marshal(map[string]string{"base_url": vendor.URL, "token": "s3cret"})
	made, err := acme().New(context.Background(), sdk.Config{Target: "crm", Fields: config}, hclog.NewNullLogger())
	if err != nil {
		panic(err)
	}
	defer made.(sdk.Closer).Close()

	record := sdk.Record{ID: "r1", Fields: []byte(`{"email":"ann@example.com","newsletter":true}`)}
	fmt.Println(made.Deliver(context.Background(), []sdk.Record{record})[0].Kind)
	down = true
	o := made.Deliver(context.Background(), []sdk.Record{record})[0]
	fmt.Println(o.Kind, o.RetryAfter)
	// Output:
	// PATCH /people/ann@example.com {"email":"ann@example.com","newsletter":true}
	// delivered
	// throttled 30s
}

func ExampleFromResponse() {
	for _, status := range []int{204, 401, 404, 409, 422, 429, 503} {
		fmt.Println(status, sdk.FromResponse(status, nil).Kind)
	}
	// Output:
	// 204 delivered
	// 401 unauthorized
	// 404 rejected
	// 409 retry
	// 422 rejected
	// 429 throttled
	// 503 retry
}

func ExampleOptional() {
	for _, fields := range []string{`{"name":"Ann"}`, `{"name":null}`, `{}`} {
		var record struct{ Name sdk.Optional[string] }
		if err := (sdk.Record{Fields: []byte(fields)}).Decode(&record); err != nil {
			panic(err)
		}
		switch {
		case !record.Name.Present:
			fmt.Println("leave it alone")
		case record.Name.Null:
			fmt.Println("clear it")
		default:
			fmt.Println("set it to", record.Name.Value)
		}
	}
	// Output:
	// set it to Ann
	// clear it
	// leave it alone
}

func ExampleInvalidConfig() {
	err := errors.Join(
		sdk.InvalidConfig("auth.token", "must not be empty"),
		sdk.InvalidConfig("", "no way to sign in: set token, or user and password"),
	)
	fmt.Println(err)
	// Output:
	// auth.token: Invalid configuration: must not be empty
	// Invalid configuration: no way to sign in: set token, or user and password
}

func ExampleSchema_Mistakes() {
	for _, m := range acme().Config.Mistakes([]byte(`{"base_url":7,"tokn":"s3cret"}`)) {
		fmt.Println(m)
	}
	// Output:
	// tokn: Invalid configuration: is not one of the names that there are
	// base_url: Invalid configuration: must be of type string
	// token: Invalid configuration: is required
}
