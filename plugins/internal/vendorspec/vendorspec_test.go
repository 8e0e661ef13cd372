package vendorspec_test

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/consentd/consentd/plugins/internal/vendorspec"
)

const description = `
openapi: 3.0.0
info: {title: Acme, version: "1"}
servers: [{url: "https://api.example.com/v9"}]
paths:
  /people/{id}:
    put:
      parameters:
        - {name: id, in: path, required: true, schema: {type: string}}
        - {name: dry, in: query, schema: {type: boolean}}
      requestBody:
        content:
          application/json:
            schema:
              type: object
              required: [name]
              properties:
                name: {type: string}
                flags: {type: object, additionalProperties: {type: boolean}}
      responses:
        "200":
          description: done
          content:
            application/json:
              schema:
                type: object
                properties:
                  id: {type: string, readOnly: true}
                  state: {type: string, enum: [on, off]}
    delete:
      parameters: [{name: id, in: path, required: true, schema: {type: string}}]
      responses: {"204": {description: gone}}
`

// findings collects what would fail a test.
type findings struct {
	testing.TB
	texts []string
}

func (f *findings) Errorf(format string, args ...any) {
	f.texts = append(f.texts, fmt.Sprintf(format, args...))
}

func TestHold(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CONSENTD_SHARED", dir)
	file := filepath.Join(dir, "vendor-specs", "acme", "api.yaml")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(description), 0o600); err != nil {
		t.Fatal(err)
	}
	spec, err := vendorspec.Load("acme/api.yaml", "/v1")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name                string
		method, path, body  string
		status              int
		answer, contentType string
		want                []string // a part of each finding
	}{
		{name: "as described", body: `{"name":"Ada","flags":{"a":true}}`, answer: `{"id":"7","state":"on"}`},
		{name: "optional query", path: "/v1/people/7?dry=true", body: `{"name":"Ada"}`, answer: `{}`},
		{name: "no content", method: "DELETE", status: 204},
		{name: "name missing", body: `{}`, answer: `{}`, want: []string{`"name" is missing`}},
		{name: "two findings", body: `{"nam":"Ada"}`, answer: `{}`, want: []string{`"name" is missing`, `"nam" is unsupported`}},
		{name: "wrong type deep down", body: `{"name":"Ada","flags":{"a":1}}`, answer: `{}`, want: []string{"/flags/a: "}},
		{name: "query not described", path: "/v1/people/7?force=1", body: `{"name":"Ada"}`, answer: `{}`, want: []string{`query parameter "force"`}},
		{name: "query of another type", path: "/v1/people/7?dry=7", body: `{"name":"Ada"}`, answer: `{}`, want: []string{`parameter "dry"`}},
		{name: "path not described", path: "/v1/groups", want: []string{"not described"}},
		{name: "method not described", method: "POST", want: []string{"not described"}},
		{name: "body not described", method: "DELETE", body: `{}`, status: 204, want: []string{"request"}},
		{name: "answer of another value", body: `{"name":"Ada"}`, answer: `{"state":"maybe"}`, want: []string{"answer 200"}},
		{name: "answer not described", body: `{"name":"Ada"}`, answer: `{"extra":1}`, want: []string{`"extra" is unsupported`}},
		{name: "status not described", body: `{"name":"Ada"}`, status: 418, answer: `{}`, want: []string{"answer 418"}},
		{name: "answer of another type", body: `{"name":"Ada"}`, answer: `ok`, contentType: "text/plain", want: []string{"Content-Type"}},
		{name: "excepted", body: `{"name":"Ada","known":1}`, answer: `{}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			finds := &findings{TB: t}
			held := spec.Hold(finds, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if tc.answer != "" {
					w.Header().Set("Content-Type", cmp.Or(tc.contentType, "application/json"))
				}
				if tc.status != 0 {
					w.WriteHeader(tc.status)
				}
				_, _ = w.Write([]byte(tc.answer))
			}), vendorspec.Exception{Error: `"known"`, Reason: "the test needs one"})
			r := httptest.NewRequestWithContext(t.Context(), cmp.Or(tc.method, "PUT"), cmp.Or(tc.path, "/v1/people/7"), strings.NewReader(tc.body))
			if tc.body != "" {
				r.Header.Set("Content-Type", "application/json")
			}
			w := httptest.NewRecorder()
			held.ServeHTTP(w, r)
			if w.Body.String() != tc.answer {
				t.Errorf("the answer came through as %q", w.Body)
			}
			if len(finds.texts) != len(tc.want) {
				t.Fatalf("found %q, want %d", finds.texts, len(tc.want))
			}
			for _, part := range tc.want {
				if !slices.ContainsFunc(finds.texts, func(text string) bool { return strings.Contains(text, part) }) {
					t.Errorf("found %q, want %q", finds.texts, part)
				}
			}
		})
	}
}

const description2 = `
swagger: "2.0"
info: {title: Acme, version: "1"}
basePath: /v9
consumes: [application/json]
produces: [application/json]
paths:
  /people/{id}:
    put:
      parameters:
        - {name: id, in: path, required: true, type: string}
        - {name: body, in: body, required: true, schema: {$ref: "#/definitions/person"}}
      responses: {"204": {description: done}}
  /jobs:
    get:
      responses: {"200": {$ref: "#/definitions/person"}}
definitions:
  person: {type: object, required: [name], properties: {name: {type: string}}}
`

// A description in version 2 is held to as one in version 3, also where an answer in it is no answer.
func TestVersion2(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CONSENTD_SHARED", dir)
	if err := os.MkdirAll(filepath.Join(dir, "vendor-specs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vendor-specs", "api.yaml"), []byte(description2), 0o600); err != nil {
		t.Fatal(err)
	}
	spec, err := vendorspec.Load("api.yaml", "/v1")
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]int{`{"name":"Ada"}`: 0, `{"nam":"Ada"}`: 2} {
		finds := &findings{TB: t}
		r := httptest.NewRequestWithContext(t.Context(), "PUT", "/v1/people/7", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		spec.Hold(finds, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })).ServeHTTP(httptest.NewRecorder(), r)
		if len(finds.texts) != want {
			t.Errorf("%s: found %q, want %d", body, finds.texts, want)
		}
	}
}

// An older description, of Swagger 2, holds as the newer ones do.
func TestSwagger(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CONSENTD_SHARED", dir)
	if err := os.Mkdir(filepath.Join(dir, "vendor-specs"), 0o700); err != nil {
		t.Fatal(err)
	}
	old := `{"swagger": "2.0", "info": {"title": "Acme", "version": "1"}, "basePath": "/", "paths": {"/people.json": {"post": {
		"consumes": ["application/json"], "produces": ["application/json"],
		"parameters": [{"in": "body", "name": "person", "required": true, "schema": {"$ref": "#/definitions/Person"}}],
		"responses": {"200": {"description": "done", "schema": {"$ref": "#/definitions/Person"}}}}}},
		"definitions": {"Person": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}}}`
	if err := os.WriteFile(filepath.Join(dir, "vendor-specs", "old.json"), []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	spec, err := vendorspec.Load("old.json", "/")
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]int{`{"name":"Ada"}`: 0, `{"nam":"Ada"}`: 2} {
		finds := &findings{TB: t}
		held := spec.Hold(finds, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"name":"Ada"}`))
		}))
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/people.json", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		held.ServeHTTP(httptest.NewRecorder(), r)
		if len(finds.texts) != want {
			t.Errorf("%s: found %q, want %d", body, finds.texts, want)
		}
	}
}
