package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

const agreeing = `
source "deltas" {
  path        = "/webhooks/deltas"
  update_type = "consent-receipts"

  auth "none" {
  }
}

option "post" {
  id = "p7Qaz"
}
`

// agreeingRules are for one source: a rule that always tells, and one that falls silent at a withdrawal.
const agreeingRules = `
target "file" "%[1]s_known" {
  config {
    path = "%[2]s/%[1]s_known.jsonl"
  }
}
target "file" "%[1]s_allowed" {
  config {
    path = "%[2]s/%[1]s_allowed.jsonl"
  }
}
rule "%[1]s_known" {
  source = source.%[1]s
  target = target.%[1]s_known
  when   = permission.newsletter_email.known || permission.post.known
  record {
    key = citizen.id
    fields = {
      email     = permission.newsletter_email.allowed
      state     = permission.newsletter_email.state
      post      = permission.post.allowed
      recorded  = permission.post.recorded_at
      interests = preference.interests.choices
      sent_at   = sent_at
    }
  }
}
rule "%[1]s_allowed" {
  source = source.%[1]s
  target = target.%[1]s_allowed
  when   = permission.newsletter_email.allowed
  record {
    key    = citizen.id
    fields = { post = permission.post.allowed }
  }
}
`

// history is what the sender says of one citizen, and what the daemon answered.
type history struct {
	source, citizen string
	messages        []string
	answers         []string
}

// message is one that comes in some order or other, or is none.
func (h *history) message(random *rand.Rand) string {
	switch n := random.IntN(20); {
	case n == 0:
		return `{"citizenId": `
	case n < 3 && len(h.messages) > 0:
		return h.messages[random.IntN(len(h.messages))]
	}
	sent := epoch.Add(time.Duration(random.IntN(30)) * time.Minute)
	stamp := func(t time.Time) string { return t.Format(time.RFC3339) }
	permissions := []map[string]any{}
	for _, id := range []string{"k3Rmx", "p7Qaz"} {
		if random.IntN(5) == 0 {
			continue
		}
		permissions = append(permissions, map[string]any{
			"optionType": "option", "optionId": id, "justification": "consent",
			"state":      []any{"GRANTED", "GRANTED", "DENIED", "PENDING", nil}[random.IntN(5)],
			"recordedAt": stamp(sent.Add(-time.Duration(random.IntN(4)) * 5 * time.Minute)),
			"validUntil": []any{nil, nil, stamp(epoch.Add(time.Hour)), stamp(epoch.AddDate(50, 0, 0))}[random.IntN(4)],
		})
	}
	preferences := []map[string]any{}
	if random.IntN(3) == 0 {
		preferences = append(preferences, map[string]any{
			"preference": "interests", "updatedAt": stamp(sent), "choices": []any{map[string]any{"reference": fmt.Sprint("r", random.IntN(3))}},
		})
	}
	body, _ := json.Marshal(map[string]any{"citizenId": h.citizen, "sentAt": stamp(sent), "permissions": permissions, "preferences": preferences})
	return string(body)
}

// TestDaemonAgreesWithItsTests: what a daemon did with histories of all kinds is what tests of the same expect.
func TestDaemonAgreesWithItsTests(t *testing.T) {
	i := configure(t, "")
	text, err := os.ReadFile(i.path("config.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	i.write(string(text) + apiKeySource + agreeing + fmt.Sprintf(agreeingRules, "dataguard", i.dir) + fmt.Sprintf(agreeingRules, "deltas", i.dir))
	i.start()
	random := rand.New(rand.NewPCG(1815, 1852))
	var all []*history
	for n := range 40 {
		all = append(all, &history{source: "dataguard", citizen: fmt.Sprint("e", n)}, &history{source: "deltas", citizen: fmt.Sprint("d", n)})
	}
	for range 5 {
		for _, h := range all {
			m := h.message(random)
			_, text := i.post([]byte(m), func(r *http.Request) { r.URL.Path = "/webhooks/" + h.source })
			var answer struct{ Status string }
			if err := json.Unmarshal([]byte(text), &answer); err != nil {
				t.Fatalf("answer %s: %v", text, err)
			}
			h.messages, h.answers = append(h.messages, m), append(h.answers, answer.Status)
		}
		for _, target := range i.status().Targets {
			i.settled(target.Name)
		}
	}
	out, code := i.run("dead", "list", "--json", "--limit", "1000")
	var letters struct {
		Dead []struct {
			Rule    string `json:"rule"`
			Citizen string `json:"citizen_id"`
		}
	}
	if err := json.Unmarshal([]byte(out), &letters); err != nil || code != 0 || len(letters.Dead) == 0 {
		t.Fatalf("%d dead letters, %v\n%s", len(letters.Dead), err, out)
	}
	dead := map[string]bool{}
	for _, d := range letters.Dead {
		dead[d.Rule+" "+d.Citizen] = true
	}
	held := map[string]map[string]string{} // by rule and citizen
	for _, rule := range []string{"dataguard_known", "dataguard_allowed", "deltas_known", "deltas_allowed"} {
		held[rule] = lastArrivals(t, i.path(rule+".jsonl"))
	}
	i.stop()

	var tests bytes.Buffer
	seen := map[string]int{}
	for _, h := range all {
		fmt.Fprintf(&tests, "test %q {\n  source = source.%s\n", h.citizen, h.source)
		for n, m := range h.messages {
			fmt.Fprintf(&tests, "  update {\n    at   = %q\n    body = <<JSON\n%s\nJSON\n", time.Now().UTC().Format(time.RFC3339), m)
			if h.answers[n] != "accepted" { // else it may be held as well
				fmt.Fprintf(&tests, "    expect {\n      outcome = %q\n    }\n", h.answers[n])
			}
			seen[h.answers[n]]++
			tests.WriteString("  }\n")
		}
		for _, rule := range []string{h.source + "_known", h.source + "_allowed"} {
			wanted := "records = [" + held[rule][h.citizen] + "]"
			if dead[rule+" "+h.citizen] {
				wanted = `error = "nothing to say of a withdrawal"`
			}
			fmt.Fprintf(&tests, "  expect %q {\n    %s\n  }\n", rule, wanted)
		}
		tests.WriteString("}\n")
	}
	for _, answer := range []string{"accepted", "superseded", "duplicate", "quarantined"} {
		if seen[answer] == 0 {
			t.Errorf("no update was %s: %v", answer, seen)
		}
	}
	if err := os.WriteFile(i.path("agree.test.hcl"), tests.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := i.run("test", "--config", i.path("config.hcl")); code != 0 || !strings.Contains(out, "80 passed, 0 failed.") {
		t.Errorf("exit code %d\n%s\nof\n%s", code, out, tail(tests.String(), 400))
	}
}

// lastArrivals is what a file holds of each citizen in the end.
func lastArrivals(t *testing.T, path string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := map[string]string{}
	for line := range strings.Lines(string(data)) {
		var arrival struct {
			Key    string          `json:"key"`
			Fields json.RawMessage `json:"fields"`
		}
		if err := json.Unmarshal([]byte(line), &arrival); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		last[arrival.Key] = fmt.Sprintf("{ key = %q, fields = %s }", arrival.Key, arrival.Fields)
	}
	return last
}
