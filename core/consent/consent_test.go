package consent

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestMain asks rapid for ten thousand histories a property, unless told otherwise.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("rapid.checks").Value.String() == "100" {
		_ = flag.Set("rapid.checks", "10000")
	}
	os.Exit(m.Run())
}

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func TestAllowed(t *testing.T) {
	for _, tc := range []struct {
		name string
		p    Permission
		want bool
	}{
		{"granted", Permission{State: "GRANTED"}, true},
		{"claimed", Permission{State: "CLAIMED"}, true},
		{"denied", Permission{State: "DENIED"}, false},
		{"pending", Permission{State: "PENDING"}, false},
		{"objected", Permission{State: "OBJECTED"}, false},
		{"objection upheld", Permission{State: "OBJECTION_UPHELD"}, false},
		{"nothing recorded", Permission{}, false},
		{"lower-case expired", Permission{State: "expired"}, false},
		{"lower-case granted is no state of the sender's", Permission{State: "granted"}, false},
		{"unknown", Permission{State: "CONSENTED"}, false},
		{"starts now", Permission{State: "GRANTED", ValidFrom: noon}, true},
		{"starts later", Permission{State: "GRANTED", ValidFrom: noon.Add(1)}, false},
		{"ends later", Permission{State: "GRANTED", ValidUntil: noon.Add(1)}, true},
		{"ends now", Permission{State: "GRANTED", ValidUntil: noon}, false},
	} {
		if got := tc.p.Allowed(noon); got != tc.want {
			t.Errorf("%s: allowed is %v", tc.name, got)
		}
	}
}

