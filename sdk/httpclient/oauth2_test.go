package httpclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/sdk"
)

// vendor has a token endpoint, at /token, and an API that takes the newest token only.
type vendor struct {
	url     string
	signIns atomic.Int32
	answer  func(w http.ResponseWriter, r *http.Request) // in place of a token, if set
	members string                                       // of the token's answer, beside the token
}

func newVendor(t *testing.T) *vendor {
	v := &vendor{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/token":
			if want := fmt.Sprintf("Bearer t%d", v.signIns.Load()); r.Header.Get("Authorization") != want {
				w.WriteHeader(http.StatusUnauthorized)
			}
		case v.answer != nil:
			v.answer(w, r)
		default:
			fmt.Fprintf(w, `{"access_token":"t%d"%s}`, v.signIns.Add(1), v.members)
		}
	}))
	t.Cleanup(server.Close)
	v.url = server.URL
	return v
}

func (v *vendor) client(t *testing.T, grant Grant, change func(*Options, *OAuth2)) *Client {
	t.Helper()
	o, signIn := Options{BaseURL: v.url}, OAuth2{TokenURL: v.url + "/token", Grant: grant}
	if change != nil {
		change(&o, &signIn)
	}
	o.Auth = SignIn(signIn)
	return must(t, o)
}

func outcomeOf(t *testing.T, c *Client) sdk.Outcome {
	t.Helper()
	res, err := c.Do(t.Context(), get("/api"))
	if err != nil {
		return sdk.FromError(err)
	}
	return res.Outcome()
}

func TestGrants(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	v := newVendor(t)
	var got url.Values
	var method string
	v.answer = func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		got, method = r.Form, r.Method
		fmt.Fprintf(w, `{"access_token":"t%d"}`, v.signIns.Add(1))
	}
	for want, grant := range map[string]Grant{
		"client_id=c&client_secret=s&grant_type=client_credentials":            ClientCredentials("c", "s", ""),
		"client_id=c&client_secret=s&grant_type=client_credentials&scope=x+y":  ClientCredentials("c", "s", "x y"),
		"client_id=c&grant_type=refresh_token&refresh_token=r":                 RefreshToken("c", "", "r"),
		"client_id=c&client_secret=s&grant_type=refresh_token&refresh_token=r": RefreshToken("c", "s", "r"),
		"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer":     JWTBearer("c", "u", "https://aud", key),
	} {
		for _, query := range []bool{false, true} {
			c := v.client(t, grant, func(_ *Options, s *OAuth2) { s.Query = query })
			if o := outcomeOf(t, c); o.Kind != sdk.KindDelivered || (method == "GET") != query {
				t.Errorf("%s: %s %+v", want, method, o)
			}
			if assertion := got.Get("assertion"); assertion != "" {
				var claims jwt.MapClaims
				_, err := jwt.ParseWithClaims(assertion, &claims, func(*jwt.Token) (any, error) { return &key.PublicKey, nil }, jwt.WithExpirationRequired())
				if err != nil || claims["iss"] != "c" || claims["sub"] != "u" || claims["aud"] != "https://aud" {
					t.Errorf("assertion %v, %v", claims, err)
				}
				got.Del("assertion")
			}
			if got.Encode() != want {
				t.Errorf("sent %s, want %s", got.Encode(), want)
			}
		}
	}
}

func TestClientAsNameAndPassword(t *testing.T) {
	v := newVendor(t)
	var form, header string
	v.answer = func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, header = string(body), r.Header.Get("Authorization")
		fmt.Fprintf(w, `{"access_token":"t%d"}`, v.signIns.Add(1))
	}
	c := v.client(t, RefreshToken("c", "s:1", "r"), func(_ *Options, s *OAuth2) { s.Basic = true })
	if o := outcomeOf(t, c); o.Kind != sdk.KindDelivered {
		t.Errorf("%+v", o)
	}
	// c and s%3A1: RFC 6749 has them encoded as in a form first.
	if form != "grant_type=refresh_token&refresh_token=r" || header != "Basic YzpzJTNBMQ==" {
		t.Errorf("sent %s and %s", form, header)
	}
}

// However many workers meet the end of a token, one signs in for all of them.
func TestOneSignInForManyWorkers(t *testing.T) {
	v := newVendor(t)
	c := v.client(t, ClientCredentials("c", "s", ""), nil)
	for round := range 5 {
		var workers sync.WaitGroup
		for range 16 {
			workers.Go(func() {
				if o := outcomeOf(t, c); o.Kind != sdk.KindDelivered {
					t.Errorf("%+v", o)
				}
			})
		}
		workers.Wait()
		if n := int(v.signIns.Load()); n != 2*round+1 {
			t.Fatalf("%d sign-ins in round %d", n, round)
		}
		v.signIns.Add(1) // the token in use is no longer the newest
	}
}

