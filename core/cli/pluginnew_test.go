package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOriginOfNewPlugin: a release is required by its version, a development build by the folder it came from.
func TestOriginOfNewPlugin(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		version string
		args    []string
		code    int
		want    string // in go.mod, or said
	}{
		{"1.2.3", nil, 0, "\nrequire github.com/consentd/consentd v1.2.3\n"},
		{"v1.2.3", nil, 0, "\nrequire github.com/consentd/consentd v1.2.3\n"},
		{"1.2.3", []string{"--consentd", root}, 0, "\nreplace github.com/consentd/consentd => " + root + "\n"},
		{"0.1.0-dev", []string{"--consentd", root}, 0, "\nreplace github.com/consentd/consentd => " + root + "\n"},
		{"0.1.0-dev", []string{"--consentd", "../../sdk"}, 2, "is not the source of consentd"},
	} {
		dir := filepath.Join(t.TempDir(), "new")
		var out, errOut bytes.Buffer
		a := &App{Version: tc.version, Stdout: &out, Stderr: &errOut}
		code := a.Main(t.Context(), append([]string{"plugin", "new", "acme", "--dir", dir}, tc.args...))
		mod, _ := os.ReadFile(filepath.Join(dir, "go.mod"))
		if code != tc.code || !strings.Contains(string(mod)+errOut.String(), tc.want) {
			t.Errorf("%s %v: exit code %d, %s\n%s", tc.version, tc.args, code, errOut.String(), mod)
		}
	}
}
