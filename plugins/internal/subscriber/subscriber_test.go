package subscriber

import (
	"slices"
	"testing"
)

func TestPolicies(t *testing.T) {
	p := Policies{Never, Force}
	for value, want := range map[string]Resubscribe{"": Never, "never": Never, "force": Force, "confirm": "", "FORCE": ""} {
		if got, err := p.Parse(value); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", value, got, err)
		}
	}
	if a := p.Attribute("Doc."); a.Default != `"never"` || !slices.Equal(a.Enum, []string{"never", "force"}) {
		t.Errorf("%+v", a)
	}
}

func TestIsEmail(t *testing.T) {
	for s, want := range map[string]bool{
		"ann@example.com": true, "o'neill+x@example.com": true,
		"": false, "ann": false, "@example.com": false, "ann@": false, " ann@example.com": false, "ann@example.com\n": false,
	} {
		if IsEmail(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}
