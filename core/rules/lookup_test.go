package rules

import (
	"slices"
	"testing"
)

// TestLookups: a rule asks for what it reads and nothing else, and for nobody of whom it has nothing to say.
func TestLookups(t *testing.T) {
	for _, c := range []struct {
		rule        string
		reads, asks []string
	}{
		{"record {\n" + `email = citizen.external_ref` + "\n}", nil, nil},
		{"record {\n" + `email = lookup.crm.email` + "\n}", []string{"crm"}, []string{"crm"}},
		{"record {\n" + `email = "${lookup.crm.email}${lookup.list["email"]}"` + "\n}", []string{"crm", "list"}, []string{"crm", "list"}},
		{"record {\n" + `email = join("", [for name, fields in lookup : fields.email])` + "\n}", []string{"crm", "list"}, []string{"crm", "list"}},
		{"when = false\nrecord {\nemail = lookup.crm.email\n}", []string{"crm"}, nil},
		{"when = true\nrecord {\nemail = lookup.crm.email\n}", []string{"crm"}, []string{"crm"}},
		{"when = lookup.list.email != null\nrecord {\nemail = \"x\"\n}", []string{"list"}, []string{"list"}},
	} {
		r := compile(t, c.rule, contact)
		reads, asks := slices.Sorted(slices.Values(r.Reads())), slices.Sorted(slices.Values(r.Lookups("dataguard", full(), now)))
		if !slices.Equal(reads, c.reads) || !slices.Equal(asks, c.asks) {
			t.Errorf("%s: reads %q, asks %q; want %q, %q", c.rule, reads, asks, c.reads, c.asks)
		}
	}
}
