package main

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/sdk"
	"github.com/consentd/consentd/sdk/sdktest"
)

func TestPlugin(t *testing.T) {
	of := func(person string, lists map[string]any) map[string]any {
		return map[string]any{"email": person + "@example.com", "lists": lists}
	}
	sdktest.Run(t, sdktest.Suite{
		Plugin: plugin,
		Config: map[string]any{"path": sdktest.Dir + "/mail.db"},
		// The target is a Reader, so the kit sees by itself what is held.
		Vendor: func(string) sdktest.Vendor { return sdktest.Vendor{} },
		Record: func(person string, allowed bool) map[string]any {
			return of(person, map[string]any{"newsletter": allowed})
		},
		Rejected: func(string) map[string]any { return map[string]any{"email": "nobody"} },
		Presence: func(person string) sdktest.Presence {
			return sdktest.Presence{
				Set:    of(person, map[string]any{"newsletter": true}),
				Null:   of(person, map[string]any{"newsletter": nil}),
				Absent: of(person, map[string]any{}),
				False:  of(person, map[string]any{"newsletter": false}),
			}
		},
		WrongConfig: map[string]any{"path": "/nowhere/mail.db"},
		Skip: map[string]string{
			"http":   "it writes a database",
			"cancel": "what hangs is another program's lock: see TestLocked",
		},
	})
}

// Where another program holds the database, a call ends when its time is up, with Retry, and nothing is written.
func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.db")
	made, err := newTarget(t.Context(), sdk.Config{Fields: []byte(`{"path": "` + path + `"}`)}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	maildb := made.(*target)
	defer maildb.Close()
	mailer, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer mailer.Close()
	lock, err := mailer.Begin()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	records := []sdk.Record{{ID: "1", Fields: []byte(`{"email": "ann@example.com", "lists": {"newsletter": true}}`)}}
	if o := maildb.Deliver(ctx, records); o[0].Kind != sdk.KindRetry {
		t.Errorf("locked: %+v", o[0])
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	if o := maildb.Deliver(t.Context(), records); o[0].Kind != sdk.KindDelivered {
		t.Errorf("free again: %+v", o[0])
	}
	if o := maildb.Deliver(t.Context(), records); o[0].Kind != sdk.KindUnchanged {
		t.Errorf("the same again: %+v", o[0])
	}
}

// A file that is something else is refused with the place to mend, and left as it is.
func TestNotADatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.db")
	const text = "Dear diary, this is no database at all, and a long way from being one."
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newTarget(t.Context(), sdk.Config{Fields: []byte(`{"path": "` + path + `"}`)}, hclog.NewNullLogger()); err == nil {
		t.Error("taken for a database")
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != text {
		t.Errorf("the file is now %q, %v", now, err)
	}
}
