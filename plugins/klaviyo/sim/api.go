package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

var (
	filter  = regexp.MustCompile(`^any\((id|email|phone_number|external_id),(\[.*\])\)$`)
	address = regexp.MustCompile(`^[^@\s]+@[^@\s]+\.[^@\s.]+$`)
	number  = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)
)

func (s *Server) getProfiles(r *http.Request, _ []byte) answer {
	query := r.URL.Query()
	found := s.profiles
	if query.Has("filter") {
		m := filter.FindStringSubmatch(query.Get("filter"))
		var values []string
		if m == nil || json.Unmarshal([]byte(m[2]), &values) != nil {
			return refuse(http.StatusBadRequest, problem{ID: "1", Status: 400, Code: "invalid", Title: "Invalid input.", Detail: "Invalid filter", Source: map[string]string{"parameter": "filter"}})
		}
		found = nil
		for _, p := range s.profiles {
			is := map[string]string{"id": p.ID, "email": strings.ToLower(p.Email), "phone_number": p.PhoneNumber, "external_id": p.ExternalID}[m[1]]
			if is != "" && slices.Contains(values, is) {
				found = append(found, p)
			}
		}
	}
	data := []map[string]any{}
	for _, p := range found {
		data = append(data, p.resource(query.Get("additional-fields[profile]") == "subscriptions"))
	}
	if query.Get("page[size]") == "1" && len(data) > 1 {
		data = data[:1]
	}
	self := "https://a.klaviyo.com" + r.URL.Path
	return answer{status: http.StatusOK, body: map[string]any{"data": data, "links": map[string]any{"self": self}},
		header: map[string]string{"RateLimit-Limit": "750", "RateLimit-Remaining": "700", "RateLimit-Reset": "30"}}
}

func (s *Server) getList(r *http.Request, _ []byte) answer {
	if r.PathValue("id") != ListID {
		return failure(http.StatusNotFound, "not_found", "A list with id "+r.PathValue("id")+" does not exist.", "/data/id")
	}
	process := "single_opt_in"
	if s.doubleOptIn {
		process = "double_opt_in"
	}
	return answer{status: http.StatusOK, body: map[string]any{"data": map[string]any{
		"type": "list", "id": ListID,
		"attributes": map[string]any{"name": "Newsletter", "created": at, "updated": at, "opt_in_process": process},
		"links":      map[string]any{"self": "https://a.klaviyo.com/api/lists/" + ListID},
	}}}
}

// texts are the attributes that are plain text.
var texts = []string{"first_name", "last_name", "organization", "title", "locale", "image"}

