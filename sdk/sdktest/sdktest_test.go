package sdktest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/consentd/consentd/sdk"
)

// A good plugin passes.
func TestRun(t *testing.T) { Run(t, toySuite("")) }

// One without optional verbs passes too, and those checks are skipped.
func TestRunWithoutOptionalVerbs(t *testing.T) { Run(t, toySuite("no optional verbs")) }

// One whose vendor cannot be looked into is seen through Read.
func TestStateByReader(t *testing.T) {
	s := toySuite("")
	vendor := s.Vendor
	s.Vendor = func(dir string) Vendor { return Vendor{Handler: vendor(dir).Handler} }
	w, err := start(&s)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	if err := errors.Join(w.told(ann, true), w.told(bob, false)); err != nil {
		t.Fatal(err)
	}
	if state, err := w.state(); err != nil || len(state.(map[string]any)) != 2 {
		t.Errorf("state %v, %v", state, err)
	}
}

// failing are the checks that a suite fails, with what they say. Where nothing is to be expected of the
// many HTTP failures, two stand for all.
func failing(s Suite, http bool) (names []string, said string) {
	for _, c := range checks() {
		if !http && strings.HasPrefix(c.name, "http/") && c.name != "http/500" && c.name != "http/cut" {
			continue
		}
		err := c.run(&s)
		var absent notServed
		if err != nil && !errors.As(err, &absent) {
			names = append(names, c.name)
			said += c.name + ": " + err.Error() + "\n"
		}
	}
	return names, said
}

// Each bad plugin fails its check and no other, and is told what to mend.
func TestBadPlugins(t *testing.T) {
	for _, tc := range []struct{ fault, fails, says string }{
		{"describe differs", "describe", "constants"},
		{"describe writes", "describe", "file"},
		{"describe dials", "describe", "network"},
		{"no doc", "schema", "Record.score: no Doc"},
		{"secret not marked", "schema", "Config.token"},
		{"required in the record only", "schema", "Presence.Set"},
		{"empty token", "config", `sdk.InvalidConfig("token"`},
		{"wrong region taken", "config", `sdk.InvalidConfig("auth.region"`},
		{"error without a path", "config", `sdk.InvalidConfig("auth.region"`},
		{"adds up", "twice converge", "not what to add"},
		{"withdrawal ignored", "converge unknown presence", "changed nothing"},
		{"withdrawal for ever", "converge", "second grant"},
		{"unknown panics", "unknown secrets", "the plugin panicked: who?"},
		{"unknown retried", "unknown", "never get better"},
		{"unknown granted", "unknown", "the same as after a grant"},
		{"outcomes reversed", "outcomes", "records' order"},
		{"outcomes short", "outcomes concurrent", "no outcome"},
		{"one bad record rejects all", "outcomes", "must not stop the others"},
		{"takes 422 for retry", "outcomes http/422", "must be rejected"},
		{"null as absent", "presence", "Null and Absent lead to the same"},
		{"null as false", "presence", "Null and False lead to the same"},
		{"absent as null", "presence", "Null and Absent lead to the same"},
		{"shared person", "concurrent", "shared by all calls"},
		{"ignores its context", "cancel late http/timeout", "context of Deliver"},
		{"close fails", "close goroutines", "not now"},
		{"closes all", "close", "share nothing"},
		{"goroutine", "goroutines", "newToy"},
		{"connections left", "goroutines", "readLoop"},
		{"secret logged", "secrets", "its log"},
		{"secret printed", "secrets", "printed"},
		{"secret answered", "secrets", "an answer"},
		{"person logged", "secrets", "personal data"},
		{"check optimistic", "check", "unauthorized"},
		{"check changes", "check", "changed"},
		{"read blind", "read", "found = true"},
		{"read deaf", "read", "seem to be gone"},
		{"erase nothing", "erase", "still holds"},
		{"takes 302 for rejected", "http/302", "sdk.FromResponse"},
		{"takes 400 for retry", "http/400", "sdk.FromResponse"},
		{"takes 401 for rejected", "http/401", "sdk.FromResponse"},
		{"takes 403 for rejected", "http/403", "sdk.FromResponse"},
		{"takes 404 for delivered", "http/404", "sdk.FromResponse"},
		{"takes 409 for delivered", "http/409", "sdk.FromResponse"},
		{"takes 429 for retry", "http/429 http/429-retry-after", "sdk.FromResponse"},
		{"Retry-After lost", "http/429-retry-after http/503-retry-after", "Retry-After: 7"},
		{"takes 500 for rejected", "http/500", "sdk.FromResponse"},
		{"silent", "http/500", "what is wrong"},
		{"stays broken", "http/500", "outlast"},
		{"takes 503 for rejected", "http/503 http/503-retry-after", "sdk.FromResponse"},
		{"cut rejected", "http/cut http/truncated http/timeout", "sdk.FromError"},
		{"not-json delivered", "http/not-json", "must be retry"},
	} {
		t.Run(tc.fault, func(t *testing.T) {
			s := toySuite(tc.fault)
			if err := s.complete(); err != nil {
				t.Fatal(err)
			}
			got, said := failing(s, strings.Contains(tc.fails, "http/"))
			if !slices.Equal(got, strings.Fields(tc.fails)) {
				t.Errorf("fails %q, want %q\n%s", got, tc.fails, said)
			}
			if !strings.Contains(said, tc.says) {
				t.Errorf("does not say %q:\n%s", tc.says, said)
			}
		})
	}
}

// A suite that cannot be used says what it lacks.
func TestIncompleteSuites(t *testing.T) {
	for says, spoil := range map[string]func(*Suite){
		"Suite.Plugin is missing":                           func(s *Suite) { s.Plugin = nil },
		"Suite.Config is missing":                           func(s *Suite) { s.Config = nil },
		"Suite.Vendor is missing":                           func(s *Suite) { s.Vendor = nil },
		"Suite.Record is missing":                           func(s *Suite) { s.Record = nil },
		`Suite.Skip["twice"] has no reason`:                 func(s *Suite) { s.Skip = map[string]string{"twice": " "} },
		`Suite.Skip["thrice"]: there is no such check`:      func(s *Suite) { s.Skip = map[string]string{"thrice": "x"} },
		`Suite.Failures["twice"]: there is no such failure`: func(s *Suite) { s.Failures = map[string]sdk.Kind{"twice": 0} },
	} {
		s := toySuite("")
		spoil(&s)
		if err := s.complete(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
	for check, spoil := range map[string]func(*Suite){
		"outcomes": func(s *Suite) { s.Rejected = nil },
		"presence": func(s *Suite) { s.Presence = nil },
		"http/500": func(s *Suite) { s.Vendor = func(string) Vendor { return Vendor{State: func() any { return nil }} } },
		"twice":    func(s *Suite) { s.Config = map[string]any{"token": make(chan int)} },
		"converge": func(s *Suite) { s.Config = map[string]any{"base_url": URL} },
		"unknown":  func(s *Suite) { s.Config = map[string]any{"base_url": URL, "token": "wrong"} },
	} {
		s := toySuite("")
		spoil(&s)
		names, said := failing(s, false)
		if !slices.Contains(names, check) || !strings.Contains(said, "Suite.") && !strings.Contains(said, "Vendor.Handler") {
			t.Errorf("%s: fails %q\n%s", check, names, said)
		}
	}
}

func TestSkipped(t *testing.T) {
	s := Suite{Skip: map[string]string{"http": "no HTTP", "twice": "a log"}}
	for name, want := range map[string]string{"http/500": "no HTTP", "twice": "a log", "read": ""} {
		if got := s.skipped(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
