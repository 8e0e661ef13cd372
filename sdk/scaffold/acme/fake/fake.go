// Package fake plays Acme: for the tests, and to try the plugin without an account. Make it do what your
// vendor's API does with what deliver sends.
package fake

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
)

// Token is the only one that is taken.
const Token = "fake-token"

// Vendor holds people by their address.
type Vendor struct {
	mu      sync.Mutex
	people  map[string]map[string]any
	changes int
}

// New makes one that knows nobody.
func New() *Vendor { return &Vendor{people: map[string]map[string]any{}} }

// People are those that it holds now, in a copy.
func (v *Vendor) People() any {
	v.mu.Lock()
	defer v.mu.Unlock()
	people := map[string]map[string]any{}
	for email, fields := range v.people {
		people[email] = maps.Clone(fields)
	}
	return people
}

// ServeHTTP is PATCH /people/EMAIL: it merges fields into what is held, and a null removes one.
func (v *Vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	email, found := strings.CutPrefix(r.URL.Path, "/people/")
	var fields map[string]any
	status, change := http.StatusOK, 0
	switch {
	case r.Header.Get("Authorization") != "Bearer "+Token:
		status = http.StatusUnauthorized
	case !found || r.Method != http.MethodPatch:
		status = http.StatusNotFound
	case !strings.Contains(email, "@") || json.NewDecoder(r.Body).Decode(&fields) != nil:
		status = http.StatusUnprocessableEntity
	default:
		change = v.merge(email, fields)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, "{\"id\": \"change-%d\"}\n", change)
}

func (v *Vendor) merge(email string, fields map[string]any) (change int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.people[email] == nil {
		v.people[email] = map[string]any{}
	}
	for name, value := range fields {
		if value == nil {
			delete(v.people[email], name)
		} else {
			v.people[email][name] = value
		}
	}
	v.changes++
	return v.changes
}
