package sim

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// audience is the one list: its settings and its members.
type audience struct {
	interests   idSet
	permissions idSet
	mergeFields map[string]MergeField // by tag
	openFields  bool
	members     map[string]*member // by hash
	forgotten   map[string]bool    // by hash
}

// idSet is a set that takes every id while it is open.
type idSet struct {
	open bool
	ids  map[string]bool
}

func (s *idSet) has(id string) bool {
	if s.open {
		s.ids[id] = true
	}
	return s.ids[id]
}

func closedSet(ids []string) idSet {
	s := idSet{ids: map[string]bool{}}
	for _, id := range ids {
		s.ids[id] = true
	}
	return s
}

// MergeField is a field of the audience.
type MergeField struct {
	Tag string
	// Type in the vendor's words; text, number, birthday and address are checked, the others taken as
	// they are.
	Type string
	// Required fields must come with a new member, unless skip_merge_validation says otherwise.
	Required bool
}

func newAudience() audience {
	a := audience{
		interests:   idSet{open: true, ids: map[string]bool{}},
		permissions: idSet{open: true, ids: map[string]bool{}},
		mergeFields: map[string]MergeField{},
		openFields:  true,
		members:     map[string]*member{},
		forgotten:   map[string]bool{},
	}
	for _, f := range []MergeField{
		{Tag: "FNAME", Type: "text"}, {Tag: "LNAME", Type: "text"}, {Tag: "PHONE", Type: "phone"},
		{Tag: "ADDRESS", Type: "address"}, {Tag: "BIRTHDAY", Type: "birthday"},
	} {
		a.mergeFields[f.Tag] = f
	}
	return a
}

// DefineInterests says which interests there are; any other is refused.
func (s *Server) DefineInterests(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.audience.interests = closedSet(ids)
}

// DefineMarketingPermissions says which permissions there are; none means that the audience has no
// GDPR fields. What the vendor does with any other is not documented: the simulator passes it over in
// silence, which is the harder case for a client.
func (s *Server) DefineMarketingPermissions(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.audience.permissions = closedSet(ids)
}

// DefineMergeFields says which merge fields there are; any other is passed over in silence.
func (s *Server) DefineMergeFields(fields ...MergeField) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.audience.openFields = false
	s.audience.mergeFields = map[string]MergeField{}
	for _, f := range fields {
		s.audience.mergeFields[f.Tag] = f
	}
}

func (a *audience) count(status string) int {
	n := 0
	for _, m := range a.members {
		if m.Status == status {
			n++
		}
	}
	return n
}

// checkMergeFields returns the values as they are stored.
func (a *audience) checkMergeFields(given map[string]any, held map[string]any, skipRequired bool) (map[string]any, *Problem) {
	stored := map[string]any{}
	var wrong []FieldError
	for _, tag := range slices.Sorted(maps.Keys(given)) {
		field, known := a.mergeFields[tag]
		if !known && !a.openFields {
			continue
		}
		if !known {
			field = MergeField{Tag: tag, Type: "text"}
			a.mergeFields[tag] = field
		}
		value, message := field.store(given[tag])
		if message != "" {
			wrong = append(wrong, FieldError{Field: tag, Message: message})
		}
		stored[tag] = value
	}
	for _, tag := range slices.Sorted(maps.Keys(a.mergeFields)) {
		value, now := stored[tag]
		if !now {
			value = held[tag]
		}
		if a.mergeFields[tag].Required && !skipRequired && (value == nil || value == "") {
			wrong = append(wrong, FieldError{Field: tag, Message: "Please enter a value"})
		}
	}
	if len(wrong) > 0 {
		return nil, InvalidMergeFields(wrong...)
	}
	return stored, nil
}

var birthday = regexp.MustCompile(`^\d{1,2}/\d{1,2}$`)

// store turns a given value into the stored one, or says what is wrong with it.
func (f MergeField) store(given any) (value any, wrong string) {
	if given == nil {
		return nil, "Schema describes string, NULL found instead"
	}
	if given == "" {
		return "", ""
	}
	switch f.Type {
	case "number":
		text, isText := given.(string)
		if number, ok := given.(json.Number); ok {
			text, isText = number.String(), true
		}
		if _, err := strconv.ParseFloat(text, 64); err != nil || !isText {
			return nil, "Please enter a number"
		}
		return json.Number(text), ""
	case "birthday":
		if text, ok := given.(string); !ok || !birthday.MatchString(text) {
			return nil, "Birthdays must be entered as MM/DD"
		}
	case "address":
		return storeAddress(given)
	default:
		if number, ok := given.(json.Number); ok {
			return number.String(), ""
		}
		if _, ok := given.(string); !ok {
			return nil, "Data did not match any of the schemas described in anyOf."
		}
	}
	return given, ""
}

func storeAddress(given any) (value any, wrong string) {
	parts, ok := given.(map[string]any)
	if !ok {
		return nil, "Data did not match any of the schemas described in anyOf."
	}
	address := map[string]any{"addr1": "", "addr2": "", "city": "", "state": "", "zip": "", "country": "US"}
	maps.Copy(address, parts)
	for _, part := range []string{"addr1", "city", "state", "zip"} {
		if text, ok := address[part].(string); !ok || strings.TrimSpace(text) == "" {
			return nil, "Please enter a complete address"
		}
	}
	return address, ""
}
