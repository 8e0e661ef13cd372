package supervise

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/agext/levenshtein"

	"github.com/consentd/consentd/core/config"
)

// externalPrefix begins the name of every external plugin's executable; its type is the rest.
const externalPrefix = "consentd-plugin-"

// typeName is what a type may look like. It ends up in a file name, so it holds no separator.
var typeName = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)

// Program is an executable that serves a target type, and what it may see.
type Program struct {
	Type string
	// Path is absolute.
	Path string
	Args []string
	// Bundled programs are this executable itself and need no pin.
	Bundled bool
	// Pins are SHA-256 sums in hex, one of which the file has at every launch. Never empty for external programs.
	Pins []string
	// Env names the variables of the host's environment that the process sees.
	Env    []string
	Limits Limits
}

// Finder knows which programs there are.
type Finder struct {
	// Bundled are the types that Executable serves when it is called with Args.
	Bundled []string
	// Executable is os.Executable(), save in tests.
	Executable string
	// Args makes the arguments that serve a bundled type. Nil means plugin serve TYPE.
	Args func(typ string) []string
	// Dir holds the external plugins. Empty means none.
	Dir string
	// Plugins is what is configured for them, by type.
	Plugins map[string]config.Plugin
}

// FindError says why there is no program for a type, and what to do.
type FindError struct {
	Summary, Detail string
}

func (e *FindError) Error() string { return e.Summary + ": " + e.Detail }

// What bundled plugins see of the environment without being asked: how to get out of the network, and
// whom to trust there. An external plugin has to be given them by name, since a proxy's address may
// hold a password.
var reachVariables = [...]string{
	"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR",
}

// Find is the program that serves typ. Every error is a *FindError.
func (f Finder) Find(typ string) (Program, error) {
	bundled := slices.Contains(f.Bundled, typ)
	external := f.external(typ)
	switch {
	case bundled && external != "":
		return Program{}, &FindError{
			Summary: fmt.Sprintf("Two plugins of type %q", typ),
			Detail:  fmt.Sprintf("%s is bundled, and %s has the same type. Rename or remove the file.", typ, external),
		}
	case bundled:
		args := []string{"plugin", "serve", typ}
		if f.Args != nil {
			args = f.Args(typ)
		}
		env := append(slices.Clone(reachVariables[:]), f.Plugins[typ].Env...)
		return Program{Type: typ, Path: f.Executable, Args: args, Bundled: true, Env: env, Limits: limitsOf(f.Plugins[typ], false)}, nil
	case external == "":
		return Program{}, f.unknown(typ)
	}
	sum, err := Sum(external)
	if err != nil {
		return Program{}, &FindError{Summary: fmt.Sprintf("Plugin %q cannot be read", typ), Detail: err.Error() + "."}
	}
	pins := f.Plugins[typ].SHA256
	if len(pins) == 0 {
		return Program{}, &FindError{
			Summary: fmt.Sprintf("Plugin %q is not pinned", typ),
			Detail: fmt.Sprintf("An external plugin runs only if its sum is known. `consentd plugin sum %s` prints it; "+
				"if the file is what you mean to run, write\n\nplugin %q {\n  sha256 = [%q]\n}", external, typ, sum),
		}
	}
	if !slices.ContainsFunc(pins, func(pin string) bool { return strings.EqualFold(pin, sum) }) {
		return Program{}, &FindError{
			Summary: fmt.Sprintf("Plugin %q is not the one that is pinned", typ),
			Detail: fmt.Sprintf("%s has the sum %s, which is not in plugin %q > sha256. If you replaced the file, add its sum; "+
				"if you did not, find out who did.", external, sum, typ),
		}
	}
	return Program{Type: typ, Path: external, Pins: pins, Env: f.Plugins[typ].Env, Limits: limitsOf(f.Plugins[typ], true)}, nil
}

// Types are all that there are, sorted.
func (f Finder) Types() []string {
	types := slices.Clone(f.Bundled)
	entries, _ := os.ReadDir(f.Dir) // an absent folder holds no plugins
	for _, e := range entries {
		if typ, ok := strings.CutPrefix(e.Name(), externalPrefix); ok && typeName.MatchString(typ) {
			types = append(types, typ)
		}
	}
	slices.Sort(types)
	return slices.Compact(types)
}

// ExternalType is the type that an executable serves by its name.
func ExternalType(path string) (string, error) {
	typ, found := strings.CutPrefix(filepath.Base(path), externalPrefix)
	if !found || !typeName.MatchString(typ) {
		return "", fmt.Errorf("%s is not named as a plugin is: name it %sTYPE, with the target type it serves", path, externalPrefix)
	}
	return typ, nil
}

// external is the path of the external plugin of that type, or empty.
func (f Finder) external(typ string) string {
	if f.Dir == "" || !typeName.MatchString(typ) {
		return ""
	}
	path, err := filepath.Abs(filepath.Join(f.Dir, externalPrefix+typ))
	if err != nil {
		return ""
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return path
}

func (f Finder) unknown(typ string) error {
	types := f.Types()
	detail := "There is no plugin at all."
	if len(types) > 0 {
		detail = "The types are " + strings.Join(types, ", ") + "."
	}
	if near := nearest(typ, types); near != "" {
		detail += fmt.Sprintf(" Did you mean %q?", near)
	}
	if f.Dir != "" && typeName.MatchString(typ) {
		detail += fmt.Sprintf(" Another one would be the executable %s.", filepath.Join(f.Dir, externalPrefix+typ))
	}
	return &FindError{Summary: fmt.Sprintf("No plugin of type %q", typ), Detail: detail}
}

// nearest is the one that a typo would most likely have meant, or empty.
func nearest(typ string, types []string) string {
	best, distance := "", 3
	for _, t := range types {
		if d := levenshtein.Distance(typ, t, nil); d < distance {
			best, distance = t, d
		}
	}
	return best
}

// Sum is the SHA-256 of an executable file, in hex: what is pinned.
func Sum(path string) (string, error) {
	file, err := openExecutable(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	return sumOf(file)
}

func openExecutable(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	if info.Mode()&0o111 == 0 {
		return nil, fmt.Errorf("%s is not executable (chmod +x)", path)
	}
	return os.Open(path)
}

func sumOf(file *os.File) (string, error) {
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// open opens the program, and holds what it opened to its pins. To be executed is the open file, which nobody
// can exchange under its name any more; who may write into it in place still can, so plugin_dir is to be
// writable by root alone. The path is without links.
func (p Program) open() (file *os.File, path string, err error) {
	if path, err = filepath.EvalSymlinks(p.Path); err != nil {
		return nil, "", err
	}
	if file, err = openExecutable(path); err != nil || p.Bundled {
		return file, path, err
	}
	sum, err := sumOf(file)
	if err == nil && !slices.ContainsFunc(p.Pins, func(pin string) bool { return strings.EqualFold(pin, sum) }) {
		err = fmt.Errorf("plugin %s is not the one that is pinned", p.Type)
	}
	if err != nil {
		file.Close()
		return nil, "", err
	}
	return file, path, nil
}
