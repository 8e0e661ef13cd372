package webhook

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/consentd/consentd/core/config"
)

const (
	refreshOne = "refresh-one-9a77c2"
	refreshTwo = "refresh-two-1f04be"
	lifetime   = 2 * time.Hour
)

func oauth(refresh ...string) config.Auth {
	if refresh == nil {
		refresh = []string{refreshOne}
	}
	return config.Auth{
		Mode: config.AuthOAuth2, Header: "Authorization", Prefix: "Bearer",
		TokenPath: tokenPath, RefreshTokens: refresh, TokenLifetime: lifetime,
	}
}

var form = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}

type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
}

// token fetches an access token as the sender would.
func (b *bench) token(t *testing.T, refresh string) string {
	t.Helper()
	body := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}.Encode()
	got := b.do(t, http.MethodPost, tokenPath, form, strings.NewReader(body))
	var answer tokenAnswer
	if err := json.Unmarshal([]byte(got.body), &answer); err != nil || got.status != 200 || answer.AccessToken == "" {
		t.Fatalf("answer = %d %s", got.status, got.body)
	}
	return answer.AccessToken
}

// statusWith is the answer to an update under an access token, at a handler.
func statusWith(t *testing.T, h http.Handler, token string) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, path, strings.NewReader(update("c-1", "GRANTED", monday)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	w := newRecorder()
	h.ServeHTTP(w, req)
	return w.Code
}

func TestTokenAnswer(t *testing.T) {
	b := newBench(t, oauth())
	body := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshOne}, "scope": {"any"}}.Encode()
	got := b.do(t, http.MethodPost, tokenPath, form, strings.NewReader(body))
	var answer tokenAnswer
	if err := json.Unmarshal([]byte(got.body), &answer); err != nil || got.status != 200 {
		t.Fatalf("answer = %d %s", got.status, got.body)
	}
	if answer.TokenType != "Bearer" || answer.ExpiresIn != 7200 || answer.RefreshToken != "" {
		t.Errorf("answer = %s", got.body)
	}
	if got.header.Get("Cache-Control") != "no-store" || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("header = %v", got.header)
	}
	var claims jwt.MapClaims
	token, _, err := jwt.NewParser().ParseUnverified(answer.AccessToken, &claims)
	if err != nil {
		t.Fatal(err)
	}
	if token.Method.Alg() != "HS256" {
		t.Errorf("algorithm = %s", token.Method.Alg())
	}
	var names []string
	for name := range claims {
		names = append(names, name)
	}
	slices.Sort(names)
	if want := []string{"aud", "exp", "iat", "iss", "jti"}; !slices.Equal(names, want) {
		t.Errorf("claims = %v, want %v", names, want)
	}
	if again := b.token(t, refreshOne); again == answer.AccessToken {
		t.Error("two tokens are the same: jti does not differ")
	}
	if got := statusWith(t, b.handler, answer.AccessToken); got != 200 {
		t.Errorf("update under the token: answer = %d", got)
	}
}

