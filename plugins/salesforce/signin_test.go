package salesforce

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/plugins/salesforce/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestSignIn(t *testing.T) {
	key, pem := testKey()
	for name, test := range map[string]struct {
		config attrs // beside login_url
		kind   sdk.Kind
		code   string
	}{
		"client credentials":          {attrs{"client_id": sim.ClientID, "client_secret": sim.ClientSecret}, sdk.KindDelivered, ""},
		"wrong secret":                {attrs{"client_id": sim.ClientID, "client_secret": "wrong"}, sdk.KindUnauthorized, "invalid_client"},
		"wrong client":                {attrs{"client_id": "wrong", "client_secret": sim.ClientSecret}, sdk.KindUnauthorized, "invalid_client_id"},
		"refresh token":               {attrs{"client_id": sim.ClientID, "refresh_token": sim.RefreshToken}, sdk.KindDelivered, ""},
		"refresh token and secret":    {attrs{"client_id": sim.ClientID, "refresh_token": sim.RefreshToken, "client_secret": sim.ClientSecret}, sdk.KindDelivered, ""},
		"revoked refresh token":       {attrs{"client_id": sim.ClientID, "refresh_token": "revoked"}, sdk.KindUnauthorized, "invalid_grant"},
		"jwt bearer":                  {attrs{"client_id": sim.ClientID, "username": sim.Username, "private_key": pem}, sdk.KindDelivered, ""},
		"jwt for an unknown user":     {attrs{"client_id": sim.ClientID, "username": "nobody@acme.example", "private_key": pem}, sdk.KindUnauthorized, "invalid_grant"},
		"jwt for an unknown audience": {attrs{"client_id": sim.ClientID, "username": sim.Username, "private_key": pem, "audience": "https://acme.example"}, sdk.KindUnauthorized, "invalid_grant"},
	} {
		t.Run(name, func(t *testing.T) {
			org := newOrg(t)
			org.SetPublicKey(&key.PublicKey)
			test.config["login_url"] = org.url
			target := mustTarget(t, test.config)
			o := target.Deliver(t.Context(), []sdk.Record{contact(t, "5f0c", nil)})[0]
			expect(t, o, test.kind, test.code)
			_, held := org.Record("Contact", "CPM_Id__c", "5f0c")
			if held != (test.kind == sdk.KindDelivered) {
				t.Errorf("the record is there: %t", held)
			}
			expect(t, target.Check(t.Context()), test.kind, test.code)
		})
	}
}

func TestAssertionOfAnotherKey(t *testing.T) {
	_, pem := testKey()
	org := newOrg(t) // whose app holds no certificate
	target := mustTarget(t, attrs{"login_url": org.url, "client_id": sim.ClientID, "username": sim.Username, "private_key": pem})
	o := target.Check(t.Context())
	expect(t, o, sdk.KindUnauthorized, "invalid_grant")
	if !strings.Contains(o.Message, "invalid assertion") {
		t.Errorf("the message does not say why: %s", o.Message)
	}
}

func TestSignInFailures(t *testing.T) {
	for _, test := range []struct {
		status             int
		errorCode, message string
		kind               sdk.Kind
		code               string
	}{
		{400, "inactive_user", "user is inactive", sdk.KindUnauthorized, "inactive_user"},
		{401, "invalid_client", "invalid client credentials", sdk.KindUnauthorized, "invalid_client"},
		{400, "invalid_grant", "login rate exceeded", sdk.KindThrottled, "invalid_grant"},
		{403, "rate_limit_exceeded", "", sdk.KindThrottled, "rate_limit_exceeded"},
		{400, "unknown_error", "retry your request", sdk.KindRetry, "unknown_error"},
		{503, "server_error", "", sdk.KindRetry, "HTTP_503"},
		{404, "", "", sdk.KindUnauthorized, "HTTP_404"},
	} {
		org := newOrg(t)
		target := mustTarget(t, clientCredentials(org.url))
		org.FailSignIns(1, test.status, test.errorCode, test.message)
		expect(t, target.Check(t.Context()), test.kind, test.code)
		expect(t, target.Check(t.Context()), sdk.KindDelivered, "")
	}
}

// However many workers meet the end of the session, one signs in for all, and every record arrives.
func TestOneSignInForManyWorkers(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	const workers = 16
	deliver := func(round string) {
		var all sync.WaitGroup
		for i := range workers {
			all.Go(func() {
				id := round + string(rune('a'+i))
				expect(t, target.Deliver(t.Context(), []sdk.Record{contact(t, id, nil)})[0], sdk.KindDelivered, "")
			})
		}
		all.Wait()
	}
	deliver("first")
	if n := org.SignIns(); n != 1 {
		t.Fatalf("%d sign-ins for the first call, want 1", n)
	}
	for round := range 5 {
		org.ExpireSessions()
		deliver("round" + string(rune('0'+round)))
		if n := org.SignIns(); n != round+2 {
			t.Fatalf("%d sign-ins after %d expired sessions, want %d", n, round+1, round+2)
		}
	}
}

// A session that is refused again right after signing in is a person's to mend, and no endless loop.
func TestTokenNeverTaken(t *testing.T) {
	org := newOrg(t)
	target := mustTarget(t, clientCredentials(org.url))
	org.FailNext(2, sim.Fault{Status: 401, Code: "INVALID_SESSION_ID", Message: "Session expired or invalid"})
	expect(t, target.Deliver(t.Context(), []sdk.Record{contact(t, "5f0c", nil)})[0], sdk.KindUnauthorized, "INVALID_SESSION_ID")
	if n := org.SignIns(); n != 2 {
		t.Errorf("%d sign-ins, want 2", n)
	}
	expect(t, target.Deliver(t.Context(), []sdk.Record{contact(t, "5f0c", nil)})[0], sdk.KindDelivered, "")
}

