package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/consentd/consentd/plugins"
	"github.com/consentd/consentd/sdk"
)

// TestTargetsPage holds the reference of the bundled plugins to what they declare.
func TestTargetsPage(t *testing.T) {
	page := targetsPage(plugins.Bundled())
	file := root + "/core/docs/targets.md"
	if *updateScripts {
		if err := os.WriteFile(file, page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(written, page) {
		t.Errorf("core/docs/targets.md is not what the plugins declare (%v). Write it anew: go test ./core/cmd/consentd -run TestTargetsPage -update", err)
	}
}

// TestDescribeIsComplete: what `plugin describe --json` prints is all that a plugin declares, so that a page, a
// form or a linter can be made of it alone.
func TestDescribeIsComplete(t *testing.T) {
	for _, p := range plugins.Bundled() {
		out, err := exec.Command(binary, "plugin", "describe", "--json", p.Type).Output()
		if err != nil {
			t.Errorf("%s: %v", p.Type, err)
			continue
		}
		var described declared
		d := json.NewDecoder(bytes.NewReader(out))
		d.DisallowUnknownFields()
		if err := d.Decode(&described); err != nil {
			t.Errorf("%s: %v", p.Type, err)
			continue
		}
		if got, want := described, declaredBy(p); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is described as\n%+v\nand declares\n%+v", p.Type, got, want)
		}
	}
	// What declaredBy does not know of cannot be missed above.
	for _, s := range []struct {
		of     any
		fields int
	}{{sdk.Plugin{}, 7}, {sdk.Schema{}, 2}, {sdk.Attribute{}, 6}, {sdk.Block{}, 4}, {sdk.Limits{}, 2}} {
		if typ := reflect.TypeOf(s.of); typ.NumField() != s.fields {
			t.Errorf("%v has %d fields; describe it in full, then count it here", typ, typ.NumField())
		}
	}
}

// declared is a plugin's description as it is printed.
type declared struct {
	Type, Version, Doc string
	Config, Record     declaredSchema
	Limits             struct {
		MaxBatch    int `json:"max_batch"`
		MaxInFlight int `json:"max_in_flight"`
	}
}

type declaredSchema struct {
	Attributes map[string]sdk.Attribute
	Blocks     map[string]declaredBlock
}

type declaredBlock struct {
	Doc                string
	Required, Repeated bool
	Body               declaredSchema
}

func declaredBy(p sdk.Plugin) declared {
	d := declared{Type: p.Type, Version: p.Version, Doc: p.Doc, Config: schemaDeclared(p.Config), Record: schemaDeclared(p.Record)}
	d.Limits.MaxBatch, d.Limits.MaxInFlight = p.Limits.MaxBatch, p.Limits.MaxInFlight
	return d
}

func schemaDeclared(s sdk.Schema) declaredSchema {
	d := declaredSchema{map[string]sdk.Attribute{}, map[string]declaredBlock{}}
	maps.Copy(d.Attributes, s.Attributes)
	for name, b := range s.Blocks {
		d.Blocks[name] = declaredBlock{b.Doc, b.Required, b.Repeated, schemaDeclared(b.Body)}
	}
	return d
}

// targetsPage is core/docs/targets.md.
func targetsPage(all []sdk.Plugin) []byte {
	var out bytes.Buffer
	out.WriteString(`# Targets

<!-- Made by TestTargetsPage of core/cmd/consentd of what the plugins declare; it says how to make it anew. -->

Every type of target in the binary: what stands in a target's ` + "`config`" + ` and in a rule's ` + "`record`" + `, and what the plugin does with it.
What every target has besides is in the [configuration's reference](../config/README.md#target-type-name). ` + "`consentd plugin describe TYPE`" + `
prints the same for the version at hand and for plugins of your own, with ` + "`--json`" + ` for programs.

In a record null means "clear", an attribute that is not written means "leave alone", and false is false. *Secret* values are blanked wherever they
could be shown.

| type | records in a call | calls at once | setting it up |
|---|---|---|---|
`)
	for _, p := range all {
		fmt.Fprintf(&out, "| [%s](#%s) | %s | %s | %s |\n", p.Type, p.Type, limit(p.Limits.MaxBatch), limit(p.Limits.MaxInFlight), setUp(p.Type))
	}
	for _, p := range all {
		fmt.Fprintf(&out, "\n## %s\n\n%s\n", p.Type, strings.TrimSpace(p.Doc))
		table(&out, fmt.Sprintf("In `config` of a `target \"%s\"`:", p.Type), p.Config)
		table(&out, "In `record` of its rules:", p.Record)
	}
	return out.Bytes()
}

func limit(n int) string {
	if n == 0 {
		return "any"
	}
	return fmt.Sprint(n)
}

// setUp links to the page about a type, where there is one.
func setUp(typ string) string {
	for _, page := range []string{"examples/" + typ, "plugins/" + typ} {
		if _, err := os.Stat(root + "/" + page + "/README.md"); err == nil {
			return fmt.Sprintf("[%s](../../%s/README.md)", page, page)
		}
	}
	return "for tests of consentd alone"
}

func table(out *bytes.Buffer, title string, s sdk.Schema) {
	fmt.Fprintf(out, "\n%s\n\n| | type | |\n|---|---|---|\n", title)
	rows(out, "", s)
}

func rows(out *bytes.Buffer, within string, s sdk.Schema) {
	row := func(name, typ string, notes []string, doc string) {
		text := strings.Join(strings.Fields(doc), " ")
		if len(notes) > 0 {
			text = strings.Join(notes, "; ") + ". " + text
		}
		fmt.Fprintf(out, "| `%s%s` | %s | %s |\n", within, name, typ, strings.ReplaceAll(text, "|", `\|`))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Attributes)) {
		a := s.Attributes[name]
		var notes []string
		if a.Required {
			notes = append(notes, "**Required**")
		}
		if a.Sensitive {
			notes = append(notes, "*Secret*")
		}
		if len(a.Enum) > 0 {
			notes = append(notes, "One of `"+strings.Join(a.Enum, "`, `")+"`")
		}
		if a.Default != "" {
			notes = append(notes, "By default `"+a.Default+"`")
		}
		row(name, "`"+a.Type+"`", notes, a.Doc)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Blocks)) {
		b := s.Blocks[name]
		var notes []string
		if b.Required {
			notes = append(notes, "**Required**")
		}
		if b.Repeated {
			notes = append(notes, "As often as needed")
		}
		row(name, "block", notes, b.Doc)
		rows(out, within+name+" > ", b.Body)
	}
}
