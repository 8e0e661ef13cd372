package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"github.com/consentd/consentd/core/rules/eval"
)

// Form is how diagnostics are written.
type Form struct {
	JSON bool
	// Width wraps text at that many columns; 0 does not wrap.
	Width uint
	Color bool
}

const (
	// maxShown is how many diagnostics are written: what comes after that many is mostly their consequence.
	maxShown = 20
	// maxText bounds a summary or a detail, in runes; names that they quote may be of any length.
	maxText = 1000
)

// WriteDiagnostics is the only door through which diagnostics leave the process. As text each comes with
// the line it speaks of and a caret line under it, as JSON they are one object:
//
//	{"valid": false, "error_count": 1, "warning_count": 0, "omitted_count": 0, "diagnostics": [
//	  {"severity": "error", "summary": "...", "detail": "...", "range": {"filename": "...",
//	  "start": {"line": 1, "column": 1, "byte": 0}, "end": {...}}}]}
//
// At most 20 are written, errors before warnings when there are more; the counts are of all. Control
// characters are written as escapes. files are Config.Files.
func WriteDiagnostics(w io.Writer, files map[string]*hcl.File, diags hcl.Diagnostics, form Form) error {
	shown := mostImportant(diags)
	for _, d := range shown {
		d.Summary, d.Detail = legible(shorten(d.Summary)), legible(shorten(d.Detail))
	}
	if form.JSON {
		return writeJSON(w, diags, shown)
	}
	return writeText(w, files, shown, len(diags)-len(shown), form)
}

// mostImportant copies the diagnostics that are written.
func mostImportant(diags hcl.Diagnostics) hcl.Diagnostics {
	shown := eval.Strip(diags)
	if len(shown) <= maxShown {
		return shown
	}
	slices.SortStableFunc(shown, func(a, b *hcl.Diagnostic) int { return cmp.Compare(a.Severity, b.Severity) })
	return shown[:maxShown]
}

type jsonReport struct {
	Valid       bool             `json:"valid"`
	Errors      int              `json:"error_count"`
	Warnings    int              `json:"warning_count"`
	Omitted     int              `json:"omitted_count"`
	Diagnostics []jsonDiagnostic `json:"diagnostics"`
}

type jsonDiagnostic struct {
	Severity string     `json:"severity"`
	Summary  string     `json:"summary"`
	Detail   string     `json:"detail,omitempty"`
	Range    *jsonRange `json:"range,omitempty"`
}

type jsonRange struct {
	Filename string  `json:"filename"`
	Start    jsonPos `json:"start"`
	End      jsonPos `json:"end"`
}

type jsonPos struct {
	Line   int `json:"line"`
	Column int `json:"column"`
	Byte   int `json:"byte"`
}

func writeJSON(w io.Writer, all, shown hcl.Diagnostics) error {
	report := jsonReport{Valid: !all.HasErrors(), Omitted: len(all) - len(shown), Diagnostics: []jsonDiagnostic{}}
	for _, d := range all {
		if d.Severity == hcl.DiagWarning {
			report.Warnings++
		} else {
			report.Errors++
		}
	}
	for _, d := range shown {
		one := jsonDiagnostic{Severity: "error", Summary: d.Summary, Detail: d.Detail}
		if d.Severity == hcl.DiagWarning {
			one.Severity = "warning"
		}
		if at := d.Subject; at != nil {
			one.Range = &jsonRange{at.Filename, jsonPos(at.Start), jsonPos(at.End)}
		}
		report.Diagnostics = append(report.Diagnostics, one)
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(report); err != nil {
		return fmt.Errorf("write diagnostics: %w", err)
	}
	return nil
}
