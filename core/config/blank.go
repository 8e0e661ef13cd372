package config

import (
	"regexp"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/consentd/consentd/sdk"
)

// Diagnostics show the lines they speak of, and a key that was written out would be shown with them. So
// the copy of the files that diagnostics are written from has the text of secrets blanked, byte for byte.

// secretName is what attributes with secrets in them are called; good enough until the plugins' schemas
// are known, and where a file cannot even be parsed.
var secretName = regexp.MustCompile(`(?i)(keys?|tokens?|secrets?|passwords?|authorization)$`)

// nameless are the blocks that hold no secrets, and whose attributes may well be called key.
var nameless = []string{"rule", "option", "preference"}

// blankSecrets copies a file without the texts that are assigned to secret names.
func blankSecrets(src []byte, filename string) []byte {
	blanked := slices.Clone(src)
	tokens, _ := hclsyntax.LexConfig(src, filename, hcl.InitialPos)
	var block string
	depth, secret := 0, -1 // of brackets of all kinds: now, and where a secret's expression began
	for i, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen:
			depth = max(depth-1, 0)
		case hclsyntax.TokenIdent:
			if depth == 0 && (i == 0 || tokens[i-1].Type == hclsyntax.TokenNewline || tokens[i-1].Type == hclsyntax.TokenComment) {
				block = string(t.Bytes)
			}
		case hclsyntax.TokenEqual, hclsyntax.TokenColon:
			if i > 0 && secret < 0 && secretName.Match(assigned(src, tokens[i-1])) && !slices.Contains(nameless, block) {
				secret = depth
			}
		case hclsyntax.TokenNewline:
			if depth <= secret {
				secret = -1
			}
		case hclsyntax.TokenQuotedLit, hclsyntax.TokenStringLit:
			if secret >= 0 && !namesSecret(tokens[:i]) {
				blank(blanked, t.Range)
			}
		}
		if depth < secret {
			secret = -1
		}
	}
	return blanked
}

// namesSecret is whether what comes next is the first argument of env, file or credential, which is a
// name and not a secret.
func namesSecret(before hclsyntax.Tokens) bool {
	n := len(before)
	if n < 3 || before[n-1].Type != hclsyntax.TokenOQuote || before[n-2].Type != hclsyntax.TokenOParen {
		return false
	}
	call := before[n-3]
	return call.Type == hclsyntax.TokenIdent && slices.Contains(secretFunctions, string(call.Bytes))
}

// assigned is the name before an equals sign: an identifier, or a quoted map key.
func assigned(src []byte, t hclsyntax.Token) []byte {
	switch t.Type {
	case hclsyntax.TokenIdent:
		return t.Bytes
	case hclsyntax.TokenCQuote:
	default:
		return nil
	}
	end := t.Range.Start.Byte
	start := end
	for start > 0 && src[start-1] != '"' && src[start-1] != '\n' {
		start--
	}
	return src[start:end]
}

// blank writes over a range, but for line breaks.
func blank(src []byte, at hcl.Range) {
	for i := at.Start.Byte; i < at.End.Byte && i < len(src); i++ {
		if src[i] != '\n' && src[i] != '\r' {
			src[i] = '*'
		}
	}
}

// blankSensitive blanks what the plugin's schema calls sensitive in a target's config block.
func (c *Config) blankSensitive(t *Target, schema sdk.Schema) {
	file := c.Files[t.Range.Filename]
	if file == nil {
		return
	}
	blankBody(file.Bytes, t.config, schema)
}

func blankBody(src []byte, body *hclsyntax.Body, schema sdk.Schema) {
	for name, a := range body.Attributes {
		if schema.Attributes[name].Sensitive {
			at := a.Expr.Range()
			tokens, _ := hclsyntax.LexExpression(slices.Clone(at.SliceBytes(src)), at.Filename, at.Start)
			for i, t := range tokens {
				if (t.Type == hclsyntax.TokenQuotedLit || t.Type == hclsyntax.TokenStringLit) && !namesSecret(tokens[:i]) {
					blank(src, t.Range)
				}
			}
		}
	}
	for _, b := range body.Blocks {
		blankBody(src, b.Body, schema.Blocks[b.Type].Body)
	}
}
