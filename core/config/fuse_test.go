package config

import "testing"

func TestFuse(t *testing.T) {
	for text, want := range map[string]int{
		"":                            0,
		"fuse {\n}":                   0,
		"fuse {\nmax_grants = 100\n}": 100,
	} {
		c := mustParse(t, text+"\ntarget \"file\" \"a\" {}\ntarget \"file\" \"b\" {\nmax_grants = 7\n}\ntarget \"file\" \"c\" {\nmax_grants = 0\n}\n")
		if c.Targets[0].MaxGrants != want || c.Targets[1].MaxGrants != 7 || c.Targets[2].MaxGrants != 0 {
			t.Errorf("%q: %d, %d, %d", text, c.Targets[0].MaxGrants, c.Targets[1].MaxGrants, c.Targets[2].MaxGrants)
		}
	}
}
