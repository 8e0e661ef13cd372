package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// vendorCase is a bundled target type with its vendor's simulator, for TestVendors. Each has a file of its own.
type vendorCase struct {
	// config is the inside of the target's config block, settings what else the target block holds, and record
	// the inside of the rule's record block. {url} stands for the simulator's address.
	config, settings, record string
	// rules are further rules of the target, if one does not show all that the vendor holds.
	rules  string
	vendor http.Handler
	// holds says what the vendor has otherwise than it should of a person: empty if nothing.
	holds func(p person) string
	// absent is whether the vendor knows nobody of that name.
	absent func(p person) bool
	// refused is an external reference that the vendor or the plugin will never take.
	refused string
	// expire ends the access tokens that were given out; nil where credentials do not expire.
	expire func()
	// signsIn is whether a request is for a token: faults spare these. Nil: none is.
	signsIn func(r *http.Request) bool
}

// person is a citizen as the rules of TestVendors see one: permission.newsletter_email, the choices of
// preference.interests (jazz, blues), and preference.city, of which there is one choice or which is not known.
type person struct {
	name, ref string
	allowed   bool
	interests []string
	city      string
	n         int // of the newest update
}

func somebody(name string) *person { return &person{name: name, ref: name + "@example.org"} }

// update is the person's next one.
func (p *person) update() []byte {
	p.n++
	at := epoch.Add(time.Duration(p.n) * time.Second).Format(time.RFC3339Nano)
	state := "DENIED"
	if p.allowed {
		state = "GRANTED"
	}
	preferences := []string{fmt.Sprintf(`{"preference": "interests", "choices": [%s], "updatedAt": %q}`, choices(p.interests...), at)}
	if p.city != "" {
		preferences = append(preferences, fmt.Sprintf(`{"preference": "city", "choices": [%s], "updatedAt": %q}`, choices(p.city), at))
	}
	return fmt.Appendf(nil, `{"applicationId": "acme", "citizenId": %q, "externalRef": %q,
		"permissions": [{"transactionId": "t-%d", "optionType": "option", "optionId": "k3Rmx", "justification": "consent",
			"state": %q, "recordedAt": %q, "validUntil": null}], "preferences": [%s], "sentAt": %q}`,
		p.name, p.ref, p.n, state, at, strings.Join(preferences, ", "), at)
}

func choices(references ...string) string {
	var all []string
	for _, r := range references {
		all = append(all, fmt.Sprintf(`{"reference": %q, "label": "the %s"}`, r, r))
	}
	return strings.Join(all, ", ")
}

// front stands before a simulator and lets calls fail.
type front struct {
	vendorCase
	mu    sync.Mutex
	fault string
	left  int
}

func (f *front) fail(fault string, calls int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault, f.left = fault, calls
}

func (f *front) next(r *http.Request) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left == 0 || f.signsIn != nil && f.signsIn(r) {
		return ""
	}
	f.left--
	return f.fault
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch f.next(r) {
	case "throttle":
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	case "unavailable":
		w.WriteHeader(http.StatusBadGateway)
	case "cut": // after the vendor did what it was asked
		f.vendor.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	default:
		f.vendor.ServeHTTP(w, r)
	}
}

// vendorRun is one vendor with the daemon before it.
type vendorRun struct {
	*instance
	front  *front
	people []*person
}

func (r *vendorRun) bring(people ...*person) {
	r.t.Helper()
	for _, p := range people {
		if p.n == 0 {
			r.people = append(r.people, p)
		}
		r.accept(p.update())
	}
}

// right waits until the vendor has everybody as they are.
func (r *vendorRun) right(what string) {
	r.t.Helper()
	var wrong string
	deadline := time.Now().Add(patience)
	for {
		wrong = ""
		for _, p := range r.people {
			if w := r.front.holds(*p); w != "" {
				wrong = p.name + ": " + w
				break
			}
		}
		if wrong == "" && r.target("vendor").Pending == 0 {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: %s; %+v", what, wrong, r.target("vendor"))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestVendors takes each bundled vendor plugin, in its own process under the daemon, through what its targets go
// through. In the end the simulator's state is the citizens' state.
func TestVendors(t *testing.T) {
	for typ, newCase := range map[string]func(t *testing.T) vendorCase{
		"braze":      brazeCase,
		"brevo":      brevoCase,
		"dataverse":  dataverseCase,
		"hubspot":    hubspotCase,
		"klaviyo":    klaviyoCase,
		"mailchimp":  mailchimpCase,
		"marketo":    marketoCase,
		"salesforce": salesforceCase,
	} {
		t.Run(typ, func(t *testing.T) { testVendor(t, typ, newCase(t)) })
	}
}

func testVendor(t *testing.T, typ string, c vendorCase) {
	f := &front{vendorCase: c}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	r := &vendorRun{front: f, instance: configure(t, apiKeySource+strings.ReplaceAll(fmt.Sprintf(`
preference "city" {
}

target %q "vendor" {
  %s

  config {
    %s
  }
}

rule "vendor" {
  source = source.dataguard
  target = target.vendor
  when   = permission.newsletter_email.known

  record {
    %s
  }
}
%s
`, typ, c.settings, c.config, c.record, c.rules), "{url}", server.URL))}
	r.start()

	ada, bob := somebody("ada"), somebody("bob")
	ada.allowed, ada.interests, ada.city = true, []string{"jazz"}, "london"
	bob.allowed = true
	r.bring(ada, bob)
	r.right("grant")
	ada.interests = []string{"blues"}
	r.bring(ada)
	r.right("preference change")
	ada.allowed = false
	r.bring(ada)
	r.right("withdrawal")
	ada.city = ""
	r.bring(ada)
	r.right("clear")

	stranger := somebody("stranger")
	r.accept(stranger.update())
	r.settled("vendor")
	if !f.absent(*stranger) {
		t.Error("a withdrawal of somebody whom the vendor does not know made them known")
	}

	bad := somebody("bad")
	bad.ref, bad.allowed = c.refused, true
	crowd := []*person{}
	for n := range 30 {
		p := somebody(fmt.Sprintf("crowd%d", n))
		p.allowed = true
		crowd = append(crowd, p)
	}
	r.bring(crowd[:15]...)
	r.accept(bad.update())
	r.bring(crowd[15:]...)
	r.right("a bad record among good ones")
	if got := r.target("vendor"); got.Dead != 1 {
		t.Errorf("%d dead letters, want the bad record's", got.Dead)
	}

	for _, fault := range []string{"throttle", "unavailable", "cut"} {
		f.fail(fault, 3)
		for n, p := range crowd {
			p.interests = []string{[]string{"jazz", "blues"}[n%2]}
		}
		crowd[0].city = fault
		r.bring(crowd...)
		r.right(fault)
	}
	if c.expire != nil {
		var expired atomic.Bool
		for n, p := range crowd {
			if n == 10 {
				c.expire()
				expired.Store(true)
			}
			p.city = "paris"
			r.bring(p)
		}
		r.right("expired token")
	}
	for _, p := range crowd {
		p.allowed = false
	}
	r.bring(crowd...)
	r.right("everybody withdraws")
	if got := r.target("vendor"); got.Dead != 1 || got.Accepted != got.Delivered+got.Superseded+got.Dead {
		t.Errorf("in the end %+v", got)
	}
	if log := r.log.String(); strings.Contains(log, "ada@example.org") || strings.Contains(log, "crowd0@") {
		t.Error("the log names people")
	}
}
