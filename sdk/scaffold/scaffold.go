// Package scaffold writes what the author of a plugin starts from. Its source is folder acme, a plugin like any
// other that is built, checked and tested here; writing it under another name is all that this package does. It
// is apart from the command line so that the plugin it writes stands among what it is written against.
package scaffold

import (
	"embed"
	"errors"
	"fmt"
	"go/format"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

//go:embed acme/*.go acme/README.md acme/.gitignore acme/.ci/run acme/fake acme/try/config.hcl acme/try/*.json
var source embed.FS

const (
	module   = "github.com/consentd/consentd"
	original = module + "/sdk/scaffold/acme"
)

// Plugin is what to write.
type Plugin struct {
	// Type is the target type.
	Type string
	// Module is the path of the Go module.
	Module string
	// Version is the release of consentd that the module requires: "v1.2.3". Empty means that of Tree.
	Version string
	// Tree is a folder with consentd's source, to use in the place of a release. It is absolute.
	Tree string
}

var (
	typeName   = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	modulePath = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.~-]*(/[A-Za-z0-9_][A-Za-z0-9_.~-]*)*$`)
	notInNames = regexp.MustCompile(`[^a-z0-9]+`)
)

// CheckType says what to write where a name cannot be a target type.
func CheckType(name string) error {
	if typeName.MatchString(name) {
		return nil
	}
	err := fmt.Errorf("%q is no target type: write lower-case letters, digits and _, and a letter first", name)
	if near := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(name), "_"), "_0123456789"); typeName.MatchString(near) {
		err = fmt.Errorf("%w, such as %s", err, near)
	}
	return err
}

// CheckModule says what to write where a path cannot be that of a module.
func CheckModule(path string) error {
	if !modulePath.MatchString(path) {
		return fmt.Errorf("%q is no module path: write one such as example.com/consentd-plugin-acme", path)
	}
	return nil
}

// CheckTree says what is wrong with a folder that should hold consentd's source.
func CheckTree(dir string) error {
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil || !strings.HasPrefix(string(mod), "module "+module+"\n") {
		return fmt.Errorf("%s is not the source of consentd: there is no go.mod of module %s", dir, module)
	}
	return nil
}

// Write writes the module into dir, which it makes if need be. It overwrites nothing: where a file is there
// already it writes none.
func (p Plugin) Write(dir string) error {
	files, err := p.files()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there already, and nothing is overwritten: name another folder with --dir", filepath.Join(dir, name))
		}
	}
	for name, text := range files {
		target := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o777); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		mode := fs.FileMode(0o666)
		if strings.HasPrefix(text, "#!") {
			mode = 0o777
		}
		if err := os.WriteFile(target, []byte(text), mode); err != nil {
			return fmt.Errorf("write file: %w", err)
		}
	}
	return nil
}

// files are the texts of the module by their names in it.
func (p Plugin) files() (map[string]string, error) {
	title := strings.ReplaceAll(p.Type, "_", " ")
	rename := strings.NewReplacer(
		original, p.Module, "acme", p.Type,
		"Acme", strings.ToUpper(title[:1])+title[1:], "ACME", strings.ToUpper(p.Type))
	files := map[string]string{}
	err := fs.WalkDir(source, "acme", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := source.ReadFile(name)
		if err != nil {
			return err
		}
		text := []byte(rename.Replace(string(data)))
		if path.Ext(name) == ".go" { // another module path sorts elsewhere among the imports
			if text, err = format.Source(text); err != nil {
				return fmt.Errorf("format %s: %w", name, err)
			}
		}
		files[strings.TrimPrefix(name, "acme/")] = string(text)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return files, p.requirements(files)
}

// requirements adds go.mod, and for a source tree its go.sum: with the sums that the tree is built with, nothing
// has to be asked of the network.
func (p Plugin) requirements(files map[string]string) error {
	if p.Tree == "" {
		files["go.mod"] = fmt.Sprintf("module %s\n\ngo %s\n\nrequire %s %s\n", p.Module, goVersion, module, p.Version)
		return nil
	}
	files["go.mod"] = fmt.Sprintf("module %s\n\ngo %s\n\nrequire %s v0.0.0\n\nreplace %[3]s => %s\n", p.Module, goVersion, module, quoted(p.Tree))
	sums, err := os.ReadFile(filepath.Join(p.Tree, "go.sum"))
	if err != nil {
		return fmt.Errorf("read the sums of consentd's own modules: %w", err)
	}
	files["go.sum"] = string(sums)
	return nil
}

// quoted is a path as go.mod takes it.
func quoted(path string) string {
	if strings.ContainsAny(path, " \"'`()[]{},\t\\") {
		return strconv.Quote(path)
	}
	return path
}

// goVersion is that of consentd's go.mod.
const goVersion = "1.26.0"
