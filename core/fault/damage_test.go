package fault

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
)

// TestDamagedStore starts the daemon over stores that are damaged, each in another way. It refuses, names the
// store, and leaves it as it is; with the right files back nothing is missing.
func TestDamagedStore(t *testing.T) {
	sink := newSink(t)
	d := newDaemon(t, "", apiKeySource+sink.rule("sink", ""))
	d.start()
	s := newSender(d, "c", 100)
	s.postAll(t, 0, 100)
	s.check(t, d, sink, "sink")
	d.stop()
	sound, err := os.ReadFile(d.store)
	if err != nil {
		t.Fatal(err)
	}
	junk := bytes.Repeat([]byte("junk"), len(sound)/4)
	for _, c := range []struct {
		name   string
		damage func(store []byte) []byte // nil: no file
		wal    bool
	}{
		{"empty", func([]byte) []byte { return []byte{} }, false},
		{"gone, with its log there", func([]byte) []byte { return nil }, true},
		{"no database", func([]byte) []byte { return junk }, false},
		{"header zeroed", func(s []byte) []byte { clear(s[:100]); return s }, false},
		{"another's", func(s []byte) []byte { clear(s[68:72]); return s }, false},
		{"cut within the first page", func(s []byte) []byte { return s[:1000] }, false},
		{"cut after the first page", func(s []byte) []byte { return s[:8192] }, false},
		{"cut in the middle", func(s []byte) []byte { return s[:len(s)/16384*8192] }, false},
		{"junk after the first page", func(s []byte) []byte { copy(s[8192:], junk); return s }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			damaged := c.damage(bytes.Clone(sound))
			if damaged == nil {
				err = os.Remove(d.store)
			} else {
				err = os.WriteFile(d.store, damaged, 0o600)
			}
			if c.wal && err == nil {
				err = os.WriteFile(d.store+"-wal", junk, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			d.launch()
			eventually(t, "consentd ends", func() bool {
				if d.listens() {
					t.Fatal("it takes updates over a damaged store")
				}
				return d.ended()
			})
			d.gone()
			if code := d.cmd.ProcessState.ExitCode(); code <= 0 || !strings.Contains(d.log.String(), "open store "+d.store) {
				t.Errorf("it ended with %v", d.cmd.ProcessState)
			}
			if left, err := os.ReadFile(d.store); !bytes.Equal(left, damaged) || damaged == nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the store was changed: %d bytes, %v", len(left), err)
			}
		})
		d.kill()
		for _, suffix := range []string{"", "-wal", "-shm"} {
			_ = os.Remove(d.store + suffix)
		}
		if err := os.WriteFile(d.store, sound, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.start()
	s.known(t)
	d.stop()
}

// TestTokensOutliveTheProcess kills the daemon: an access token that it gave out is still good, since the
// sender would otherwise lose one of its few attempts at every restart.
func TestTokensOutliveTheProcess(t *testing.T) {
	d := newDaemon(t, "", `
source "dataguard" {
  path        = "/webhooks/dataguard"
  update_type = "effective-permission"

  auth "oauth2" {
    refresh_tokens = ["a refresh token of 32 characters"]
  }
}
`)
	d.start()
	base := "http://" + d.listener + "/webhooks/dataguard"
	res, err := client.PostForm(base+"/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"a refresh token of 32 characters"}})
	if err != nil {
		t.Fatal(err)
	}
	var token struct {
		AccessToken string `json:"access_token"`
	}
	err = json.NewDecoder(res.Body).Decode(&token)
	res.Body.Close()
	if err != nil || token.AccessToken == "" {
		t.Fatalf("%s: %v", res.Status, err)
	}
	for n := range int64(3) {
		req, err := http.NewRequest(http.MethodPost, base, bytes.NewReader(update("ada", n+1)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token.AccessToken)
		req.Header.Set("Content-Type", "application/json")
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("after %d kills: %s", n, res.Status)
		}
		d.kill()
		d.start()
	}
	d.stop()
}
