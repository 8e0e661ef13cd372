package ruletest

import (
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

// FuzzRead: whatever stands in a test file, it is read and run or refused, and refusals have a place.
func FuzzRead(f *testing.F) {
	examples, err := filepath.Glob("../../examples/*/*.test.hcl")
	if err != nil || len(examples) == 0 {
		f.Fatalf("examples: %q, %v", examples, err)
	}
	for _, name := range examples {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("test \"it\" {" + granted + "golden = \"x\"\nexpect \"main\" { error = \"(\" }\n}")
	f.Add("source = source.deltas\nlookup \"crm\" {}\ntest \"it\" {\nupdate { body = \"{\" }\nexpect { outcome = \"quarantined\" }\n}")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		s, diags := load(t, dir, text)
		for _, d := range diags {
			if d.Subject == nil && d.Summary != "Not a test file" {
				t.Errorf("no place: %v", d)
			}
		}
		if !diags.HasErrors() {
			s.Run(Options{Update: true})
		}
	})
}

// genTree draws JSON as tree decodes it.
func genTree(depth int) *rapid.Generator[any] {
	plain := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.StringMatching(`[a/~"é]{0,3}`).AsAny(),
	}
	if depth == 0 {
		return rapid.OneOf(plain...)
	}
	return rapid.OneOf(append(plain,
		rapid.SliceOfN(genTree(depth-1), 0, 3).AsAny(),
		rapid.Map(rapid.MapOfN(rapid.StringMatching(`[a/~]{1,2}`), genTree(depth-1), 0, 3), func(m map[string]any) any { return m }),
	)...)
}

// TestCompareFindsWhatDiffers: two trees have no difference exactly when they are written alike.
func TestCompareFindsWhatDiffers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := encode(genTree(3).Draw(t, "a")), encode(genTree(3).Draw(t, "b"))
		if rapid.Bool().Draw(t, "same") {
			b = a
		}
		found, err := compare(a, b)
		if err != nil || (len(found) == 0) != (string(a) == string(b)) {
			t.Fatalf("%s and %s: %v, %v", a, b, found, err)
		}
	})
}
