package braze_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/consentd/consentd/plugins/braze/sim"
	"github.com/consentd/consentd/sdk"

	"github.com/consentd/consentd/plugins/internal/plugintest"
)

func TestCheck(t *testing.T) {
	w := newWorkspace(t, undescribed...)
	check := func(target sdk.Target) sdk.Outcome { return target.(sdk.Checker).Check(t.Context()) }
	if o := check(w.target(t, nil)); o.Kind != sdk.KindDelivered {
		t.Error(o)
	}
	if o := check(w.target(t, fields{"api_key": "another"})); o.Kind != sdk.KindUnauthorized || o.Code != "API_KEY_INVALID" {
		t.Error(o)
	}
	w.Inject(sim.Fault{Times: 1, Status: 200, Page: "<h1>Sign in</h1>"})
	if o := check(w.target(t, nil)); o.Kind != sdk.KindRetry {
		t.Error(o)
	}
	if all := w.Users(); len(all) != 0 {
		t.Errorf("held %v", all)
	}
}

func TestRead(t *testing.T) {
	w := newWorkspace(t)
	w.Put(sim.User{ExternalID: "u1", Email: ada, Phone: "+4930123456", EmailSubscribe: "opted_in", PushSubscribe: "unsubscribed",
		Aliases: []sim.Alias{{Name: "a1", Label: "cpm"}}, Groups: map[string]string{jazz: "subscribed", news: "unsubscribed"},
		Attributes: map[string]any{"first_name": "Ada", "vip": false}})
	w.Put(sim.User{ExternalID: "u2", Email: ada, EmailSubscribe: "unsubscribed"})
	w.Put(sim.User{Aliases: []sim.Alias{{Name: "bare", Label: "cpm"}}})
	whole := fields{
		"email": ada, "phone": "+4930123456", "email_subscribe": "opted_in", "push_subscribe": "unsubscribed",
		"subscription_groups": map[string]bool{jazz: true, news: false}, "attributes": fields{"first_name": "Ada", "vip": false},
	}
	target := w.target(t, nil)
	contents := []fields{
		{"external_id": "u1"},
		{"external_id": "nobody"},
		{"user_alias": fields{"alias_name": "a1", "alias_label": "cpm"}},
		{"braze_id": w.Users()[0].BrazeID},
		{"email": ada},
		{"phone": "+4930123456"},
		{"user_alias": fields{"alias_name": "bare", "alias_label": "cpm"}},
		{"email": "no address"},
		{"email": "nobody@example.org"},
	}
	var records []sdk.Record
	for _, c := range contents {
		records = append(records, plugintest.Record(t, c))
	}
	readings := target.(sdk.Reader).Read(t.Context(), records)
	found := func(r sdk.Reading) bool { return r.Found }
	if !found(readings[0]) || readings[1].Found || readings[7].Outcome.Kind != sdk.KindRejected || readings[8].Found {
		t.Errorf("%+v", readings)
	}
	for i, r := range readings {
		if i != 7 && r.Outcome.Kind != sdk.KindDelivered {
			t.Errorf("reading %d: %v", i, r.Outcome)
		}
	}
	for _, i := range []int{0, 2, 3, 5} {
		got := readings[i].Fields
		for _, id := range []string{"external_id", "user_alias", "braze_id"} {
			delete(got, id)
		}
		if !reflect.DeepEqual(got, whole) {
			t.Errorf("reading %d tells\n%v, want\n%v", i, got, whole)
		}
	}
	if state := readings[4].Fields["email_subscribe"]; state != "unsubscribed" {
		t.Errorf("by an address that two profiles have: %v", state)
	}
	// Nobody knows the groups of the last profile; that is not the same as none.
	if groups, told := readings[6].Fields["subscription_groups"]; told {
		t.Errorf("groups that cannot be read: %v", groups)
	}
	w.Inject(sim.Fault{Times: 1, Path: status, Status: 500, Message: "Internal Server Error"})
	if r := target.(sdk.Reader).Read(t.Context(), records[:1])[0]; r.Outcome.Kind != sdk.KindRetry || r.Found {
		t.Errorf("%+v", r)
	}
}

