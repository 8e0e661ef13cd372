package config

import (
	"encoding/json"
	"fmt"
	"io"

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

// WriteDiagnostics is the only door through which diagnostics leave the process. As text each comes with
// the line it speaks of and a caret line under it, as JSON they are one object:
//
//	{"valid": false, "error_count": 1, "warning_count": 0, "diagnostics": [{"severity": "error",
//	  "summary": "...", "detail": "...", "range": {"filename": "...",
//	  "start": {"line": 1, "column": 1, "byte": 0}, "end": {...}}}]}
//
// files are Config.Files.
func WriteDiagnostics(w io.Writer, files map[string]*hcl.File, diags hcl.Diagnostics, form Form) error {
	diags = eval.Strip(diags)
	if form.JSON {
		return writeJSON(w, diags)
	}
	return writeText(w, files, diags, form)
}

type jsonReport struct {
	Valid       bool             `json:"valid"`
	Errors      int              `json:"error_count"`
	Warnings    int              `json:"warning_count"`
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

func writeJSON(w io.Writer, diags hcl.Diagnostics) error {
	report := jsonReport{Valid: !diags.HasErrors(), Diagnostics: []jsonDiagnostic{}}
	for _, d := range diags {
		one := jsonDiagnostic{Severity: "error", Summary: d.Summary, Detail: d.Detail}
		if d.Severity == hcl.DiagWarning {
			one.Severity = "warning"
			report.Warnings++
		} else {
			report.Errors++
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
