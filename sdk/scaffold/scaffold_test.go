package scaffold

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestCheckType(t *testing.T) {
	for name, near := range map[string]string{
		"acme": "", "a2_b": "",
		"Acme CRM": "such as acme_crm", "acme-crm": "such as acme_crm", "2acme": "such as acme", "ACME!": "such as acme",
		"": "a letter first", "Ä": "a letter first", "../x": "such as x",
	} {
		err := CheckType(name)
		if near == "" && err != nil || near != "" && (err == nil || !strings.HasSuffix(err.Error(), near)) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestCheckModule(t *testing.T) {
	for path, good := range map[string]bool{
		"acme": true, "example.com/team/consentd-plugin-acme": true, "example.com/x/v2": true,
		"": false, "/x": false, "x/": false, "a//b": false, "a b": false, "../x": false, "x\ny": false,
	} {
		if err := CheckModule(path); (err == nil) != good {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// A release is required as it is; nothing of this tree is in the module.
func TestRelease(t *testing.T) {
	dir := t.TempDir()
	p := Plugin{Type: "snow_man", Module: "example.com/snow", Version: "v1.2.3"}
	if err := p.Write(dir); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil || string(mod) != "module example.com/snow\n\ngo 1.26.0\n\nrequire github.com/consentd/consentd v1.2.3\n" {
		t.Errorf("go.mod: %v\n%s", err, mod)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.sum")); err == nil {
		t.Error("there is a go.sum, which can only be of another version")
	}
	count := 0
	err = filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		count++
		text, err := os.ReadFile(name)
		if found := regexp.MustCompile("(?i)acme|sdk/scaffold").Find(text); found != nil {
			t.Errorf("%s still holds %s", name, found)
		}
		return err
	})
	if err != nil || count != 12 {
		t.Errorf("%d files, %v", count, err)
	}
	if info, err := os.Stat(filepath.Join(dir, ".ci/run")); err != nil || info.Mode()&0o100 == 0 {
		t.Errorf(".ci/run cannot be run: %v", err)
	}
}

// What is there already stays, and then nothing else is written.
func TestNothingIsOverwritten(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "target.go")
	if err := os.WriteFile(mine, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := Plugin{Type: "snow", Module: "snow", Version: "v1.2.3"}
	if err := p.Write(dir); err == nil || !strings.Contains(err.Error(), "target.go is there already") {
		t.Errorf("error: %v", err)
	}
	if text, _ := os.ReadFile(mine); string(text) != "mine" {
		t.Errorf("target.go is now %s", text)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("written beside it: %v", entries)
	}
}

// A module cannot ask for an older Go than what it requires.
func TestGoVersion(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil || !strings.Contains(string(mod), "\ngo "+goVersion+"\n") {
		t.Errorf("goVersion %s is not that of go.mod, %v", goVersion, err)
	}
}

func TestQuoted(t *testing.T) {
	for path, want := range map[string]string{"/src/consentd": "/src/consentd", "/my src/it": `"/my src/it"`} {
		if got := quoted(path); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
}
