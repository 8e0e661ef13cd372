package eval

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
)

// Strip copies diagnostics without the expression and the context they came from. HCL's own writer
// prints the values of both.
func Strip(diags hcl.Diagnostics) hcl.Diagnostics {
	if diags == nil {
		return nil
	}
	stripped := make(hcl.Diagnostics, len(diags))
	for i, d := range diags {
		stripped[i] = &hcl.Diagnostic{
			Severity: d.Severity, Summary: d.Summary, Detail: d.Detail, Subject: d.Subject, Context: d.Context,
		}
	}
	return stripped
}

func problem(at hcl.Range, summary, format string, args ...any) *hcl.Diagnostic {
	return &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(format, args...), Subject: &at,
	}
}

// Error is a failure at run time. It names the place in the configuration and holds no value.
type Error struct {
	At hcl.Range
	// Where is the attribute, with the blocks it stands in: "auth.token", "when".
	Where string
	// What went wrong, from a closed vocabulary.
	What string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d,%d: %s: %s", e.At.Filename, e.At.Start.Line, e.At.Start.Column, e.Where, e.What)
}

// Failed makes an Error of HCL's diagnostics. It keeps the place and the summary, which is a fixed
// phrase, and drops the detail, which may quote a value.
func Failed(where string, expr hcl.Expression, diags hcl.Diagnostics) error {
	for _, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		at := expr.Range()
		if d.Subject != nil {
			at = *d.Subject
		}
		return &Error{At: at, Where: where, What: lowerFirst(d.Summary)}
	}
	return nil
}

func lowerFirst(s string) string {
	if s == "" || s[0] < 'A' || s[0] > 'Z' {
		return s
	}
	return string(s[0]+'a'-'A') + s[1:]
}

// unique drops diagnostics that say the same of the same place.
func unique(diags hcl.Diagnostics) hcl.Diagnostics {
	type key struct{ at, summary string }
	seen := map[key]bool{}
	var kept hcl.Diagnostics
	for _, d := range diags {
		k := key{summary: d.Summary}
		if d.Subject != nil {
			k.at = d.Subject.String()
		}
		if !seen[k] {
			seen[k] = true
			kept = append(kept, d)
		}
	}
	return kept
}