func TestDecode(t *testing.T) {
	s, err := Decode([]byte(`{
		"applicationId": 42, "citizenId": "c1", "externalRef": null, "newField": {"a": [1]},
		"permissions": [{"optionType": "option", "optionId": "o1", "justification": null, "state": null,
			"channel": null, "recordedAt": "2026-03-02T09:14:05.123456789+01:00", "validUntil": null}],
		"sentAt": "2026-03-02T09:14:06Z"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Permission{OptionType: "option", OptionID: "o1", RecordedAt: time.Date(2026, 3, 2, 8, 14, 5, 123456789, time.UTC)}
	got := s.Permissions[0]
	if !got.RecordedAt.Equal(want.RecordedAt) {
		t.Errorf("recordedAt %v", got.RecordedAt)
	}
	got.RecordedAt = want.RecordedAt
	if s.ApplicationID != "42" || s.CitizenID != "c1" || s.ExternalRef != "" || got != want || s.Preferences != nil {
		t.Errorf("decoded %+v", s)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, tc := range []struct{ name, body, want string }{
		{"nothing", ``, "malformed JSON"},
		{"cut", `{"citizenId": "secret-person`, "malformed JSON"},
		{"another shape", `[1]`, "unexpected value at the top"},
		{"no citizen", `{"sentAt": "2026-03-02T09:14:06Z"}`, "citizenId is missing"},
		{"no time at all", `{"citizenId": "secret-person"}`, "sentAt is missing"},
		{"a name twice", `{"citizenId": "secret-person", "citizenId": "b", "sentAt": "2026-03-02T09:14:06Z"}`, "stands twice"},
		{"invalid UTF-8", "{\"citizenId\": \"secret-\xff-person\", \"sentAt\": \"2026-03-02T09:14:06Z\"}", "malformed JSON"},
		{"a time that is none", `{"citizenId": "secret-person", "sentAt": "yesterday"}`, "unexpected value at /sentAt"},
		{"an object for an id", `{"citizenId": {"a": "secret-person"}, "sentAt": "2026-03-02T09:14:06Z"}`, "unexpected value at /citizenId"},
		{"permission without option", `{"citizenId": "secret-person", "permissions": [{}], "sentAt": "2026-03-02T09:14:06Z"}`, "permissions[0]"},
		{"option with a separator", `{"citizenId": "secret-person", "permissions": [{"optionType": "option", "optionId": "a\u001f"}], "sentAt": "2026-03-02T09:14:06Z"}`, "control character"},
		{"preference without name", `{"citizenId": "secret-person", "preferences": [{}], "sentAt": "2026-03-02T09:14:06Z"}`, "preferences[0]"},
	} {
		_, err := Decode([]byte(tc.body))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error quotes the message: %v", tc.name, err)
		}
	}
}

func permission(option, state string, minute int) Permission {
	return Permission{OptionType: "option", OptionID: option, State: state, RecordedAt: noon.Add(time.Duration(minute) * time.Minute)}
}

// update that was sent at noon plus so many minutes.
func update(typ UpdateType, minute int, permissions ...Permission) Update {
	at := noon.Add(time.Duration(minute) * time.Minute)
	s := State{CitizenID: "c1", Permissions: permissions, SentAt: at}
	return Update{Source: "s", Type: typ, Received: at, State: s, Body: Encode(s)}
}

func apply(t interface {
	Helper()
	Fatalf(string, ...any)
}, current *Citizen, u Update) Applied {
	t.Helper()
	a, err := Apply(current, u)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	return a
}

func TestApplyOrder(t *testing.T) {
	first := apply(t, nil, update(EffectivePermission, 10, permission("a", "GRANTED", 10))).Citizen
	future := update(EffectivePermission, 10, permission("a", "GRANTED", 10))
	future.State.SentAt = noon.AddDate(50, 0, 0)
	fromFuture := apply(t, nil, future).Citizen
	fromFuture2 := apply(t, nil, update(EffectivePermission, 10, permission("a", "GRANTED", 60*24*365*50))).Citizen
	unsent := update(EffectivePermission, 12, permission("a", "DENIED", 12))
	unsent.State.SentAt = time.Time{}
	for _, tc := range []struct {
		name    string
		current Citizen
		u       Update
		want    Verdict
	}{
		{"newer", first, update(EffectivePermission, 11, permission("a", "DENIED", 11)), Accepted},
		{"older", first, update(EffectivePermission, 9, permission("a", "DENIED", 9)), Superseded},
		{"the same", first, update(EffectivePermission, 10, permission("a", "GRANTED", 10)), Duplicate},
		{"sent at once, newer evidence", first, update(EffectivePermission, 10, permission("a", "DENIED", 11)), Accepted},
		{"sent at once, older evidence", first, update(EffectivePermission, 10, permission("a", "DENIED", 9)), Superseded},
		{"sent at once, as old: arrival decides", first, update(EffectivePermission, 10, permission("a", "DENIED", 10)), Accepted},
		{"no sentAt: the evidence speaks", first, unsent, Accepted},
		{"truth after a sentAt from the future", fromFuture, update(EffectivePermission, 11, permission("a", "DENIED", 11)), Accepted},
		{"truth without evidence after a sentAt from the future", fromFuture, update(EffectivePermission, 11), Accepted},
		{"truth on the same evidence after a sentAt from the future", fromFuture, update(EffectivePermission, 11, permission("a", "DENIED", 10)), Accepted},
		{"truth after evidence from the future", fromFuture2, update(EffectivePermission, 11, permission("a", "DENIED", 11)), Accepted},
		{"old news after a sentAt from the future", fromFuture, update(EffectivePermission, 9, permission("a", "DENIED", 9)), Superseded},
	} {
		if got := apply(t, &tc.current, tc.u).Verdict; got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestApplyWithdrawal(t *testing.T) {
	granted := apply(t, nil, update(EffectivePermission, 1, permission("a", "GRANTED", 1), permission("b", "PENDING", 1))).Citizen
	expiring := permission("a", "GRANTED", 2)
	expiring.ValidUntil = noon.Add(2 * time.Minute)
	for _, tc := range []struct {
		name    string
		current *Citizen
		u       Update
		want    bool
	}{
		{"denied", &granted, update(EffectivePermission, 2, permission("a", "DENIED", 2), permission("b", "GRANTED", 2)), true},
		{"left out", &granted, update(EffectivePermission, 2, permission("b", "GRANTED", 2)), true},
		{"expired", &granted, update(EffectivePermission, 2, expiring, permission("b", "PENDING", 1)), true},
		{"pending again", &granted, update(EffectivePermission, 2, permission("a", "PENDING", 2), permission("b", "PENDING", 1)), true},
		{"still granted", &granted, update(EffectivePermission, 2, permission("a", "GRANTED", 2), permission("b", "DENIED", 2)), false},
		{"denied twice in one message, once granted", &granted, update(EffectivePermission, 2, permission("a", "GRANTED", 2), permission("a", "DENIED", 2), permission("b", "PENDING", 1)), true},
		{"new citizen who refuses", nil, update(EffectivePermission, 2, permission("a", "DENIED", 2)), true},
		{"new citizen who was never asked", nil, update(EffectivePermission, 2, permission("a", "PENDING", 2)), false},
	} {
		if got := apply(t, tc.current, tc.u).Withdrawal; got != tc.want {
			t.Errorf("%s: withdrawal is %v", tc.name, got)
		}
	}
}

// TestLapsedIsRemembered: what the sender leaves out stays in the state, in every later one as well.
func TestLapsedIsRemembered(t *testing.T) {
	c := apply(t, nil, update(EffectivePermission, 1, permission("a", "GRANTED", 1))).Citizen
	for minute := 2; minute < 5; minute++ {
		a := apply(t, &c, update(EffectivePermission, minute, permission("b", "GRANTED", minute)))
		s, err := Decode(a.Citizen.Body)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(s.Permissions, func(p Permission) bool { return p.OptionID == "a" })
		if i < 0 || s.Permissions[i].State != "" {
			t.Fatalf("minute %d: %+v", minute, s.Permissions)
		}
		if a.Withdrawal != (minute == 2) {
			t.Errorf("minute %d: withdrawal is %v", minute, a.Withdrawal)
		}
		c = a.Citizen
	}
}

func genUpdate(typ UpdateType) *rapid.Generator[Update] {
	return rapid.Custom(func(t *rapid.T) Update {
		minute := rapid.IntRange(0, 30).Draw(t, "minute")
		var permissions []Permission
		for _, option := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), rapid.ID[string]).Draw(t, "options") {
			state := rapid.SampledFrom([]string{"GRANTED", "DENIED", "PENDING", "", "CLAIMED"}).Draw(t, "state")
			permissions = append(permissions, permission(option, state, minute-rapid.IntRange(0, 3).Draw(t, "age")))
		}
		u := update(typ, minute, permissions...)
		u.Received = noon.Add(time.Duration(rapid.IntRange(30, 90).Draw(t, "received")) * time.Minute)
		return u
	})
}

func allowedKeys(t *rapid.T, c *Citizen, now time.Time) map[Key]bool {
	keys := map[Key]bool{}
	if c == nil {
		return keys
	}
	s, err := Decode(c.Body)
	if err != nil {
		t.Fatalf("stored body: %v", err)
	}
	for _, p := range s.Permissions {
		if allowed(s, p.Key(), now) {
			keys[p.Key()] = true
		}
	}
	return keys
}

// TestNeverBackwards is law 2, whatever order updates arrive in, and whether or not the sender stamps its
// retries anew.
func TestNeverBackwards(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var current *Citizen
		var newest, evidence time.Time // the newest proven sentAt and evidence of what was accepted
		var sent []Update
		for range rapid.IntRange(1, 25).Draw(t, "updates") {
			u := genUpdate(EffectivePermission).Draw(t, "update")
			if len(sent) > 0 && rapid.Bool().Draw(t, "retry") {
				u = rapid.SampledFrom(sent).Draw(t, "of")
				if rapid.Bool().Draw(t, "stamped anew") {
					u.State.SentAt = noon.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "at")) * time.Minute)
					u.Body = Encode(u.State)
				}
			}
			sent = append(sent, u)
			before := allowedKeys(t, current, u.Received)
			a := apply(t, current, u)
			if a.Verdict != Accepted {
				if current == nil || u.State.SentAt.After(newest) && u.State.Evidence().After(evidence) {
					t.Fatalf("news was %v", a.Verdict)
				}
				continue
			}
			after := allowedKeys(t, &a.Citizen, u.Received)
			for k := range after {
				if !before[k] && u.State.Evidence().Before(evidence) {
					t.Fatalf("%v was granted on evidence of %v, when %v was known", k, u.State.Evidence(), evidence)
				}
			}
			if u.State.SentAt.After(newest) {
				for _, p := range u.State.Permissions {
					if !p.Allowed(u.Received) && after[p.Key()] {
						t.Fatalf("the newest update withdraws %v, which is still allowed", p.Key())
					}
				}
				for k := range before {
					if after[k] && !named(u.State, k) {
						t.Fatalf("the newest update leaves out %v, which is still allowed", k)
					}
				}
			} else if u.State.SentAt.Before(newest) && !u.State.Evidence().After(evidence) {
				for k := range after {
					if !before[k] {
						t.Fatalf("%v was granted by an update sent at %v on evidence of %v, over %v, %v", k, u.State.SentAt, u.State.Evidence(), newest, evidence)
					}
				}
			}
			if !u.State.Evidence().Before(evidence) { // else its sentAt proves nothing
				newest = later(newest, u.State.SentAt)
			}
			evidence, current = later(evidence, u.State.Evidence()), &a.Citizen
		}
	})
}

