package config

import (
	"bytes"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/consentd/consentd/core/rules/eval"
	"github.com/consentd/consentd/sdk"
)

// Diagnostics show the lines they speak of, and a key that was written out would be shown with them. So
// the copy of the files that diagnostics are written from has the text of secrets blanked, byte for byte.

// secretName is what attributes with secrets in them are called; good enough until the plugins' schemas
// are known, and where a file cannot even be parsed.
var secretName = regexp.MustCompile(`(?i)(keys?|tokens?|secrets?|passwords?|authorization|dsn)$`)

// nameless are the blocks that hold no secrets, and whose attributes may well be called key.
var nameless = []string{"rule", "option", "preference"}

// holders are the blocks at the top that do hold secrets.
var holders = []string{"admin", "source", "target", "lookup", "encryption"}

// Blank is a file to write diagnostics from, with secrets blanked.
func Blank(src []byte, filename string) *hcl.File {
	return &hcl.File{Bytes: blankSecrets(src, filename)}
}

// blankSecrets copies a file without what is assigned to secret names. From where a quote or a heredoc
// was not closed nobody knows what is a name and what a value, so nothing is left of the rest.
func blankSecrets(src []byte, filename string) []byte {
	blanked := slices.Clone(src)
	tokens, _ := hclsyntax.LexConfig(src, filename, hcl.InitialPos)
	var block string
	depth, secret := 0, -1 // of brackets of all kinds: now, and where a secret's expression began
	heredoc := -1          // where an open one begins
	for i, t := range tokens {
		begins := false
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen:
			depth = max(depth-1, 0)
		case hclsyntax.TokenIdent:
			first := i == 0 || endsLine(tokens[i-1])
			// After a bracket that was not closed no block is at depth 0 any more.
			next := tokens[i+1].Type
			if first && (depth == 0 || slices.Contains(holders, string(t.Bytes)) && (next == hclsyntax.TokenOQuote || next == hclsyntax.TokenOBrace)) {
				block = string(t.Bytes)
			}
			// The equals sign may be missing.
			begins = (first || tokens[i-1].Type == hclsyntax.TokenOBrace) && secretName.Match(t.Bytes) && next != hclsyntax.TokenOBrace
		case hclsyntax.TokenEqual, hclsyntax.TokenColon:
			begins = i > 0 && secretName.Match(assigned(src, tokens[i-1]))
		case hclsyntax.TokenOHeredoc:
			heredoc = t.Range.Start.Byte
		case hclsyntax.TokenCHeredoc:
			heredoc = -1
		case hclsyntax.TokenQuotedNewline:
			blankWords(blanked[t.Range.Start.Byte:])
			return blanked
		}
		if secret >= 0 && !readable(tokens, i) {
			blank(blanked, t.Range)
		}
		switch {
		case depth < secret, endsLine(t) && depth <= secret:
			secret = -1
		case begins && secret < 0 && !slices.Contains(nameless, block):
			secret = depth
		}
	}
	if heredoc >= 0 {
		blankWords(blanked[heredoc:])
	}
	return blanked
}

func endsLine(t hclsyntax.Token) bool {
	return t.Type == hclsyntax.TokenNewline || t.Type == hclsyntax.TokenComment && bytes.HasSuffix(t.Bytes, []byte{'\n'})
}

// readable is whether a token of a secret's expression may be shown: signs, the language's own words,
// functions, also misspelt ones, and the names that env, file and credential are given.
func readable(tokens hclsyntax.Tokens, i int) bool {
	switch t := tokens[i]; t.Type {
	case hclsyntax.TokenIdent:
		if i+1 < len(tokens) && tokens[i+1].Type == hclsyntax.TokenOParen {
			return eval.Suggest(string(t.Bytes), staticFunctions) != ""
		}
		return slices.Contains(words, string(t.Bytes))
	case hclsyntax.TokenQuotedLit:
		return namesSecret(tokens, i)
	case hclsyntax.TokenStringLit, hclsyntax.TokenNumberLit, hclsyntax.TokenComment, hclsyntax.TokenInvalid, hclsyntax.TokenBadUTF8:
		return false
	}
	return true
}

// isKey is whether a token is a map's key, where the text is known to be well formed.
func isKey(tokens hclsyntax.Tokens, i int) bool {
	if i == 0 || i+1 == len(tokens) || tokens[i].Type != hclsyntax.TokenIdent {
		return false
	}
	before, after := tokens[i-1], tokens[i+1].Type
	return (before.Type == hclsyntax.TokenOBrace || before.Type == hclsyntax.TokenComma || endsLine(before)) &&
		(after == hclsyntax.TokenEqual || after == hclsyntax.TokenColon)
}

// words mean something in expressions of themselves.
var words = []string{"true", "false", "null", "for", "in", "if"}

// staticFunctions are the functions of static blocks; it is never written to.
var staticFunctions = slices.AppendSeq(slices.Clone(secretFunctions), maps.Keys(eval.Functions()))

// namesSecret is whether token i is the whole first argument of env, file or credential, which is a name
// and not a secret.
func namesSecret(tokens hclsyntax.Tokens, i int) bool {
	if i < 3 || i+2 >= len(tokens) || tokens[i-1].Type != hclsyntax.TokenOQuote || tokens[i-2].Type != hclsyntax.TokenOParen ||
		tokens[i+1].Type != hclsyntax.TokenCQuote {
		return false
	}
	if after := tokens[i+2].Type; after != hclsyntax.TokenCParen && after != hclsyntax.TokenComma {
		return false
	}
	call := tokens[i-3]
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

func blankWords(src []byte) {
	for i, b := range src {
		if b > ' ' {
			src[i] = '*'
		}
	}
}

// withhold takes out of diagnostics what is blanked where they point: the unknown name that was meant as
// a secret and lacks its quotes. written are the files as they are, files the blanked ones.
func withhold(diags hcl.Diagnostics, written map[string][]byte, files map[string]*hcl.File) hcl.Diagnostics {
	kept := slices.Clone(diags)
	for i, d := range kept {
		if d.Subject == nil || files[d.Subject.Filename] == nil {
			continue
		}
		before, after := d.Subject.SliceBytes(written[d.Subject.Filename]), d.Subject.SliceBytes(files[d.Subject.Filename].Bytes)
		if bytes.Equal(before, after) {
			continue
		}
		copied := *d
		for _, text := range blanks(before, after) {
			copied.Detail = strings.ReplaceAll(copied.Detail, strconv.Quote(text), hidden)
			if len(text) >= shortest {
				copied.Detail = strings.ReplaceAll(copied.Detail, text, hidden)
			}
		}
		kept[i] = &copied
	}
	return kept
}

// blanks are the runs of a text that are not as they were.
func blanks(before, after []byte) []string {
	var all []string
	for start := 0; start < len(before); start++ {
		end := start
		for end < len(before) && (before[end] != after[end] || end > start && after[end] == '*') {
			end++
		}
		if end > start {
			all = append(all, string(before[start:end]))
			start = end
		}
	}
	return all
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
				if !readable(tokens, i) && !isKey(tokens, i) {
					blank(src, t.Range)
				}
			}
		}
	}
	for _, b := range body.Blocks {
		blankBody(src, b.Body, schema.Blocks[b.Type].Body)
	}
}
