package cpm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/cpm"
	"github.com/consentd/consentd/core/cpm/sim"
	"github.com/consentd/consentd/sdk/httpclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

// begin runs a sender and a client of it.
func begin(t *testing.T, change ...func(*cpm.Config)) (*sim.Sim, *cpm.Client) {
	t.Helper()
	s := sim.New(sim.Options{Configuration: sim.Configuration{
		Data: []sim.Named{{ID: "d1", Name: "Email"}}, Purposes: []sim.Named{{ID: "p1", Name: "Newsletter"}}, Parties: []sim.Named{{ID: "q1", Name: "Acme"}},
		Options: []sim.Option{{ID: "k3Rmx", DataID: "d1", PurposeID: "p1", PartyID: "q1"}},
	}})
	t.Cleanup(s.Close)
	return s, client(t, s, change...)
}

func client(t *testing.T, h http.Handler, change ...func(*cpm.Config)) *cpm.Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	config := cpm.Config{
		BaseURL: server.URL, Application: sim.Application, Auth: httpclient.APIKey("X-API-Key", sim.APIKey), PageSize: 10,
		Timeout: 10 * time.Second, Paths: cpm.DefaultPaths(), Params: cpm.DefaultParams(),
	}
	for _, c := range change {
		c(&config)
	}
	c, err := cpm.New(config, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func signIn(at string) httpclient.Auth {
	return httpclient.SignIn(httpclient.OAuth2{TokenURL: at + "/oauth/token", Grant: func(now time.Time) (url.Values, error) {
		form, err := httpclient.ClientCredentials(sim.ClientID, sim.ClientSecret, "")(now)
		form.Set("audience", at)
		return form, err
	}})
}

// Many callers are one token request, which is what the sender asks for.
func TestOneTokenForAll(t *testing.T) {
	s, c := begin(t, func(c *cpm.Config) { c.Auth = signIn(c.BaseURL) })
	s.Behave(func(b *sim.Behaviour) { b.FairUse = 1 })
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := c.Options(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := s.Tokens(); n != 1 {
		t.Errorf("%d tokens", n)
	}
	s.Advance(25 * time.Hour)
	s.Behave(func(b *sim.Behaviour) { b.FairUse = 2 })
	if _, err := c.Options(ctx); err != nil || s.Tokens() != 2 {
		t.Errorf("after the token's end: %v, %d tokens", err, s.Tokens())
	}
}

func TestThrottledIsTriedAgain(t *testing.T) {
	s, c := begin(t)
	s.Behave(func(b *sim.Behaviour) { b.RateLimit = 2 })
	for range 4 {
		if _, err := c.Options(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func TestErrors(t *testing.T) {
	_, wrong := begin(t, func(c *cpm.Config) { c.Auth = httpclient.APIKey("X-API-Key", "wrong-key") })
	if _, err := wrong.Options(ctx); !errors.Is(err, cpm.ErrRefused) || strings.Contains(err.Error(), "wrong-key") {
		t.Errorf("a wrong key: %v", err)
	}
	if _, err := wrong.Exists(ctx, "ada@example.org"); !errors.Is(err, cpm.ErrRefused) || strings.Contains(err.Error(), "ada") {
		t.Errorf("whom it is about: %v", err)
	}
	for name, body := range map[string]string{
		"no JSON": "<html>", "no list": `{"a": 1}`, "two lists": `{"a": [{}], "b": [{}]}`, "no object": `["x@example.org"]`,
	} {
		c := client(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
		if _, err := c.OfRef(ctx, "ada@example.org"); err == nil || strings.Contains(err.Error(), "example.org") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Answers are read in whichever shape they come, and become what a webhook would say.
func TestShapes(t *testing.T) {
	for name, body := range map[string]string{
		"a list":           `[{"citizenId": 17, "permissions": [], "preferences": [], "extra": {"a": [1]}}]`,
		"a member":         `{"whatever": [{"citizenId": "17", "permissions": []}], "total": 1, "links": ["x"]}`,
		"with a time":      `{"data": [{"citizenId": "17", "permissions": [], "sentAt": "2001-01-01T00:00:00Z"}]}`,
		"without anything": `[{"citizenId": "17"}]`,
	} {
		began := time.Now()
		c := client(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
		p, err := c.OfRef(ctx, "ada")
		if err != nil || len(p.Bodies) != 1 {
			t.Errorf("%s: %v, %d", name, err, len(p.Bodies))
			continue
		}
		state, err := consent.Decode(p.Bodies[0])
		if err != nil || state.CitizenID != "17" || state.ApplicationID != sim.Application {
			t.Errorf("%s: %v, %+v", name, err, state)
		}
		// Never later than when it was asked for, and no more than the header's second and the request before.
		if state.SentAt.After(began) || began.Sub(state.SentAt) > 5*time.Second {
			t.Errorf("%s: asked at %v, as of %v", name, began, state.SentAt)
		}
	}
}

// The instant of an answer is on the sender's clock, where that can be believed.
func TestAsOfIsTheSenders(t *testing.T) {
	for name, tc := range map[string]struct{ ahead, want time.Duration }{
		"ahead": {2 * time.Minute, 2 * time.Minute}, "behind": {-2 * time.Minute, -2 * time.Minute}, "wrong": {time.Hour, 0},
	} {
		c := client(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(tc.ahead).UTC().Format(http.TimeFormat))
			fmt.Fprint(w, `[]`)
		}))
		p, err := c.OfRef(ctx, "ada")
		if off := time.Until(p.AsOf) - tc.want; err != nil || off > 0 || off < -10*time.Second {
			t.Errorf("%s: off by %v, %v", name, off, err)
		}
	}
}

func TestCitizen(t *testing.T) {
	s, c := begin(t)
	id := s.Add("ada")
	s.Record(id, sim.Grant("k3Rmx"))
	for _, ref := range []string{"ada", "", "somebody else"} {
		body, err := c.Citizen(ctx, id, ref)
		if err != nil || !cpm.Tells(body, "preferences") || cpm.Tells(body, "nothing") {
			t.Fatalf("by %q: %v", ref, err)
		}
		if state, err := consent.Decode(body); err != nil || string(state.CitizenID) != id || len(state.Permissions) != 1 {
			t.Errorf("by %q: %v, %+v", ref, err, state)
		}
	}
	if there, err := c.Exists(ctx, id); !there || err != nil {
		t.Errorf("exists: %v, %v", there, err)
	}
	s.Delete(id)
	if _, err := c.Citizen(ctx, id, "ada"); !errors.Is(err, cpm.ErrNobody) {
		t.Errorf("who is gone: %v", err)
	}
	if there, err := c.Exists(ctx, id); there || err != nil {
		t.Errorf("who is gone exists: %v, %v", there, err)
	}
}

func TestOptions(t *testing.T) {
	_, c := begin(t)
	all, err := c.Options(ctx)
	if err != nil || len(all) != 1 || all[0].Label() != "Newsletter · Email · Acme" {
		t.Errorf("%v, %v", all, err)
	}
}

func TestSubscriptions(t *testing.T) {
	s, c := begin(t)
	made, err := c.Subscribe(ctx, cpm.Subscription{Name: "a", URL: "https://a.example.org/w", UpdateType: "effective-permission",
		Authentication: cpm.Authentication{AuthType: cpm.AuthAPIKey, APIKey: &cpm.APIKey{Location: "header", Key: "X", Value: "v"}}})
	if err != nil || made.ID == "" {
		t.Fatalf("%+v, %v", made, err)
	}
	made.Name = "b"
	made.Authentication.APIKey = &cpm.APIKey{Location: "header", Key: "X", Value: "w"}
	if _, err := c.Resubscribe(ctx, made); err != nil {
		t.Fatal(err)
	}
	if _, err := c.SetStatus(ctx, made.ID, cpm.Paused); err != nil {
		t.Fatal(err)
	}
	all, err := c.Subscriptions(ctx)
	if err != nil || len(all) != 1 || all[0].ID != made.ID || all[0].Name != "b" || all[0].Status != cpm.Paused {
		t.Errorf("listed %+v, %v", all, err)
	}
	if got := s.Subscriptions()[0].Authentication.APIKey.Value; got != "w" {
		t.Errorf("the secret there is %q", got)
	}
}

// walk reads everything from a cursor on, and answers how often each citizen came.
func walk(t *testing.T, c *cpm.Client, at cpm.Cursor, each func(read int, at cpm.Cursor) error) (map[string]int, error) {
	t.Helper()
	found := map[string]int{}
	err := c.Walk(ctx, at, func(p cpm.Page, at cpm.Cursor) error {
		for _, body := range p.Bodies {
			state, err := consent.Decode(body)
			if err != nil {
				t.Fatal(err)
			}
			found[string(state.CitizenID)]++
		}
		if each == nil {
			return nil
		}
		return each(len(found), at)
	})
	return found, err
}

func TestWalk(t *testing.T) {
	for name, change := range map[string]func(*sim.Sim){
		"as it is":      func(*sim.Sim) {},
		"small windows": func(s *sim.Sim) { s.Behave(func(b *sim.Behaviour) { b.MaxWindow = 7 }) },
		"no total":      func(s *sim.Sim) { s.Behave(func(b *sim.Behaviour) { b.NoTotal, b.MaxWindow = true, 45 }) },
		"pages only":    func(s *sim.Sim) { s.Behave(func(b *sim.Behaviour) { b.MaxWindow = 45 }) },
	} {
		t.Run(name, func(t *testing.T) {
			s, c := begin(t)
			var ids []string
			for n := range 95 {
				s.Advance(time.Duration(n%5) * time.Minute) // updates are spread, and some are at one instant
				id := s.Add(fmt.Sprint(n))
				s.Record(id, sim.Grant("k3Rmx"))
				ids = append(ids, id)
			}
			s.Advance(time.Minute)
			change(s)
			found, err := walk(t, c, cpm.Cursor{Before: time.Now().Add(10 * time.Hour)}, nil)
			slices.Sort(ids)
			if err != nil || !slices.Equal(slices.Sorted(maps.Keys(found)), ids) {
				t.Errorf("%d of %d, %v", len(found), len(ids), err)
			}
		})
	}
}

// Who is not updated while the walk is under way is never missed, although those who are leave the window before them.
func TestWalkMissesNobody(t *testing.T) {
	s, c := begin(t)
	var ids []string
	for n := range 60 {
		ids = append(ids, s.Add(fmt.Sprint(n)))
		s.Record(ids[n], sim.Grant("k3Rmx"))
	}
	s.Advance(time.Minute)
	before := time.Now().Add(30 * time.Second)
	moved := map[string]bool{}
	found, err := walk(t, c, cpm.Cursor{Before: before}, func(int, cpm.Cursor) error {
		if n := len(moved); n < 30 {
			for _, id := range ids[n : n+3] {
				s.Record(id, sim.Deny("k3Rmx"))
				moved[id] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if !moved[id] && found[id] == 0 {
			t.Errorf("missed %s", id)
		}
	}
}

// A walk that was cut short goes on from the cursor that was kept.
func TestWalkGoesOn(t *testing.T) {
	s, c := begin(t)
	for n := range 60 {
		s.Record(s.Add(fmt.Sprint(n)), sim.Grant("k3Rmx"))
	}
	s.Advance(time.Minute)
	s.Behave(func(b *sim.Behaviour) { b.MaxWindow = 1000 })
	at, all := cpm.Cursor{Before: time.Now().Add(30 * time.Second)}, map[string]int{}
	cut := errors.New("cut")
	for round := 0; ; round++ {
		steps := 0
		found, err := walk(t, c, at, func(_ int, next cpm.Cursor) error {
			kept, _ := json.Marshal(next)
			at = cpm.Cursor{}
			if err := json.Unmarshal(kept, &at); err != nil {
				t.Fatal(err)
			}
			if steps++; steps == 2 {
				return cut
			}
			return nil
		})
		for id, n := range found {
			all[id] += n
		}
		if err == nil {
			break
		}
		if !errors.Is(err, cut) || round > 20 {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	if len(all) != 60 {
		t.Errorf("%d citizens", len(all))
	}
	for id, n := range all {
		if n != 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
}

// TestWalkGivesUp: an API that answers nothing is not asked for ever smaller windows, and neither is one that finds even
// the smallest too large.
func TestWalkGivesUp(t *testing.T) {
	for name, tc := range map[string]struct {
		serve http.HandlerFunc
		most  int32
	}{
		"silent": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 12},
		"504":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGatewayTimeout) }, 60},
	} {
		var asked atomic.Int32
		c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked.Add(1); tc.serve(w, r) }), func(c *cpm.Config) { c.Timeout = 20 * time.Millisecond })
		if _, err := walk(t, c, cpm.Cursor{Before: time.Now()}, nil); !errors.Is(err, cpm.ErrTooLarge) || asked.Load() > tc.most {
			t.Errorf("%s: %v after %d requests", name, err, asked.Load())
		}
	}
}

// TestWalkFindsEverybody: whatever the pages and windows, and whoever is updated meanwhile, who is not is found.
func TestWalkFindsEverybody(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := sim.New(sim.Options{})
		defer s.Close()
		server := httptest.NewServer(s)
		defer server.Close()
		c, err := cpm.New(cpm.Config{
			BaseURL: server.URL, Application: sim.Application, Auth: httpclient.APIKey("X-API-Key", sim.APIKey),
			PageSize: rapid.IntRange(1, 9).Draw(rt, "page"), Timeout: 10 * time.Second, Paths: cpm.DefaultPaths(), Params: cpm.DefaultParams(),
		}, hclog.NewNullLogger())
		if err != nil {
			rt.Fatal(err)
		}
		defer c.Close()
		var ids []string
		for n := range rapid.IntRange(0, 30).Draw(rt, "citizens") {
			s.Advance(time.Duration(rapid.IntRange(1, 50).Draw(rt, "gap")) * time.Millisecond)
			ids = append(ids, s.Add(fmt.Sprint(n)))
			s.Record(ids[n], sim.Grant("k3Rmx"))
		}
		s.Advance(time.Second)
		before := time.Now().Add(5 * time.Second) // as far as all of that can have moved the clock
		s.Advance(10 * time.Second)
		s.Behave(func(b *sim.Behaviour) { b.MaxWindow = rapid.IntRange(5, 40).Draw(rt, "window") })
		moved, found := map[string]bool{}, map[string]bool{}
		err = c.Walk(ctx, cpm.Cursor{Before: before}, func(p cpm.Page, _ cpm.Cursor) error {
			for _, body := range p.Bodies {
				state, err := consent.Decode(body)
				if err != nil {
					return err
				}
				found[string(state.CitizenID)] = true
			}
			for n := rapid.IntRange(0, 3).Draw(rt, "moved"); n > 0 && len(ids) > 0; n-- {
				id := rapid.SampledFrom(ids).Draw(rt, "who")
				s.Record(id, sim.Deny("k3Rmx"))
				moved[id] = true
			}
			return nil
		})
		if err != nil {
			rt.Fatal(err)
		}
		for _, id := range ids {
			if !moved[id] && !found[id] {
				rt.Fatalf("%s was passed over", id)
			}
		}
	})
}
