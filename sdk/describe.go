package sdk

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Describe writes, for a person to read, what the plugin is and what a target's config and a rule's record may
// hold.
func (p Plugin) Describe(w io.Writer) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %s\n\n%s\n", p.Type, p.Version, strings.TrimSpace(p.Doc))
	fmt.Fprintf(&out, "\nconfig:\n")
	p.Config.describe(&out, "  ")
	fmt.Fprintf(&out, "\nrecord:\n")
	p.Record.describe(&out, "  ")
	if l := p.Limits; l != (Limits{}) {
		fmt.Fprintf(&out, "\nlimits:\n")
		if l.MaxBatch > 0 {
			fmt.Fprintf(&out, "  records in a call: %d\n", l.MaxBatch)
		}
		if l.MaxInFlight > 0 {
			fmt.Fprintf(&out, "  calls at once: %d\n", l.MaxInFlight)
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

func (s Schema) describe(out *bytes.Buffer, indent string) {
	for _, name := range slices.Sorted(maps.Keys(s.Attributes)) {
		a := s.Attributes[name]
		notes := []string{a.Type}
		if a.Required {
			notes = append(notes, "required")
		}
		if a.Sensitive {
			notes = append(notes, "sensitive")
		}
		if len(a.Enum) > 0 {
			notes = append(notes, "one of "+strings.Join(a.Enum, ", "))
		}
		if a.Default != "" {
			notes = append(notes, "default "+a.Default)
		}
		fmt.Fprintf(out, "%s%s (%s)\n%s    %s\n", indent, name, strings.Join(notes, "; "), indent, a.Doc)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Blocks)) {
		b := s.Blocks[name]
		note := "block"
		if b.Repeated {
			note = "block, repeated"
		}
		if b.Required {
			note += "; required"
		}
		fmt.Fprintf(out, "%s%s (%s)\n%s    %s\n", indent, name, note, indent, b.Doc)
		b.Body.describe(out, indent+"    ")
	}
}
