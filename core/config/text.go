package config

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
)

const (
	red, yellow, bold, reset = "\x1b[31m", "\x1b[33m", "\x1b[1m", "\x1b[0m"
)

// writeText writes diagnostics for a person, and how many more there are. HCL's own writer names no column.
func writeText(w io.Writer, files map[string]*hcl.File, diags hcl.Diagnostics, more int, form Form) error {
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
	if more > 0 {
		fmt.Fprintf(out, "... and %d more.\n", more)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write diagnostics: %w", err)
	}
	return nil
}

// writeSnippet writes the place, its first line, and carets below what is meant.
func writeSnippet(out *bufio.Writer, file *hcl.File, at hcl.Range) {
	fmt.Fprintf(out, "  on %s:%d,%d", legible(at.Filename), at.Start.Line, at.Start.Column)
	if file == nil || at.Start.Byte > len(file.Bytes) {
		out.WriteString("\n\n")
		return
	}
	if nav, ok := file.Nav.(interface{ ContextString(int) string }); ok {
		if block := nav.ContextString(at.Start.Byte); block != "" {
			fmt.Fprintf(out, ", in %s", legible(shorten(block)))
		}
	}
	src := file.Bytes
	start := bytes.LastIndexByte(src[:at.Start.Byte], '\n') + 1
	end := len(src)
	if i := bytes.IndexByte(src[at.Start.Byte:], '\n'); i >= 0 {
		end = at.Start.Byte + i
	}
	meantEnd := max(at.Start.Byte, min(at.End.Byte, end))
	before, meant, after := window(string(src[start:at.Start.Byte]), string(src[at.Start.Byte:meantEnd]),
		strings.TrimRight(string(src[meantEnd:end]), "\r"))
	before, meant, after = legible(before), legible(strings.TrimRight(meant, "\r")), legible(after)
	margin := fmt.Sprintf("%4d | ", at.Start.Line)
	fmt.Fprintf(out, ":\n%s%s%s%s\n", margin, before, meant, after)
	blanks := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, before)
	carets := strings.Repeat("^", max(utf8.RuneCountInString(meant), 1))
	fmt.Fprintf(out, "%s| %s%s\n\n", strings.Repeat(" ", len(margin)-2), blanks, carets)
}

const (
	// snippetWidth bounds the line of a snippet, in runes before escapes.
	snippetWidth = 200
	// snippetLead is how much of a longer line is shown before what is meant.
	snippetLead = 60
	ellipsis    = "…"
)

// window cuts a line that is too long to what is around the beginning of what is meant.
func window(before, meant, after string) (string, string, string) {
	b, m, a := []rune(before), []rune(meant), []rune(after)
	if len(b)+len(m)+len(a) <= snippetWidth {
		return before, meant, after
	}
	if len(b) > snippetLead {
		b = b[len(b)-snippetLead:]
		before = ellipsis + string(b)
	}
	left := snippetWidth - len(b)
	if len(m) > left {
		return before, string(m[:left]), ellipsis
	}
	if left -= len(m); len(a) > left {
		after = string(a[:left]) + ellipsis
	}
	return before, meant, after
}

// shorten cuts a text that is longer than anybody reads.
func shorten(text string) string {
	if len(text) <= maxText {
		return text
	}
	if runes := []rune(text); len(runes) > maxText {
		return string(runes[:maxText]) + ellipsis
	}
	return text
}

// legible writes what a terminal would obey, or not show, as Go escapes; tabs and line breaks stay.
func legible(text string) string {
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	if strings.IndexFunc(text, obscure) < 0 {
		return text
	}
	var out strings.Builder
	for _, r := range text {
		if obscure(r) {
			out.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		} else {
			out.WriteRune(r)
		}
	}
	return out.String()
}

func obscure(r rune) bool { return r != '\t' && r != '\n' && !strconv.IsPrint(r) }

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
