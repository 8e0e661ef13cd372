package supervise

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/consentd/consentd/core/config"
	"github.com/consentd/consentd/sdk"
)

// external makes this test binary the plugin of a type in a folder of its own.
func external(t *testing.T, typ string) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, externalPrefix+typ)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, path
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"acme": 0o700, "mailchimp": 0o700, "plain": 0o600} {
		if err := os.WriteFile(filepath.Join(dir, externalPrefix+name), []byte("x"), mode); err != nil {
			t.Fatal(err)
		}
	}
	sum := "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" // of "x"
	f := Finder{
		Bundled: []string{"webhook", "mailchimp", "file"}, Executable: "/bin/consentd", Dir: dir,
		Plugins: map[string]config.Plugin{},
	}
	if got := f.Types(); !slices.Equal(got, []string{"acme", "file", "mailchimp", "plain", "webhook"}) {
		t.Errorf("types %v", got)
	}

	for _, c := range []struct {
		typ  string
		pins []string
		want string // in the error; empty for none
	}{
		{"file", nil, ""},
		{"acme", []string{sum}, ""},
		{"acme", []string{strings.Repeat("0", 64), strings.ToUpper(sum)}, ""},
		{"acme", nil, "consentd plugin sum " + filepath.Join(dir, "consentd-plugin-acme")},
		{"acme", nil, `sha256 = ["` + sum + `"]`},
		{"acme", []string{strings.Repeat("0", 64)}, "has the sum " + sum},
		{"mailchimp", nil, "is bundled, and"},
		{"plain", []string{sum}, "chmod +x"},
		{"webhok", nil, `The types are acme, file, mailchimp, plain, webhook. Did you mean "webhook"?`},
		{"salesforce", nil, "consentd-plugin-salesforce"},
		{"../../bin/sh", nil, `No plugin of type "../../bin/sh"`},
	} {
		f.Plugins["acme"] = config.Plugin{SHA256: c.pins}
		f.Plugins["plain"] = config.Plugin{SHA256: c.pins}
		program, err := f.Find(c.typ)
		var why *FindError
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.typ, err)
		case c.want == "" && program.Type != c.typ:
			t.Errorf("%s: %+v", c.typ, program)
		case c.want != "" && (!errors.As(err, &why) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v, want %q", c.typ, err, c.want)
		}
	}
}

func TestFindWhatIsSeen(t *testing.T) {
	f := Finder{
		Bundled: []string{"file"}, Executable: "/bin/consentd",
		Plugins: map[string]config.Plugin{"file": {Env: []string{"EXTRA"}}},
	}
	program, err := f.Find("file")
	if err != nil || program.Path != "/bin/consentd" || !slices.Equal(program.Args, []string{"plugin", "serve", "file"}) {
		t.Fatalf("%+v, %v", program, err)
	}
	if !slices.Contains(program.Env, "NO_PROXY") || !slices.Contains(program.Env, "EXTRA") {
		t.Errorf("env %v", program.Env)
	}
}

// An external plugin works when pinned, and is not launched again when its file changes meanwhile.
func TestExternal(t *testing.T) {
	dir, path := external(t, "acme")
	sum, err := Sum(path)
	if err != nil {
		t.Fatal(err)
	}
	// A link is followed once: what is verified is what runs.
	if err := os.Rename(path, path+".real"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path+".real", path); err != nil {
		t.Fatal(err)
	}
	f := Finder{Dir: dir, Plugins: map[string]config.Plugin{"acme": {SHA256: []string{strings.Repeat("0", 64), sum}}}}
	program, err := f.Find("acme")
	if err != nil {
		t.Fatal(err)
	}
	if program.Bundled || len(program.Env) > 0 {
		t.Errorf("program %+v", program)
	}
	s, log := spec(t, "chaos", `{}`)
	// TestMain takes the type from the name of the file that runs.
	program.Type = "acme.real"
	s.Program = program
	target := start(t, s)
	kill := func() { syscall.Kill(target.Status().Pid, syscall.SIGKILL) }
	kill()
	eventually(t, "it is launched again", func() bool { return target.Status().Restarts == 1 })
	awaitReady(t, target)

	if err := os.Rename(path+".real", path+".old"); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path + ".old")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".real", append(data, 0), 0o700); err != nil {
		t.Fatal(err)
	}
	kill()
	eventually(t, "it is refused", func() bool { return strings.Contains(log.String(), "is not the one that is pinned") })
	if _, err := target.Deliver(t.Context(), []sdk.Record{record("a", "")}); !errors.Is(err, ErrDown) {
		t.Errorf("error %v", err)
	}
}