// TestHeldGrant: a grant on older evidence is held until newer news or an operator settles it.
func TestHeldGrant(t *testing.T) {
	denied := apply(t, nil, update(EffectivePermission, 10, permission("a", "DENIED", 10), permission("b", "GRANTED", 5))).Citizen
	restamped := update(EffectivePermission, 20, permission("a", "GRANTED", 8), permission("b", "DENIED", 7))
	a := apply(t, &denied, restamped)
	states := func(c Citizen) map[string]string {
		s, err := Decode(c.Body)
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]string{}
		for _, p := range s.Permissions {
			m[p.OptionID] = p.State
		}
		return m
	}
	if got := states(a.Citizen); a.Verdict != Accepted || got["a"] != "DENIED" || got["b"] != "DENIED" || len(got) != 2 || !a.Withdrawal || a.Citizen.Held == nil {
		t.Fatalf("%v %v, withdrawal %v, held %s", a.Verdict, got, a.Withdrawal, a.Citizen.Held)
	}
	if again := apply(t, &a.Citizen, update(EffectivePermission, 10, permission("a", "DENIED", 10), permission("b", "GRANTED", 5))); again.Verdict != Superseded {
		t.Errorf("what was there before: %v", again.Verdict)
	}
	between := apply(t, &a.Citizen, update(EffectivePermission, 15, permission("a", "GRANTED", 15)))
	if got := states(between.Citizen); between.Verdict != Accepted || got["a"] != "GRANTED" || between.Citizen.Held != nil {
		t.Errorf("newer evidence, sent before the retry was stamped: %v %v, held %s", between.Verdict, got, between.Citizen.Held)
	}
	released, err := Release(a.Citizen, noon.Add(time.Hour))
	if got := states(released.Citizen); err != nil || got["a"] != "GRANTED" || got["b"] != "DENIED" || released.Citizen.Held != nil {
		t.Errorf("released: %v %v, held %s", err, got, released.Citizen.Held)
	}
	restamped.ApplyRegressions = true
	if a := apply(t, &denied, restamped); states(a.Citizen)["a"] != "GRANTED" || a.Citizen.Held != nil {
		t.Errorf("with regressions applied: %v", states(a.Citizen))
	}
}