// A worker that comes late with an old token gets the new one without another sign-in.
func TestLateWorker(t *testing.T) {
	v := newVendor(t)
	c := v.client(t, ClientCredentials("c", "s", ""), nil)
	old, err := c.session.token(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	current, err := c.session.token(t.Context(), old)
	if err != nil || current == old {
		t.Fatal(err)
	}
	if late, err := c.session.renew(old); late != current || err != nil || v.signIns.Load() != 2 {
		t.Errorf("%v, %v after %d sign-ins", late, err, v.signIns.Load())
	}
}

// A token that is refused right after signing in is a person's to mend, and no endless loop.
func TestTokenNeverTaken(t *testing.T) {
	v := newVendor(t)
	c := v.client(t, ClientCredentials("c", "s", ""), func(_ *Options, s *OAuth2) { s.Scheme = "Other" })
	if o := outcomeOf(t, c); o.Kind != sdk.KindUnauthorized || o.Code != "HTTP_401" || v.signIns.Load() != 2 {
		t.Errorf("%+v after %d sign-ins", o, v.signIns.Load())
	}
}

// Some vendors say that a token ended with 200.
func TestExpiredByAnotherWord(t *testing.T) {
	calls := 0
	v := newVendor(t)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls++; calls == 1 {
			fmt.Fprint(w, `602`)
		}
	}))
	defer api.Close()
	c := v.client(t, ClientCredentials("c", "s", ""), func(o *Options, _ *OAuth2) {
		o.BaseURL = api.URL
		o.Expired = func(res *Response) bool { return string(res.Body) == "602" }
	})
	if o := outcomeOf(t, c); o.Kind != sdk.KindDelivered || calls != 2 || v.signIns.Load() != 2 {
		t.Errorf("%+v after %d calls and %d sign-ins", o, calls, v.signIns.Load())
	}
}

func TestRenewedBeforeItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signIns := 0
		members := `,"expires_in":3600`
		s, err := newSession(OAuth2{TokenURL: "http://127.0.0.1", Grant: ClientCredentials("c", "s", "")}, &heldToken{}, nil,
			func(*http.Request) (*Response, error) {
				signIns++
				return &Response{Status: 200, Body: []byte(`{"access_token":"t"` + members + `}`)}, nil
			})
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		for _, step := range []struct {
			wait    time.Duration
			members string
			want    int
		}{
			{0, `,"expires_in":3600`, 1},
			{3569 * time.Second, "", 1},
			{2 * time.Second, `,"expires_in":"100"`, 2}, // a tenth of its life early at most
			{89 * time.Second, "", 2},
			{2 * time.Second, `,"expires_in":0`, 3}, // not known: until it is refused
			{24 * time.Hour, "", 3},
		} {
			time.Sleep(step.wait)
			members = step.members
			if _, err := s.token(t.Context(), nil); err != nil || signIns != step.want {
				t.Errorf("after %v: %d sign-ins, want %d (%v)", step.wait, signIns, step.want, err)
			}
		}
	})
}

func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		status int
		body   string
		kind   sdk.Kind
		code   string
		after  time.Duration
	}{
		{400, `{"error":"invalid_grant","error_description":"s3cret of ann@example.com expired"}`, sdk.KindUnauthorized, "invalid_grant", 0},
		{401, `{"error":"invalid_client"}`, sdk.KindUnauthorized, "invalid_client", 0},
		{400, `{"error":"temporarily_unavailable"}`, sdk.KindRetry, "temporarily_unavailable", 9 * time.Second},
		{400, `{"error":"s3cret is wrong"}`, sdk.KindUnauthorized, "HTTP_400", 0},
		{404, `<h1>s3cret</h1>`, sdk.KindUnauthorized, "HTTP_404", 0},
		{429, ``, sdk.KindThrottled, "HTTP_429", 9 * time.Second},
		{503, `{"error":"server_error"}`, sdk.KindThrottled, "HTTP_503", 9 * time.Second},
		{500, ``, sdk.KindRetry, "HTTP_500", 0},
		{200, `{}`, sdk.KindRetry, "NO_TOKEN", 0},
		{200, `s3cret`, sdk.KindRetry, "NO_TOKEN", 0},
		{400, `{"error":"too_many"}`, sdk.KindThrottled, "too_many", 9 * time.Second},
	} {
		v := newVendor(t)
		v.answer = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "9")
			w.WriteHeader(tc.status)
			io.WriteString(w, tc.body)
		}
		c := v.client(t, RefreshToken("c", "s3cret", "r"), func(_ *Options, s *OAuth2) {
			s.Classify = func(_ *Response, o sdk.Outcome) sdk.Outcome {
				if o.Code == "too_many" {
					o.Kind = sdk.KindThrottled
				}
				return o
			}
		})
		o := outcomeOf(t, c)
		if o.Kind != tc.kind || o.Code != tc.code || tc.after > 0 && o.RetryAfter != tc.after {
			t.Errorf("%d %s: %+v", tc.status, tc.body, o)
		}
		if strings.Contains(o.Message, "s3cret") || strings.Contains(o.Message, "ann@") {
			t.Errorf("%d %s: the message holds a secret: %s", tc.status, tc.body, o.Message)
		}
		v.answer = nil
		if o := outcomeOf(t, c); o.Kind != sdk.KindDelivered {
			t.Errorf("afterwards: %+v", o)
		}
	}
}

