package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/cpm/sim"
	"github.com/consentd/consentd/core/store/storetest/pgtest"
)

const oauthSource = `
source "dataguard" {
  path        = "/webhooks/dataguard"
  update_type = "effective-permission"

  auth "oauth2" {
    refresh_tokens = ["a-refresh-token-of-some-length"]
  }
}
`

// replicaMetrics are those that there are only over PostgreSQL. They have no labels.
var replicaMetrics = []string{"consentd_store_replicas", "consentd_store_claims_lost_total", "consentd_store_connections"}

// onPostgres moves a configuration to a PostgreSQL store.
func (i *instance) onPostgres(dsn, rest string) {
	sqlite := fmt.Sprintf("store \"sqlite\" {\n  path = %q\n}", i.path("consentd.db"))
	postgres := fmt.Sprintf("store \"postgres\" {\n  dsn   = %q\n  lease = \"5s\"\n}", dsn)
	i.write(strings.Replace(fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db")), sqlite, postgres, 1) + rest)
}

// TestMigrateToPostgres goes on in PostgreSQL with what a SQLite store has, and then with two replicas.
func TestMigrateToPostgres(t *testing.T) {
	cluster := pgtest.New(t)
	dsn := cluster.Database(t)
	s := newSink(t)
	rest := apiKeySource + s.config("sink", "") + encryption(firstKey)
	i := configure(t, rest)
	i.start()
	i.accept(update("ada", "GRANTED", 1))
	i.settled("sink")
	i.stop()
	config, old := i.path("config.hcl"), i.path("consentd.db")
	if _, code := i.run("store", "migrate", "--config", config, "--from", "sqlite:"+old); code != 2 || !strings.Contains(i.lastError, `store "postgres"`) {
		t.Errorf("to a configuration of the old store: %d, %s", code, i.lastError)
	}
	i.onPostgres(dsn, rest)
	if out, code := i.run("store", "verify", "--config", config); code != 1 || !strings.Contains(out, "no store in this database") {
		t.Errorf("verify of nothing: %d\n%s", code, out)
	}
	page := readPage(t, root+"/core/store/postgres/README.md")
	command := strings.NewReplacer("config.hcl", config, "sqlite:consentd.db", "sqlite:"+old).Replace(fences(page, "sh")[0])
	if out, code := i.run(strings.Fields(command)[1:]...); code != 0 || !strings.Contains(out, "copied and verified") || !strings.Contains(i.lastError, "citizen     1 of 1") {
		t.Fatalf("migrate: %d\n%s%s", code, out, i.lastError)
	}
	if _, code := i.run("store", "backup", "--config", config, i.path("copy")); code != 2 || !strings.Contains(i.lastError, "pg_dump") {
		t.Errorf("backup: %d, %s", code, i.lastError)
	}
	i.start()
	other := &instance{t: t, dir: t.TempDir(), listener: freeAddress(t), admin: freeAddress(t)}
	other.onPostgres(dsn, rest)
	other.start()
	if status, text := other.post(update("ada", "GRANTED", 1)); status != 200 || !strings.Contains(text, "duplicate") {
		t.Errorf("%d %s", status, text)
	}
	i.accept(update("ada", "DENIED", 2))
	other.accept(update("bob", "GRANTED", 2))
	eventually(t, "both are delivered", func() bool { return len(s.of("ada")) == 2 && len(s.of("bob")) == 1 })
	other.settled("sink")
	eventually(t, "each knows of the other", func() bool { return strings.Contains(other.metrics(), "\nconsentd_store_replicas 2\n") })
	for _, name := range replicaMetrics {
		if !strings.Contains(other.metrics(), "\n"+name+" ") || !strings.Contains(page, "`"+name+"`") {
			t.Errorf("%s is no metric, or is not on the page", name)
		}
	}
	if !strings.Contains(other.metrics(), "\nconsentd_store_commit_seconds_count ") {
		t.Error("commits are not counted")
	}
	i.stop()
	other.accept(update("bob", "DENIED", 3))
	eventually(t, "the one that is left delivers", func() bool { return len(s.of("bob")) == 2 })
	other.settled("sink")
	if out, code := other.run("store", "verify", "--config", other.path("config.hcl")); code != 0 || !strings.Contains(out, "receipts    ok     4,") {
		t.Errorf("verify: %d\n%s", code, out)
	}
	other.stop()
}

// TestTokensOfReplicas: an access token of one replica is good at another.
func TestTokensOfReplicas(t *testing.T) {
	cluster := pgtest.New(t)
	dsn := cluster.Database(t)
	var all []*instance
	for range 2 {
		i := configure(t, "")
		i.onPostgres(dsn, oauthSource)
		i.start()
		all = append(all, i)
	}
	res, err := client.PostForm("http://"+all[0].listener+"/webhooks/dataguard/oauth/token", url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {"a-refresh-token-of-some-length"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&token); err != nil || token.AccessToken == "" {
		t.Fatal(res.Status, err)
	}
	status, text := all[1].post(update("ada", "GRANTED", 1), func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token.AccessToken) })
	if status != 200 {
		t.Errorf("%d %s", status, text)
	}
	for _, i := range all {
		i.stop()
	}
}

// TestValidatePostgres: what is wrong with the store has a place, and no password; offline nobody is asked.
func TestValidatePostgres(t *testing.T) {
	i := configure(t, "")
	i.onPostgres("postgres://consentd:s3cret@127.0.0.1:1/absent?sslmode=disable", apiKeySource)
	validate := func(args ...string) (string, int) {
		_, code := i.run(append([]string{"validate", "--config", i.path("config.hcl")}, args...)...)
		return i.lastError, code
	}
	if said, code := validate("--offline"); code != 0 {
		t.Errorf("offline: %d\n%s", code, said)
	}
	said, code := validate()
	if code != 2 || !strings.Contains(said, "Store cannot be used") || !strings.Contains(said, "config.hcl:16,11") || strings.Contains(said, "s3cret") {
		t.Errorf("%d\n%s", code, said)
	}
	if _, code := i.run("run", "--config", i.path("config.hcl")); code != 3 || strings.Contains(i.lastError, "s3cret") {
		t.Errorf("run: %d\n%s", code, i.lastError)
	}
	if text, err := os.ReadFile(i.path("config.hcl")); err != nil || !strings.Contains(string(text), "s3cret") {
		t.Fatal(err)
	}
}

// TestOneAsksTheSender has two replicas and one sender: whichever is asked for a backfill, everybody is read once, each
// says how it goes, and when the one that reads is killed, the other one goes on from its page.
func TestOneAsksTheSender(t *testing.T) {
	cluster := pgtest.New(t)
	dsn := cluster.Database(t)
	d, s := newDataguard(t), newSink(t)
	const citizens, ofAWalk = 500, 1 + 1 + 5 // requests: the clock, how many there are, and the pages
	for n := range citizens {
		d.Record(d.Add(fmt.Sprintf("c%d@example.org", n)), sim.Grant(newsletter))
	}
	d.pastSecond()
	// The API answers the fourth request of the third backfill only to who asks once more.
	var asked atomic.Int32
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 2*ofAWalk+4 {
			<-r.Context().Done()
			return
		}
		d.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	d.url = front.URL
	rest := d.source("confirm_after = \"1s\"") + s.config("sink", "max_in_flight = 16")
	var all []*instance
	for range 2 {
		i := configure(t, "")
		i.onPostgres(dsn, rest)
		i.start()
		all = append(all, i)
	}
	for _, i := range all {
		eventually(t, "each knows of the other", func() bool { return strings.Contains(i.metrics(), "\nconsentd_store_replicas 2\n") })
	}
	progress := func(i *instance) admin.Progress {
		p, err := admin.NewClient(i.admin, "").Progress(t.Context(), "dataguard")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for n, i := range all {
		out, code := i.run("source", "backfill", "dataguard")
		if code != 0 || !strings.Contains(out, fmt.Sprintf("%d citizens read: %d are news", citizens, citizens*(1-n))) {
			t.Errorf("backfill: exit code %d, %s", code, out)
		}
		if a, b := progress(all[0]), progress(all[1]); a != b || a.Running || a.Read != citizens {
			t.Errorf("%+v\n%+v", a, b)
		}
		if got := int(asked.Load()); got != (n+1)*ofAWalk {
			t.Errorf("%d requests after %d backfills", got, n+1)
		}
	}
	reads := func(i *instance) bool { return strings.Contains(i.log.String(), "reading from the sender's API") }
	one, other := all[0], all[1]
	if reads(other) {
		one, other = other, one
	}
	if reads(other) {
		t.Fatal("both read")
	}
	if out, code := other.run("source", "backfill", "dataguard", "--detach"); code != 0 || out != "begun\n" {
		t.Fatalf("backfill: exit code %d, %s", code, out)
	}
	eventually(t, "a part is read", func() bool { return asked.Load() == 2*ofAWalk+4 })
	if p := progress(other); !p.Running || p.Read == 0 {
		t.Errorf("%+v", p)
	}
	one.kill()
	eventually(t, "the other one ends it", func() bool { return !progress(other).Running })
	if p := progress(other); p.Read != citizens || p.Error != "" || !reads(other) {
		t.Errorf("%+v", p)
	}
	if got := asked.Load(); got != 3*ofAWalk+1 {
		t.Errorf("%d requests after three backfills: it began anew", got)
	}
	one.start()
	if a, b := progress(one), progress(other); a != b || a.Kind != "backfill" {
		t.Errorf("%+v\n%+v", a, b)
	}
	one.settled("sink")
	for _, i := range all {
		if !strings.Contains(i.metrics(), "\nconsentd_source_silent{source=\"dataguard\"} 0\n") || strings.Contains(i.metrics(), "\nconsentd_source_known_until_timestamp_seconds{source=\"dataguard\"} 0\n") {
			t.Error("the metrics do not say until when everything is known")
		}
		i.stop()
	}
}
