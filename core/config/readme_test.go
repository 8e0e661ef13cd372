package config

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/consentd/consentd/core/rules/eval"
)

// base has what the fragments of the README refer to and do not define.
const base = `
source "dataguard" {
  path        = "/webhooks/dataguard"
  update_type = "effective-permission"
  auth "none" {}
}
target "mailchimp" "newsletter" {
  config {
    api_key = "k"
    list_id = "l"
  }
}
option "newsletter_email" { id = "k3Rmx" }
preference "interests" {}
`

// Every fragment of the README is blocks of the top level, and together with base a configuration
// without a diagnostic. Each is formatted.
func TestReadme(t *testing.T) {
	readme := string(read(t, "README.md"))
	fragments := regexp.MustCompile("(?s)```hcl\n(.*?)```").FindAllStringSubmatch(readme, -1)
	if len(fragments) < 8 || strings.Count(readme, "```") != 2*len(fragments) {
		t.Fatalf("%d fragments", len(fragments))
	}
	dir := t.TempDir()
	certificate(t, dir, "tls")
	for _, name := range []string{"admin.token", "mailchimp.key", "refresh", "client_secret"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x-"+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "store_key"), []byte(strings.Repeat("0f", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	lookup := func(name string) (string, bool) { return dir, name == "CREDENTIALS_DIRECTORY" }
	for _, f := range fragments {
		c, diags := parse(map[string][]byte{"base.hcl": []byte(base), "fragment.hcl": []byte(f[1])}, dir, lookup)
		if !diags.HasErrors() {
			_, diags = c.Bind(types)
		}
		if len(diags) > 0 {
			t.Errorf("%s\nin\n%s", render(diags), f[1])
		}
		if formatted, _ := Format([]byte(f[1]), "fragment.hcl"); !bytes.Equal(formatted, []byte(f[1])) {
			t.Errorf("not formatted; it should be\n%s", formatted)
		}
	}
}

func TestReadmeNamesEveryFunction(t *testing.T) {
	readme := string(read(t, "README.md"))
	list := readme[strings.Index(readme, "### Functions"):strings.Index(readme, "They mean what")]
	var named []string
	for _, m := range regexp.MustCompile("`([a-z0-9]+)`").FindAllStringSubmatch(list, -1) {
		named = append(named, m[1])
	}
	slices.Sort(named)
	if there := slices.Sorted(maps.Keys(eval.Functions())); !slices.Equal(named, there) {
		t.Errorf("named %v\nthere %v", named, there)
	}
}
