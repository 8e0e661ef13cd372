package httpclient_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"golang.org/x/time/rate"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/httpclient"
)

// classify says what Acme means differently from HTTP.
func classify(res *httpclient.Response, o sdk.Outcome) sdk.Outcome {
	var problem struct{ Code, Field string }
	_ = res.Decode(&problem) // what is not JSON has no code
	switch problem.Code {
	case "quota": // a 403 that is a throttle
		return sdk.Throttled(o.RetryAfter, "QUOTA", "the account's calls are used up for now")
	case "unknown_field":
		return sdk.Unauthorized("UNKNOWN_FIELD", "the account has no field %s", httpclient.Word(problem.Field))
	}
	return o
}

type target struct{ client *httpclient.Client }

func (t *target) deliver(ctx context.Context, email string, subscribed bool) sdk.Outcome {
	res, err := t.client.Do(ctx, httpclient.Request{
		Method: http.MethodPut,
		Path:   "/people/" + url.PathEscape(email),
		Body:   map[string]any{"subscribed": subscribed},
	})
	if err != nil {
		return sdk.FromError(err)
	}
	return res.Outcome()
}

// A vendor with OAuth 2, rate headers of its own and a throttle disguised as 403.
func Example() {
	acme := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/oauth/token":
			fmt.Fprint(w, `{"access_token":"t","expires_in":3600}`)
		case "/people/ann@example.com":
			fmt.Fprint(w, `{"ok":true}`)
		default:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"code":"quota"}`)
		}
	}))
	defer acme.Close()

	client, err := httpclient.New(httpclient.Options{
		BaseURL: acme.URL,
		Auth: httpclient.SignIn(httpclient.OAuth2{
			TokenURL: acme.URL + "/oauth/token",
			Grant:    httpclient.ClientCredentials("id", "secret", "people.write"),
		}),
		MaxInFlight: 10,
		Limiter:     rate.NewLimiter(rate.Every(10*time.Second/100), 100), // 100 calls in 10 seconds
		Quota:       httpclient.Quota{Remaining: "X-Acme-Left", Reset: "X-Acme-Reset"},
		Classify:    classify,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	t := &target{client}
	for _, email := range []string{"ann@example.com", "bob@example.com"} {
		o := t.deliver(context.Background(), email, false)
		fmt.Printf("%s %q\n", o.Kind, o.Code)
	}
	// Output:
	// delivered ""
	// throttled "QUOTA"
}