// TestTick is law 9: a window that ends is a withdrawal, one that begins is a grant.
func TestTick(t *testing.T) {
	p := permission("a", "GRANTED", 0)
	p.ValidFrom, p.ValidUntil = noon.Add(10*time.Minute), noon.Add(20*time.Minute)
	c := apply(t, nil, update(EffectivePermission, 0, p)).Citizen
	if !c.Next.Equal(p.ValidFrom) {
		t.Fatalf("next change at %v", c.Next)
	}
	begun, err := Tick(c, p.ValidFrom)
	if err != nil || begun.Withdrawal || begun.Citizen.Grants == c.Grants || !begun.Citizen.Next.Equal(p.ValidUntil) {
		t.Fatalf("when it begins: %+v, %v", begun, err)
	}
	ended, err := Tick(begun.Citizen, p.ValidUntil)
	if err != nil || !ended.Withdrawal || !ended.Citizen.Next.IsZero() {
		t.Errorf("when it ends: %+v, %v", ended, err)
	}
}

// TestUndatedDeltas: an entry without times of its own is as old as its message, not as the newest one.
func TestUndatedDeltas(t *testing.T) {
	undated := func(option, state string, minute int) Update {
		u := update(ConsentReceipts, minute, Permission{OptionType: "option", OptionID: option, State: state})
		u.Received = noon.Add(time.Hour)
		return u
	}
	c := apply(t, nil, undated("x", "GRANTED", 0)).Citizen
	c = apply(t, &c, undated("y", "GRANTED", 10)).Citizen
	a := apply(t, &c, undated("x", "DENIED", 5))
	if a.Verdict != Accepted || !a.Withdrawal {
		t.Errorf("a withdrawal between: %v, withdrawal %v", a.Verdict, a.Withdrawal)
	}
	if old := apply(t, &a.Citizen, undated("x", "GRANTED", 4)); old.Verdict != Superseded {
		t.Errorf("an older grant: %v", old.Verdict)
	}
	// A change from the future does not stand in the way of the truth.
	u := undated("x", "GRANTED", 20)
	u.State.Permissions[0].ObtainedAt = noon.AddDate(50, 0, 0)
	u.State.Permissions[0].RecordedAt = noon.AddDate(50, 0, 0)
	u.Body = Encode(u.State)
	c = apply(t, &a.Citizen, u).Citizen
	if a := apply(t, &c, undated("x", "DENIED", 21)); a.Verdict != Accepted || !a.Withdrawal {
		t.Errorf("truth after a change from the future: %v, withdrawal %v", a.Verdict, a.Withdrawal)
	}
}

// TestNoDeltaLost is law 4: the merged state holds, for each option, the newest change of all that came,
// whatever their order.
func TestNoDeltaLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var current *Citizen
		newest := map[string]Permission{}
		for _, u := range rapid.SliceOfN(genUpdate(ConsentReceipts), 1, 20).Draw(t, "updates") {
			if a := apply(t, current, u); a.Verdict == Accepted {
				current = &a.Citizen
			}
			for _, p := range u.State.Permissions {
				if known, ok := newest[p.OptionID]; !ok || !p.RecordedAt.Before(known.RecordedAt) {
					newest[p.OptionID] = p
				}
			}
		}
		s, err := Decode(current.Body)
		if err != nil {
			t.Fatalf("stored body: %v", err)
		}
		if len(s.Permissions) != len(newest) {
			t.Fatalf("%d permissions stored, %d came", len(s.Permissions), len(newest))
		}
		for _, p := range s.Permissions {
			if want := newest[p.OptionID]; p.State != want.State || !p.RecordedAt.Equal(want.RecordedAt) {
				t.Fatalf("option %s: stored %s of %v, want %s of %v", p.OptionID, p.State, p.RecordedAt, want.State, want.RecordedAt)
			}
		}
	})
}
