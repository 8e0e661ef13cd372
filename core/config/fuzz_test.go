package config

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/hashicorp/hcl/v2"
)

// FuzzParse: whatever is written, there is a Config or an error, and the diagnostics can be written.
func FuzzParse(f *testing.F) {
	f.Add(string(read(f, filepath.Join("..", "..", "config.hcl.example"))))
	for _, text := range leaky {
		f.Add(text)
	}
	f.Add("target \"mailchimp\" \"x\" {\n config { api_key = <<E\n${env(\"CPM_KEY\")}\nE\n }\n}\nrule \"r\" { for_each = [for x in [] : x...] }")
	f.Add(inLookup("http", httpURL+httpFields+"auth \"basic\" {\nuser = \"u\"\npassword = env(\"CPM_KEY\")\n}\n"))
	f.Add(inLookup("sql", "driver = \"mysql\"\nargs = [citizen.id]\n"+sqlRest))
	f.Fuzz(func(t *testing.T, text string) {
		c, diags := parseText(text)
		if !diags.HasErrors() {
			var bound hcl.Diagnostics
			_, bound = c.Bind(types)
			diags = append(diags, bound...)
		}
		for _, form := range []Form{{}, {JSON: true}} {
			var out bytes.Buffer
			if err := WriteDiagnostics(&out, c.Files, diags, form); err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(out.Bytes(), []byte("key-secret")) {
				t.Fatalf("a secret is in\n%s", out.String())
			}
		}
		formatted, diags := Format([]byte(text), "main.hcl")
		if diags.HasErrors() {
			return
		}
		if _, diags := Format(formatted, "main.hcl"); diags.HasErrors() {
			t.Fatalf("formatted to what cannot be read:\n%s", formatted)
		}
	})
}

func TestFormat(t *testing.T) {
	got, diags := Format([]byte("log {\nlevel=\"info\"\n  format   = \"json\"\n}\n"), "main.hcl")
	if want := "log {\n  level  = \"info\"\n  format = \"json\"\n}\n"; string(got) != want || len(diags) > 0 {
		t.Errorf("got %s, %s", got, render(diags))
	}
	got, diags = Format([]byte("log {"), "main.hcl")
	if string(got) != "log {" || !diags.HasErrors() || diags[0].Subject.Filename != "main.hcl" {
		t.Errorf("got %s, %s", got, render(diags))
	}
	path := filepath.Join("..", "..", "config.hcl.example")
	if got, _ := Format(read(t, path), path); !bytes.Equal(got, read(t, path)) {
		t.Error("config.hcl.example is not formatted")
	}
}
