package chaos

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/sdk"
)

// What ends or stops a process is tried on the daemon itself, in core/fault.
func TestDeliver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	made, err := Plugin().New(t.Context(), sdk.Config{Fields: json.RawMessage(fmt.Sprintf(
		`{"path":%q,"on":[{"key":"once","do":"rejected","times":1},{"key":"ever","do":"accepted"}]}`, path))}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	kinds := func(fields ...string) string {
		var records []sdk.Record
		for i, f := range fields {
			records = append(records, sdk.Record{ID: fmt.Sprint(i), Fields: json.RawMessage("{" + f + "}")})
		}
		var said []string
		for _, o := range made.Deliver(t.Context(), records) {
			said = append(said, fmt.Sprint(o.Kind, " ", o.RetryAfter))
		}
		return strings.Join(said, ", ")
	}
	for _, c := range []struct{ fields, want string }{
		{`"key":"a"`, "delivered 0s"},
		{`"key":"once"`, "rejected 0s"},
		{`"key":"once"`, "delivered 0s"},
		{`"key":"ever"`, "accepted 0s"},
		{`"key":"ever"`, "accepted 0s"},
		{`"key":"ever","do":"unchanged"`, "unchanged 0s"},
		{`"key":"a","do":"throttled","retry_after_ms":1500`, "throttled 1.5s"},
		{`"key":"a","do":"unauthorized"`, "unauthorized 0s"},
		{`"key":"a","do":"retry","retry_after_ms":10`, "retry 10ms"},
		{`"key":"a","do":"unknown"`, "retry 0s"},
		{`"key":"a","do":"few"`, ""},
		{`"key":"a","do":"many"`, "rejected 0s, delivered 0s"},
		{`"key":"a","do":"leak","fields":{"n":1}`, "delivered 0s"},
		{`"key":1`, "rejected 0s"},
	} {
		if got := kinds(c.fields); got != c.want {
			t.Errorf("%s: %q, want %q", c.fields, got, c.want)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.Count(string(text), "\n") != 7 || !strings.HasSuffix(string(text), `{"key":"a","fields":{"n":1},"id":"0"}`+"\n") {
		t.Errorf("%s%v", text, err)
	}
	close(made.(*target).leaked)
}

func TestConfigure(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "marker")
	fields := json.RawMessage(fmt.Sprintf(`{"path":"x","configure":"refuse","configure_after":%q,"check":"refuse"}`, marker))
	made, err := Plugin().New(t.Context(), sdk.Config{Fields: fields}, hclog.NewNullLogger())
	if err != nil {
		t.Fatalf("the first time: %v", err)
	}
	if o := made.(sdk.Checker).Check(t.Context()); o.Kind != sdk.KindUnauthorized {
		t.Errorf("check: %+v", o)
	}
	if _, err := Plugin().New(t.Context(), sdk.Config{Fields: fields}, hclog.NewNullLogger()); err == nil {
		t.Error("the second time it is made")
	}
}

// Every way to misbehave is described.
func TestDocs(t *testing.T) {
	doc := Plugin().Record.Attributes["do"].Doc
	for _, do := range misdeeds {
		if !strings.Contains(doc, "`"+do+"`") {
			t.Errorf("%s is not described", do)
		}
	}
}
