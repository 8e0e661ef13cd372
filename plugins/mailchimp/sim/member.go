package sim

import (
	"crypto/md5"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	subscribed    = "subscribed"
	unsubscribed  = "unsubscribed"
	pending       = "pending"
	cleaned       = "cleaned"
	transactional = "transactional"
	archived      = "archived"
)

// Member is what the audience holds about one person.
type Member struct {
	Email                string
	Status               string
	MergeFields          map[string]any
	Interests            map[string]bool
	Tags                 []string // sorted
	MarketingPermissions map[string]bool
	Language             string
	TimestampOpt         string
	LastChanged          time.Time
	// UnsubscribeReason is empty unless the member is unsubscribed.
	UnsubscribeReason string
	// History holds each status that the member got, oldest first.
	History []string
	// ConfirmationMails is how often the person was asked to confirm.
	ConfirmationMails int
}

type member struct {
	Member
	contactID string
	uniqueID  string
	webID     int
	tags      map[string]int // id by name
	// compliance bars the API from subscribing the person: they left by themselves, or bounced.
	compliance bool
}

// hash is a member's id: the MD5 of the address in lower case.
func hash(email string) string {
	sum := md5.Sum([]byte(strings.ToLower(email)))
	return hex.EncodeToString(sum[:])
}

func newMember(email string, webID int) *member {
	return &member{
		Member: Member{
			Email:                email,
			MergeFields:          map[string]any{},
			Interests:            map[string]bool{},
			MarketingPermissions: map[string]bool{},
		},
		contactID: newID(),
		uniqueID:  newID()[:10],
		webID:     webID,
		tags:      map[string]int{},
	}
}

// byAdmin is the reason of whoever the API unsubscribed, ownAct one of those that people choose from.
const (
	byAdmin = "N/A (Unsubscribed by an admin)"
	ownAct  = "No longer interested"
)

// become gives the member a status. Whoever is made pending gets a confirmation mail, also when they
// were pending before.
func (m *member) become(status string) {
	if status == pending {
		m.ConfirmationMails++
	}
	if m.Status == status {
		return
	}
	m.Status = status
	m.History = append(m.History, status)
	m.UnsubscribeReason = ""
	if status == unsubscribed {
		m.UnsubscribeReason = byAdmin
	}
}

// view is a copy that shares nothing with the member.
func (m *member) view() Member {
	v := m.Member
	v.MergeFields = maps.Clone(m.MergeFields)
	v.Interests = maps.Clone(m.Interests)
	v.MarketingPermissions = maps.Clone(m.MarketingPermissions)
	v.History = slices.Clone(m.History)
	v.Tags = slices.Sorted(maps.Keys(m.tags))
	return v
}

// line is what notify is told: the address, the status, and what is on.
func (m *member) line() string {
	words := []string{m.Email, m.Status}
	add := func(label string, names []string) {
		if len(names) > 0 {
			words = append(words, label+strings.Join(names, "+"))
		}
	}
	add("", on(m.Interests))
	add("tags:", slices.Sorted(maps.Keys(m.tags)))
	add("permissions:", on(m.MarketingPermissions))
	return strings.Join(words, " ")
}

func on(flags map[string]bool) []string {
	var names []string
	for name, yes := range flags {
		if yes {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Member returns what is held about a person. Permanently deleted people are not found.
func (s *Server) Member(email string) (Member, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.audience.members[hash(email)]
	if !ok {
		return Member{}, false
	}
	return m.view(), true
}

// Len is how many members there are, of any status.
func (s *Server) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.audience.members)
}

// Put makes or replaces a member, as an import by hand would. Only Email and Status are needed.
func (s *Server) Put(v Member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := newMember(v.Email, len(s.audience.members)+1)
	m.become(v.Status)
	maps.Copy(m.MergeFields, v.MergeFields)
	for id, in := range v.Interests {
		m.Interests[id] = in && s.audience.interests.has(id)
	}
	for id, given := range v.MarketingPermissions {
		m.MarketingPermissions[id] = given && s.audience.permissions.has(id)
	}
	m.Language, m.TimestampOpt = v.Language, v.TimestampOpt
	if v.UnsubscribeReason != "" {
		m.UnsubscribeReason = v.UnsubscribeReason
	}
	for _, name := range v.Tags {
		m.tags[name] = len(m.tags) + 1
	}
	m.compliance = v.Status == cleaned
	s.audience.members[hash(v.Email)] = m
	s.changed(m)
}

// Unsubscribe is the person's own act, by the link in a mail: from then on the API cannot subscribe
// them.
func (s *Server) Unsubscribe(email string) { s.act(email, unsubscribed, true) }

// Clean is a hard bounce.
func (s *Server) Clean(email string) { s.act(email, cleaned, true) }

// Confirm is the person's own act, by the link in a confirmation mail.
func (s *Server) Confirm(email string) { s.act(email, subscribed, false) }

// Archive puts a member away, as somebody may do in the vendor's web application.
func (s *Server) Archive(email string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, ok := s.audience.members[hash(email)]; ok {
		m.become(archived)
		s.changed(m)
	}
}

func (s *Server) act(email, status string, compliance bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, ok := s.audience.members[hash(email)]; ok {
		m.become(status)
		if status == unsubscribed {
			m.UnsubscribeReason = ownAct
		}
		m.compliance = compliance
		s.changed(m)
	}
}

// changed is called with the lock held, so that lines are in the order of the changes.
func (s *Server) changed(m *member) {
	m.LastChanged = time.Now()
	if s.notify != nil {
		s.notify(m.line())
	}
}

// body is the member as the vendor shows one.
func (s *Server) body(m *member) map[string]any {
	mergeFields := map[string]any{}
	for tag := range s.audience.mergeFields {
		mergeFields[tag] = ""
	}
	maps.Copy(mergeFields, m.MergeFields)
	interests := map[string]bool{}
	for id := range s.audience.interests.ids {
		interests[id] = m.Interests[id]
	}
	permissions := []map[string]any{}
	for _, id := range slices.Sorted(maps.Keys(s.audience.permissions.ids)) {
		permissions = append(permissions, map[string]any{
			"marketing_permission_id": id, "text": "Permission " + id, "enabled": m.MarketingPermissions[id],
		})
	}
	tags := m.tagList()
	shown := tags[:min(len(tags), maxShownTags)]
	body := map[string]any{
		"id":                               hash(m.Email),
		"email_address":                    m.Email,
		"unique_email_id":                  m.uniqueID,
		"contact_id":                       m.contactID,
		"web_id":                           m.webID,
		"full_name":                        "",
		"email_type":                       "html",
		"status":                           m.Status,
		"consents_to_one_to_one_messaging": true,
		"merge_fields":                     mergeFields,
		"interests":                        interests,
		"marketing_permissions":            permissions,
		"language":                         m.Language,
		"vip":                              false,
		"last_changed":                     m.LastChanged.UTC().Format(time.RFC3339),
		"tags_count":                       len(tags),
		"tags":                             shown,
		"list_id":                          ListID,
	}
	if m.TimestampOpt != "" {
		body["timestamp_opt"] = m.TimestampOpt
	}
	if m.UnsubscribeReason != "" {
		body["unsubscribe_reason"] = m.UnsubscribeReason
	}
	return body
}

// maxShownTags is how many tags come with a member; the others are at .../tags.
const maxShownTags = 50

func (m *member) tagList() []map[string]any {
	list := make([]map[string]any, 0, len(m.tags))
	for _, name := range slices.Sorted(maps.Keys(m.tags)) {
		list = append(list, map[string]any{"id": m.tags[name], "name": name})
	}
	return list
}
