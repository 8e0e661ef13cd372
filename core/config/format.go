package config

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// Format lays a file out the one way: aligned equals signs, two spaces a level. A file that cannot be
// parsed is returned as it is, with what is wrong.
func Format(src []byte, filename string) ([]byte, hcl.Diagnostics) {
	if _, diags := hclsyntax.ParseConfig(src, filename, hcl.InitialPos); diags.HasErrors() {
		return src, inOrder(diags)
	}
	return hclwrite.Format(src), nil
}
