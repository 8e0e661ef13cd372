package config

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// Format lays a file out the one way: aligned equals signs, two spaces a level. A file that cannot be
// parsed is returned as it is, with what is wrong.
func Format(src []byte, filename string) ([]byte, hcl.Diagnostics) {
	if d := notText(src, filename); d != nil {
		return src, hcl.Diagnostics{d}
	}
	if _, diags := hclsyntax.ParseConfig(src, filename, hcl.InitialPos); diags.HasErrors() {
		files := map[string]*hcl.File{filename: Blank(src, filename)}
		return src, inOrder(withhold(diags, map[string][]byte{filename: src}, files))
	}
	return hclwrite.Format(src), nil
}
