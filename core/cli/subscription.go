package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/cpm"
)

// subscribing is what the verbs about the subscription at the sender share.
type subscribing struct {
	configured
	skipCheck bool
}

func (s *subscribing) flags(cmd *cobra.Command, checks bool) {
	s.configured.flags(cmd)
	cmd.Flags().BoolVar(&s.json, "json", false, "print JSON")
	if checks {
		cmd.Flags().BoolVar(&s.skipCheck, "skip-check", false, "do not check first that consentd takes the credentials at the address that the sender gets")
	}
}

// ofSubscription makes a verb about the subscription of one source.
func (a *App) ofSubscription(use, short, long string, checks bool, run func(ctx context.Context, s subscribing, src config.Source, c *cpm.Client) error) *cobra.Command {
	var s subscribing
	cmd := &cobra.Command{
		Use: use + " NAME", Short: short, Long: long, Args: cobra.ExactArgs(1),
		Example: "  consentd source " + use + " dataguard --config config.hcl",
		RunE: func(cmd *cobra.Command, args []string) error {
			_, src, client, err := a.api(s.configured, args[0])
			if err != nil {
				return err
			}
			defer client.Close()
			ctx, cancel := context.WithTimeout(cmd.Context(), askTimeout)
			defer cancel()
			return run(ctx, s, src, client)
		},
	}
	s.flags(cmd, checks)
	return cmd
}

func (a *App) sourceRegister() *cobra.Command {
	return a.ofSubscription("register", "Make the subscription at the sender, or bring it in line with the configuration",
		"Make the subscription at the sender, or bring it in line with the configuration: its address, update type and\n"+
			"credentials, of which the first of the source's are used. It is found again by its name, so this can be done as\n"+
			"often as you like. A subscription that is paused stays so.", true,
		func(ctx context.Context, s subscribing, src config.Source, c *cpm.Client) error {
			want, err := subscriptionOf(src)
			if err != nil {
				return err
			}
			found, err := find(ctx, c, src)
			if err != nil && !errors.Is(err, errNoSubscription) {
				return err
			}
			if err := s.check(ctx, src, want, 0); err != nil {
				return err
			}
			verb := "made"
			if found.ID == "" {
				_, err = c.Subscribe(ctx, want)
			} else {
				verb, want.ID, want.Status = "brought in line", found.ID, found.Status
				_, err = c.Resubscribe(ctx, want)
			}
			if err != nil {
				return err
			}
			if found, err = find(ctx, c, src); err != nil {
				return err
			}
			if !s.json {
				fmt.Fprintf(a.Stdout, "subscription %s\n", verb)
			}
			if err := a.printSubscription(found, s.json); err != nil || s.json {
				return err
			}
			if verb == "made" {
				fmt.Fprintf(a.Stdout, "\nThe sender tells of changes from now on. For everybody else: consentd source backfill %s\n", src.Name)
			}
			return nil
		})
}

func (a *App) sourceShow() *cobra.Command {
	return a.ofSubscription("show", "Show the subscription as it stands at the sender",
		"Ask the sender's API for the subscription of a source, by its name, api > subscription > name, and show its status, its\n"+
			"address and what it posts with. No credential is shown.", false,
		func(ctx context.Context, s subscribing, src config.Source, c *cpm.Client) error {
			found, err := find(ctx, c, src)
			if err != nil {
				return err
			}
			return a.printSubscription(found, s.json)
		})
}

func (a *App) sourceStatus(use, status, short, long, after string) *cobra.Command {
	return a.ofSubscription(use, short, long, false, func(ctx context.Context, s subscribing, src config.Source, c *cpm.Client) error {
		found, err := find(ctx, c, src)
		if err != nil {
			return err
		}
		if _, err := c.SetStatus(ctx, found.ID, status); err != nil {
			return err
		}
		found.Status = status
		if s.json {
			return a.printSubscription(found, true)
		}
		fmt.Fprintf(a.Stdout, "%s\n%s\n", status, strings.ReplaceAll(after, "NAME", src.Name))
		return nil
	})
}