func TestTokenRequests(t *testing.T) {
	const id, secret = "cpm client", "s3cret/+ %41"
	grant := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshOne}}
	with := func(more ...string) string {
		v := url.Values{}
		for k := range grant {
			v[k] = slices.Clone(grant[k])
		}
		for i := 0; i < len(more); i += 2 {
			v.Add(more[i], more[i+1])
		}
		return v.Encode()
	}
	jsonOf := func(more string) string {
		return `{"grant_type":"refresh_token","refresh_token":"` + refreshOne + `"` + more + `}`
	}
	basic := func(user, password string) http.Header {
		h := form.Clone()
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
		return h
	}
	asJSON := http.Header{"Content-Type": {"application/json; charset=utf-8"}}
	open, client := oauth(), oauth()
	client.ClientID, client.ClientSecret = id, secret
	public := oauth()
	public.ClientID = id
	for _, tc := range []struct {
		name   string
		auth   config.Auth
		header http.Header
		body   string
		status int
		word   string // the error
	}{
		{"form", open, form, with(), 200, ""},
		{"JSON", open, asJSON, jsonOf(""), 200, ""},
		{"JSON with other kinds", open, asJSON, jsonOf(`,"scope":null,"n":1,"o":{}`), 200, ""},
		{"form without a type", open, nil, with(), 200, ""},
		{"JSON without a type", open, nil, jsonOf(""), 200, ""},
		{"credentials nobody asked for", open, basic("a", "b"), with("client_secret", "c"), 200, ""},
		{"an expired token beside", open, http.Header{"Authorization": {"Bearer x"}, "Content-Type": form["Content-Type"]}, with(), 200, ""},
		{"client in the form", client, form, with("client_id", id, "client_secret", secret), 200, ""},
		{"client in JSON", client, asJSON, jsonOf(`,"client_id":"` + id + `","client_secret":"` + secret + `"`), 200, ""},
		{"client in camelCase", client, asJSON, jsonOf(`,"clientId":"` + id + `","clientSecret":"` + secret + `"`), 200, ""},
		{"client by Basic, escaped", client, basic(url.QueryEscape(id), url.QueryEscape(secret)), with(), 200, ""},
		{"client by Basic, as it is", client, basic(id, secret), with(), 200, ""},
		{"client by Basic, its id in the form too", client, basic(id, secret), with("client_id", id), 200, ""},
		{"public client", public, form, with("client_id", id), 200, ""},

		{"no client", client, form, with(), 401, "invalid_client"},
		{"wrong secret", client, form, with("client_id", id, "client_secret", "x"), 401, "invalid_client"},
		{"wrong id", client, form, with("client_id", "x", "client_secret", secret), 401, "invalid_client"},
		{"no secret", client, form, with("client_id", id), 401, "invalid_client"},
		{"wrong Basic", client, basic(id, "x"), with(), 401, "invalid_client"},
		{"wrong public client", public, form, with("client_id", "x"), 401, "invalid_client"},
		{"Basic and form", client, basic(id, secret), with("client_secret", secret), 400, "invalid_request"},
		{"id twice", client, asJSON, jsonOf(`,"client_id":"a","clientId":"b"`), 400, "invalid_request"},
		{"wrong refresh token", open, form, strings.Replace(with(), refreshOne, refreshTwo, 1), 400, "invalid_grant"},
		{"no refresh token", open, form, "grant_type=refresh_token", 400, "invalid_request"},
		{"empty refresh token", open, form, "grant_type=refresh_token&refresh_token=", 400, "invalid_request"},
		{"refresh token as number", open, asJSON, `{"grant_type":"refresh_token","refresh_token":1}`, 400, "invalid_request"},
		{"no grant type", open, form, "refresh_token=" + refreshOne, 400, "invalid_request"},
		{"other grant type", open, form, "grant_type=client_credentials&refresh_token=" + refreshOne, 400, "unsupported_grant_type"},
		{"refresh token twice", open, form, with("refresh_token", refreshOne), 400, "invalid_request"},
		{"name twice in JSON", open, asJSON, jsonOf(`,"grant_type":"refresh_token"`), 400, "invalid_request"},
		{"malformed form", open, form, with() + "&%zz", 400, "invalid_request"},
		{"malformed JSON", open, asJSON, jsonOf("")[1:], 400, "invalid_request"},
		{"text", open, http.Header{"Content-Type": {"text/plain"}}, with(), 400, "invalid_request"},
		{"nothing", open, form, "", 400, "invalid_request"},
		{"too large", open, form, with("x", strings.Repeat("x", maxTokenRequest)), 413, "invalid_request"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, tc.auth)
			got := b.do(t, http.MethodPost, tokenPath, tc.header, strings.NewReader(tc.body))
			if got.status != tc.status || got.word(t) != tc.word {
				t.Fatalf("answer = %d %s, want %d %s", got.status, got.body, tc.status, tc.word)
			}
			if got.header.Get("Cache-Control") != "no-store" {
				t.Error("the answer may be cached")
			}
			if challenge := got.header.Get("WWW-Authenticate"); (challenge != "") != (tc.status == 401) {
				t.Errorf("WWW-Authenticate = %q", challenge)
			}
			_, basic, _ := strings.Cut(tc.header.Get("Authorization"), "Basic ")
			for _, s := range []string{refreshOne, refreshTwo, secret, "s3cret", basic} {
				if s != "" && strings.Contains(got.body+b.log.String(), s) {
					t.Errorf("the answer or the log holds %q", s)
				}
			}
		})
	}
	b := newBench(t, open)
	got := b.do(t, http.MethodGet, tokenPath+"?"+with(), nil, nil)
	if got.status != 405 || got.header.Get("Allow") != "POST" {
		t.Errorf("GET: answer = %d, Allow = %q", got.status, got.header.Get("Allow"))
	}
	got = b.do(t, http.MethodPost, tokenPath+"?"+with(), form, nil)
	if got.status != 400 {
		t.Errorf("parameters in the query: answer = %d", got.status)
	}
}

func TestTokenExpires(t *testing.T) {
	b := newBench(t, oauth())
	first := b.token(t, refreshOne)
	b.clock.advance(lifetime - time.Second)
	second := b.token(t, refreshOne) // overlaps
	for name, token := range map[string]string{"first": first, "second": second} {
		if got := statusWith(t, b.handler, token); got != 200 {
			t.Errorf("%s token before its end: answer = %d", name, got)
		}
	}
	b.clock.advance(clockLeeway + 2*time.Second)
	got := b.post(t, http.Header{"Authorization": {"Bearer " + first}}, update("c-1", "GRANTED", monday))
	if got.status != 401 || !strings.Contains(got.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("expired token: answer = %d, %q", got.status, got.header.Get("WWW-Authenticate"))
	}
	if got := statusWith(t, b.handler, second); got != 200 {
		t.Errorf("second token: answer = %d", got)
	}
	if got := statusWith(t, b.handler, b.token(t, refreshOne)); got != 200 {
		t.Errorf("refreshed token: answer = %d", got)
	}
}

