package main

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/consentd/consentd/core/admin"
)

// TestReload changes the configuration under load: no post is refused and no update lost, what is wrong changes
// nothing, and targets and rules come, change and go.
func TestReload(t *testing.T) {
	first, second := newSink(t), newSink(t)
	i := configure(t, apiKeySource+first.config("first", ""))
	base := fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db")) + apiKeySource
	i.start()

	const citizens = 200
	var posted [citizens]atomic.Int64
	var refused atomic.Int64
	var stopped atomic.Bool
	var load sync.WaitGroup
	for n := range 4 {
		load.Go(func() {
			for c := n; !stopped.Load(); c = (c + 4) % citizens {
				next := int(posted[c].Load()) + 1
				state := []string{"DENIED", "GRANTED"}[next%2]
				if status, text, err := i.tryPost(update(fmt.Sprint("c", c), state, next)); err != nil || status != 200 {
					refused.Add(1)
					t.Logf("refused: %d %s %v", status, text, err)
				} else {
					posted[c].Store(int64(next))
				}
			}
		})
	}
	reloads := func(want string, text string) {
		t.Helper()
		time.Sleep(200 * time.Millisecond)
		i.write(text)
		if out, code := i.run("reload"); code != 0 || !strings.Contains(out, want) {
			t.Fatalf("reload: exit code %d, %s", code, out)
		}
	}
	pid := func(target string) int { return i.target(target).Plugin.PID }

	same := pid("first")
	reloads("is in force", base+first.config("first", "")+second.config("second", ""))
	if pid("first") != same {
		t.Error("a target that did not change has another process")
	}
	reloads("the same as before", base+first.config("first", "")+second.config("second", ""))
	// Wrong in every stage: the language, the rules, the plugin's configuration, what cannot change.
	before := i.status().Config
	for want, text := range map[string]string{
		"Unsupported": base + first.config("first", "") + "\nnonsense {\n}\n",
		"Did you":     base + strings.Replace(first.config("first", ""), "newsletter_email", "newsleter_email", 1),
		"url":         base + strings.Replace(first.config("first", ""), "http://", "gopher://", 1),
		"restart it":  strings.Replace(base, "consentd.db", "other.db", 1) + first.config("first", ""),
	} {
		i.write(text)
		if _, code := i.run("reload"); code != 1 {
			t.Errorf("%s: exit code %d", want, code)
		}
		if now := i.status(); now.Config != before || now.ReloadFailed == nil {
			t.Errorf("%s: configuration %s is in force", want, now.Config)
		}
	}
	if out, _ := i.run("status"); !strings.Contains(out, "The last reload failed") {
		t.Errorf("status does not say that the last reload failed:\n%s", out)
	}
	reloads("is in force", base+first.config("first", "max_in_flight = 1"))
	if got := i.status().Targets; len(got) != 1 {
		t.Errorf("%d targets after one was removed", len(got))
	}
	// SIGHUP does the same.
	i.write(base + second.config("second", "") + first.config("first", ""))
	if err := i.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "SIGHUP brings the second target back", func() bool {
		s, err := admin.NewClient(i.admin, "").Status(t.Context())
		return err == nil && len(s.Targets) == 2
	})

	stopped.Store(true)
	load.Wait()
	if n := refused.Load(); n > 0 {
		t.Errorf("%d posts were refused", n)
	}
	for name, s := range map[string]*sink{"first": first, "second": second} {
		i.settled(name)
		for c := range citizens {
			n := int(posted[c].Load())
			if n == 0 {
				continue
			}
			all := s.of(fmt.Sprint("c", c))
			if len(all) == 0 {
				t.Errorf("%s knows nothing of c%d", name, c)
			} else if last := all[len(all)-1]; last.Allowed != (n%2 == 1) {
				t.Errorf("%s holds allowed = %v of c%d after update %d", name, last.Allowed, c, n)
			}
		}
	}
	// Who still delivered for the configuration before would find its plugin gone.
	if strings.Contains(i.log.String(), "target paused") {
		t.Error("a target was paused")
	}
	i.stop()
}
