package vendorspec

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// Exception is a place where the description is wrong or too narrow.
type Exception struct {
	// Error is a part of the finding's text, as Hold reports it.
	Error string
	// Reason says how the vendor's API really behaves, and how that is known.
	Reason string
}

// Hold passes requests on to next and fails the test for each request and each answer that is not as
// the vendor describes it.
func (s *Spec) Hold(t testing.TB, next http.Handler, exceptions ...Exception) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client is gone
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		input, findings := s.request(r, body)
		report(t, r, "request", findings, exceptions)

		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		if input != nil {
			report(t, r, fmt.Sprintf("answer %d", answer.Code), s.response(input, answer), exceptions)
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
}

// request returns the input that the answer is checked with; nil for a call that is not described.
func (s *Spec) request(r *http.Request, body []byte) (*openapi3filter.RequestValidationInput, []string) {
	route, params, err := s.router.FindRoute(r)
	if err != nil {
		return nil, []string{fmt.Sprintf("not described: %v", err)}
	}
	copied := r.Clone(context.WithoutCancel(r.Context()))
	copied.Body = io.NopCloser(bytes.NewReader(body))
	options := &openapi3filter.Options{
		MultiError:            true,
		IncludeResponseStatus: true,
		SkipSettingDefaults:   true,
		AuthenticationFunc:    openapi3filter.NoopAuthenticationFunc,
		// Bodies that are not described must not be sent.
		RejectWhenRequestBodyNotSpecified: true,
	}
	options.WithCustomSchemaErrorFunc(func(err *openapi3.SchemaError) string {
		return "/" + strings.Join(err.JSONPointer(), "/") + ": " + err.Reason
	})
	input := &openapi3filter.RequestValidationInput{Request: copied, PathParams: params, Route: route, Options: options}
	findings := flatten(openapi3filter.ValidateRequest(copied.Context(), input))
	for name := range r.URL.Query() {
		if !describes(route, name) {
			findings = append(findings, fmt.Sprintf("query parameter %q is not described", name))
		}
	}
	return input, findings
}

func describes(route *routers.Route, name string) bool {
	return route.Operation.Parameters.GetByInAndName("query", name) != nil ||
		route.PathItem.Parameters.GetByInAndName("query", name) != nil
}

func (s *Spec) response(input *openapi3filter.RequestValidationInput, answer *httptest.ResponseRecorder) []string {
	return flatten(openapi3filter.ValidateResponse(input.Request.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input,
		Status:                 answer.Code,
		Header:                 answer.Header(),
		Body:                   io.NopCloser(bytes.NewReader(answer.Body.Bytes())),
		Options:                input.Options,
	}))
}

// flatten takes an error apart, so that an exception for one finding does not hide the others.
func flatten(err error) []string {
	var inner error
	switch e := err.(type) {
	case nil:
		return nil
	case openapi3.MultiError:
		var all []string
		for _, one := range e {
			all = append(all, flatten(one)...)
		}
		return all
	case *openapi3filter.RequestError:
		if e.Parameter == nil { // the name of a parameter stands only out here
			inner = e.Err
		}
	case *openapi3filter.ResponseError:
		inner = e.Err
	}
	if inner == nil {
		return []string{err.Error()}
	}
	return flatten(inner)
}

func report(t testing.TB, r *http.Request, what string, findings []string, exceptions []Exception) {
	for _, finding := range findings {
		if !excepted(finding, exceptions) {
			t.Errorf("%s %s: %s is not as the vendor describes it: %s", r.Method, r.URL.Path, what, finding)
		}
	}
}

func excepted(finding string, exceptions []Exception) bool {
	for _, e := range exceptions {
		if strings.Contains(finding, e.Error) {
			return true
		}
	}
	return false
}
