package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBeside: a plan reads what lies beside the daemon's own configuration, and relative paths start where they will.
func TestBeside(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	for _, name := range []string{"config.hcl", "next.hcl", "admin.token", "next/a.hcl", "own.conf"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(elsewhere, "next.hcl"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link(filepath.Join(elsewhere, "next.hcl"), "out.hcl")
	link("admin.token", "token.hcl")
	link("next.hcl", "in.hcl")
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, c := range map[string]struct {
		own, path        string
		want, base, fail string
	}{
		"its own":              {at("config.hcl"), "", at("config.hcl"), "", ""},
		"a file beside":        {at("config.hcl"), at("next.hcl"), at("next.hcl"), dir, ""},
		"a link to one":        {at("config.hcl"), at("in.hcl"), at("next.hcl"), dir, ""},
		"a folder":             {at("config.hcl"), at("next"), at("next"), dir, ""},
		"a folder in its own":  {dir, at("next"), at("next"), dir, ""},
		"its own by name":      {at("own.conf"), at("own.conf"), at("own.conf"), dir, ""},
		"elsewhere":            {at("config.hcl"), filepath.Join(elsewhere, "next.hcl"), "", "", "is outside of"},
		"a way round":          {at("next/a.hcl"), at("next/../next.hcl"), "", "", "is outside of"},
		"a link to elsewhere":  {at("config.hcl"), at("out.hcl"), "", "", "is outside of"},
		"a secret":             {at("config.hcl"), at("admin.token"), "", "", "is not called *.hcl"},
		"a link to a secret":   {at("config.hcl"), at("token.hcl"), "", "", "is not called *.hcl"},
		"what is not there":    {at("config.hcl"), at("nowhere.hcl"), "", "", "finds no such file"},
		"its own is not there": {at("nowhere.hcl"), at("next.hcl"), "", "", "find the daemon's own configuration"},
	} {
		got, base, err := beside(c.own, c.path)
		if c.fail != "" {
			if err == nil || !strings.Contains(err.Error(), c.fail) {
				t.Errorf("%s: %q, %v; want %q", name, got, err, c.fail)
			}
			continue
		}
		if err != nil || got != c.want || base != c.base {
			t.Errorf("%s: %q, %q, %v; want %q, %q", name, got, base, err, c.want, c.base)
		}
	}
}