// What is read back is what was delivered, in the record's own words.
func TestReadBack(t *testing.T) {
	w := newWorkspace(t)
	target := w.target(t, nil)
	sent := fields{"external_id": "u1", "email": ada, "phone": "+4930123456", "email_subscribe": "opted_in", "push_subscribe": "unsubscribed",
		"subscription_groups": map[string]bool{jazz: true, news: false}, "attributes": fields{"city": "Utrecht", "last_name": "Lovelace"}}
	want(t, target, sdk.KindAccepted, "", sent)
	if r := target.(sdk.Reader).Read(t.Context(), []sdk.Record{plugintest.Record(t, sent)})[0]; !reflect.DeepEqual(r.Fields, sent) {
		t.Errorf("read\n%v, want\n%v", r.Fields, sent)
	}
}

func TestErase(t *testing.T) {
	w := newWorkspace(t)
	for n := range 55 {
		w.Put(sim.User{ExternalID: fmt.Sprintf("u%d", n)})
	}
	w.Put(sim.User{ExternalID: "a", Email: ada})
	w.Put(sim.User{Email: ada})
	w.Put(sim.User{Phone: "+4930123456"})
	w.Put(sim.User{Aliases: []sim.Alias{{Name: "n", Label: "cpm"}}})
	w.Put(sim.User{ExternalID: "b"})
	w.Put(sim.User{ExternalID: "stays", Email: "stays@example.org"})
	all := w.Users()
	var records []sdk.Record
	for n := range 55 {
		records = append(records, plugintest.Record(t, fields{"external_id": fmt.Sprintf("u%d", n)}))
	}
	records = append(records, plugintest.Record(t, fields{"email": ada}), plugintest.Record(t, fields{"phone": "+4930123456"}),
		plugintest.Record(t, fields{"user_alias": fields{"alias_name": "n", "alias_label": "cpm"}}),
		plugintest.Record(t, fields{"braze_id": all[59].BrazeID}), plugintest.Record(t, fields{"external_id": "nobody"}),
		plugintest.Record(t, fields{"email": "nobody@example.org"}), plugintest.Record(t, fields{"email": "no address"}))
	outcomes := w.target(t, nil).(sdk.Eraser).Erase(t.Context(), records)
	for i, o := range outcomes {
		if bad := i == len(outcomes)-1; o.Kind.Done() == bad || bad && o.Code != "EMAIL_BAD_FORMAT" {
			t.Errorf("record %d: %v", i, o)
		}
	}
	if left := w.Users(); len(left) != 1 || left[0].ExternalID != "stays" {
		t.Errorf("held %+v", left)
	}
	// A failure is no erasure.
	for _, path := range []string{export, "/users/delete"} {
		w.Inject(sim.Fault{Times: 1, Path: path, Status: 500, Message: "Internal Server Error"})
		o := w.target(t, nil).(sdk.Eraser).Erase(t.Context(), []sdk.Record{plugintest.Record(t, fields{"email": "stays@example.org"})})[0]
		if o.Kind != sdk.KindRetry {
			t.Errorf("%s: %v", path, o)
		}
	}
}

func TestConfig(t *testing.T) {
	good := fields{"api_key": "k", "base_url": "https://rest.fra-01.braze.eu", "resubscribe": "force", "create": true}
	for path, value := range map[string]any{
		"":            nil,
		"api_key":     "k\n",
		"base_url":    "https://rest.fra-01.braze.eu?x=1",
		"resubscribe": "confirm",
	} {
		t.Run(path, func(t *testing.T) {
			config := fields{}
			for name, v := range good {
				config[name] = v
			}
			if path != "" {
				config[path] = value
			}
			target, err := newTarget(t, config)
			if path == "" {
				if err != nil {
					t.Fatal(err)
				}
				_ = target.(sdk.Closer).Close()
				return
			}
			var mistake *sdk.ConfigError
			if !errors.As(err, &mistake) || !slices.Equal(mistake.Path, []string{path}) {
				t.Errorf("%v", err)
			}
		})
	}
}
