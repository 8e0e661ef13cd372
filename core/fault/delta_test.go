package fault

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestDeltas is law 4 under kills: of a source that sends only what changed, each of a citizen's options comes in
// an update of its own, and what is pending is replaced many times. In the end the target has to know the
// newest state of every option.
func TestDeltas(t *testing.T) {
	rnd := random(t)
	const options = 4
	var mu sync.Mutex
	held := map[string][options]int64{} // by citizen: the newest number of each option
	var taking atomic.Int64
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		taking.Add(1)
		defer taking.Add(-1)
		var got struct {
			Citizen string
			Numbers [options]int64
		}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			return // cut off, with the plugin
		}
		time.Sleep(5 * time.Millisecond) // so that much is replaced while pending
		mu.Lock()
		defer mu.Unlock()
		for i, n := range got.Numbers {
			if n < held[got.Citizen][i] {
				t.Errorf("%s: option %d went back from update %d to %d", got.Citizen, i, held[got.Citizen][i], n)
			}
		}
		held[got.Citizen] = got.Numbers
	}))
	defer target.Close()
	var names, numbers strings.Builder
	for i := range options {
		fmt.Fprintf(&names, "\noption \"o%d\" {\n  id   = \"option-%d\"\n  type = \"option\"\n}\n", i, i)
		fmt.Fprintf(&numbers, "try(tonumber(permission.o%d.transaction_id), 0), ", i)
	}
	d := newDaemon(t, "", strings.Replace(apiKeySource, "effective-permission", "consent-receipts", 1)+names.String()+fmt.Sprintf(`
target "webhook" "sink" {
  config {
    url = %q
  }
}

rule "sink" {
  source = source.dataguard
  target = target.sink

  record {
    key = citizen.id
    body = {
      citizen = citizen.id
      numbers = [%s]
    }
  }
}
`, target.URL, strings.TrimSuffix(numbers.String(), ", ")))
	delta := func(citizen string, n int64) []byte {
		at := epoch.Add(time.Duration(n) * time.Millisecond).Format(stamp)
		return fmt.Appendf(nil, `{"applicationId":"acme","citizenId":%q,"permissions":[{"transactionId":"%d","optionType":"option","optionId":"option-%d",`+
			`"justification":"consent","state":%q,"recordedAt":%q,"validUntil":null}],"preferences":[],"sentAt":%q}`,
			citizen, n, n%options, []string{"DENIED", "GRANTED"}[n/options%2], at, at)
	}
	s := newSender(d, "d", 128)
	d.start()
	for cycle := range howOften(*kills, 4, 50) {
		var stopped atomic.Bool
		var all sync.WaitGroup
		for n := range connections {
			all.Go(func() {
				c := &connection{address: s.address}
				defer c.close()
				for i := n; !stopped.Load(); i = (i + connections) % len(s.citizens) {
					of := &s.citizens[i]
					next := of.acked.Load() + 1
					for !stopped.Load() {
						if a, err := c.post(delta(of.name, next)); err == nil && a.status == http.StatusOK {
							of.acked.Store(next)
							break
						}
						time.Sleep(2 * time.Millisecond)
					}
				}
			})
		}
		time.Sleep(300*time.Millisecond + randomly(rnd, 300*time.Millisecond))
		if cycle > 0 { // once without a kill: it brings all that is in flight back
			d.kill()
			target.CloseClientConnections() // what a killed plugin had sent must not arrive after what its successor sends
			eventually(t, "the target takes nothing any more", func() bool { return taking.Load() == 0 })
		}
		stopped.Store(true)
		all.Wait()
		if cycle > 0 {
			d.start()
		}
		d.settled("sink")
		mu.Lock()
		for i := range s.citizens {
			of := &s.citizens[i]
			acked := of.acked.Load()
			for n := max(1, acked-options+1); n <= acked; n++ {
				if got := held[of.name][n%options]; got < n {
					t.Errorf("%s: update %d of option %d was acknowledged, the target knows of %d", of.name, n, n%options, got)
				}
			}
		}
		mu.Unlock()
		if t.Failed() {
			return
		}
	}
}