func TestRotatedRefreshToken(t *testing.T) {
	v := newVendor(t)
	var sent []string
	v.answer = func(w http.ResponseWriter, r *http.Request) {
		sent = append(sent, r.FormValue("refresh_token"))
		n := v.signIns.Add(1)
		fmt.Fprintf(w, `{"access_token":"t%d","refresh_token":"r%d"}`, n, n)
	}
	var logged bytes.Buffer
	c := v.client(t, RefreshToken("c", "", "r0"), func(o *Options, _ *OAuth2) {
		o.Log = hclog.New(&hclog.LoggerOptions{Output: &logged})
	})
	var refused *token
	for range 3 {
		next, err := c.session.token(t.Context(), refused)
		if err != nil {
			t.Fatal(err)
		}
		refused = next
	}
	if strings.Join(sent, " ") != "r0 r1 r2" {
		t.Errorf("sent %v", sent)
	}
	if !strings.Contains(logged.String(), "rotated") || strings.Contains(logged.String(), "r1") {
		t.Errorf("logged %s", &logged)
	}
}

// A token goes only where its endpoint may send it, and from then on in place of the base URL.
func TestInstance(t *testing.T) {
	v := newVendor(t)
	instance := func(o *Options, s *OAuth2) { o.BaseURL, s.Instance = "", "api_at" }
	for at, want := range map[string]string{
		v.url + "/":                  "",
		"":                           "BAD_INSTANCE_URL",
		"http://acme.example":        "BAD_INSTANCE_URL",
		"https://u:p@acme.example":   "BAD_INSTANCE_URL",
		"https://acme.example?x=1":   "BAD_INSTANCE_URL",
		"http://127.0.0.1.acme.x:80": "BAD_INSTANCE_URL",
		"ftp://127.0.0.1":            "BAD_INSTANCE_URL",
	} {
		v.members = fmt.Sprintf(`,"api_at":%q`, at)
		if o := outcomeOf(t, v.client(t, ClientCredentials("c", "s", ""), instance)); o.Code != want {
			t.Errorf("%q: %+v", at, o)
		}
	}
	// A token endpoint elsewhere does not make us talk to this machine in clear.
	s := &session{loopback: false}
	if _, err := s.instance("http://127.0.0.1:1"); err == nil {
		t.Error("a loopback instance was taken from a remote token endpoint")
	}
	for _, bad := range []string{"", "http://acme.example/token", "https://u:p@acme.example"} {
		if _, err := New(Options{BaseURL: v.url, Auth: SignIn(OAuth2{TokenURL: bad})}); err == nil {
			t.Errorf("token endpoint %q was taken", bad)
		}
	}
}

// The caller that began a sign-in may give up without spoiling it for the others; Close ends it for all.
func TestSignInOutlivesItsFirstCaller(t *testing.T) {
	v := newVendor(t)
	arrived, proceed := make(chan struct{}, 2), make(chan struct{})
	v.answer = func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		arrived <- struct{}{}
		select {
		case <-proceed:
			fmt.Fprintf(w, `{"access_token":"t%d"}`, v.signIns.Add(1))
		case <-r.Context().Done():
		}
	}
	c := v.client(t, ClientCredentials("c", "s", ""), nil)
	first, second, third := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ask := func(ctx context.Context, refused *token, done chan error) {
		_, err := c.session.token(ctx, refused)
		done <- err
	}
	go ask(ctx, nil, first)
	<-arrived
	cancel()
	if o := sdk.FromError(<-first); o.Code != "CANCELED" {
		t.Errorf("first %+v", o)
	}
	go ask(t.Context(), nil, second)
	proceed <- struct{}{}
	if err := <-second; err != nil || v.signIns.Load() != 1 {
		t.Errorf("second %v after %d sign-ins", err, v.signIns.Load())
	}
	go ask(t.Context(), c.session.held.current, third)
	<-arrived
	c.Close()
	if o := sdk.FromError(<-third); o.Code != "CANCELED" {
		t.Errorf("third %+v", o)
	}
	if _, err := c.session.renew(c.session.held.current); err == nil {
		t.Error("a closed session signs in")
	}
}

// Clients that are made with the same Auth sign in once, and once more when the vendor does not take the token any more.
func TestClientsShareAToken(t *testing.T) {
	v := newVendor(t)
	auth := SignIn(OAuth2{TokenURL: v.url + "/token", Grant: ClientCredentials("id", "secret", "")})
	first, second := must(t, Options{BaseURL: v.url, Auth: auth}), must(t, Options{BaseURL: v.url, Auth: auth})
	for want := int32(1); want <= 3; want += 2 {
		for _, c := range []*Client{first, second, first} {
			if o := outcomeOf(t, c); o.Kind != sdk.KindDelivered {
				t.Fatalf("%v", o)
			}
		}
		if n := v.signIns.Load(); n != want {
			t.Errorf("%d sign-ins, want %d", n, want)
		}
		v.signIns.Add(1) // the token in use is no longer the newest
	}
}
