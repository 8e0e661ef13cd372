package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/consentd/consentd/core/rules/eval"
)

const (
	hidden = "(sensitive)"
	// maxFile is far above any key, certificate or template.
	maxFile = 1 << 20
)

// secretFunctions are the functions whose results are secrets.
var secretFunctions = []string{"env", "file", "credential"}

// mark is on every value that env, file and credential gave, and on what is made of it.
type mark struct{}

func (mark) GoString() string { return hidden }

// reveal takes the mark off. It is the only place that does: what comes out of it goes into the Config,
// and nowhere near a diagnostic.
func reveal(v cty.Value) cty.Value {
	v, _ = v.UnmarkDeep()
	return v
}

// Format keeps keys and tokens out of whatever prints a Config.
func (a Auth) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "{auth %s %s}", a.Mode, hidden) }

// Format keeps the sums of the tokens out of whatever prints a Config: one that was not made at random could be
// guessed from its sum.
func (a Admin) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{%s %d %s}", a.Address, len(a.Access), hidden)
}

// Format does the same for one of them.
func (a Access) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "{%s %s %s}", a.Name, a.Role, hidden) }

// Format keeps the keys out of whatever prints a Config.
func (e Encryption) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "{%d keys %s}", len(e.Keys), hidden) }

// Format keeps the plugin's credentials out of whatever prints a Config.
func (t Target) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "{%s %s %s}", t.Type, t.Name, hidden) }

// staticScope is what the static blocks may use: the pure functions and the three that read what the
// process was given.
func staticScope(dir string, getenv func(string) (string, bool)) *eval.Scope {
	functions := eval.Functions()
	functions["env"] = envFunction(getenv)
	functions["file"] = fileFunction(dir)
	functions["credential"] = credentialFunction(getenv)
	return &eval.Scope{
		Context: &hcl.EvalContext{Functions: functions},
		Advice:  staticAdvice,
		Secret:  secretFunctions,
	}
}

func staticAdvice(path, _ []string) string {
	switch path[0] {
	case "citizen", "lookup", "permission", "preference", "permissions", "preferences", "sent_at", "each":
		return "What is known of a citizen can be read in rule blocks only. Write a fixed value."
	case "source", "target":
		return "Only the attributes source and target of a rule block refer to other blocks. Write a fixed value."
	}
	return fmt.Sprintf("If it is meant as text, write it in quotes: %q.", path[0])
}

// argument is a parameter whose value is quoted in errors unless it is sensitive itself.
func argument(name string) function.Parameter {
	return function.Parameter{Name: name, Type: cty.String, AllowMarked: true}
}

func plain(v cty.Value) (value, shown string) {
	shown = hidden
	bare := reveal(v)
	if !v.IsMarked() {
		shown = fmt.Sprintf("%q", bare.AsString())
	}
	return bare.AsString(), shown
}

func sensitive(s string) (cty.Value, error) {
	if !utf8.ValidString(s) {
		return cty.NilVal, errors.New("the value is not UTF-8 text")
	}
	return cty.StringVal(s).Mark(mark{}), nil
}

func envFunction(getenv func(string) (string, bool)) function.Function {
	fallback := argument("default")
	return function.New(&function.Spec{
		Params:   []function.Parameter{argument("name")},
		VarParam: &fallback,
		Type:     function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if len(args) > 2 {
				return cty.NilVal, errors.New("env takes a name and one default at most")
			}
			name, shown := plain(args[0])
			if value, ok := getenv(name); ok {
				return sensitive(value)
			}
			if len(args) == 2 {
				value, _ := plain(args[1])
				return sensitive(value)
			}
			return cty.NilVal, fmt.Errorf("the environment variable %s is not set: set it, or write a default, env(NAME, \"\")", shown)
		},
	})
}

func fileFunction(dir string) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{argument("path")},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			name, shown := plain(args[0])
			text, err := readText(resolve(dir, name))
			if err != nil {
				return cty.NilVal, fmt.Errorf("the file %s cannot be read: %w; a relative path starts at the configuration's directory", shown, err)
			}
			return sensitive(text)
		},
	})
}

func credentialFunction(getenv func(string) (string, bool)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{argument("name")},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			name, shown := plain(args[0])
			dir, ok := getenv("CREDENTIALS_DIRECTORY")
			if !ok || dir == "" {
				return cty.NilVal, errors.New("CREDENTIALS_DIRECTORY is not set: name the credential in the unit with LoadCredential=, or use file or env where systemd does not start the daemon")
			}
			if name == "" || filepath.Base(name) != name || name == ".." {
				return cty.NilVal, fmt.Errorf("the credential %s is not a plain name: write the name that LoadCredential= gives it", shown)
			}
			text, err := readText(filepath.Join(dir, name))
			if err != nil {
				return cty.NilVal, fmt.Errorf("the credential %s cannot be read: %w; name it in the unit with LoadCredential=", shown, err)
			}
			return sensitive(text)
		},
	})
}

// readText reads a small file without the line breaks at its end, which editors add and headers cannot
// hold. Its errors do not name the file.
func readText(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", withoutPath(err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return "", withoutPath(err)
	}
	if len(text) > maxFile {
		return "", errors.New("it is larger than 1 MiB")
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

func withoutPath(err error) error {
	var outer *os.PathError
	if errors.As(err, &outer) {
		return outer.Err
	}
	return err
}

// resolve makes a path that stands in the configuration one from here.
func resolve(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
