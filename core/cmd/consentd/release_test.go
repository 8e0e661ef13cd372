package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// TestRelease makes a release for this machine, twice and from two folders, and looks at what a user gets.
func TestRelease(t *testing.T) {
	look()
	out, err := exec.Command("go", "run", "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0", "version").CombinedOutput()
	if err != nil {
		t.Log(string(out))
	}
	needs(t, "what writes the SBOM", err)
	elsewhere := t.TempDir()
	for _, part := range []string{".ci", "core", "sdk", "plugins"} {
		if err := os.CopyFS(filepath.Join(elsewhere, part), os.DirFS(filepath.Join(root, part))); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range []string{"go.mod", "go.sum", "LICENSE", "README.md"} {
		put(t, elsewhere, part, readFile(t, filepath.Join(root, part)), 0o644)
	}
	const version = "7.8.9-test.1"
	release := func(from string) string {
		t.Helper()
		dist := t.TempDir()
		cmd := exec.Command("bash", filepath.Join(from, ".ci/release"), version, runtime.GOOS+"/"+runtime.GOARCH)
		cmd.Env = append(os.Environ(), "DIST="+dist, "SOURCE_DATE_EPOCH=1700000000")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return dist
	}
	dist, again := release(root), release(elsewhere)
	sums := readFile(t, dist+"/SHA256SUMS")
	if other := readFile(t, again+"/SHA256SUMS"); sums != other || strings.Count(sums, "\n") != 2 {
		t.Errorf("the sums are\n%sand of the same sources elsewhere\n%s", sums, other)
	}
	check := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	check.Dir = dist
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}

	name := "consentd-" + version + "-" + runtime.GOOS + "-" + runtime.GOARCH
	if out, err := exec.Command("tar", "-xzf", dist+"/"+name+".tar.gz", "-C", dist).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for file, has := range map[string]string{
		"LICENSE": "Apache License", "README.md": "consentd", "man/consentd-run.1": version, "LICENSES-OF-MODULES": "Mozilla Public License",
		"completions/consentd.bash": "__start_consentd", "completions/_consentd": "#compdef consentd", "completions/consentd.fish": "complete -c consentd",
	} {
		if !strings.Contains(readFile(t, filepath.Join(dist, name, file)), has) {
			t.Errorf("%s does not have %q", file, has)
		}
	}
	released := filepath.Join(dist, name, "consentd")
	if out, err := exec.Command(released, "version").CombinedOutput(); err != nil || !strings.Contains(string(out), version) {
		t.Errorf("it says %q, %v", out, err)
	}
	info, err := exec.Command("go", "version", "-m", released).Output()
	if err != nil || !bytes.Contains(info, []byte("CGO_ENABLED=0")) || !bytes.Contains(info, []byte("-trimpath=true")) {
		t.Errorf("%v, it was built so:\n%s", err, info)
	}

	var sbom struct {
		Metadata struct {
			Component struct{ Name, Version string }
		}
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal([]byte(readFile(t, dist+"/"+name+".cdx.json")), &sbom); err != nil {
		t.Fatal(err)
	}
	if sbom.Metadata.Component.Version != "v"+version {
		t.Errorf("the SBOM is of %+v", sbom.Metadata.Component)
	}
	listed := map[string]bool{}
	for _, c := range sbom.Components {
		listed[c.Name+" "+c.Version] = true
	}
	licences := readFile(t, filepath.Join(dist, name, "LICENSES-OF-MODULES"))
	modules := regexp.MustCompile(`(?m)^\tdep\t(\S+)\t(\S+)`).FindAllStringSubmatch(string(info), -1)
	for _, m := range modules {
		if !listed[m[1]+" "+m[2]] {
			t.Errorf("the SBOM lacks %s %s", m[1], m[2])
		}
		if !strings.Contains(licences, "\n======== "+m[1]+" "+m[2]+"\n") {
			t.Errorf("the licence of %s is missing", m[1])
		}
	}
	if len(modules) < 20 {
		t.Errorf("it is made of %d modules", len(modules))
	}
}