func (s *Server) importProfile(_ *http.Request, raw []byte) answer {
	var body struct {
		Data struct {
			ID         string         `json:"id"`
			Attributes map[string]any `json:"attributes"`
			Meta       struct {
				Patch struct {
					Unset []string `json:"unset"`
				} `json:"patch_properties"`
			} `json:"meta"`
		} `json:"data"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if d.Decode(&body) != nil {
		return failure(http.StatusBadRequest, "invalid", "Invalid JSON.", "/data")
	}
	given := func(name string) string { v, _ := body.Data.Attributes[name].(string); return v }
	email, phone := given("email"), given("phone_number")
	switch {
	case email != "" && !address.MatchString(email):
		return failure(http.StatusBadRequest, "invalid", "Invalid email address "+email, "/data/attributes/email")
	case phone != "" && !number.MatchString(phone):
		return failure(http.StatusBadRequest, "invalid", "Invalid phone number "+phone, "/data/attributes/phone_number")
	}
	var p *Profile
	for _, identifier := range []string{body.Data.ID, email, phone, given("external_id")} {
		is := s.find(identifier)
		switch {
		case is != nil && p != nil && is != p:
			return failure(http.StatusConflict, "duplicate_profile", "A profile already exists with one of these identifiers.", "/data/attributes")
		case is != nil:
			p = is
		}
	}
	status := http.StatusOK
	if p == nil {
		if body.Data.ID != "" {
			return failure(http.StatusNotFound, "not_found", "A profile with this id does not exist.", "/data/id")
		}
		if email == "" && phone == "" && given("external_id") == "" {
			return failure(http.StatusBadRequest, "invalid", "One of email, phone_number, id is required.", "/data/attributes")
		}
		s.made++
		p = &Profile{ID: fmt.Sprintf("01SIM%021d", s.made)}
		*p = p.clone()
		s.profiles = append(s.profiles, p)
		status = http.StatusCreated
	}
	before := p.clone()
	p.take(body.Data.Attributes)
	for _, name := range body.Data.Meta.Patch.Unset {
		delete(p.Properties, name)
	}
	if status == http.StatusCreated || !reflect.DeepEqual(before, p.clone()) {
		s.notify(p.line())
	}
	return answer{status: status, body: map[string]any{"data": p.resource(false)}}
}

// take sets attributes; null clears.
func (p *Profile) take(attributes map[string]any) {
	for name, value := range attributes {
		text, _ := value.(string)
		switch {
		case name == "email":
			p.Email = strings.ToLower(text)
		case name == "phone_number":
			p.PhoneNumber = text
		case name == "external_id":
			p.ExternalID = text
		case slices.Contains(texts, name) && value == nil:
			delete(p.Attributes, name)
		case slices.Contains(texts, name):
			p.Attributes[name] = value
		case name == "location" || name == "properties":
			into := p.Properties
			if name == "location" {
				place, _ := p.Attributes["location"].(map[string]any)
				into = cloneMap(place)
				p.Attributes["location"] = into
			}
			parts, _ := value.(map[string]any)
			maps.Copy(into, parts)
		}
	}
}

// entry is a profile in a job.
type entry struct {
	ID         string `json:"id"`
	Attributes struct {
		Email         string                                `json:"email"`
		PhoneNumber   string                                `json:"phone_number"`
		Subscriptions map[string]map[string]json.RawMessage `json:"subscriptions"`
	} `json:"attributes"`
}

// entries reads a job's profiles, and refuses all when one is bad, as the vendor does.
func (s *Server) entries(raw []byte, most int) (all []entry, list string, bad *answer) {
	var body struct {
		Data struct {
			Attributes struct {
				Profiles struct {
					Data []entry `json:"data"`
				} `json:"profiles"`
			} `json:"attributes"`
			Relationships struct {
				List struct {
					Data struct {
						ID string `json:"id"`
					} `json:"data"`
				} `json:"list"`
			} `json:"relationships"`
		} `json:"data"`
	}
	refused := func(a answer) ([]entry, string, *answer) { return nil, "", &a }
	if json.Unmarshal(raw, &body) != nil {
		return refused(failure(http.StatusBadRequest, "invalid", "Invalid JSON.", "/data"))
	}
	all, list = body.Data.Attributes.Profiles.Data, body.Data.Relationships.List.Data.ID
	switch {
	case len(all) == 0 || len(all) > most:
		return refused(failure(http.StatusBadRequest, "invalid", "Too many profiles, or none.", "/data/attributes/profiles/data"))
	case list != "" && list != ListID:
		return refused(failure(http.StatusNotFound, "not_found", "A list with id "+list+" does not exist.", "/data/relationships/list/data/id"))
	}
	var problems []problem
	for i, e := range all {
		at := fmt.Sprintf("/data/attributes/profiles/data/%d/attributes/", i)
		if s.hideRows {
			at = "/data/attributes/"
		}
		a := e.Attributes
		if a.Email != "" && !address.MatchString(a.Email) || a.Email == "" && a.Subscriptions["email"] != nil {
			problems = append(problems, newProblem(http.StatusBadRequest, "invalid", "Invalid email address "+a.Email, at+"email"))
		}
		if a.PhoneNumber != "" && !number.MatchString(a.PhoneNumber) || a.PhoneNumber == "" && a.Subscriptions["sms"] != nil {
			problems = append(problems, newProblem(http.StatusBadRequest, "invalid", "Invalid phone number "+a.PhoneNumber, at+"phone_number"))
		}
	}
	if len(problems) > 0 {
		return refused(refuse(http.StatusBadRequest, problems...))
	}
	return all, list, nil
}

// people runs change for the profile of each entry, when the job is done; those who are not known are made.
func (s *Server) people(all []entry, change func(p *Profile, e entry)) answer {
	s.do(func() {
		for _, e := range all {
			p := s.find(e.ID)
			for _, identifier := range []string{e.Attributes.Email, e.Attributes.PhoneNumber} {
				if p == nil {
					p = s.find(identifier)
				}
			}
			if p == nil {
				s.made++
				made := Profile{ID: fmt.Sprintf("01SIM%021d", s.made), Email: strings.ToLower(e.Attributes.Email), PhoneNumber: e.Attributes.PhoneNumber}.clone()
				p = &made
				s.profiles = append(s.profiles, p)
			}
			before := p.clone()
			change(p, e)
			if !reflect.DeepEqual(before, p.clone()) {
				s.notify(p.line())
			}
		}
	})
	return answer{status: http.StatusAccepted}
}

func (e entry) channels() (names []string) {
	for medium, kinds := range e.Attributes.Subscriptions {
		for kind := range kinds {
			names = append(names, medium+"."+kind)
		}
	}
	return names
}

func (s *Server) subscribe(_ *http.Request, raw []byte) answer {
	all, list, bad := s.entries(raw, 1000)
	if bad != nil {
		return *bad
	}
	return s.people(all, func(p *Profile, e entry) {
		if s.doubleOptIn {
			p.Asked++
			return
		}
		for _, name := range e.channels() {
			p.Consent[name] = "SUBSCRIBED"
		}
		p.lift("UNSUBSCRIBE", "SPAM_COMPLAINT", "USER_SUPPRESSED")
		if list != "" {
			p.LeftLists = slices.DeleteFunc(p.LeftLists, func(l string) bool { return l == list })
			if !slices.Contains(p.Lists, list) {
				p.Lists = append(p.Lists, list)
			}
		}
	})
}

func (s *Server) unsubscribe(_ *http.Request, raw []byte) answer {
	all, list, bad := s.entries(raw, 100)
	if bad != nil {
		return *bad
	}
	return s.people(all, func(p *Profile, e entry) {
		if list != "" && slices.Contains(p.Lists, list) {
			p.LeftLists = append(p.LeftLists, list)
			p.Lists = slices.DeleteFunc(p.Lists, func(l string) bool { return l == list })
			return // the consent to the rest stands
		}
		for _, name := range e.channels() {
			p.Consent[name] = "UNSUBSCRIBED"
			if name == "email.marketing" {
				p.suppress("UNSUBSCRIBE")
			}
		}
	})
}

func (s *Server) suppress(_ *http.Request, raw []byte) answer {
	return s.suppression(raw, "profile-suppression-bulk-create-job", func(p *Profile, _ entry) { p.suppress("USER_SUPPRESSED") })
}

func (s *Server) unsuppress(_ *http.Request, raw []byte) answer {
	return s.suppression(raw, "profile-suppression-bulk-delete-job", func(p *Profile, _ entry) { p.lift("USER_SUPPRESSED") })
}

func (s *Server) suppression(raw []byte, typ string, change func(*Profile, entry)) answer {
	all, _, bad := s.entries(raw, 100)
	if bad != nil {
		return *bad
	}
	a := s.people(all, change)
	a.body = map[string]any{"data": map[string]any{
		"type": typ, "id": "01SIMJOB", "attributes": map[string]any{"status": "queued", "created_at": at, "total_count": len(all)},
		"links": map[string]any{"self": "https://a.klaviyo.com/api/" + typ + "s/01SIMJOB"},
	}}
	return a
}

func (s *Server) deleteProfile(_ *http.Request, raw []byte) answer {
	var body struct {
		Data struct {
			Attributes struct {
				Profile struct {
					Data entry `json:"data"`
				} `json:"profile"`
			} `json:"attributes"`
		} `json:"data"`
	}
	if json.Unmarshal(raw, &body) != nil {
		return failure(http.StatusBadRequest, "invalid", "Invalid JSON.", "/data")
	}
	e := body.Data.Attributes.Profile.Data
	var given []string
	for _, identifier := range []string{e.ID, e.Attributes.Email, e.Attributes.PhoneNumber} {
		if identifier != "" {
			given = append(given, identifier)
		}
	}
	if len(given) != 1 {
		return failure(http.StatusBadRequest, "invalid", "Exactly one identifier must be provided.", "/data/attributes/profile")
	}
	s.do(func() {
		if p := s.find(given[0]); p != nil {
			s.remove(p)
		}
	})
	return answer{status: http.StatusAccepted}
}