func TestRotatedRefreshToken(t *testing.T) {
	org := newOrg(t)
	org.RotateRefreshTokens()
	var logged bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Output: &logged})
	config := attrs{"login_url": org.url, "client_id": sim.ClientID, "refresh_token": sim.RefreshToken}
	target, err := newTargetFrom(t, config, log)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		expect(t, target.Check(t.Context()), sdk.KindDelivered, "")
		org.ExpireSessions()
	}
	if !strings.Contains(logged.String(), "rotated") || strings.Contains(logged.String(), sim.RefreshToken) {
		t.Errorf("the log should warn of the rotation and hold no token: %s", &logged)
	}
	// What the reference page says of a restart.
	o := mustTarget(t, config).Check(t.Context())
	expect(t, o, sdk.KindUnauthorized, "invalid_grant")
	if !strings.Contains(o.Message, "rotates refresh tokens") {
		t.Errorf("the message does not say what to do: %s", o.Message)
	}
}

// The token goes only where the token endpoint may send it.
func TestInstanceURL(t *testing.T) {
	for instance, code := range map[string]string{
		"http://acme.my.salesforce.com":          "BAD_INSTANCE_URL",
		"https://u:p@acme.my.salesforce.com":     "BAD_INSTANCE_URL",
		"https://acme.my.salesforce.com?x=1":     "BAD_INSTANCE_URL",
		"ftp://127.0.0.1":                        "BAD_INSTANCE_URL",
		"http://127.0.0.1.salesforce.example:80": "BAD_INSTANCE_URL",
		"":                                       "BAD_INSTANCE_URL",
	} {
		url := plugintest.Serve(t, func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(attrs{"access_token": "t", "instance_url": instance})
		})
		expect(t, mustTarget(t, clientCredentials(url)).Check(t.Context()), sdk.KindUnauthorized, code)
	}
}

// The instance that the last sign-in named is the one that is called.
func TestInstanceMoves(t *testing.T) {
	var olds, news atomic.Int32
	old := plugintest.Serve(t, func(w http.ResponseWriter, _ *http.Request) { olds.Add(1); w.WriteHeader(401) })
	fresh := plugintest.Serve(t, func(w http.ResponseWriter, _ *http.Request) { news.Add(1); _, _ = w.Write([]byte("{}")) })
	var signIns atomic.Int32
	login := plugintest.Serve(t, func(w http.ResponseWriter, _ *http.Request) {
		instance := old
		if signIns.Add(1) > 1 {
			instance = fresh
		}
		_ = json.NewEncoder(w).Encode(attrs{"access_token": "t", "instance_url": instance})
	})
	expect(t, mustTarget(t, clientCredentials(login)).Check(t.Context()), sdk.KindDelivered, "")
	if olds.Load() != 1 || news.Load() != 1 {
		t.Errorf("%d calls to the old instance and %d to the new, want 1 and 1", olds.Load(), news.Load())
	}
}

// The worker that began a sign-in may give up without spoiling it for the others.
func TestSignInOutlivesItsFirstCaller(t *testing.T) {
	org := newOrg(t)
	arrived, proceed := make(chan struct{}), make(chan struct{})
	url := plugintest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/token") {
			close(arrived) // a second sign-in would panic
			<-proceed
		}
		org.ServeHTTP(w, r)
	})
	target := mustTarget(t, clientCredentials(url))
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan sdk.Outcome)
	go func() { first <- target.Check(ctx) }()
	<-arrived
	cancel()
	expect(t, <-first, sdk.KindRetry, "CANCELED")
	second := make(chan sdk.Outcome)
	go func() { second <- target.Check(t.Context()) }()
	close(proceed)
	expect(t, <-second, sdk.KindDelivered, "")
}

// Close does not wait for a token endpoint that hangs.
func TestCloseEndsSignIn(t *testing.T) {
	arrived := make(chan struct{})
	url := plugintest.Serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server notice that the client is gone
		close(arrived)
		<-r.Context().Done()
	})
	target := mustTarget(t, clientCredentials(url))
	done := make(chan sdk.Outcome)
	go func() { done <- target.Check(t.Context()) }()
	<-arrived
	_ = target.Close()
	select {
	case o := <-done:
		expect(t, o, sdk.KindRetry, "CANCELED")
	case <-time.After(20 * time.Second):
		t.Fatal("the sign-in outlived Close")
	}
}

func TestUsageWarnsOnceWhenHigh(t *testing.T) {
	org := newOrg(t)
	var logged bytes.Buffer
	target, err := newTargetFrom(t, clientCredentials(org.url), hclog.New(&hclog.LoggerOptions{Output: &logged}))
	if err != nil {
		t.Fatal(err)
	}
	org.SetRequestLimit(10)
	for range 8 {
		target.Check(t.Context())
	}
	if logged.Len() > 0 {
		t.Fatalf("too early: %s", &logged)
	}
	for range 3 {
		target.Check(t.Context())
	}
	if n := strings.Count(logged.String(), "nearly used up"); n != 1 {
		t.Errorf("%d warnings, want 1: %s", n, &logged)
	}
}