func (a *App) sourceRotate() *cobra.Command {
	return a.ofSubscription("rotate", "Give the sender the newest credential of the source, without losing a delivery",
		"Give the sender the first of the source's credentials. Nothing is lost, whenever this is interrupted, as long as both\n"+
			"are good all the time:\n\n"+
			"  1. Put the new key, token or refresh token first in the configuration, and keep the one before as second.\n"+
			"  2. consentd reload\n"+
			"  3. consentd source rotate NAME, which first checks that consentd takes both. Do it again if it was interrupted.\n"+
			"  4. After the time that it names, take the older one out, and reload.", true,
		func(ctx context.Context, s subscribing, src config.Source, c *cpm.Client) error {
			credentials := len(src.Auth.Keys) + len(src.Auth.RefreshTokens)
			if credentials < 2 {
				return usage("source %q has %d credentials, and a rotation needs the new one and the one before: put the new one first, reload, and do this again", src.Name, credentials)
			}
			want, err := subscriptionOf(src)
			if err != nil {
				return err
			}
			found, err := find(ctx, c, src)
			if err != nil {
				return err
			}
			for n := range 2 {
				if err := s.check(ctx, src, want, n); err != nil {
					return fmt.Errorf("%w\nNothing was changed", err)
				}
			}
			want.ID, want.Status = found.ID, found.Status
			if _, err := c.Resubscribe(ctx, want); err != nil {
				return err
			}
			// What failed is tried again hourly, and with which credential is not known.
			keep := time.Hour
			if src.Auth.Mode == config.AuthOAuth2 {
				keep += src.Auth.TokenLifetime
			}
			if s.json {
				return a.printSubscription(want, true)
			}
			fmt.Fprintf(a.Stdout, "the sender has the newest credential\nKeep the one before in the configuration for another %s, then take it out and reload.\n", span(keep))
			return nil
		})
}

var errNoSubscription = errors.New("the sender has no subscription of that name")

