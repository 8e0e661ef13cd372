package sim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

const maxObjects, maxUsers, maxExternalID = 75, 50, 987

// object is one attributes object, taken apart.
type object struct {
	external, braze string
	alias           *Alias
	email, phone    *string
	clear           []string // email or phone, if null
	states          map[string]string
	groups          map[string]string
	attributes      map[string]any
	existing        *bool
}

func (s *Server) track(_ *http.Request, body []byte) answer {
	var sent struct {
		Attributes []map[string]json.RawMessage `json:"attributes"`
	}
	if refused := parse(body, &sent); refused != nil {
		return *refused
	}
	if len(sent.Attributes) > maxObjects {
		return refuse(http.StatusBadRequest, "Max Input Length Exceeded")
	}
	var errors []any
	for i, fields := range sent.Attributes {
		o, wrong := s.read(fields)
		if f := s.types[o.external]; f != nil && f.left > 0 {
			f.left--
			wrong = f.kind
		}
		if wrong != "" {
			errors = append(errors, objectError(wrong, i))
			continue
		}
		s.apply(o)
	}
	if len(errors) == len(sent.Attributes) {
		return refuse(http.StatusBadRequest, "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields.", errors...)
	}
	more := map[string]any{"attributes_processed": len(sent.Attributes) - len(errors)}
	if len(errors) > 0 {
		more["errors"] = errors
	}
	return success(http.StatusCreated, more)
}

// read takes an attributes object apart; wrong is the type of its error.
func (s *Server) read(fields map[string]json.RawMessage) (o object, wrong string) {
	o = object{states: map[string]string{}, groups: map[string]string{}, attributes: map[string]any{}}
	for name, raw := range fields {
		var err error
		null := string(raw) == "null"
		switch name {
		case "external_id":
			err = json.Unmarshal(raw, &o.external)
		case "braze_id":
			err = json.Unmarshal(raw, &o.braze)
		case "user_alias":
			err = json.Unmarshal(raw, &o.alias)
		case "_update_existing_only":
			err = json.Unmarshal(raw, &o.existing)
		case "email", "phone":
			if null {
				o.clear = append(o.clear, name)
			} else if name == "email" {
				err = json.Unmarshal(raw, &o.email)
			} else {
				err = json.Unmarshal(raw, &o.phone)
			}
		case "email_subscribe", "push_subscribe":
			var state string
			if json.Unmarshal(raw, &state) != nil || !slices.Contains([]string{"opted_in", "subscribed", "unsubscribed"}, state) {
				wrong = map[string]string{"email_subscribe": "BAD_EMAIL_SUBSCRIPTION_STATE", "push_subscribe": "BAD_PUSH_SUBSCRIPTION_STATE"}[name]
			}
			o.states[name] = state
		case "subscription_groups":
			if refused := s.readStates(raw, o.groups); refused != "" {
				wrong = refused
			}
		default:
			var value any
			d := json.NewDecoder(strings.NewReader(string(raw)))
			d.UseNumber()
			err = d.Decode(&value)
			o.attributes[name] = value
		}
		if err != nil {
			wrong = "'" + name + "' is not valid"
		}
	}
	primary := 0
	for _, there := range []bool{o.external != "", o.braze != "", o.alias != nil} {
		if there {
			primary++
		}
	}
	switch {
	case len(o.external) > maxExternalID:
		wrong = "'external_id' must be fewer than 988 bytes"
	case primary > 1 || primary == 0 && o.email == nil && o.phone == nil:
		wrong = "'external_id' is not valid" // the wording is not known
	case o.email != nil && !strings.Contains(*o.email, "@"):
		wrong = "EMAIL_BAD_FORMAT"
	}
	return o, wrong
}

func (s *Server) readStates(raw json.RawMessage, into map[string]string) (wrong string) {
	var states []struct {
		ID    string `json:"subscription_group_id"`
		State string `json:"subscription_state"`
	}
	if json.Unmarshal(raw, &states) != nil {
		return "BAD_SUBSCRIPTION_GROUP_ARRAY"
	}
	for _, g := range states {
		switch {
		case s.groups != nil && !s.groups[g.ID]:
			return "BAD_SUBSCRIPTION_GROUP_ID"
		case g.State != "subscribed" && g.State != "unsubscribed":
			return "BAD_SUBSCRIPTION_GROUP_STATE"
		}
		into[g.ID] = g.State
	}
	return ""
}

// apply does what an object asks for. It is not documented that _update_existing_only keeps Braze from making
// profiles by e-mail address and telephone number too; that is assumed.
func (s *Server) apply(o object) {
	u := s.find(o)
	if u == nil {
		// "When using a user_alias, Update Only defaults to true."
		if o.existing != nil && *o.existing || o.existing == nil && o.alias != nil || o.braze != "" {
			return
		}
		u = &User{ExternalID: o.external, Groups: map[string]string{}, Attributes: map[string]any{}}
		if o.alias != nil {
			u.Aliases = []Alias{*o.alias}
		}
		s.add(u)
	}
	if o.email != nil {
		u.Email = *o.email
	}
	if o.phone != nil {
		u.Phone = *o.phone
	}
	for _, name := range o.clear {
		if name == "email" {
			u.Email = ""
		} else {
			u.Phone = ""
		}
	}
	for name, value := range o.attributes {
		if value == nil {
			delete(u.Attributes, name)
		} else {
			u.Attributes[name] = value
		}
	}
	if state, ok := o.states["push_subscribe"]; ok {
		u.PushSubscribe = state
	}
	// The e-mail subscription and the groups are those of everybody with the address.
	for _, same := range s.users {
		if same != u && (u.Email == "" || !strings.EqualFold(same.Email, u.Email)) {
			continue
		}
		if state, ok := o.states["email_subscribe"]; ok {
			same.EmailSubscribe = state
		}
		for id, state := range o.groups {
			same.Groups[id] = state
		}
	}
	s.changed(u)
}

func (s *Server) changed(u *User) {
	if s.notify != nil {
		s.notify(u.line())
	}
}

// find takes the profile that is meant; by an address the one with an external id goes first.
func (s *Server) find(o object) *User {
	var is func(*User) bool
	switch {
	case o.external != "":
		is = func(u *User) bool { return u.ExternalID == o.external }
	case o.alias != nil:
		is = func(u *User) bool { return slices.Contains(u.Aliases, *o.alias) }
	case o.braze != "":
		is = func(u *User) bool { return u.BrazeID == o.braze }
	case o.email != nil:
		is = func(u *User) bool { return strings.EqualFold(u.Email, *o.email) }
	default:
		is = func(u *User) bool { return u.Phone == *o.phone }
	}
	var found *User
	for _, u := range s.users {
		if is(u) && (found == nil || found.ExternalID == "") {
			found = u
		}
	}
	return found
}
