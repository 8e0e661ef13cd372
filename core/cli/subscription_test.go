package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/consent"
)

// TestSubscriptionOf is what the sender is told for each way to sign in.
func TestSubscriptionOf(t *testing.T) {
	for name, tc := range map[string]struct {
		auth config.Auth
		want string
	}{
		"none":         {config.Auth{Mode: config.AuthNone}, `{"authType":"none"}`},
		"key":          {config.Auth{Mode: config.AuthAPIKey, Header: "X-Key", Keys: []string{"new", "old"}}, `{"authType":"api-key","apiKeyAuth":{"location":"header","key":"X-Key","value":"new"}}`},
		"key in query": {config.Auth{Mode: config.AuthAPIKey, Query: "k", Keys: []string{"new"}}, `{"authType":"api-key","apiKeyAuth":{"location":"query","key":"k","value":"new"}}`},
		"token":        {config.Auth{Mode: config.AuthToken, Header: "Authorization", Prefix: "Bearer", Keys: []string{"t"}}, `{"authType":"token","token":"t"}`},
		"token elsewhere": {config.Auth{Mode: config.AuthToken, Header: "X-Token", Keys: []string{"t"}},
			`{"authType":"token","token":"t","tokenConfiguration":{"location":"header","key":"X-Token"}}`},
		"token in query": {config.Auth{Mode: config.AuthToken, Query: "t", Keys: []string{"t"}},
			`{"authType":"token","token":"t","tokenConfiguration":{"location":"query","key":"t"}}`},
		"oauth2": {config.Auth{Mode: config.AuthOAuth2, Header: "Authorization", Prefix: "Bearer", TokenPath: "/in/oauth/token", RefreshTokens: []string{"r", "old"}, ClientID: "c", ClientSecret: "s"},
			`{"authType":"token","refreshToken":"r","refreshUrl":"https://x.example.org/base/in/oauth/token","clientId":"c","clientSecret":"s"}`},
	} {
		src := config.Source{Name: "s", Path: "/in", UpdateType: consent.EffectivePermission, Auth: tc.auth,
			API: &config.API{SubscriptionName: "n", SubscriptionURL: "https://x.example.org/base/in"}}
		got, err := subscriptionOf(src)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if text, _ := json.Marshal(got.Authentication); string(text) != tc.want {
			t.Errorf("%s: %s", name, text)
		}
	}
	elsewhere := config.Source{Name: "s", Path: "/in", Auth: config.Auth{Mode: config.AuthOAuth2, TokenPath: "/t", RefreshTokens: []string{"r"}},
		API: &config.API{SubscriptionURL: "https://x.example.org/other"}}
	if _, err := subscriptionOf(elsewhere); err == nil || !strings.Contains(err.Error(), "refresh_url") {
		t.Errorf("a token endpoint whose address does not follow: %v", err)
	}
	elsewhere.API.RefreshURL = "https://x.example.org/t"
	if got, err := subscriptionOf(elsewhere); err != nil || got.Authentication.RefreshURL != "https://x.example.org/t" {
		t.Errorf("named: %+v, %v", got, err)
	}
}

func TestBar(t *testing.T) {
	got := progressBar(admin.Progress{Kind: "backfill", Part: 0.5, Read: 50, Accepted: 3})
	if want := "backfill [###############...............]  50%  50 citizens, 3 news "; got != want {
		t.Errorf("%q", got)
	}
	if got := progressBar(admin.Progress{Part: 1.2}); strings.Contains(got, ".") {
		t.Errorf("over the end: %q", got)
	}
}
