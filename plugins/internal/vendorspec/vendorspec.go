// Package vendorspec holds a plugin and its simulator to the vendor's own description of the API
// (OpenAPI 3 or 2), so that the two cannot agree with each other and be wrong together. Only tests import
// it. It is apart from the plugins because every vendor that describes its API is checked alike.
package vendorspec

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi2conv"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// ErrAbsent means that the vendors' descriptions are not on this machine. They are not part of the
// repository: their licences do not allow it.
var ErrAbsent = errors.New("the vendors' API descriptions are not here: set CONSENTD_SHARED to the folder that holds vendor-specs")

// Spec is one vendor's description.
type Spec struct {
	router routers.Router
}

// Load reads vendor-specs/FILE below $CONSENTD_SHARED, or below a folder named shared beside a parent
// of the working directory. The API is taken to start at base ("/3.0") on every host. Vendors leave
// their objects open; here an object with named properties takes no others, so that a misspelt name
// is found.
func Load(file, base string) (*Spec, error) {
	dir, err := shared()
	if err != nil {
		return nil, err
	}
	doc, err := read(filepath.Join(dir, "vendor-specs", filepath.FromSlash(file)))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	doc.Servers = openapi3.Servers{{URL: base}}
	closeObjects(doc)
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("route %s: %w", file, err)
	}
	return &Spec{router: router}, nil
}

// version2 is how a description in OpenAPI 2 tells that it is one.
var version2 = regexp.MustCompile(`(?m)^[\s{]*"?swagger"?\s*:`)

func read(path string) (*openapi3.T, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if !version2.Match(data) {
		return openapi3.NewLoader().LoadFromFile(path)
	}
	var old openapi2.T
	if err := openapi2.UnmarshalFromData(data, &old); err != nil {
		return nil, err
	}
	for _, item := range old.Paths {
		for _, op := range item.Operations() {
			// Brevo's has a schema in the place of an answer. A call whose answer is so has none described.
			for status, answer := range op.Responses.Map() {
				if strings.HasPrefix(answer.Ref, "#/definitions/") {
					op.Responses.Delete(status)
				}
			}
		}
	}
	return openapi2conv.ToV3(&old)
}

// Held is the handler held to the description as Hold does, or without the descriptions the handler itself.
func Held(t testing.TB, load func() (*Spec, error), next http.Handler, exceptions ...Exception) http.Handler {
	t.Helper()
	spec, err := load()
	switch {
	case err == nil:
		return spec.Hold(t, next, exceptions...)
	case !errors.Is(err, ErrAbsent):
		t.Fatal(err)
	}
	return next
}

// Need returns what load returned. Without the descriptions it skips the test, or fails it where CI
// is "true": there they must be.
func Need(t testing.TB, load func() (*Spec, error)) *Spec {
	t.Helper()
	spec, err := load()
	if errors.Is(err, ErrAbsent) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func shared() (string, error) {
	if dir := os.Getenv("CONSENTD_SHARED"); dir != "" {
		return dir, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the working directory: %w", err)
	}
	for {
		candidate := filepath.Join(dir, "shared")
		if info, err := os.Stat(filepath.Join(candidate, "vendor-specs")); err == nil && info.IsDir() {
			return candidate, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", ErrAbsent
		}
		dir = parent
	}
}

// closeObjects forbids names that the description does not give.
func closeObjects(doc *openapi3.T) {
	seen := map[*openapi3.Schema]bool{}
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			if op.RequestBody != nil && op.RequestBody.Value != nil {
				closeContent(op.RequestBody.Value.Content, seen)
			}
			for _, res := range op.Responses.Map() {
				if res.Value != nil {
					closeContent(res.Value.Content, seen)
				}
			}
		}
	}
}

func closeContent(content openapi3.Content, seen map[*openapi3.Schema]bool) {
	for _, media := range content {
		closeSchema(media.Schema, seen)
	}
}

func closeSchema(ref *openapi3.SchemaRef, seen map[*openapi3.Schema]bool) {
	if ref == nil || ref.Value == nil || seen[ref.Value] {
		return
	}
	s := ref.Value
	seen[s] = true
	composed := len(s.AllOf)+len(s.OneOf)+len(s.AnyOf) > 0
	if len(s.Properties) > 0 && !composed && s.AdditionalProperties.Has == nil && s.AdditionalProperties.Schema == nil {
		no := false
		s.AdditionalProperties.Has = &no
	}
	for _, p := range s.Properties {
		closeSchema(p, seen)
	}
	closeSchema(s.Items, seen)
	closeSchema(s.AdditionalProperties.Schema, seen)
}
