package ruletest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStories are tests of several updates, which all pass: what becomes of each is as in the daemon.
func TestStories(t *testing.T) {
	dir := t.TempDir()
	const message = `{"citizenId": "c1", "externalRef": "ada", "sentAt": "2026-03-02T09:00:00Z", "permissions": [{"optionType": "option", "optionId": "k3Rmx",
		"justification": "consent", "state": "GRANTED", "recordedAt": "2026-03-02T09:00:00Z", "validUntil": "2026-03-03T09:00:00Z"}]}`
	if err := os.WriteFile(filepath.Join(dir, "update.json"), []byte(message), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"a file, and again": `
source = source.dataguard
update {
  file = "update.json"
  expect {
    outcome    = "accepted"
    withdrawal = false
  }
}
update {
  file = "update.json"
  expect { outcome = "duplicate" }
}
now = "2026-03-03T08:59:59.999999999Z"
expect "main" { records = [{ key = "ada", fields = { email = true, until = "2026-03-03T09:00:00Z", big = 9007199254740993, half = 0.5, likes = [] } }] }
expect "main" {
  now     = "2026-03-03T09:00:00Z"
  records = [{ key = "ada", fields = { email = false, until = "2026-03-03T09:00:00Z", big = 9007199254740993, half = 0.5, likes = [] } }]
}`,
		"bodies": `
source = source.dataguard
update {
  body = {
    citizenId   = 12345678901234567890
    externalRef = null
    sentAt      = "2026-03-02T09:00:00Z"
    permissions = [{ optionType = "option", optionId = "k3Rmx", justification = "consent", state = "EXPIRED" }]
  }
}
update {
  body = <<JSON
{"citizenId": 12345678901234567890, "externalRef": "ada", "sentAt": "2026-03-02T09:00:05Z", "permissions": []}
JSON
}
expect "main" { records = [{ key = "ada", fields = { email = false, until = null, big = 9007199254740993, half = 0.5, likes = [] } }] }`,
		"quarantine": `
source = source.deltas
update {
  body = "{"
  expect { outcome = "quarantined" }
}
update {
  body = { citizenId = "c1", applicationId = "other", sentAt = "2026-03-02T09:00:00Z", permissions = [] }
}
expect { outcome = "quarantined" }
expect "delta" { records = [] }`,
		"a grant on older evidence is held, and newer news settles it": `
source = source.dataguard
citizen { external_ref = "ada" }
update {
  at = "2026-03-02T09:00:00Z"
  permission "email" { state = "DENIED" }
  expect {
    outcome    = "accepted"
    withdrawal = true
  }
}
update {
  at = "2026-03-02T10:00:00Z"
  permission "email" {
    state       = "GRANTED"
    recorded_at = "2026-03-01T09:00:00Z"
  }
  expect { outcome = "held" }
  expect "main" { records = [{ key = "ada", fields = { email = false, until = null, big = 9007199254740993, half = 0.5, likes = [] } }] }
}
update {
  at      = "2026-03-02T11:00:00Z"
  sent_at = "2026-03-02T08:00:00Z"
  permission "email" { state = "GRANTED" }
  expect { outcome = "superseded" }
}
update {
  permission "email" { state = "GRANTED" }
  expect { outcome = "accepted" }
}
expect "main" { records = [{ key = "ada", fields = { email = true, until = null, big = 9007199254740993, half = 0.5, likes = [] } }] }`,
		"deltas": `
source = source.deltas
citizen { id = "c1" }
update {
  permission "email" { state = "GRANTED" }
}
update {
  permission "post" { state = "CLAIMED" }
  preference "interests" {
    choices = ["jazz"]
    labels  = ["Jazz"]
  }
  expect "delta" { records = [{ key = "c1", fields = { email = true, post = true, likes = ["Jazz"] } }] }
}
update {
  preference "interests" { choices = [] }
  expect { withdrawal = false }
}
update {
  permission "email" { state = null }
  expect { withdrawal = true }
}
expect "delta" { records = [{ key = "c1", fields = { email = false, post = true, likes = [] } }] }`,
		"a window begins, and what was left out is remembered": `
source = source.dataguard
citizen { external_ref = "ada" }
update {
  permission "email" {
    state      = "GRANTED"
    valid_from = "2026-06-01T00:00:00+02:00"
  }
  permission "post" { state = "CLAIMED" }
  expect "main" {
    now     = "2026-05-31T21:59:59Z"
    records = [{ key = "ada", fields = { email = false, until = null, big = 9007199254740993, half = 0.5, likes = [], post = true } }]
  }
  expect "main" {
    now     = "2026-05-31T22:00:00Z"
    records = [{ key = "ada", fields = { email = true, until = null, big = 9007199254740993, half = 0.5, likes = [], post = true } }]
  }
}
update {
  permission "post" { state = "CLAIMED" }
  expect { withdrawal = true }
}
expect "main" { records = [{ key = "ada", fields = { email = false, until = null, big = 9007199254740993, half = 0.5, likes = [], post = true } }] }`,
		"a withdrawal is owed until the target is told": `
source = source.dataguard
update {
  permission "post" { state = "CLAIMED" }
}
update {
  permission "post" { state = "OBJECTED" }
  expect "silent" { error = "nothing to say" }
}
update {
  permission "post" { state = "OBJECTION_UPHELD" }
  expect { withdrawal = false }
  expect "silent" { error = "nothing to say" }
}
update {
  permission "post" { state = "CLAIMED" }
}
expect "silent" { records = [{ key = "citizen-1" }] }`,
		"a window that ends under a rule that then falls silent": `
source = source.dataguard
update {
  at = "2026-03-02T09:00:00Z"
  permission "post" {
    state       = "CLAIMED"
    valid_until = "2026-03-03T09:00:00Z"
  }
  expect "silent" { records = [{ key = "citizen-1" }] }
}
now = "2026-03-04T09:00:00Z"
expect "silent" { error = "nothing to say" }`,
	} {
		// Blocks of one line hold one attribute; the others are written out.
		text = strings.NewReplacer(`citizen { external_ref = "ada" }`, "citizen {\n external_ref = \"ada\"\n}").Replace(text)
		r := runAll(t, dir, "test \"it\" {"+text+"\n}\n", Options{})
		if r.Passed != 1 {
			t.Errorf("%s:\n%s", name, failures(r, dir))
		}
	}
}

