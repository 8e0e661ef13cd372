package cli

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/cpm"
	"github.com/consentd/consentd/core/cpm/sim"
	"github.com/consentd/consentd/core/daemon"
	"github.com/consentd/consentd/core/webhook/sender"
)

//go:embed dev.hcl
var devConfig []byte

// sampleEvery is how often run --dev sends an update.
const sampleEvery = time.Second

// runDev runs a whole world: simulated vendors, the daemon, and a sender of invented updates.
func (a *App) runDev(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "consentd-dev-")
	if err != nil {
		return environment(err)
	}
	defer os.RemoveAll(dir)
	out := &chronicle{app: a}
	env := map[string]string{
		"CONSENTD_DEV_STORE":    filepath.Join(dir, "consentd.db"),
		"CONSENTD_DEV_LISTENER": freeAddress("127.0.0.1:8484"),
		"CONSENTD_DEV_ADMIN":    freeAddress("127.0.0.1:8485"),
	}
	from := sim.New(sim.Options{Application: "dev", Configuration: devOptions(), Notify: func(ref, what string) {
		out.say("sender", ref+": "+strings.ReplaceAll(what, devOption, "newsletter"))
	}})
	defer from.Close()
	senders := append([]Simulator{{"cpm", func(func(string)) http.Handler { return from }}}, a.Simulators...)
	for _, s := range senders {
		url, stop, err := simulate(s, out)
		if err != nil {
			return environment(err)
		}
		defer stop()
		env["CONSENTD_DEV_"+strings.ToUpper(s.Type)] = url
	}
	cfg, diags := config.Parse(map[string][]byte{"dev.hcl": devConfig}, func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	})
	if diags.HasErrors() {
		return a.diagnose(cfg, diags, false)
	}
	finder, err := a.finder(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var samples sync.WaitGroup
	defer samples.Wait()
	diags, err = daemon.Run(ctx, daemon.Options{
		Config: cfg, Finder: finder, Version: a.Version, Log: a.logger(cfg.Log),
		Warn: func(d hcl.Diagnostics) { _ = a.diagnose(cfg, d, false) },
		Started: func(listener, admin net.Addr) {
			source := fmt.Sprintf("http://%s%s", listener, cfg.Sources[0].Path)
			fmt.Fprintf(a.Stdout, devWelcome, admin, admin, source, admin)
			samples.Go(func() { a.sendSamples(ctx, source, from, out) })
		},
	})
	cancel()
	return errors.Join(a.diagnose(cfg, diags, false), ended(err))
}

const devWelcome = `http://%s/ is the console. consentd runs with simulated vendors and a temporary store. Ctrl-C ends it.

  status      consentd status --address %s
  an update   consentd send --to %s --header X-API-Key --credential dev FILE
  all of it   consentd source backfill dataguard --address %s

The simulated sender posts an invented update every second. One person's address is misspelt, and now and then an update is of another
application, so there is something to mend in the console. What arrives at the vendors:

`

// devOptions is what the sender's option ids mean.
func devOptions() sim.Configuration {
	return sim.Configuration{
		Data: []sim.Named{{ID: "d1", Name: "E-mail address"}}, Purposes: []sim.Named{{ID: "p1", Name: "Newsletter"}}, Parties: []sim.Named{{ID: "q1", Name: "Acme"}},
		Options: []sim.Option{{ID: devOption, DataID: "d1", PurposeID: "p1", PartyID: "q1"}},
	}
}

// freeAddress is the address if it can be had, else one on a free port.
func freeAddress(address string) string {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return "127.0.0.1:0"
	}
	l.Close()
	return address
}

func simulate(s Simulator, out *chronicle) (url string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: s.New(func(line string) { out.say(s.Type, line) }), ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	return "http://" + l.Addr().String(), func() { server.Close(); <-done }, nil
}

// chronicle prints what happens, one line at a time.
type chronicle struct {
	app *App
	mu  sync.Mutex
}

func (c *chronicle) say(who, what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.app.Stdout, "%s  %-10s  %s\n", time.Now().Format("15:04:05"), who, what)
}

// sendSamples lets one thing after the other happen at the simulated sender until ctx ends.
func (a *App) sendSamples(ctx context.Context, source string, from *sim.Sim, out *chronicle) {
	_, err := from.Subscribe(cpm.Subscription{Name: "dev", URL: source, UpdateType: string(consent.EffectivePermission), Authentication: cpm.Authentication{
		AuthType: cpm.AuthAPIKey, APIKey: &cpm.APIKey{Location: "header", Key: "X-API-Key", Value: "dev"},
	}})
	if err != nil {
		out.say("sender", err.Error())
		return
	}
	direct, err := sender.New(sender.Options{URL: source, Credential: "dev", Header: "X-API-Key"})
	if err != nil {
		out.say("sender", err.Error())
		return
	}
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for i := 0; ; i++ {
		sample(from, i)
		if i%strayEvery == strayEvery/4 {
			if answer, err := direct.Send(ctx, stray(time.Now())); err == nil {
				out.say("sender", fmt.Sprintf("an update of another application  -> %d %s", answer.Status, strings.TrimSpace(string(answer.Body))))
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// The last one's address lacks its @, which Mailchimp refuses.
var samplePeople = []string{"ada.lovelace@example.org", "alan.turing@example.org", "grace.hopper@example.org",
	"edsger.dijkstra@example.org", "barbara.liskov@example.org", "charles.babbage.example.org"}

// strayEvery is how many updates there are to one that is of another application, and misspeltEvery to one of who is
// misspelt.
const strayEvery, misspeltEvery = 40, 60

// devOption is the id of the newsletter in dev.hcl.
const devOption = "k3Rmx"

// sample is the i-th invented change: everybody signs up, then every other one withdraws, or chooses other interests,
// and so on.
func sample(from *sim.Sim, i int) {
	people := samplePeople[:len(samplePeople)-1]
	person, round := i%len(people), i/len(people)
	misspelt := i%misspeltEvery == len(people)
	if misspelt {
		person = len(people)
	}
	id := fmt.Sprintf("citizen-%d", person+1)
	if round == 0 || i == len(people) {
		from.AddAs(id, samplePeople[person])
	}
	switch {
	case misspelt || round == 0:
		from.Record(id, sim.Grant(devOption))
	case (person+round)%3 == 0:
		from.Prefer(id, "interests", []string{"jazz", "blues"}[:1+round%2]...)
	case (person+round)%2 == 0:
		from.Record(id, sim.Deny(devOption))
	default:
		from.Record(id, sim.Grant(devOption))
	}
}

// stray is an update of another application, which no simulated sender of ours would post.
func stray(now time.Time) []byte {
	return consent.Encode(consent.State{
		ApplicationID: "somebody-elses", CitizenID: "citizen-1", Permissions: []consent.Permission{}, SentAt: now,
	})
}
