package rules

import (
	"fmt"
	"testing"
	"time"

	"github.com/zclconf/go-cty/cty"
	"pgregory.net/rapid"

	"github.com/consentd/consentd/core/consent"
)

// saying is a rule about the newsletter that says so and so.
func saying(t testing.TB, status string, more ...string) *Rule {
	t.Helper()
	text := ""
	for _, m := range more {
		text += m + "\n"
	}
	return compile(t, text+"record {\n  email = citizen.id\n  status = "+status+"\n}", contact)
}

const (
	byNewsletter = `permission.newsletter_email.allowed ? "subscribed" : "unsubscribed"`
	byPost       = `permission.post.allowed ? "subscribed" : "unsubscribed"`
	inverted     = `permission.newsletter_email.allowed ? "unsubscribed" : "subscribed"`
	everybody    = `"subscribed"`
)

func post(state string) consent.Permission {
	return consent.Permission{OptionType: "group", OptionID: "g-post", State: state}
}

func TestGrants(t *testing.T) {
	for name, c := range map[string]struct {
		rule  *Rule
		state consent.State
		want  bool
	}{
		"allowed":                          {saying(t, byNewsletter), one(entry("GRANTED")), true},
		"denied":                           {saying(t, byNewsletter), one(entry("DENIED")), false},
		"pending, and the record says so":  {saying(t, `permission.newsletter_email.state == "PENDING" ? "pending" : `+"("+byNewsletter+")"), one(entry("PENDING"), post("GRANTED")), false},
		"never asked":                      {saying(t, byNewsletter), one(), false},
		"lapsed":                           {saying(t, byNewsletter), one(entry("GRANTED", until(now))), false},
		"not yet":                          {saying(t, byNewsletter), one(entry("GRANTED", from(now.Add(time.Second)))), false},
		"something else is allowed":        {saying(t, byNewsletter), one(entry("DENIED"), post("GRANTED")), false},
		"one of two that count denies":     {saying(t, `permission.any_newsletter.allowed ? "subscribed" : "unsubscribed"`), one(entry("GRANTED"), entry("DENIED", justified("contract"))), false},
		"a rule that grants everybody":     {saying(t, everybody), one(entry("DENIED")), true},
		"and those who were never asked":   {saying(t, everybody), one(), true},
		"a rule that is silent":            {saying(t, everybody, "when = permission.newsletter_email.known"), one(), false},
		"speaks of the allowed alone":      {saying(t, everybody, "when = permission.newsletter_email.allowed"), one(entry("GRANTED")), true},
		"fails where nothing is allowed":   {saying(t, `permission.newsletter_email.allowed ? (permission.post.allowed ? "subscribed" : "pending") : regex("x", citizen.id)`), one(entry("GRANTED"), post("DENIED")), true},
		"the raw list":                     {saying(t, `contains([for p in permissions : p.state], "GRANTED") ? "subscribed" : "unsubscribed"`), one(entry("GRANTED")), true},
		"the raw list, denied":             {saying(t, `contains([for p in permissions : p.state], "GRANTED") ? "subscribed" : "unsubscribed"`), one(entry("DENIED")), false},
		"a record for each, one of them":   {saying(t, byNewsletter, `for_each = ["a", "b"]`), one(entry("GRANTED")), true},
		"inverted: it cannot be seen here": {saying(t, inverted), one(entry("DENIED")), false},
	} {
		t.Run(name, func(t *testing.T) {
			records, err := c.rule.Evaluate("dataguard", c.state, now, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.rule.Grants("dataguard", c.state, now, nil, records); got != c.want {
				t.Errorf("%s grants: %v", records, got)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	yes, no := one(entry("GRANTED"), post("DENIED")), one(entry("DENIED"), post("GRANTED"))
	both, neither := one(entry("GRANTED"), post("GRANTED")), one(entry("DENIED"), post("DENIED"))
	named := compile(t, "record {\n email = \"x\"\n status = "+byNewsletter+"\n}", contact)
	for name, c := range map[string]struct {
		before, after *Rule
		state         consent.State
		want          Direction
	}{
		"the same rule":                          {saying(t, byNewsletter), saying(t, byNewsletter), yes, Unchanged},
		"another permission, which is allowed":   {saying(t, byNewsletter), saying(t, byPost), no, Granted},
		"another permission, which is denied":    {saying(t, byNewsletter), saying(t, byPost), yes, Withdrawn},
		"another permission, both are allowed":   {saying(t, byNewsletter), saying(t, byPost), both, Unchanged},
		"another permission, neither is":         {saying(t, byNewsletter), saying(t, byPost), neither, Unchanged},
		"another address of one who is in":       {saying(t, byNewsletter), named, yes, Other},
		"another address of one who is out":      {saying(t, byNewsletter), named, no, Other},
		"yes for everybody":                      {saying(t, byNewsletter), saying(t, everybody), no, Granted},
		"no more yes for everybody":              {saying(t, everybody), saying(t, byNewsletter), no, Withdrawn},
		"turned around, of one who was out":      {saying(t, byNewsletter), saying(t, inverted), no, Granted},
		"turned around, of one who was in":       {saying(t, byNewsletter), saying(t, inverted), yes, Withdrawn},
		"another word for no":                    {saying(t, byNewsletter), saying(t, `permission.newsletter_email.allowed ? "subscribed" : "pending"`), no, Other},
		"another word for yes":                   {saying(t, byNewsletter), saying(t, `permission.newsletter_email.allowed ? "pending" : "unsubscribed"`), yes, Other},
		"it speaks, and did not, of one allowed": {saying(t, byNewsletter, "when = permission.post.allowed"), saying(t, byNewsletter), yes, Granted},
		"it speaks, and did not, of one denied":  {saying(t, byNewsletter, "when = permission.post.allowed"), saying(t, byPost, "when = permission.newsletter_email.known"), neither, Other},
		"it falls silent":                        {saying(t, byNewsletter), saying(t, byNewsletter, "when = permission.post.allowed"), yes, Silenced},
		"it is silent as before":                 {saying(t, byNewsletter, "when = permission.post.allowed"), saying(t, byNewsletter, "when = permission.post.allowed"), yes, Unchanged},
		"one that failed told nobody anything":   {saying(t, `regex("x", citizen.id)`), saying(t, byNewsletter), yes, Granted},
		"one for each, and then one":             {saying(t, byNewsletter, `for_each = ["a", "b"]`), saying(t, byPost), yes, Withdrawn},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Compare(c.before, c.after, "dataguard", c.state, now, nil, nil)
			if err != nil || got.Direction != c.want {
				t.Errorf("direction %d, want %d; %v\nbefore %s\nafter  %s", got.Direction, c.want, err, got.Before, got.After)
			}
		})
	}
	if _, err := Compare(saying(t, byNewsletter), saying(t, `regex("x", citizen.id)`), "dataguard", yes, now, nil, nil); err == nil {
		t.Error("a new rule that fails is no error")
	}
}

// TestCompareWithLookups hands each rule its own answers.
func TestCompareWithLookups(t *testing.T) {
	r := compile(t, "record {\n email = lookup.crm.email\n status = "+byNewsletter+"\n}", contact)
	answer := func(email string) Found {
		return Found{"crm": cty.ObjectVal(map[string]cty.Value{"email": cty.StringVal(email)})}
	}
	for _, state := range []consent.State{one(entry("GRANTED")), one(entry("DENIED"))} {
		if c, err := Compare(r, r, "dataguard", state, now, answer("a"), answer("b")); err != nil || c.Direction != Other {
			t.Errorf("another address: direction %d, %v", c.Direction, err)
		}
		if c, err := Compare(r, r, "dataguard", state, now, answer("a"), answer("a")); err != nil || c.Direction != Unchanged {
			t.Errorf("the same: direction %d, %v", c.Direction, err)
		}
	}
}

// TestDirectionIsSymmetric: between rules that say yes and no in the same words, the way back is the opposite of the
// way there, and there is none from a rule to itself.
func TestDirectionIsSymmetric(t *testing.T) {
	conditions := []string{
		`permission.newsletter_email.allowed`, `permission.post.allowed`, `permission.any_newsletter.allowed`,
		`permission.newsletter_email.allowed && permission.post.allowed`, `permission.newsletter_email.allowed || permission.post.allowed`,
	}
	var all []*Rule
	for _, c := range conditions {
		for _, email := range []string{`citizen.id`, `upper(citizen.id)`} {
			all = append(all, compile(t, fmt.Sprintf("record {\n email = %s\n status = %s ? \"subscribed\" : \"unsubscribed\"\n vip = %s\n}", email, c, c), contact))
		}
	}
	back := map[Direction]Direction{Unchanged: Unchanged, Granted: Withdrawn, Withdrawn: Granted, Other: Other}
	seen := map[Direction]int{}
	rapid.Check(t, func(t *rapid.T) {
		states := rapid.SampledFrom([]string{"GRANTED", "CLAIMED", "DENIED", "PENDING", "OBJECTED", ""})
		windows := rapid.SampledFrom([]time.Time{{}, now.Add(-time.Hour), now, now.Add(time.Hour)})
		var entries []consent.Permission
		for _, p := range []consent.Permission{entry(""), entry("", justified("contract")), post("")} {
			if rapid.Bool().Draw(t, "there") {
				p.State, p.ValidFrom, p.ValidUntil = states.Draw(t, "state"), windows.Draw(t, "from"), windows.Draw(t, "until")
				entries = append(entries, p)
			}
		}
		state := one(entries...)
		a, b := rapid.SampledFrom(all).Draw(t, "a"), rapid.SampledFrom(all).Draw(t, "b")
		there, err := Compare(a, b, "dataguard", state, now, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Compare(b, a, "dataguard", state, now, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if again.Direction != back[there.Direction] {
			t.Errorf("there %d, back %d\n%s\n%s", there.Direction, again.Direction, there.Before, there.After)
		}
		if self, err := Compare(a, a, "dataguard", state, now, nil, nil); err != nil || self.Direction != Unchanged {
			t.Errorf("to itself: %d, %v", self.Direction, err)
		}
		seen[there.Direction]++
	})
	for direction := range back {
		if seen[direction] == 0 {
			t.Errorf("direction %d was never met: the property says nothing of it", direction)
		}
	}
}
