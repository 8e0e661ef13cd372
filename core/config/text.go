package config

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
)

const (
	red, yellow, bold, reset = "\x1b[31m", "\x1b[33m", "\x1b[1m", "\x1b[0m"
)

// writeText writes diagnostics for a person. HCL's own writer names no column.
func writeText(w io.Writer, files map[string]*hcl.File, diags hcl.Diagnostics, form Form) error {
	out := bufio.NewWriter(w)
	for _, d := range diags {
		word, color := "Error", red
		if d.Severity == hcl.DiagWarning {
			word, color = "Warning", yellow
		}
		if form.Color {
			fmt.Fprintf(out, "%s%s%s%s: %s%s%s\n\n", bold, color, word, reset, bold, d.Summary, reset)
		} else {
			fmt.Fprintf(out, "%s: %s\n\n", word, d.Summary)
		}
		if d.Subject != nil {
			writeSnippet(out, files[d.Subject.Filename], *d.Subject)
		}
		if d.Detail != "" {
			fmt.Fprintf(out, "%s\n\n", wrap(d.Detail, form.Width))
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write diagnostics: %w", err)
	}
	return nil
}

// writeSnippet writes the place, its first line, and carets below what is meant.
func writeSnippet(out *bufio.Writer, file *hcl.File, at hcl.Range) {
	fmt.Fprintf(out, "  on %s:%d,%d", at.Filename, at.Start.Line, at.Start.Column)
	if file == nil || at.Start.Byte > len(file.Bytes) {
		out.WriteString("\n\n")
		return
	}
	if nav, ok := file.Nav.(interface{ ContextString(int) string }); ok {
		if block := nav.ContextString(at.Start.Byte); block != "" {
			fmt.Fprintf(out, ", in %s", block)
		}
	}
	src := file.Bytes
	start := bytes.LastIndexByte(src[:at.Start.Byte], '\n') + 1
	end := len(src)
	if i := bytes.IndexByte(src[at.Start.Byte:], '\n'); i >= 0 {
		end = at.Start.Byte + i
	}
	line := strings.TrimRight(string(src[start:end]), "\r")
	margin := fmt.Sprintf("%4d | ", at.Start.Line)
	fmt.Fprintf(out, ":\n%s%s\n", margin, line)
	blanks := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, string(src[start:at.Start.Byte]))
	length := utf8.RuneCount(src[at.Start.Byte:max(at.Start.Byte, min(at.End.Byte, start+len(line)))])
	fmt.Fprintf(out, "%s| %s%s\n\n", strings.Repeat(" ", len(margin)-2), blanks, strings.Repeat("^", max(length, 1)))
}

// wrap breaks a text between words, where width is not 0.
func wrap(text string, width uint) string {
	if width == 0 {
		return text
	}
	var out strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
		length := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case column+1+length > int(width):
			out.WriteByte('\n')
			column = 0
		default:
			out.WriteByte(' ')
			column++
		}
		out.WriteString(word)
		column += length
	}
	return out.String()
}
