package console

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/store"
)

var quiet = []string{"/", "/targets/crm", "/dead", "/dead?target=crm&reason=rejected", "/quarantine", "/quarantine/1", "/citizens", "/playground", "/receipts", "/nowhere", "/targets/nowhere", "/quarantine/7"}

// TestPages: each page comes whole, under the policy, and names nobody.
func TestPages(t *testing.T) {
	d := newDesk(t)
	for _, path := range quiet {
		p := d.get(path)
		p.hasNothingPersonal(t)
		p.has(t, "</html>", "<h1", `href="#main"`)
		if want := 404; strings.Contains(path, "nowhere") != (p.status == want) && path != "/quarantine/7" || p.status > 404 {
			t.Errorf("%s: status %d", path, p.status)
		}
		policy := p.header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "script-src 'self';") || strings.Contains(policy, "unsafe") || !strings.Contains(policy, "frame-ancestors 'none'") {
			t.Errorf("%s: policy %q", path, policy)
		}
		if p.header.Get("Cache-Control") != "no-store" || p.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: header %v", path, p.header)
		}
		if m := regexp.MustCompile(`<script>|<style|\sstyle="|\son[a-z]+="|(src|href)="(https?:)?//`).FindString(p.text); m != "" {
			t.Errorf("%s holds %s, which the policy forbids", path, m)
		}
	}
	d.get("/").has(t, "none waits", "crm", "mail", "1 delivery has stopped.", "contact", "1 body was not understood.")
	d.get("/dead").has(t, "NO_SUCH_FIELD", "rejected", "Replay")
	for _, asset := range []string{"console.css", "console.js", "icon.svg"} {
		if p := d.get("/assets/" + asset); p.status != 200 || p.header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: %d", asset, p.status)
		}
	}
}

// TestStates: what is wrong is said in words, not by colour alone.
func TestStates(t *testing.T) {
	d := newDesk(t)
	long := time.Now().Add(-10 * time.Minute)
	d.mu.Lock()
	d.status.Targets = []admin.Target{
		{Name: "crm", State: "unauthorized", Withdrawals: 3, OldestWithdrawal: &long, LastError: "INVALID_SESSION", PausedUntil: &long},
		{Name: "mail", State: "throttled", Plugin: admin.Plugin{State: "backing off", PID: 77, Restarts: 4, LastExit: "signal: killed"}},
		{Name: "gone", State: "down", Erasures: 2, OldestErasure: &long, Waiting: map[string]int64{"identity": 5}},
	}
	d.status.Held, d.status.ReloadFailed = 2, &long
	d.status.Lookups = []admin.Lookup{{Name: "people", Failing: "no answer"}}
	d.mu.Unlock()
	d.get("/").has(t, "10 min", ", late", "3 unconfirmed, the oldest owed by crm", "does not accept its credentials", "crm owes a withdrawal for longer than 1 min",
		"mail is throttled", "gone is down", "2 erasures", "wait until a lookup knows", "people does not answer", "last reload was refused", "2 citizens have grants")
	d.get("/targets/mail").has(t, "process 77", "4 restarts", "signal: killed", "throttled")
	d.get("/targets/crm").has(t, "INVALID_SESSION", "unauthorized")
}

// TestCitizen: whoever looks for one gets an address that says nothing, and personal values on request.
func TestCitizen(t *testing.T) {
	d := newDesk(t)
	if p := d.post("/citizens", "source", "in", "citizen", "c-1816"); p.status != 404 || !strings.Contains(p.text, "Nothing is known") {
		t.Errorf("unknown citizen: %d", p.status)
	}
	p := d.post("/citizens", "source", "in", "citizen", " c-1815 ")
	p.hasNothingPersonal(t)
	p.has(t, "newsletter_email", "allowed", "given, with no end", "hidden", "NO_SUCH_FIELD", "Receipt 1", "confirmed version 1.")
	if !regexp.MustCompile(`^/citizens/[A-Z2-7]{20,}$`).MatchString(p.path) {
		t.Errorf("path %s", p.path)
	}
	d.get(p.path).hasNothingPersonal(t)
	d.post(p.path+"/reveal").has(t, personal...)
	// The same page from the dead letter.
	q := d.post("/dead/citizen", "one", fmt.Sprint(d.dead()))
	q.hasNothingPersonal(t)
	if !strings.HasPrefix(q.path, "/citizens/") || q.path == p.path {
		t.Errorf("path %s", q.path)
	}
	if got := d.get("/citizens/ABCDEFGHIJKLMNOPQRST"); got.status != 404 {
		t.Errorf("a guessed address: %d", got.status)
	}
	if got := d.post(p.path+"/replay", "id", fmt.Sprint(d.dead())); !strings.Contains(got.text, "1 dead letter is due now.") || d.dead() != 0 {
		t.Errorf("replay: %s", got.path)
	}
	d.post(p.path+"/resync").has(t, "1 delivery is pending again.")
	if !slices.Equal(d.doings, []string{"resync c-1815 after 0"}) {
		t.Errorf("done %q", d.doings)
	}
	if got := d.post(p.path+"/release", "confirmed", "yes"); got.status != 404 {
		t.Errorf("release of nothing: %d", got.status)
	}
	for _, answer := range []string{"", "yes"} {
		d.post(p.path+"/erase", "confirmed", answer).has(t, "Type erase")
	}
	d.post(p.path+"/erase", "confirmed", "erase").has(t, "The citizen was erased here.")
	if _, err := d.store.Citizen(t.Context(), "in", "c-1815"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the citizen is still there: %v", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, part := range personal {
		if strings.Contains(d.log.String(), part) {
			t.Errorf("the log holds %q", part)
		}
	}
}

