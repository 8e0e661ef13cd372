package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/consentd/consentd/core/rules"
	"github.com/consentd/consentd/core/rules/eval"
	"github.com/consentd/consentd/sdk"
)

// Schemas are what the plugin of one target type declares.
type Schemas struct {
	Config, Record sdk.Schema
}

// Bind checks what only the plugins can know. It renders every target's config block into Target.Fields
// and compiles the rules; types has the schemas of every target type that can be had. Without errors the
// rules are in the order of the configuration.
func (c *Config) Bind(types map[string]Schemas) ([]*rules.Rule, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	records := map[string]sdk.Schema{}
	for i := range c.Targets {
		t := &c.Targets[i]
		schemas, ok := types[t.Type]
		if !ok {
			at := t.typeRange
			diags = append(diags, &hcl.Diagnostic{
				Severity: hcl.DiagError, Summary: "Unknown target type", Subject: &at,
				Detail: fmt.Sprintf("No plugin serves the type %q. %s If it is a plugin of your own, put consentd-plugin-%s into plugin_dir and pin it with a plugin %q block.",
					t.Type, eval.DidYouMean(t.Type, slices.Collect(maps.Keys(types))), t.Type, t.Type),
			})
			continue
		}
		records[t.Name] = schemas.Record
		c.blankSensitive(t, schemas.Config)
		diags = append(diags, t.render(c.scope, schemas.Config)...)
	}
	var compiled []*rules.Rule
	for _, d := range c.Rules {
		schema, ok := records[d.Target]
		if !ok {
			continue
		}
		r, more := rules.Compile(d, c.Names, schema)
		diags = append(diags, more...)
		if r != nil {
			compiled = append(compiled, r)
		}
	}
	if diags.HasErrors() {
		compiled = nil
	}
	return compiled, inOrder(c.withhold(diags))
}

// Idle warns of a configuration that moves nothing, for want of sources, rules or targets.
func (c *Config) Idle() hcl.Diagnostics {
	var missing []string
	for _, part := range []struct {
		block string
		count int
	}{{"source", len(c.Sources)}, {"rule", len(c.Rules)}, {"target", len(c.Targets)}} {
		if part.count == 0 {
			missing = append(missing, part.block)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return hcl.Diagnostics{{Severity: hcl.DiagWarning, Summary: "Configuration does nothing",
		Detail: fmt.Sprintf("No %s is configured, so no update goes anywhere. Add a block of that kind for each, or name the file or directory that has them.",
			strings.Join(missing, ", no ")),
	}}
}

// render fills Fields.
func (t *Target) render(scope *eval.Scope, schema sdk.Schema) hcl.Diagnostics {
	body, diags := scope.Compile(t.config, t.configRange, schema, fmt.Sprintf("config of target %q", t.Name))
	if diags.HasErrors() {
		return diags
	}
	fields, err := body.Append(nil, scope.Context, func(v cty.Value) cty.Value {
		if v.ContainsMarked() {
			t.secrets = append(t.secrets, plainTexts(reveal(v))...)
		}
		return reveal(v)
	})
	if err != nil {
		at, detail := t.configRange, "Its value cannot be written as JSON."
		if failed := (*eval.Error)(nil); errors.As(err, &failed) {
			at, detail = failed.At, fmt.Sprintf("%q: %s.", failed.Where, failed.What)
		}
		return append(diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Wrong value", Detail: detail, Subject: &at})
	}
	t.Fields = fields
	var values any
	if json.Unmarshal(fields, &values) == nil {
		t.secrets = append(t.secrets, declared(values, schema)...)
	}
	return diags
}
