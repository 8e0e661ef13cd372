package ruletest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Suffix is what test files end with in a directory.
const Suffix = ".test.hcl"

// file is one test file as it was parsed.
type file struct {
	name string
	body *hclsyntax.Body
}

// Find lists the test files that paths stand for: files as they are, and of each directory its *.test.hcl.
func Find(paths []string) ([]string, error) {
	var all []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			all = append(all, path)
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if name := e.Name(); !e.IsDir() && strings.HasSuffix(name, Suffix) && name[0] != '.' {
				all = append(all, filepath.Join(path, name))
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// Load parses test files. The Suite is never nil; when the diagnostics have errors, only its Files may be used.
func Load(names []string) (*Suite, hcl.Diagnostics) {
	s := &Suite{Files: map[string]*hcl.File{}}
	var diags hcl.Diagnostics
	for _, name := range names {
		src, err := os.ReadFile(name)
		if err != nil {
			return s, hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "Test file cannot be read", Detail: err.Error()}}
		}
		if !utf8.Valid(src) || slices.Contains(src, 0) {
			return s, hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "Not a test file",
				Detail: fmt.Sprintf("%q is not UTF-8 text. Name a *%s file, or a directory of them.", name, Suffix)}}
		}
		parsed, more := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
		diags = append(diags, more...)
		s.Files[name] = parsed
		s.parsed = append(s.parsed, &file{name, parsed.Body.(*hclsyntax.Body)})
	}
	return s, diags
}

// Env is getenv, with what the test files say of the environment before what it is.
func (s *Suite) Env(getenv func(string) (string, bool)) (func(string) (string, bool), hcl.Diagnostics) {
	p := newParser()
	env, set := map[string]string{}, map[string]hcl.Range{}
	for _, f := range s.parsed {
		b := &block{p: p, body: f.body, what: top}
		v, at, ok := b.value("env", cty.Map(cty.String))
		if !ok {
			continue
		}
		values := v.AsValueMap()
		for _, name := range slices.Sorted(maps.Keys(values)) {
			if values[name].IsNull() {
				p.report(at, "Wrong value", "The variable %q is null. Write a string, or leave it out.", name)
				continue
			}
			value := values[name].AsString()
			if before, again := env[name]; again && before != value {
				p.report(at, "Two values of one variable", "The variable %q has another value at %s. The configuration is read once for all tests, so write the same in both.", name, place(set[name]))
			}
			env[name], set[name] = value, at
		}
	}
	return func(name string) (string, bool) {
		if value, ok := env[name]; ok {
			return value, true
		}
		return getenv(name)
	}, p.diags
}