// TestDead: what cannot be taken back is asked first, and everything chosen survives the question.
func TestDead(t *testing.T) {
	d := newDesk(t)
	id := fmt.Sprint(d.dead())
	d.post("/dead/replay").has(t, "Nothing was chosen")
	asked := d.post("/dead/discard", "id", id, "target", "crm")
	asked.has(t, "Discard 1 dead letter?", `name="id" value="`+id+`"`, `name="confirmed" value="yes"`, `action="/dead/discard"`)
	if d.dead() == 0 {
		t.Fatal("it was discarded before the answer")
	}
	if p := d.post("/dead/replay", "id", id, "id", "x"); p.status != 404 {
		t.Errorf("no id: %d", p.status)
	}
	if p := d.post("/dead/replay", "one", id, "target", "crm"); !strings.Contains(p.path, "target=crm") || !strings.Contains(p.text, "1 dead letter is due now.") || d.dead() != 0 {
		t.Errorf("replay: %s", p.path)
	}
	d.get("/dead").has(t, "There are no dead letters")
	d.fillAgain()
	if p := d.post("/dead/discard", "id", fmt.Sprint(d.dead()), "confirmed", "yes"); !strings.Contains(p.text, "1 dead letter was discarded.") || d.dead() != 0 {
		t.Errorf("discard: %s", p.path)
	}
	if p := d.post("/dead/explode", "id", "1"); p.status != 404 {
		t.Errorf("no such verb: %d", p.status)
	}
	if p := d.get("/dead?done=%3Cb%3E&n=2"); strings.Contains(p.text, "<b>") || strings.Contains(p.text, `class="notice`) {
		t.Error("a notice can be made up")
	}
}

func TestQuarantine(t *testing.T) {
	d := newDesk(t)
	d.get("/quarantine").has(t, "no JSON", "22 B")
	d.post("/quarantine/1/reveal").has(t, "ada@example.org")
	d.post("/quarantine/1/discard").has(t, "Discard this body?")
	d.post("/quarantine/1/replay").has(t, "The body is an accepted update now.", "The quarantine is empty")
	if p := d.post("/quarantine/1/discard", "confirmed", "yes"); p.status != 404 {
		t.Errorf("discard what is gone: %d", p.status)
	}
}

func TestPlayground(t *testing.T) {
	d := newDesk(t)
	d.get("/playground").has(t, "an-invented-citizen", "k3Rmx")
	d.post("/playground", "source", "in", "update", "{}").has(t, "accepted, as a withdrawal", "1 record", "&lt;b&gt;")
	d.post("/playground", "source", "in", "update", "x<i>").has(t, "It would go to quarantine: it is no JSON.", "x&lt;i&gt;")
}

func TestReceipts(t *testing.T) {
	d := newDesk(t)
	d.post("/receipts").has(t, "1 receipt, all as they were written")
}

// TestOtherSites: no browser can be tricked into a change, or into reading.
func TestOtherSites(t *testing.T) {
	d := newDesk(t)
	for name, header := range map[string]http.Header{
		"fetch metadata": {"Sec-Fetch-Site": {"cross-site"}}, "origin": {"Origin": {"https://evil.example.org"}},
	} {
		r := httptest.NewRequest(http.MethodPost, d.url+"/dead/replay", strings.NewReader("id=1"))
		r.RequestURI = ""
		r.Header = header
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if p := d.do(r); p.status != http.StatusForbidden || d.dead() == 0 {
			t.Errorf("%s: %d", name, p.status)
		}
	}
	r := httptest.NewRequest(http.MethodGet, d.url+"/", nil)
	r.RequestURI, r.Host = "", "evil.example.org"
	if p := d.do(r); p.status != http.StatusMisdirectedRequest {
		t.Errorf("a name of somebody else's: %d", p.status)
	}
}

