package sdk

import (
	"bytes"
	"strings"
	"testing"
)

var byHandPlugin = Plugin{
	Type: "acme", Version: "1.2.3", Doc: "Keeps the people of Acme.",
	Config: Schema{
		Attributes: map[string]Attribute{"token": {Type: "string", Required: true, Sensitive: true, Doc: "The key."}},
		Blocks: map[string]Block{"proxy": {Doc: "A way out.", Repeated: true, Required: true, Body: Schema{
			Attributes: map[string]Attribute{"url": {Type: "string", Default: `"direct"`, Doc: "Where."}},
		}}},
	},
	Record: Schema{Attributes: map[string]Attribute{"status": {Type: "string", Enum: []string{"on", "off"}, Doc: "What is wanted."}}},
	Limits: Limits{MaxBatch: 5},
}

func TestDescribe(t *testing.T) {
	var out bytes.Buffer
	if err := byHandPlugin.Describe(&out); err != nil {
		t.Fatal(err)
	}
	const want = `acme 1.2.3

Keeps the people of Acme.

config:
  token (string; required; sensitive)
      The key.
  proxy (block, repeated; required)
      A way out.
      url (string; default "direct")
          Where.

record:
  status (string; one of on, off)
      What is wanted.

limits:
  records in a call: 5
`
	if out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
}

// Whoever executes a plugin is told how it is used; the exit code says whether that was asked for.
func TestByHand(t *testing.T) {
	for _, tc := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"", 1, "", "consentd plugin sum plugins.d/consentd-plugin-acme"},
		{"--help", 0, "consentd plugin sum plugins.d/consentd-plugin-acme", ""},
		{"--version", 0, "acme 1.2.3\n", ""},
		{"describe", 0, "token (string; required; sensitive)", ""},
		{"descrbe", 2, "", `"descrbe" is not known`},
	} {
		var stdout, stderr bytes.Buffer
		code := byHandPlugin.byHand(strings.Fields(tc.args), &stdout, &stderr)
		if code != tc.code || !strings.Contains(stdout.String(), tc.stdout) || !strings.Contains(stderr.String(), tc.stderr) ||
			tc.stdout == "" && stdout.Len() > 0 || tc.stderr == "" && stderr.Len() > 0 {
			t.Errorf("%q: exit code %d\nstdout: %s\nstderr: %s", tc.args, code, stdout.String(), stderr.String())
		}
	}
}
