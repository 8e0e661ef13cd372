package eval

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// Suggest is the known name that given was most likely meant to be, or "" if none is near.
func Suggest(given string, known []string) string {
	if given == "" {
		return ""
	}
	limit := 1
	switch {
	case len(given) > 6:
		limit = 3
	case len(given) > 3:
		limit = 2
	}
	best, nearest := "", limit+1
	for _, name := range slices.Sorted(slices.Values(known)) {
		if d := distance(fold(given), fold(name)); d < nearest && d < max(len(given), len(name)) {
			best, nearest = name, d
		}
	}
	if best != "" || len(given) < 3 {
		return best
	}
	for _, name := range slices.Sorted(slices.Values(known)) {
		if strings.HasPrefix(fold(name), fold(given)) || strings.HasPrefix(fold(given), fold(name)) && len(name) > 2 {
			return name
		}
	}
	return ""
}

// distance is how many letters differ; two neighbours that changed places are one mistake.
func distance(a, b string) int {
	if len(a) == len(b) {
		for i := 0; i+1 < len(a); i++ {
			if a[i] != b[i] {
				if a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:] {
					return 1
				}
				break
			}
		}
	}
	return levenshtein.Distance(a, b, nil)
}

func fold(name string) string {
	return strings.ReplaceAll(strings.ToLower(name), "-", "_")
}

// DidYouMean is a sentence that says what to write instead of given: the nearest of the known names,
// or else all of them. It is empty when nothing is known.
func DidYouMean(given string, known []string) string {
	if s := Suggest(given, known); s != "" {
		return fmt.Sprintf("Did you mean %q?", s)
	}
	return Known(known)
}

// mostNames is how many names a sentence can hold and still be read.
const mostNames = 24

// Known is a sentence that lists what may stand here. It is empty when nothing is known.
func Known(names []string) string {
	if len(names) == 0 {
		return ""
	}
	if len(names) > mostNames {
		return ""
	}
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = fmt.Sprintf("%q", name)
	}
	slices.Sort(quoted)
	if len(quoted) == 1 {
		return "Write " + quoted[0] + "."
	}
	last := len(quoted) - 1
	return "Write one of " + strings.Join(quoted[:last], ", ") + " or " + quoted[last] + "."
}
