package main

import (
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	_ "modernc.org/sqlite"

	mailchimpsim "github.com/consentd/consentd/plugins/mailchimp/sim"
)

// anonymous is an update that holds no e-mail address.
func anonymous(citizen, state string, n int) []byte {
	return []byte(strings.Replace(string(update(citizen, state, n)), "@example.org", "", 1))
}

// reading is a target that feeds the sink under a key that a lookup knows.
func (s *sink) reading(name, key string) string {
	return strings.Replace(strings.Replace(s.config(name, ""), "citizen = citizen.id", "citizen = "+key, 1), "key = citizen.id", "key = "+key, 1)
}

// TestLookup brings people to targets by what other systems know of them: an HTTP API, a CSV file and a database.
func TestLookup(t *testing.T) {
	var mode atomic.Value // known, unknown, down, hangs
	mode.Store("known")
	stop := make(chan struct{})
	crm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer crm-s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		switch mode.Load() {
		case "unknown":
			w.WriteHeader(http.StatusNotFound)
		case "down":
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, r.URL.Path+" is broken")
		case "hangs":
			select {
			case <-stop:
			case <-r.Context().Done():
			}
		default:
			fmt.Fprintf(w, `{"contact": {"email": "%s@crm.example.org"}}`, strings.TrimPrefix(r.URL.Path, "/people/"))
		}
	}))
	defer crm.Close()
	defer close(stop)

	byHTTP, byCSV, bySQL, plain := newSink(t), newSink(t), newSink(t), newSink(t)
	i := configure(t, "")
	if err := os.WriteFile(i.path("people.csv"), []byte("id,mail\nada,ada@csv.example.org\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+i.path("people.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{`CREATE TABLE people (ref TEXT, mail TEXT)`, `INSERT INTO people VALUES ('ada', 'ada@sql.example.org')`} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	defer db.Close()
	i.write(fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db")) + apiKeySource + fmt.Sprintf(`
lookup "http" "crm" {
  url     = "%s/people/${citizen.external_ref}"
  fields  = { email = "$.contact.email" }
  timeout = "500ms"

  auth "bearer" {
    token = "crm-s3cret"
  }
}

lookup "csv" "list" {
  path   = "people.csv"
  key    = "id"
  match  = citizen.external_ref
  fields = { email = "mail" }
}

lookup "sql" "base" {
  driver = "sqlite"
  dsn    = "people.db"
  query  = "SELECT mail FROM people WHERE ref = ?"
  args   = [citizen.external_ref]
  fields = { email = "mail" }
}
`, crm.URL) + byHTTP.reading("by_http", "lookup.crm.email") + byCSV.reading("by_csv", "lookup.list.email") + bySQL.reading("by_sql", "lookup.base.email") + plain.config("plain", ""))
	i.start()

	// Known everywhere.
	i.accept(anonymous("ada", "GRANTED", 1))
	for s, email := range map[*sink]string{byHTTP: "ada@crm.example.org", byCSV: "ada@csv.example.org", bySQL: "ada@sql.example.org", plain: "ada"} {
		eventually(t, email+" arrives", func() bool { return len(s.of(email)) == 1 })
	}

	// Known nowhere, and then everywhere.
	mode.Store("unknown")
	i.accept(anonymous("bob", "GRANTED", 1))
	i.accept(anonymous("bob", "DENIED", 2))
	for _, target := range []string{"by_http", "by_csv", "by_sql"} {
		eventually(t, target+" waits for bob", func() bool { return i.target(target).Waiting["identity"] == 1 })
	}
	eventually(t, "bob arrives where nothing is looked up", func() bool { return len(plain.of("bob")) > 0 })
	if out, _ := i.run("citizen", "show", "bob"); !strings.Contains(out, `lookup "crm" knows nobody by these ids`) {
		t.Errorf("citizen show:\n%s", out)
	}
	if out, _ := i.run("status"); !strings.Contains(out, "by_csv: 1 deliveries wait until a lookup knows their citizens") {
		t.Errorf("status:\n%s", out)
	}
	if metrics := i.metrics(); !strings.Contains(metrics, `consentd_deliveries_waiting{reason="identity",target="by_sql"} 1`) ||
		!strings.Contains(metrics, `consentd_lookups_total{lookup="crm",result="missing"}`) || strings.Contains(metrics, "bob") {
		t.Errorf("metrics:\n%s", metrics)
	}
	mode.Store("known")
	if err := os.WriteFile(i.path("people.csv"), []byte("id,mail\nada,ada@csv.example.org\nbob,bob@csv.example.org\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`INSERT INTO people VALUES ('bob', 'bob@sql.example.org')`); err != nil {
		t.Fatal(err)
	}
	for s, email := range map[*sink]string{byHTTP: "bob@crm.example.org", byCSV: "bob@csv.example.org", bySQL: "bob@sql.example.org"} {
		eventually(t, email+" arrives", func() bool { return len(s.of(email)) == 1 })
		if got := s.of(email)[0]; got.Allowed {
			t.Errorf("%s: the withdrawal went as a grant", email)
		}
	}

	// One that hangs or fails holds up nobody.
	for n, how := range []string{"hangs", "down"} {
		mode.Store(how)
		for c := range 20 {
			i.accept(anonymous(fmt.Sprintf("%s%d", how, c), "GRANTED", n))
		}
		eventually(t, "the others have everybody while the CRM "+how, func() bool { return plain.count() >= 22+20*n && len(plain.of(fmt.Sprintf("%s19", how))) == 1 })
		eventually(t, "all of them wait for an answer", func() bool { return i.target("by_http").Waiting["lookup"] == int64(20*(n+1)) })
	}
	if s := i.status(); len(s.Lookups) != 3 || s.Lookups[0].Failing == "" {
		t.Errorf("lookups %+v", s.Lookups)
	}
	if n := i.target("by_http").Dead; n != 0 {
		t.Errorf("%d dead letters", n)
	}
	mode.Store("known")
	eventually(t, "all arrive when it answers", func() bool { return i.target("by_http").Pending == 0 })
	if got := byHTTP.of("down7@crm.example.org"); len(got) != 1 {
		t.Errorf("down7 arrived %d times", len(got))
	}

	i.stop()
	for _, leak := range []string{"crm-s3cret", "@crm", "@csv", "@sql", "ada", "bob", "hangs1", "down1"} {
		if strings.Contains(i.log.String(), leak) {
			t.Errorf("the log has %s", leak)
		}
	}
}

func (i *instance) metrics() string {
	i.t.Helper()
	res, err := client.Get("http://" + i.admin + "/metrics")
	if err != nil {
		i.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		i.t.Fatal(err)
	}
	return string(text)
}

// TestLookupErase is law 11 for people whom targets know by what a lookup says.
func TestLookupErase(t *testing.T) {
	vendor := mailchimpsim.New(nil)
	server := httptest.NewServer(vendor)
	defer server.Close()
	i := configure(t, "")
	people := func(text string) {
		t.Helper()
		if err := os.WriteFile(i.path("people.csv"), []byte("id,mail\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var down atomic.Bool
	crm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := os.ReadFile(i.path("people.csv"))
		ref := strings.TrimPrefix(r.URL.Path, "/")
		_, after, found := strings.Cut(string(data), "\n"+ref+",")
		switch {
		case err != nil || down.Load():
			w.WriteHeader(http.StatusBadGateway)
		case !found:
			w.WriteHeader(http.StatusNotFound)
		default:
			email, _, _ := strings.Cut(after, "\n")
			fmt.Fprintf(w, `{"email": %q}`, email)
		}
	}))
	defer crm.Close()
	i.write(fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db")) + apiKeySource + fmt.Sprintf(`
lookup "http" "crm" {
  url    = "%s/${citizen.external_ref}"
  fields = { email = "$.email" }

  cache {
    ttl = "10s"
  }
}

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
    email  = lookup.crm.email
    status = permission.newsletter_email.allowed ? "subscribed" : "unsubscribed"
  }
}
`, crm.URL, mailchimpsim.APIKey, mailchimpsim.ListID, server.URL, mailchimpsim.BasePath))
	people("ada-5f0c,ada-5f0c@example.org\n")
	i.start()
	i.accept(anonymous("ada-5f0c", "GRANTED", 1))
	i.settled("newsletter")
	if _, there := vendor.Member("ada-5f0c@example.org"); !there {
		t.Fatal("the vendor does not know the person to begin with")
	}
	i.stop()
	i.start() // and with it nothing is kept of what the lookup said
	down.Store(true)
	if out, code := i.run("citizen", "erase", "--yes", "ada-5f0c"); code != 1 {
		t.Errorf("erase while the lookup is down: exit code %d, %s", code, out)
	}
	down.Store(false)
	people("")
	eventually(t, "it is refused while the lookup knows nobody", func() bool {
		_, code := i.run("citizen", "erase", "--yes", "ada-5f0c")
		return code == 1 && !strings.Contains(i.lastError, "failed:") && strings.Contains(i.lastError, "mend what the lookup asks")
	})
	people("ada-5f0c,ada-5f0c@example.org\n")
	eventually(t, "the person is erased", func() bool {
		out, code := i.run("citizen", "erase", "--yes", "ada-5f0c")
		return code == 0 && strings.Contains(out, "asked newsletter to erase")
	})
	eventually(t, "the target confirms", func() bool {
		out, _ := i.run("citizen", "receipts", "ada-5f0c")
		return strings.Contains(out, "erased")
	})
	if _, there := vendor.Member("ada-5f0c@example.org"); there {
		t.Error("the vendor still has the person")
	}
	eventually(t, "no trace of the person is left in the store", func() bool { return traces(t, i.dir, "ada-5f0c") == 0 })

	// Who was never found was never given to the target, and can be erased.
	people("")
	i.accept(anonymous("bob-77aa", "GRANTED", 1))
	eventually(t, "bob waits", func() bool { return i.target("newsletter").Waiting["identity"] == 1 })
	if out, code := i.run("citizen", "erase", "--yes", "bob-77aa"); code != 0 || !strings.Contains(out, "did not ask newsletter") {
		t.Errorf("erase of one who was never found: exit code %d, %s", code, out)
	}
	i.stop()
	for _, leak := range []string{"ada-5f0c", "bob-77aa"} {
		if strings.Contains(i.log.String(), leak) {
			t.Errorf("the log names %s", leak)
		}
	}
}
