package plugins

import (
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/consentd/consentd/sdk"
)

var (
	typeName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	version  = regexp.MustCompile(`^\d+\.\d+\.\d+$`)
	attrType = regexp.MustCompile(`^(string|number|bool|any|((list|set|map)\((string|number|bool|any)\)))$`)
)

func TestBundled(t *testing.T) {
	var types []string
	for _, p := range Bundled() {
		types = append(types, p.Type)
		if !typeName.MatchString(p.Type) || !version.MatchString(p.Version) || p.Doc == "" || p.New == nil || p.Limits.MaxBatch < 1 {
			t.Errorf("%s: incomplete: %+v", p.Type, p)
		}
		checkSchema(t, p.Type+".config", p.Config)
		checkSchema(t, p.Type+".record", p.Record)
	}
	if !slices.IsSorted(types) || len(slices.Compact(types)) != len(Bundled()) {
		t.Errorf("types %q are not sorted and unique", types)
	}
	for _, s := range Simulators() {
		if !slices.Contains(types, s.Type) || s.New(func(string) {}) == nil {
			t.Errorf("simulator of %q", s.Type)
		}
	}
}

func checkSchema(t *testing.T, at string, s sdk.Schema) {
	t.Helper()
	for name, a := range s.Attributes {
		if !typeName.MatchString(name) || !attrType.MatchString(a.Type) || !strings.HasSuffix(a.Doc, ".") {
			t.Errorf("%s.%s: a name, a type and a sentence are needed: %+v", at, name, a)
		}
		if len(a.Enum) > 0 && a.Type != "string" || a.Required && a.Default != "" {
			t.Errorf("%s.%s: contradicts itself: %+v", at, name, a)
		}
	}
	for name, b := range s.Blocks {
		if b.Doc == "" {
			t.Errorf("%s.%s: no doc", at, name)
		}
		checkSchema(t, at+"."+name, b.Body)
	}
}

// An empty configuration is a mistake that a person can find, never a panic or a target.
func TestEmptyConfig(t *testing.T) {
	for _, p := range Bundled() {
		_, err := p.New(t.Context(), sdk.Config{Target: "x", Fields: json.RawMessage(`{}`)}, hclog.NewNullLogger())
		var mistake *sdk.ConfigError
		if !errors.As(err, &mistake) {
			t.Errorf("%s: %v", p.Type, err)
		}
	}
}