// find is the source's subscription, by its name.
func find(ctx context.Context, c *cpm.Client, src config.Source) (cpm.Subscription, error) {
	all, err := c.Subscriptions(ctx)
	if err != nil {
		return cpm.Subscription{}, err
	}
	var found []cpm.Subscription
	for _, s := range all {
		if s.Name == src.API.SubscriptionName {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		return cpm.Subscription{}, fmt.Errorf("%w, %q; `consentd source register %s` makes it, or name the one that is there with api > subscription > name", errNoSubscription, src.API.SubscriptionName, src.Name)
	case 1:
		return found[0], nil
	}
	return cpm.Subscription{}, fmt.Errorf("the sender has %d subscriptions called %q: each update comes so many times; remove all but one there", len(found), src.API.SubscriptionName)
}

// subscriptionOf is what the sender's subscription should be.
func subscriptionOf(src config.Source) (cpm.Subscription, error) {
	if src.API.SubscriptionURL == "" {
		return cpm.Subscription{}, usage("where does the sender reach source %q? Add subscription { url = \"https://consent.example.org%s\" } to its api block", src.Name, src.Path)
	}
	s := cpm.Subscription{Name: src.API.SubscriptionName, URL: src.API.SubscriptionURL, Status: cpm.Active, UpdateType: string(src.UpdateType)}
	auth := src.Auth
	switch auth.Mode {
	case config.AuthNone:
		s.Authentication.AuthType = cpm.AuthNone
	case config.AuthAPIKey:
		key := cpm.APIKey{Location: "header", Key: auth.Header, Value: auth.Keys[0]}
		if auth.Query != "" {
			key.Location, key.Key = "query", auth.Query
		}
		s.Authentication = cpm.Authentication{AuthType: cpm.AuthAPIKey, APIKey: &key}
	case config.AuthToken:
		s.Authentication = cpm.Authentication{AuthType: cpm.AuthToken, Token: auth.Keys[0], Place: placeOf(auth)}
	case config.AuthOAuth2:
		refresh := src.API.RefreshURL
		if refresh == "" {
			base, ok := strings.CutSuffix(s.URL, src.Path)
			if !ok {
				return s, usage("where does the sender reach the token endpoint of source %q? Its address does not end with the path %s; add refresh_url to api > subscription", src.Name, src.Path)
			}
			refresh = base + auth.TokenPath
		}
		s.Authentication = cpm.Authentication{
			AuthType: cpm.AuthToken, RefreshToken: auth.RefreshTokens[0], RefreshURL: refresh, ClientID: auth.ClientID, ClientSecret: auth.ClientSecret, Place: placeOf(auth),
		}
	}
	return s, nil
}

// placeOf says where a token stands, unless it is where tokens stand anyway.
func placeOf(auth config.Auth) *cpm.TokenPlace {
	switch {
	case auth.Query != "":
		return &cpm.TokenPlace{Location: "query", Key: auth.Query}
	case strings.EqualFold(auth.Header, "Authorization") && auth.Prefix == "Bearer":
		return nil
	}
	return &cpm.TokenPlace{Location: "header", Key: auth.Header, Prefix: auth.Prefix}
}

// check posts what is no update, with the n-th credential, to where the sender is to post: the type of its content is
// looked at after the credential and before anything else, so that nothing comes of it.
func (s subscribing) check(ctx context.Context, src config.Source, want cpm.Subscription, n int) error {
	if s.skipCheck {
		return nil
	}
	auth, credential := src.Auth, ""
	switch auth.Mode {
	case config.AuthAPIKey, config.AuthToken:
		credential = auth.Keys[n]
	case config.AuthOAuth2:
		var err error
		if credential, err = accessToken(ctx, want.Authentication, auth.RefreshTokens[n]); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, want.URL, strings.NewReader("check"))
	if err != nil {
		return errors.New("the subscription's url is no address")
	}
	req.Header.Set("Content-Type", "text/plain")
	switch {
	case credential == "":
	case auth.Query != "":
		req.URL.RawQuery = url.Values{auth.Query: {credential}}.Encode()
	case auth.Prefix != "":
		req.Header.Set(auth.Header, auth.Prefix+" "+credential)
	default:
		req.Header.Set(auth.Header, credential)
	}
	status, _, err := exchange(req)
	switch {
	case err != nil:
		return environment(fmt.Errorf("%s does not answer: %w\nIs consentd running, and is that its address from outside? If it cannot be reached from here, add --skip-check", hostOf(want.URL), err))
	case status == http.StatusUnauthorized:
		return fmt.Errorf("consentd at %s does not take credential %d of source %q: reload its configuration with `consentd reload` first", hostOf(want.URL), n+1, src.Name)
	case status != http.StatusUnsupportedMediaType:
		return fmt.Errorf("%s answers %d at %s, which no consentd does to a credential that it takes; is the url right, and consentd running?", hostOf(want.URL), status, req.URL.Path)
	}
	return nil
}

// accessToken fetches one as the sender will.
func accessToken(ctx context.Context, a cpm.Authentication, refreshToken string) (string, error) {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}}
	if a.ClientID != "" {
		form.Set("client_id", a.ClientID)
		form.Set("client_secret", a.ClientSecret)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.RefreshURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", errors.New("the token endpoint's url is no address")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, body, err := exchange(req)
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	switch {
	case err != nil:
		return "", environment(fmt.Errorf("the token endpoint at %s does not answer: %w\nIf it cannot be reached from here, add --skip-check", hostOf(a.RefreshURL), err))
	case status != http.StatusOK || json.Unmarshal(body, &answer) != nil || answer.AccessToken == "":
		return "", fmt.Errorf("the token endpoint at %s answers %d and gives no access token for the refresh token: reload the configuration with `consentd reload` first", hostOf(a.RefreshURL), status)
	}
	return answer.AccessToken, nil
}

// exchange says nothing of the address, whose query may hold a key.
func exchange(req *http.Request) (status int, body []byte, err error) {
	client := &http.Client{Timeout: askTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err = io.ReadAll(io.LimitReader(res.Body, 64<<10))
	return res.StatusCode, body, err
}

// printSubscription leaves out what is secret, which the sender's answers need not do.
func (a *App) printSubscription(s cpm.Subscription, asJSON bool) error {
	auth := &s.Authentication
	auth.Token, auth.RefreshToken, auth.ClientSecret = "", "", ""
	if auth.APIKey != nil {
		key := *auth.APIKey
		key.Value, auth.APIKey = "", &key
	}
	if asJSON {
		return printJSON(a.Stdout, s)
	}
	how := auth.AuthType
	switch {
	case auth.APIKey != nil:
		how += ", " + auth.APIKey.Location + " " + auth.APIKey.Key
	case auth.RefreshURL != "":
		how += ", refreshed at " + auth.RefreshURL
	}
	t := newTable(a.Stdout, "  name", s.Name)
	t.row("  id", s.ID)
	t.row("  url", s.URL)
	t.row("  status", s.Status)
	t.row("  update type", s.UpdateType)
	t.row("  authentication", how)
	return t.flush()
}
