package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

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
	for _, name := range []string{"consentd_store_replicas", "consentd_store_claims_lost_total", "consentd_store_connections"} {
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
