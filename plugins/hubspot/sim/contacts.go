package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

type contact struct {
	id         string
	properties map[string]string
	optedOut   bool // of all e-mail
}

// Contact returns the properties of the contact with an address, and whether there is one.
func (s *Server) Contact(email string) (map[string]string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.find(email)
	if c == nil {
		return nil, false
	}
	return maps.Clone(c.properties), true
}

// People returns the addresses of all contacts.
func (s *Server) People() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.contacts))
}

// Put makes or changes a contact as somebody else would, without checks and without a notice.
func (s *Server) Put(email string, properties map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(email, properties)
}

// OptOutOfAll is what a person does who leaves all e-mail.
func (s *Server) OptOutOfAll(email string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.find(email); c != nil {
		c.optedOut = true
	}
}

func (s *Server) find(email string) *contact {
	email = strings.ToLower(email)
	if c := s.contacts[email]; c != nil {
		return c
	}
	for _, c := range s.contacts {
		if slices.Contains(strings.Split(strings.ToLower(c.properties["hs_additional_emails"]), ";"), email) {
			return c
		}
	}
	return nil
}

func (s *Server) put(email string, properties map[string]string) (c *contact, isNew bool) {
	email = strings.ToLower(email)
	c = s.contacts[email]
	if c == nil {
		s.created++
		c = &contact{id: strconv.Itoa(1000 + s.created), properties: map[string]string{"email": email}}
		s.contacts[email], isNew = c, true
	}
	for name, value := range properties {
		if value == "" {
			delete(c.properties, name)
		} else {
			c.properties[name] = value
		}
	}
	return c, isNew
}

// view is a contact in an answer. A property that it has not is null.
func (c *contact) view(names []string) map[string]any {
	properties := map[string]any{"hs_object_id": c.id}
	for _, name := range names {
		properties[name] = nil
		if v, ok := c.properties[name]; ok {
			properties[name] = v
		}
	}
	if slices.Contains(names, "hs_email_optout") && c.optedOut {
		properties["hs_email_optout"] = "true"
	}
	return map[string]any{"id": c.id, "properties": properties, "createdAt": "2026-01-05T09:00:00Z", "updatedAt": "2026-01-05T09:00:00Z", "archived": false}
}

func (s *Server) list(*http.Request, []byte) (int, any) {
	results := []any{}
	for _, email := range slices.Sorted(maps.Keys(s.contacts))[:min(1, len(s.contacts))] {
		results = append(results, s.contacts[email].view([]string{"email"}))
	}
	return http.StatusOK, map[string]any{"results": results}
}

func (s *Server) read(_ *http.Request, body []byte) (int, any) {
	var request struct {
		IDProperty string
		Inputs     []struct{ ID string }
		Properties []string
		History    []string `json:"propertiesWithHistory"`
	}
	if json.Unmarshal(body, &request) != nil || request.IDProperty != "email" || request.History == nil || len(request.Inputs) > 100 {
		return fail(Refuse(400, "VALIDATION_ERROR", "Invalid input JSON"))
	}
	results, missing := []any{}, []string{}
	for _, in := range slices.Backward(request.Inputs) { // in no promised order
		if c := s.find(in.ID); c != nil {
			results = append(results, c.view(request.Properties))
		} else {
			missing = append(missing, in.ID)
		}
	}
	if len(missing) == 0 {
		return complete(results, nil)
	}
	p := Refuse(0, "OBJECT_NOT_FOUND", "Could not get some CONTACT objects, they may be deleted or not exist. Check that ids are valid.")
	p.Context = map[string][]string{"ids": missing}
	return complete(results, []Problem{*p})
}

type upsertInput struct {
	ID, IDProperty string
	TraceID        string `json:"objectWriteTraceId"`
	Properties     map[string]string
}

func (s *Server) upsert(_ *http.Request, body []byte) (int, any) {
	var request struct{ Inputs []upsertInput }
	if json.Unmarshal(body, &request) != nil || len(request.Inputs) == 0 || len(request.Inputs) > 100 {
		return fail(Refuse(400, "VALIDATION_ERROR", "Invalid input JSON"))
	}
	seen := map[string]bool{}
	for _, in := range request.Inputs {
		email := strings.ToLower(in.ID)
		if seen[email] {
			return fail(Refuse(400, "VALIDATION_ERROR", "Duplicate IDs found in batch input: [%s]", in.ID))
		}
		seen[email] = true
		if p := s.invalid(in); p != nil {
			return fail(p)
		}
	}
	results, errors := []any{}, []Problem{}
	for _, in := range slices.Backward(request.Inputs) { // in no promised order
		if p, refused := s.refused[strings.ToLower(in.ID)]; refused {
			if p.Context == nil {
				p.Context = map[string][]string{"objectWriteTraceId": {in.TraceID}}
			}
			errors = append(errors, p)
			continue
		}
		c, isNew := s.put(in.ID, in.Properties)
		s.notify(fmt.Sprintf("%s contact %s", c.properties["email"], strings.Join(slices.Sorted(maps.Keys(in.Properties)), " ")))
		view := c.view([]string{"email"})
		view["new"], view["objectWriteTraceId"] = isNew, in.TraceID
		results = append(results, view)
	}
	return complete(results, errors)
}

// invalid refuses a whole upsert for one of its inputs.
func (s *Server) invalid(in upsertInput) *Problem {
	email := strings.ToLower(in.ID)
	switch {
	case in.IDProperty != "email":
		return Refuse(400, "VALIDATION_ERROR", "Unable to perform update/upsert by non-unique 0-1 property %s", in.IDProperty)
	case s.poison[email] || !strings.Contains(email[strings.Index(email, "@")+1:], "."):
		return InvalidProperty("INVALID_EMAIL", "email", "Email address "+in.ID+" is invalid")
	case s.blocked[email]:
		return Refuse(400, "VALIDATION_ERROR", "%s was deleted for the GDPR and cannot be used", in.ID)
	}
	for name := range in.Properties {
		switch {
		case strings.HasPrefix(name, "hs_email_optout"):
			return InvalidProperty("READ_ONLY_VALUE", name, "\""+name+"\" is a read only property; its value cannot be set.")
		case s.properties != nil && !s.properties[name]:
			return InvalidProperty("PROPERTY_DOESNT_EXIST", name, "Property \""+name+"\" does not exist")
		}
	}
	return nil
}

func (s *Server) erase(_ *http.Request, body []byte) (int, any) {
	var request struct{ ObjectID, IDProperty string }
	if json.Unmarshal(body, &request) != nil || request.IDProperty != "email" || request.ObjectID == "" {
		return fail(Refuse(400, "VALIDATION_ERROR", "Invalid input JSON"))
	}
	email := strings.ToLower(request.ObjectID)
	s.blocked[email] = true
	if s.contacts[email] != nil {
		delete(s.contacts, email)
		delete(s.statuses, email)
		s.notify(email + " deleted")
	}
	return http.StatusNoContent, nil
}
