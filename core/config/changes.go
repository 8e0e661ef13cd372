package config

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Change is one block or attribute of the top level that two configurations do not have alike.
type Change struct {
	// Block is its header, such as target "mailchimp" "newsletter", or an attribute's name.
	Block string `json:"block"`
	// What became of it: added, removed or changed.
	What string `json:"what"`
	// Note is what else there is to say of it. It holds no value.
	Note string `json:"note,omitempty"`
}

// Changes are what is otherwise in another configuration. Comments and layout make no difference, and neither does the order
// of blocks or the file that they stand in. Both are bound. No value is in what it says.
func (c *Config) Changes(to *Config) []Change {
	before, after := c.texts(), to.texts()
	names := maps.Clone(before)
	maps.Copy(names, after)
	changed := map[string]Change{}
	for name := range names {
		_, was := before[name]
		_, is := after[name]
		switch {
		case !was:
			changed[name] = Change{Block: name, What: "added"}
		case !is:
			changed[name] = Change{Block: name, What: "removed"}
		case before[name] != after[name]:
			changed[name] = Change{Block: name, What: "changed"}
		}
	}
	// The texts have the secrets blanked, and name variables and files without what they hold.
	for _, t := range to.Targets {
		name := named("target", t.Type, t.Name)
		for _, b := range c.Targets {
			if b.Name == t.Name && b.Type == t.Type && !bytes.Equal(b.Fields, t.Fields) {
				changed[name] = Change{Block: name, What: "changed", Note: "its config comes to something else, so what it holds is not known and is sent again"}
			}
		}
	}
	for _, s := range to.Sources {
		name := named("source", s.Name)
		for _, b := range c.Sources {
			if _, known := changed[name]; !known && b.Name == s.Name && !reflect.DeepEqual(b, s) {
				changed[name] = Change{Block: name, What: "changed", Note: "what it takes from elsewhere, such as its credentials"}
			}
		}
	}
	var all []Change
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		all = append(all, changed[name])
	}
	return all
}

// texts are the blocks and attributes of the top level, by header: their tokens, without comments and line ends.
func (c *Config) texts() map[string]string {
	all := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Files)) {
		file := c.Files[name]
		body, ok := file.Body.(*hclsyntax.Body)
		if !ok {
			continue
		}
		for _, b := range body.Blocks {
			all[named(b.Type, b.Labels...)] = tokensOf(b.Range().SliceBytes(file.Bytes), name)
		}
		for _, a := range body.Attributes {
			all[a.Name] = tokensOf(a.Range().SliceBytes(file.Bytes), name)
		}
	}
	return all
}

func tokensOf(src []byte, filename string) string {
	tokens, _ := hclsyntax.LexConfig(src, filename, hcl.InitialPos)
	var text strings.Builder
	for _, t := range tokens {
		if t.Type != hclsyntax.TokenComment && t.Type != hclsyntax.TokenNewline {
			text.Write(t.Bytes)
			text.WriteByte(' ')
		}
	}
	return text.String()
}

func named(block string, labels ...string) string {
	for _, l := range labels {
		block += fmt.Sprintf(" %q", l)
	}
	return block
}
