package sim

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// memberBody is the part of PUT member's body that is understood. Pointers tell null and absent from
// false and empty.
type memberBody struct {
	Email       *string          `json:"email_address"`
	StatusIfNew string           `json:"status_if_new"`
	Status      string           `json:"status"`
	MergeFields map[string]any   `json:"merge_fields"`
	Interests   map[string]*bool `json:"interests"`
	Permissions []struct {
		ID      string `json:"marketing_permission_id"`
		Enabled bool   `json:"enabled"`
	} `json:"marketing_permissions"`
	Language     *string    `json:"language"`
	TimestampOpt *time.Time `json:"timestamp_opt"`
}

func decode(body []byte, v any) *Problem {
	var whole map[string]json.RawMessage
	if json.Unmarshal(body, &whole) != nil {
		return JSONParseError()
	}
	for name, value := range whole {
		if bytes.Equal(value, []byte("null")) {
			return InvalidResource(FieldError{Field: name, Message: "Schema does not allow NULL"})
		}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if d.Decode(v) != nil {
		return InvalidResource(FieldError{Message: "Data presented is not one of the accepted values"})
	}
	return nil
}

func (s *Server) getMember(r *http.Request, _ []byte) (any, *Problem) {
	m, ok := s.audience.members[r.PathValue("hash")]
	if !ok {
		return nil, NotFound()
	}
	return pick(s.body(m), r), nil
}

func (s *Server) putMember(r *http.Request, raw []byte) (any, *Problem) {
	var body memberBody
	if problem := decode(raw, &body); problem != nil {
		return nil, problem
	}
	id := r.PathValue("hash")
	if body.Email == nil || !strings.Contains(*body.Email, "@") {
		return nil, InvalidResource(FieldError{Field: "email_address", Message: "Please provide a valid email address."})
	}
	if hash(*body.Email) != id {
		return nil, MemberExists(*body.Email)
	}
	m, known := s.audience.members[id]
	var before Member
	if known {
		before = m.view()
	} else {
		m = newMember(*body.Email, len(s.audience.members)+1)
	}
	if problem := s.write(m, known, body, r.URL.Query().Get("skip_merge_validation") == "true"); problem != nil {
		return nil, problem
	}
	s.audience.members[id] = m
	if !known || !reflect.DeepEqual(before, m.view()) {
		s.changed(m)
	}
	return s.body(m), nil
}

// write changes all that the body asks for, or nothing.
func (s *Server) write(m *member, known bool, body memberBody, skipRequired bool) *Problem {
	status := body.Status
	if !known {
		status = body.StatusIfNew
	}
	valid := []string{subscribed, unsubscribed, pending, cleaned, transactional}
	switch {
	case status == "" && !known || status != "" && !slices.Contains(valid, status):
		return InvalidResource(FieldError{Field: "status", Message: "Value must be one of: " + strings.Join(valid, ", ")})
	case s.audience.forgotten[hash(m.Email)]:
		return Forgotten(*body.Email)
	case status == subscribed && m.compliance:
		return ComplianceState(*body.Email)
	}
	for id, in := range body.Interests {
		if in == nil {
			return InvalidResource(FieldError{Field: "interests", Message: "Schema describes boolean, NULL found instead"})
		}
		if !s.audience.interests.has(id) {
			return InvalidInterest(id)
		}
	}
	fields, problem := s.audience.checkMergeFields(body.MergeFields, m.MergeFields, known && body.MergeFields == nil || skipRequired)
	if problem != nil {
		return problem
	}

	m.Email = *body.Email
	maps.Copy(m.MergeFields, fields)
	for id, in := range body.Interests {
		m.Interests[id] = *in
	}
	for _, p := range body.Permissions {
		if s.audience.permissions.has(p.ID) {
			m.MarketingPermissions[p.ID] = p.Enabled
		}
	}
	if body.Language != nil {
		m.Language = *body.Language
	}
	if body.TimestampOpt != nil {
		m.TimestampOpt = body.TimestampOpt.UTC().Format(time.RFC3339)
	}
	if status != "" {
		m.become(status)
	}
	if status == cleaned {
		m.compliance = true
	}
	return nil
}

func (s *Server) archiveMember(r *http.Request, _ []byte) (any, *Problem) {
	m, ok := s.audience.members[r.PathValue("hash")]
	switch {
	case !ok:
		return nil, NotFound()
	case m.Status == archived || m.Status == pending || m.Status == cleaned:
		return nil, MethodNotAllowed()
	}
	m.become(archived)
	s.changed(m)
	return nil, nil
}

func (s *Server) deletePermanent(r *http.Request, _ []byte) (any, *Problem) {
	id := r.PathValue("hash")
	m, ok := s.audience.members[id]
	if !ok {
		return nil, NotFound()
	}
	delete(s.audience.members, id)
	s.audience.forgotten[id] = true
	if s.notify != nil {
		s.notify(m.Email + " deleted")
	}
	return nil, nil
}

func (s *Server) getTags(r *http.Request, _ []byte) (any, *Problem) {
	m, ok := s.audience.members[r.PathValue("hash")]
	if !ok {
		return nil, NotFound()
	}
	count, err := strconv.Atoi(r.URL.Query().Get("count"))
	if err != nil {
		count = 10
	}
	tags := m.tagList()
	for _, t := range tags {
		t["date_added"] = m.LastChanged.UTC().Format(time.RFC3339)
	}
	return map[string]any{"tags": tags[:min(len(tags), count, 1000)], "total_items": len(tags)}, nil
}

func (s *Server) postTags(r *http.Request, raw []byte) (any, *Problem) {
	var body struct {
		Tags []struct {
			Name   string `json:"name"`
			Status string `json:"status"`
		} `json:"tags"`
	}
	if problem := decode(raw, &body); problem != nil {
		return nil, problem
	}
	m, ok := s.audience.members[r.PathValue("hash")]
	if !ok {
		return nil, NotFound()
	}
	before := maps.Clone(m.tags)
	for _, t := range body.Tags {
		switch {
		case t.Name == "" || t.Status != "active" && t.Status != "inactive":
			m.tags = before
			return nil, InvalidResource(FieldError{Field: "tags", Message: "Data presented is not one of the accepted values"})
		case t.Status == "inactive":
			delete(m.tags, t.Name)
		case m.tags[t.Name] == 0:
			m.tags[t.Name] = len(m.tags) + 1
		}
	}
	if !maps.Equal(before, m.tags) {
		s.changed(m)
	}
	return nil, nil
}
