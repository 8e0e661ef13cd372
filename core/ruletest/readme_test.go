package ruletest

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestReadmeNamesEverything: every attribute and block that is read stands in the README.
func TestReadmeNamesEverything(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, file := range []string{"load.go", "read.go", "update.go", "expect.go"} {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\.(?:text|texts|value|instant|boolean|oneOf|each|single|expression|reference)\((?:b, )?"([a-z_]+)"`).FindAllStringSubmatch(string(src), -1) {
			count++
			if !strings.Contains(string(readme), "`"+m[1]+"`") && !strings.Contains(string(readme), "`"+m[1]+" \"") {
				t.Errorf("%s of %s is not in the README", m[1], file)
			}
		}
	}
	if count < 30 {
		t.Errorf("only %d names were found", count)
	}
}