func sum(token string) [][sha256.Size]byte { return [][sha256.Size]byte{sha256.Sum256([]byte(token))} }

var access = []config.Access{
	{Name: "dash", Role: config.RoleRead, Tokens: sum("read-token")}, {Name: "ada", Role: config.RoleOperator, Tokens: sum("ada-token")},
}

// TestLogin: a token buys a session, and the cookie is worth nothing elsewhere or later.
func TestLogin(t *testing.T) {
	d := newDesk(t, access...)
	for _, path := range append([]string{"/citizens/X"}, quiet...) {
		if p := d.get(path); p.path != "/login" || !strings.Contains(p.text, "Token") {
			t.Errorf("%s leads to %s", path, p.path)
		}
	}
	if p := d.get("/events?page=/"); p.status != http.StatusUnauthorized {
		t.Errorf("events: %d", p.status)
	}
	for _, wrong := range []string{"", "Ada-token"} {
		if p := d.post("/login", "token", wrong); p.status != http.StatusUnauthorized {
			t.Errorf("token %q: %d", wrong, p.status)
		}
	}
	d.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	p := d.post("/login", "token", "ada-token")
	d.http.CheckRedirect = nil
	cookie := p.header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Strict", "Path=/"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("cookie %s without %s", cookie, want)
		}
	}
	if strings.Contains(cookie, "ada-token") || p.status != http.StatusSeeOther {
		t.Errorf("%d, cookie %s", p.status, cookie)
	}
	if strings.Contains(cookie, "Secure") {
		t.Errorf("cookie %s cannot come back without TLS", cookie)
	}
	d.get("/dead").has(t, "Sign out", "Replay")
	found := d.post("/citizens", "source", "in", "citizen", "c-1815").path

	// Somebody else's session does not open the page of a citizen.
	other := newBrowser(t, d.url)
	other.post("/login", "token", "ada-token")
	if p := other.get(found); p.status != http.StatusNotFound {
		t.Errorf("another session: %d", p.status)
	}

	// A reload that takes the token away ends the session.
	d.mu.Lock()
	d.admin.Access = access[:1]
	d.mu.Unlock()
	if p := d.get("/dead"); p.path != "/login" {
		t.Errorf("after the token was taken away: %s", p.path)
	}
	d.mu.Lock()
	d.admin.Access = access
	d.mu.Unlock()
	if p := d.get("/dead"); p.path != "/dead" {
		t.Errorf("with the token again: %s", p.path)
	}
	old := newBrowser(t, d.url)
	at, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	old.http.Jar.SetCookies(at, d.http.Jar.Cookies(at))
	d.post("/logout")
	if p := old.get("/dead"); p.path != "/login" {
		t.Errorf("the cookie outlives the session: %s", p.path)
	}
}

// TestReader: who may only read is shown no buttons and nobody, and is refused what they post.
func TestReader(t *testing.T) {
	d := newDesk(t, access...)
	d.post("/login", "token", "read-token")
	for _, path := range quiet {
		p := d.get(path)
		p.hasNothingPersonal(t)
		for _, button := range []string{">Replay", ">Discard", ">Citizen<", "Show the body", ">Render", ">Find<", ">Pause", ">Send everything"} {
			if strings.Contains(p.text, button) {
				t.Errorf("%s has a button %s", path, button)
			}
		}
	}
	for _, path := range []string{"/dead/replay", "/dead/discard", "/dead/citizen", "/quarantine/1/reveal", "/quarantine/1/replay", "/quarantine/1/discard", "/citizens", "/playground", "/targets/crm/pause", "/targets/crm/resume", "/targets/crm/resync", "/targets/crm/release"} {
		p := d.post(path, "id", fmt.Sprint(d.dead()), "one", fmt.Sprint(d.dead()), "confirmed", "yes", "source", "in", "citizen", "c-1815", "update", body)
		if p.status != http.StatusForbidden {
			t.Errorf("%s: %d", path, p.status)
		}
	}
	if d.dead() == 0 {
		t.Error("a reader changed something")
	}
	d.post("/receipts").has(t, "all as they were written")
}