func TestTokensHoldAcrossRestartAndRotation(t *testing.T) {
	b := newBench(t, oauth())
	old := b.token(t, refreshOne)
	after := func(refresh ...string) *Handler {
		src := b.source
		src.Auth = oauth(refresh...)
		return b.make(t, src)
	}
	for _, tc := range []struct {
		name    string
		refresh []string
		want    int
	}{
		{"restart", []string{refreshOne}, 200},
		{"new refresh token added behind", []string{refreshOne, refreshTwo}, 200},
		{"new refresh token put first", []string{refreshTwo, refreshOne}, 200},
		{"old refresh token taken out", []string{refreshTwo}, 401},
	} {
		if got := statusWith(t, after(tc.refresh...), old); got != tc.want {
			t.Errorf("%s: answer under the old token = %d, want %d", tc.name, got, tc.want)
		}
	}
	// Both refresh tokens get tokens, and those are signed under the first.
	both := newBench(t, oauth(refreshTwo, refreshOne))
	for _, refresh := range []string{refreshOne, refreshTwo} {
		if got := statusWith(t, after(refreshTwo), both.token(t, refresh)); got != 200 {
			t.Errorf("token for %s: answer = %d", refresh, got)
		}
	}
}

func TestForgedTokens(t *testing.T) {
	b := newBench(t, oauth())
	good := b.token(t, refreshOne)
	part := strings.Split(good, ".")
	now := b.clock.read()
	access, err := newAccessTokens("dataguard", oauth(), b.clock.read)
	if err != nil {
		t.Fatal(err)
	}
	claims := func() jwt.MapClaims {
		return jwt.MapClaims{"iss": issuer, "aud": "dataguard", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(), "jti": "x"}
	}
	sign := func(method jwt.SigningMethod, key any, change func(jwt.MapClaims)) string {
		t.Helper()
		c := claims()
		change(c)
		s, err := jwt.NewWithClaims(method, c).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	same := func(jwt.MapClaims) {}
	if got := statusWith(t, b.handler, sign(jwt.SigningMethodHS256, access.signing, same)); got != 200 {
		t.Fatalf("the forger's right token: answer = %d; the cases below prove nothing", got)
	}
	otherSource, err := newAccessTokens("other", oauth(), b.clock.read)
	if err != nil {
		t.Fatal(err)
	}
	fromOther, err := otherSource.issue()
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"alg none":              sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, same),
		"alg HS384":             sign(jwt.SigningMethodHS384, access.signing, same),
		"alg HS512":             sign(jwt.SigningMethodHS512, access.signing, same),
		"foreign key":           sign(jwt.SigningMethodHS256, []byte("foreign"), same),
		"refresh token as key":  sign(jwt.SigningMethodHS256, []byte(refreshOne), same),
		"other audience":        sign(jwt.SigningMethodHS256, access.signing, func(c jwt.MapClaims) { c["aud"] = "other" }),
		"key of another source": sign(jwt.SigningMethodHS256, otherSource.signing, same),
		"no audience":           sign(jwt.SigningMethodHS256, access.signing, func(c jwt.MapClaims) { delete(c, "aud") }),
		"other issuer":          sign(jwt.SigningMethodHS256, access.signing, func(c jwt.MapClaims) { c["iss"] = "other" }),
		"no end":                sign(jwt.SigningMethodHS256, access.signing, func(c jwt.MapClaims) { delete(c, "exp") }),
		"past":                  sign(jwt.SigningMethodHS256, access.signing, func(c jwt.MapClaims) { c["exp"] = now.Add(-time.Hour).Unix() }),
		"of another source":     fromOther,
		"other claims":          part[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"aud":"dataguard","exp":9999999999}`)) + "." + part[2],
		"no signature":          part[0] + "." + part[1] + ".",
		"two parts":             part[0] + "." + part[1],
		"changed signature":     part[0] + "." + part[1] + "." + flip(part[2]),
		"the refresh token":     refreshOne,
		"dots":                  strings.Repeat(".", 1000),
		"nothing":               "",
	} {
		if got := statusWith(t, b.handler, token); got != 401 {
			t.Errorf("%s: answer = %d, want 401", name, got)
		}
	}
}

// flip changes the first character of a base64 text into another one.
func flip(s string) string {
	if s[0] == 'A' {
		return "B" + s[1:]
	}
	return "A" + s[1:]
}

func TestTokenPathIsConfigurable(t *testing.T) {
	auth := oauth()
	auth.TokenPath = "/token"
	b := newBench(t, auth)
	body := "grant_type=refresh_token&refresh_token=" + refreshOne
	if got := b.do(t, http.MethodPost, "/token", form, strings.NewReader(body)); got.status != 200 {
		t.Errorf("answer = %d", got.status)
	}
	if got := b.do(t, http.MethodPost, tokenPath, form, strings.NewReader(body)); got.status != 404 {
		t.Errorf("answer elsewhere = %d", got.status)
	}
}
