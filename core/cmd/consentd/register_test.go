package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/consentd/consentd/core/cpm"
	"github.com/consentd/consentd/core/cpm/sim"
)

// registered is a source that can make its own subscription, with some credentials.
func (d *dataguard) registered(i *instance, auth string) string {
	return fmt.Sprintf(`
source "dataguard" {
  path           = "/webhooks/dataguard"
  update_type    = "effective-permission"
  application_id = "acme"

  api {
    base_url      = %q
    token_url     = "%s/oauth/token"
    client_id     = %q
    client_secret = %q
    rate_limit    = "1000/s"

    subscription {
      url = %q
    }
  }
%s
}
`, d.url, d.url, sim.ClientID, sim.ClientSecret, i.url(), auth)
}

func (i *instance) config() string { return i.path("config.hcl") }

// rewrite writes the configuration anew and has the daemon read it.
func (i *instance) rewrite(rest string) {
	i.t.Helper()
	i.write(fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db")) + rest)
	if out, code := i.run("reload"); code != 0 {
		i.t.Fatalf("reload: %s %s", out, i.lastError)
	}
}

// TestRegistration: the subscription is made, found again, paused and resumed, and its credentials are exchanged while
// updates come in all the time, of which none is refused.
func TestRegistration(t *testing.T) {
	for name, auths := range map[string][3]string{ // before, both, after
		"api key": {
			"auth \"api_key\" {\n header = \"X-API-Key\"\n keys = [\"key-one\"]\n}\n",
			"auth \"api_key\" {\n header = \"X-API-Key\"\n keys = [\"key-two\", \"key-one\"]\n}\n",
			"auth \"api_key\" {\n header = \"X-API-Key\"\n keys = [\"key-two\"]\n}\n",
		},
		"oauth2": {
			"auth \"oauth2\" {\n refresh_tokens = [\"refresh-one\"]\n client_id = \"c\"\n client_secret = \"s\"\n}\n",
			"auth \"oauth2\" {\n refresh_tokens = [\"refresh-two\", \"refresh-one\"]\n client_id = \"c\"\n client_secret = \"s\"\n}\n",
			"auth \"oauth2\" {\n refresh_tokens = [\"refresh-two\"]\n client_id = \"c\"\n client_secret = \"s\"\n}\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, s := newDataguard(t), newSink(t)
			i := configure(t, "")
			write := func(n int) string { return d.registered(i, auths[n]) + s.config("sink", "") }
			i.write(fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db")) + write(0))
			do := func(want string, args ...string) {
				t.Helper()
				out, code := i.run(append(args, "--config", i.config())...)
				if code != 0 || !strings.Contains(out, want) {
					t.Fatalf("consentd %s: exit code %d, %s, want %s", strings.Join(args, " "), code, out, want)
				}
				if secrets := []string{"key-one", "key-two", "refresh-one", "refresh-two", sim.ClientSecret}; containsAny(out+i.lastError, secrets) {
					t.Errorf("consentd %s shows a secret: %s", strings.Join(args, " "), out)
				}
			}
			if _, code := i.run("source", "register", "dataguard", "--config", i.config()); code != 3 || len(d.Subscriptions()) > 0 {
				t.Fatalf("register without a daemon: exit code %d, %d subscriptions", code, len(d.Subscriptions()))
			}
			i.start()
			if _, code := i.run("source", "show", "dataguard", "--config", i.config()); code != 1 || !strings.Contains(i.lastError, "source register dataguard") {
				t.Errorf("show before there is one: exit code %d, %s", code, i.lastError)
			}
			do("subscription made", "source", "register", "dataguard")
			do("brought in line", "source", "register", "dataguard")
			do("consentd dataguard", "source", "show", "dataguard")
			if n := len(d.Subscriptions()); n != 1 {
				t.Fatalf("%d subscriptions", n)
			}

			// Somebody changes their mind all the time.
			var stop atomic.Bool
			var all sync.WaitGroup
			var ids []string
			for n := range 4 {
				id := d.Add(fmt.Sprintf("c%d", n))
				ids = append(ids, id)
				all.Go(func() {
					for k := 0; !stop.Load(); k++ {
						if k%2 == 0 {
							d.Record(id, sim.Grant(newsletter))
						} else {
							d.Record(id, sim.Deny(newsletter))
						}
						eventually(t, "it is posted", func() bool { queued, _ := d.Waiting(); return queued < 10 })
					}
				})
			}
			defer func() { stop.Store(true); all.Wait() }()
			if _, code := i.run("source", "rotate", "dataguard", "--config", i.config()); code != 2 {
				t.Errorf("rotate with one credential: exit code %d", code)
			}
			i.write(fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db")) + write(1))
			if _, code := i.run("source", "rotate", "dataguard", "--config", i.config()); code != 1 || !strings.Contains(i.lastError, "consentd reload") {
				t.Errorf("rotate before the reload: exit code %d, %s", code, i.lastError)
			}
			i.rewrite(write(1))
			do("has the newest credential", "source", "rotate", "dataguard")
			do("has the newest credential", "source", "rotate", "dataguard") // as after an interruption
			i.rewrite(write(2))
			stop.Store(true)
			all.Wait()
			eventually(t, "everything is posted", func() bool { queued, _ := d.Waiting(); return queued == 0 })
			if _, failed := d.Waiting(); failed > 0 {
				t.Errorf("%d deliveries were lost to the rotation", failed)
			}
			i.settled("sink")
			s.holds(d, ids)

			do("paused", "source", "pause", "dataguard")
			if got := d.Subscriptions()[0].Status; got != cpm.Paused {
				t.Errorf("it is %s", got)
			}
			do("brought in line", "source", "register", "dataguard")
			if got := d.Subscriptions()[0].Status; got != cpm.Paused {
				t.Errorf("registering let it go on: it is %s", got)
			}
			do("source repair dataguard", "source", "resume", "dataguard")
			if got := d.Subscriptions()[0].Status; got != cpm.Active {
				t.Errorf("it is %s", got)
			}
		})
	}
}

// TestOneTokenOverReloads: the sender calls it a breach of fair use to ask for access tokens too often.
func TestOneTokenOverReloads(t *testing.T) {
	d, s := newDataguard(t), newSink(t)
	i := configure(t, "")
	rest := d.registered(i, "auth \"none\" {}\n") + strings.Replace(s.config("sink", ""), "citizen = citizen.id", "citizen = citizen.id\n mail = lookup.person.email", 1) +
		"\nlookup \"dataguard\" \"person\" {\n  source = source.dataguard\n}\n"
	i.write(fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db")) + rest)
	i.start()
	repair := func() {
		t.Helper()
		if out, code := i.run("source", "repair", "dataguard"); code != 0 {
			t.Fatalf("repair: exit code %d, %s", code, out)
		}
	}
	repair()
	id := d.Add("ada@example.org")
	d.Record(id, sim.Grant(newsletter))
	d.pastSecond()
	for n := range 3 {
		i.rewrite(rest + fmt.Sprintf("\nwithdrawal_slo = \"%dm\"\n", n+2))
		repair()
	}
	i.settled("sink")
	if d.Requests("GET /v1/citizens/{id}") == 0 {
		t.Error("nobody was looked up")
	}
	if n := d.Tokens(); n != 1 {
		t.Errorf("%d access tokens", n)
	}
	i.rewrite(strings.Replace(rest, "\"1000/s\"", "\"500/s\"", 1))
	repair()
	if n := d.Tokens(); n != 2 {
		t.Errorf("%d access tokens after the api block was changed", n)
	}
}

func containsAny(text string, words []string) bool {
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

// TestOptions: the sender's names are listed, written as blocks, and shown beside an update; an id that the sender does
// not know is a warning.
func TestOptions(t *testing.T) {
	d := newDataguard(t)
	i := configure(t, d.source(""))
	text, err := os.ReadFile(i.config())
	if err != nil {
		t.Fatal(err)
	}
	bare := strings.Replace(string(text), "option \"newsletter_email\" {\n  id            = \"k3Rmx\"\n  type          = \"option\"\n  justification = \"consent\"\n}\n", "", 1)
	i.write(bare)
	run := func(args ...string) (string, string, int) {
		cmd := exec.Command(binary, append(args, "--config", i.config())...)
		cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+i.path("cache"))
		var errOut strings.Builder
		cmd.Stderr = &errOut
		out, _ := cmd.Output()
		return string(out), errOut.String(), cmd.ProcessState.ExitCode()
	}
	generated, _, code := run("options", "generate")
	if want := "# Newsletter · Email · Acme\noption \"newsletter_email\" {\n  id = \"k3Rmx\"\n}\n"; code != 0 || generated != want {
		t.Errorf("generate: exit code %d, %s", code, generated)
	}
	i.write(bare + generated)
	if out, errOut, code := run("options", "generate"); code != 0 || out != "" || !strings.Contains(errOut, "has a name already") {
		t.Errorf("generate again: exit code %d, %s%s", code, out, errOut)
	}
	if out, _, code := run("options", "list"); code != 0 || !strings.Contains(out, "k3Rmx  Newsletter  Email  Acme   newsletter_email") {
		t.Errorf("list: exit code %d, %s", code, out)
	}
	if err := os.WriteFile(i.path("update.json"), update("ada", "GRANTED", 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _, _ := run("explain", i.path("update.json")); !strings.HasPrefix(out, "# k3Rmx: Newsletter · Email · Acme (option newsletter_email)\n") {
		t.Errorf("explain: %s", out)
	}
	if out, errOut, code := run("validate"); code != 0 || strings.Contains(errOut, "Sender") {
		t.Errorf("validate: exit code %d, %s%s", code, out, errOut)
	}
	i.write(bare + strings.Replace(generated, "k3Rmx", "k3Rmy", 1))
	if out, errOut, code := run("validate"); code != 0 || !strings.Contains(errOut, "Sender knows no such option") || !strings.Contains(errOut, `Did you mean "k3Rmx"?`) {
		t.Errorf("validate with a typo: exit code %d, %s%s", code, out, errOut)
	}
	if _, errOut, code := run("validate", "--offline"); code != 0 || strings.Contains(errOut, "knows no such") {
		t.Errorf("validate --offline: exit code %d, %s", code, errOut)
	}
	d.Behave(func(b *sim.Behaviour) { b.Failing = true })
	if out, errOut, code := run("options", "list"); code != 0 || !strings.Contains(out, "k3Rmx") || !strings.Contains(errOut, "what it said before") {
		t.Errorf("list while the API is away: exit code %d, %s%s", code, out, errOut)
	}
}
