package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	mailchimpsim "github.com/consentd/consentd/plugins/mailchimp/sim"
)

// TestErase is law 11 as a user sees it: everything of a person goes, from a target that is down at first too,
// over a crash, and no late update brings them back.
func TestErase(t *testing.T) {
	s := newSink(t)
	vendor := mailchimpsim.New(nil)
	var down atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		vendor.ServeHTTP(w, r)
	}))
	defer server.Close()
	i := configure(t, apiKeySource+s.config("sink", "")+fmt.Sprintf(`
target "mailchimp" "newsletter" {
  erase = true

  config {
    api_key  = %q
    list_id  = %q
    base_url = "%s%s"
  }
}

rule "newsletter" {
  source = source.dataguard
  target = target.newsletter
  when   = permission.newsletter_email.known

  record {
    email  = citizen.external_ref
    status = permission.newsletter_email.allowed ? "subscribed" : "unsubscribed"
  }
}
`, mailchimpsim.APIKey, mailchimpsim.ListID, server.URL, mailchimpsim.BasePath))
	i.start()
	const who = "ada-5f0c"
	first := update(who, "GRANTED", 1)
	i.accept(first)
	i.settled("newsletter")
	i.settled("sink")
	if status, _ := i.post([]byte(`{"citizenId": "` + who + `", "oops"`)); status != http.StatusAccepted {
		t.Fatalf("a body that is not understood: %d", status)
	}
	if _, there := vendor.Member(who + "@example.org"); !there {
		t.Fatal("the vendor does not know the person to begin with")
	}
	if traces(t, i.dir, who) == 0 {
		t.Fatal("no trace to begin with: the search finds nothing")
	}

	if out, code := i.run("citizen", "erase", who); code != 2 {
		t.Errorf("erase without being asked: exit code %d, %s", code, out)
	}
	if out, code := i.run("citizen", "erase", "--yes", "--source", "datagard", who); code != 1 {
		t.Errorf("erase of an unknown source: exit code %d, %s", code, out)
	}
	down.Store(true)
	out, code := i.run("citizen", "erase", "--yes", who)
	if code != 0 || !strings.Contains(out, "asked newsletter to erase") || !strings.Contains(out, "did not ask sink") || !strings.Contains(out, "1 quarantined") {
		t.Fatalf("erase: exit code %d, %s", code, out)
	}
	if out, code := i.run("citizen", "show", who); code != 1 {
		t.Errorf("show of the erased: exit code %d, %s", code, out)
	}
	eventually(t, "status says that the target has not erased", func() bool {
		out, _ := i.run("status")
		return strings.Contains(out, "newsletter: has not confirmed 1 erasures") && strings.Contains(out, "503")
	})
	i.kill()
	i.start()
	down.Store(false)
	eventually(t, "the target confirms", func() bool {
		out, _ := i.run("citizen", "receipts", who)
		return strings.Contains(out, "erased")
	})
	if _, there := vendor.Member(who + "@example.org"); there {
		t.Error("the vendor still has the person")
	}
	// The store's log is emptied after the receipt is there.
	eventually(t, "no trace of the person is left in the store", func() bool { return traces(t, i.dir, who) == 0 })
	if strings.Contains(i.log.String(), who) {
		t.Error("the log names the person")
	}

	if status, answer := i.post(first); status != http.StatusOK || !strings.Contains(answer, "superseded") {
		t.Errorf("the same update again: %d %s", status, answer)
	}
	restamped := strings.Replace(string(first), `"sentAt": "2026-03-02T09:00:01Z"`, `"sentAt": "2027-03-02T10:00:00Z"`, 1)
	if status, answer := i.post([]byte(restamped)); status != http.StatusOK || !strings.Contains(answer, "superseded") {
		t.Errorf("the same update stamped anew: %d %s", status, answer)
	}
	if n := traces(t, i.dir, who); n > 0 {
		t.Errorf("%d traces of the person came back", n)
	}
	if out, code := i.run("receipts", "verify"); code != 0 {
		t.Errorf("receipts verify: exit code %d, %s", code, out)
	}
	if out, code := i.run("citizen", "erase", "--yes", "nobody"); code != 0 || !strings.Contains(out, "nothing was known") {
		t.Errorf("erase of nobody: exit code %d, %s", code, out)
	}
}

// traces counts how often the store's files have the word.
func traces(t *testing.T, dir, word string) (n int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "consentd.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no store in %s: %v", dir, err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		n += bytes.Count(data, []byte(word))
	}
	return n
}
