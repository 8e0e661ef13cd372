package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestExampleMappings says what each vendor's example makes of a grant and of the withdrawal after it, in
// testdata/examples. -update writes that anew, to be read before it is committed.
func TestExampleMappings(t *testing.T) {
	look()
	for _, vendor := range []string{"braze", "brevo", "dataverse", "hubspot", "klaviyo", "mailchimp", "marketo", "salesforce"} {
		t.Run(vendor, func(t *testing.T) {
			config := filepath.Join(root, "examples", vendor, "config.hcl")
			text, err := os.ReadFile(config)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			for _, update := range []string{"grant", "withdrawal"} {
				cmd := exec.Command(binary, "explain", "--config", config, "--source", "dataguard", filepath.Join("testdata", "examples", update+".json"))
				cmd.Env = os.Environ()
				for _, m := range regexp.MustCompile(`env\("([A-Z_]+)"`).FindAllStringSubmatch(string(text), -1) {
					cmd.Env = append(cmd.Env, m[1]+"="+secretFor(m[1]))
				}
				var errors bytes.Buffer
				cmd.Stderr = &errors
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("explain %s: %v\n%s", update, err, errors.String())
				}
				fmt.Fprintf(&got, "== %s\n%s", update, out)
			}
			golden := filepath.Join("testdata", "examples", vendor+".golden")
			if *updateScripts {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("got\n%s\nwant\n%s", got.String(), want)
			}
		})
	}
}