// TestUnexpectedQuarantine: an update that was not understood is never passed over.
func TestUnexpectedQuarantine(t *testing.T) {
	dir := t.TempDir()
	r := runAll(t, dir, "test \"it\" {\nsource = source.deltas\nupdate {\nbody = { citizenId = \"c1\" }\n}\nexpect \"delta\" { records = [] }\n}\n", Options{})
	const want = "rules.test.hcl:1,1: after update 1, which was quarantined: update 1 would go to quarantine: sentAt is missing, and nothing else in the message says when it was true"
	if got := failures(r, dir); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestClock: without a time, an update comes in when it was sent, or a minute after what was before.
func TestClock(t *testing.T) {
	s, diags := load(t, t.TempDir(), `test "it" {
  source = source.dataguard
  update {}
  update {}
  update {
    sent_at = "2026-01-01T11:00:00Z"
    expect {
      now     = "2026-01-01T12:30:00Z"
      outcome = "superseded"
    }
  }
  update {
    sent_at = "2026-01-01T14:00:00Z"
  }
  update {
    at = "2026-01-01T15:00:00+01:00"
  }
  expect { outcome = "accepted" }
}
test "sent long ago" {
  source = source.dataguard
  update {
    sent_at = "2020-01-01T11:00:00Z"
  }
  now = "2020-01-02T00:00:00Z"
  expect { outcome = "accepted" }
}
`)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	var got []string
	for _, one := range s.tests {
		for _, m := range one.moments {
			got = append(got, m.now.UTC().Format("06-01-02 15:04"))
		}
	}
	const want = "26-01-01 12:00,26-01-01 12:01,26-01-01 12:02,26-01-01 12:30,26-01-01 14:00,26-01-01 14:00,26-01-01 14:00,20-01-01 11:00,20-01-02 00:00"
	if all := strings.Join(got, ","); all != want {
		t.Errorf("%s, want\n%s", all, want)
	}
}
