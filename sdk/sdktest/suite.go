// Package sdktest is the conformance kit: one call in a plugin's own tests runs the plugin through the
// real wire, against a fake of its vendor that the kit makes misbehave, and says what to mend.
//
//	func TestPlugin(t *testing.T) {
//		sdktest.Run(t, sdktest.Suite{
//			Plugin: acme.Plugin,
//			Config: map[string]any{"base_url": sdktest.URL, "token": "s3cret-token"},
//			Vendor: func(string) sdktest.Vendor {
//				fake := newFakeAcme()
//				return sdktest.Vendor{Handler: fake, State: fake.People}
//			},
//			Record: func(person string, allowed bool) map[string]any {
//				return map[string]any{"email": person + "@example.com", "newsletter": allowed}
//			},
//		})
//	}
//
// Each check is a subtest with a name that stays, so that `go test -run TestPlugin/http/429` runs one. A
// check that does not fit a plugin is skipped with a reason in Suite.Skip. The kit changes the working
// folder, the environment and the standard streams while it runs: a test that calls Run is not parallel.
//
// It is apart from package sdk so that no plugin carries test code.
package sdktest

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/consentd/consentd/sdk"
)

// What stands in the strings of Suite.Config for a place that only the kit knows.
const (
	// URL is where the kit serves Vendor.Handler: "http://127.0.0.1:34567".
	URL = "{sdktest.URL}"
	// Dir is an empty folder of the check, the same that Suite.Vendor is given.
	Dir = "{sdktest.Dir}"
)

// Suite is what the kit has to know about a plugin. The first four fields are required; a check that
// needs another one says so.
type Suite struct {
	// Plugin is the function that makes the plugin, without parentheses: acme.Plugin.
	Plugin func() sdk.Plugin
	// Config is a configuration that works, in the shape of the plugin's Config: strings, numbers,
	// bools, nil, []any and map[string]any.
	Config map[string]any
	// Vendor makes a fake of the vendor that knows nobody. Every check gets one of its own.
	Vendor func(dir string) Vendor
	// Record is what a rule renders for a person, in the shape of the plugin's Record: a grant when
	// allowed, else the withdrawal of that grant. The person is a short word of letters and digits, of
	// which the record makes the identity: person + "@example.com".
	Record func(person string, allowed bool) map[string]any

	// Rejected is a record that the vendor, or the plugin, will never take.
	Rejected func(person string) map[string]any
	// Presence is four records of one person, to tell null, absent and false apart.
	Presence func(person string) Presence
	// WrongConfig holds values that are wrong in Config, by their path: {"list_id": "no such form",
	// "auth.username": "a:b"}. The plugin has to name that path.
	WrongConfig map[string]any
	// Failures says what this vendor means differently from the rest, by the name of the check:
	// {"http/403": sdk.KindThrottled}.
	Failures map[string]sdk.Kind
	// ErrorBody is the JSON body with which this vendor answers a request with an HTTP status. Where the
	// vendor would repeat what was sent, put the request there: it holds personal data and the credentials,
	// and none of it may get through. By default the body is {"error": ..., "request": ...}.
	ErrorBody func(status int, request string) string
	// Skip holds the reason for each check that is not run. "http" stands for all that begin with "http/".
	Skip map[string]string
}

// Vendor is a fake vendor. It is used concurrently.
type Vendor struct {
	// Handler is its HTTP API. It may be nil for a plugin that speaks something else.
	Handler http.Handler
	// State is what it holds now, in values that reflect.DeepEqual compares: people by identity with what
	// is on and off, and without ids, times and counts that differ from run to run. It may be nil if the
	// target is an sdk.Reader.
	State func() any
}

// Presence is four records of one person. After Set, the other three must lead to three different states.
type Presence struct {
	// Set gives a value to something.
	Set map[string]any
	// Null has null for it, which clears it.
	Null map[string]any
	// Absent does not have it, which leaves it alone.
	Absent map[string]any
	// False has false for it; or for something else in Set, where the vendor has no field that can be
	// both null and false.
	False map[string]any
}

// Run runs every check as a subtest.
func Run(t *testing.T, s Suite) {
	t.Helper()
	if err := s.complete(); err != nil {
		t.Fatal(err)
	}
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			if reason := s.skipped(c.name); reason != "" {
				t.Skip(reason)
			}
			err := c.run(&s)
			var absent notServed
			if errors.As(err, &absent) {
				t.Skip(absent.Error())
			}
			if err != nil {
				t.Errorf("%s\n%v", c.asks, err)
			}
		})
	}
}

// check is one thing that every plugin has to do right. It returns what to mend.
type check struct {
	name string
	asks string
	run  func(*Suite) error
}

// notServed is the error of a check of a verb that the target does not have.
type notServed string

func (e notServed) Error() string { return string(e) }

func (s *Suite) skipped(name string) string {
	group, _, _ := strings.Cut(name, "/")
	if reason := s.Skip[name]; reason != "" {
		return reason
	}
	return s.Skip[group]
}

// complete is whether the suite itself can be used.
func (s *Suite) complete() error {
	var wrong []error
	report := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf("Suite."+format, args...)) }
	if s.Plugin == nil {
		report("Plugin is missing: write the function that makes the plugin, acme.Plugin, without parentheses")
	}
	if s.Config == nil {
		report("Config is missing: write a configuration that works")
	}
	if s.Vendor == nil {
		report("Vendor is missing: write a function that makes a fake of the vendor")
	}
	if s.Record == nil {
		report("Record is missing: write a function that makes the record of a person")
	}
	names := map[string]bool{"http": true}
	for _, c := range checks() {
		names[c.name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(s.Skip)) {
		switch {
		case !names[name]:
			report("Skip[%q]: there is no such check", name)
		case strings.TrimSpace(s.Skip[name]) == "":
			report("Skip[%q] has no reason: write why the check does not fit the plugin", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Failures)) {
		if !names[name] || !strings.HasPrefix(name, "http/") {
			report("Failures[%q]: there is no such failure", name)
		}
	}
	return errors.Join(wrong...)
}
