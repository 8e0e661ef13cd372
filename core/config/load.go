package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/consentd/consentd/core/rules/eval"
)

// top is the outermost level in sentences.
const top = "the configuration"

// Load reads a file, or every *.hcl file of a directory in the order of their names; *.test.hcl files
// are tests and not read. Relative paths in it start at that directory, or the file's. getenv is
// os.LookupEnv.
//
// The Config is never nil. When the diagnostics have errors, only its Files may be used, to write them.
func Load(path string, getenv func(string) (string, bool)) (*Config, hcl.Diagnostics) {
	return LoadAs(path, "", getenv)
}

// LoadAs is Load of what is to stand at another place: relative paths start at dir, unless that is empty.
func LoadAs(path, dir string, getenv func(string) (string, bool)) (*Config, hcl.Diagnostics) {
	none := &Config{Files: map[string]*hcl.File{}}
	info, err := os.Stat(path)
	if err != nil {
		return none, unreadable(path, err)
	}
	own, names := filepath.Dir(path), []string{path}
	if info.IsDir() {
		own = path
		if names, err = hclFiles(path); err != nil {
			return none, unreadable(path, err)
		}
		if len(names) == 0 {
			return none, hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "No configuration in the directory",
				Detail: fmt.Sprintf("The directory %q holds no *.hcl file. Put one there, or name a file.", path)}}
		}
	}
	files := map[string][]byte{}
	for _, name := range names {
		if files[name], err = os.ReadFile(name); err != nil {
			return none, unreadable(name, err)
		}
	}
	if dir == "" {
		dir = own
	}
	return parse(files, dir, getenv)
}

func hclFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if name := e.Name(); !e.IsDir() && filepath.Ext(name) == ".hcl" && !strings.HasSuffix(name, ".test.hcl") && name[0] != '.' {
			names = append(names, filepath.Join(dir, name))
		}
	}
	return names, nil
}

func unreadable(path string, err error) hcl.Diagnostics {
	return hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "Configuration cannot be read",
		Detail: fmt.Sprintf("%q: %v. Name a file or a directory of *.hcl files that this user may read.", path, withoutPath(err))}}
}

// Parse is Load for files that are in memory, by name. Relative paths in them start at the working
// directory.
func Parse(files map[string][]byte, getenv func(string) (string, bool)) (*Config, hcl.Diagnostics) {
	return parse(files, "", getenv)
}

func parse(files map[string][]byte, dir string, getenv func(string) (string, bool)) (*Config, hcl.Diagnostics) {
	p := &parser{dir: dir, scope: staticScope(dir, getenv), seen: map[string]hcl.Range{}}
	c := &Config{Files: map[string]*hcl.File{}, scope: p.scope}
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		if d := notText(files[name], name); d != nil {
			return c, hcl.Diagnostics{d}
		}
	}
	hash := sha256.New()
	var bodies []*hclsyntax.Body
	for _, name := range names {
		hash.Write(files[name])
		file, diags := hclsyntax.ParseConfig(files[name], name, hcl.InitialPos)
		p.diags = append(p.diags, diags...)
		bodies = append(bodies, file.Body.(*hclsyntax.Body))
		c.Files[name] = Blank(files[name], name)
		c.Files[name].Body, c.Files[name].Nav = file.Body, file.Nav
	}
	c.withhold = func(diags hcl.Diagnostics) hcl.Diagnostics { return withhold(diags, files, c.Files) }
	c.Hash = hex.EncodeToString(hash.Sum(nil))
	if !p.diags.HasErrors() {
		p.config(c, p.merge(bodies))
	}
	diags := inOrder(c.withhold(p.diags))
	if diags.HasErrors() {
		c = &Config{Files: c.Files}
	}
	return c, diags
}

// notText is the one thing to say of a file that is no text, such as an executable; nil of any other.
func notText(src []byte, name string) *hcl.Diagnostic {
	d := &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Not a configuration"}
	if bytes.IndexByte(src, 0) >= 0 {
		d.Detail = fmt.Sprintf("%q is no HCL file: it holds NUL bytes. Name a *.hcl file, or a directory of them.", name)
		return d
	}
	if !utf8.Valid(src) {
		line := 1
		for rest := src; len(rest) > 0; {
			r, size := utf8.DecodeRune(rest)
			if r == utf8.RuneError && size == 1 {
				break
			}
			if r == '\n' {
				line++
			}
			rest = rest[size:]
		}
		d.Detail = fmt.Sprintf("%q is no HCL file: line %d is not UTF-8 text. Name a *.hcl file, or a directory of them; if this is one, save it as UTF-8.", name, line)
		return d
	}
	return nil
}

// parser holds what reading a whole configuration shares.
type parser struct {
	dir   string
	scope *eval.Scope
	diags hcl.Diagnostics
	// seen is where each thing that may be there once was first, by kind and name.
	seen map[string]hcl.Range
}

func (p *parser) report(at hcl.Range, summary, format string, args ...any) {
	p.diags = append(p.diags, &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(format, args...), Subject: &at,
	})
}

// first is whether nothing of that kind had the name before; otherwise it reports both places.
func (p *parser) first(kind, name string, at hcl.Range) bool {
	before, again := p.seen[kind+" "+name]
	if again {
		p.report(at, "Same "+kind+" twice", "The %s %q is already at %s. Give this one another, or remove one of the two.", kind, name, place(before))
		return false
	}
	p.seen[kind+" "+name] = at
	return true
}

// merge makes one body of all files. Blocks that stand twice are found by those who read them.
func (p *parser) merge(bodies []*hclsyntax.Body) *hclsyntax.Body {
	all := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}}
	for _, b := range bodies {
		for _, name := range slices.Sorted(maps.Keys(b.Attributes)) {
			if p.first("attribute", name, b.Attributes[name].NameRange) {
				all.Attributes[name] = b.Attributes[name]
			}
		}
		all.Blocks = append(all.Blocks, b.Blocks...)
	}
	return all
}

// inOrder puts diagnostics in the order of their places.
func inOrder(diags hcl.Diagnostics) hcl.Diagnostics {
	sorted := slices.Clone(diags)
	slices.SortStableFunc(sorted, func(a, b *hcl.Diagnostic) int {
		switch {
		case a.Subject == nil || b.Subject == nil:
			return 0
		case a.Subject.Filename != b.Subject.Filename:
			return strings.Compare(a.Subject.Filename, b.Subject.Filename)
		}
		return a.Subject.Start.Byte - b.Subject.Start.Byte
	})
	return sorted
}
