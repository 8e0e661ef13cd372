package sim

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// profileFields are Braze's own attributes; the others are custom.
var profileFields = []string{"first_name", "last_name", "country", "dob", "gender", "home_city", "language", "time_zone"}

func (s *Server) export(_ *http.Request, body []byte) answer {
	var sent struct {
		ExternalIDs []string `json:"external_ids"`
		Aliases     []Alias  `json:"user_aliases"`
		BrazeID     string   `json:"braze_id"`
		Email       string   `json:"email_address"`
		Phone       string   `json:"phone"`
		Fields      []string `json:"fields_to_export"`
	}
	if refused := parse(body, &sent); refused != nil {
		return *refused
	}
	single := 0
	for _, id := range []string{sent.BrazeID, sent.Email, sent.Phone} {
		if id != "" {
			single++
		}
	}
	switch {
	case len(sent.ExternalIDs)+len(sent.Aliases) > maxUsers:
		return refuse(http.StatusBadRequest, "The max number of external_ids and aliases per request was exceeded")
	case single > 1 || len(sent.Fields) == 0:
		return refuse(http.StatusBadRequest, "Bad Request")
	}
	users, invalid := []map[string]any{}, []string{}
	for _, id := range sent.ExternalIDs {
		if !slices.ContainsFunc(s.users, func(u *User) bool { return u.ExternalID == id }) {
			invalid = append(invalid, id)
		}
	}
	for _, u := range s.users {
		if u.ExternalID != "" && slices.Contains(sent.ExternalIDs, u.ExternalID) ||
			slices.ContainsFunc(u.Aliases, func(a Alias) bool { return slices.Contains(sent.Aliases, a) }) ||
			u.BrazeID == sent.BrazeID || sent.Email != "" && strings.EqualFold(u.Email, sent.Email) || sent.Phone != "" && u.Phone == sent.Phone {
			users = append(users, u.exported(sent.Fields))
		}
	}
	more := map[string]any{"users": users}
	if len(invalid) > 0 {
		more["invalid_user_ids"] = invalid
	}
	return success(http.StatusCreated, more)
}

// exported is a profile as it is told: what is empty is left out.
func (u *User) exported(fields []string) map[string]any {
	all := map[string]any{}
	for name, value := range map[string]string{
		"external_id": u.ExternalID, "braze_id": u.BrazeID, "email": u.Email, "phone": u.Phone,
		"email_subscribe": u.EmailSubscribe, "push_subscribe": u.PushSubscribe,
	} {
		if value != "" {
			all[name] = value
		}
	}
	if len(u.Aliases) > 0 {
		all["user_aliases"] = u.Aliases
	}
	custom := map[string]any{}
	for name, value := range u.Attributes {
		if slices.Contains(profileFields, name) {
			all[name] = value
		} else {
			custom[name] = value
		}
	}
	if len(custom) > 0 {
		all["custom_attributes"] = custom
	}
	maps.DeleteFunc(all, func(name string, _ any) bool { return !slices.Contains(fields, name) })
	return all
}

func (s *Server) readGroups(r *http.Request, _ []byte) answer {
	q := r.URL.Query()
	asked := func(name string) []string { return append(q[name], q[name+"[]"]...) }
	ids, emails, phones := asked("external_id"), asked("email"), asked("phone")
	switch n := len(ids) + len(emails) + len(phones); {
	case n == 0:
		return refuse(http.StatusBadRequest, "No Recipients")
	case n > maxUsers:
		return refuse(http.StatusBadRequest, "The max number of ids per request was exceeded")
	}
	users := []map[string]any{}
	for _, u := range s.users {
		byEmail := func(e string) bool { return strings.EqualFold(e, u.Email) }
		if !slices.Contains(ids, u.ExternalID) && !slices.ContainsFunc(emails, byEmail) && !slices.Contains(phones, u.Phone) {
			continue
		}
		groups := []map[string]any{}
		for _, id := range slices.Sorted(maps.Keys(u.Groups)) {
			status := map[string]string{"subscribed": "Subscribed", "unsubscribed": "Unsubscribed"}[u.Groups[id]]
			groups = append(groups, map[string]any{"id": id, "name": "Group " + id, "channel": "email", "status": status})
		}
		users = append(users, map[string]any{
			"external_id": orNull(u.ExternalID), "email": orNull(u.Email), "phone": orNull(u.Phone), "subscription_groups": groups,
		})
	}
	return success(http.StatusOK, map[string]any{"users": users, "total_count": len(users)})
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// remove takes identifiers of one kind. Deletion by e-mail address is not simulated.
func (s *Server) remove(_ *http.Request, body []byte) answer {
	var sent struct {
		ExternalIDs []string `json:"external_ids"`
		Aliases     []Alias  `json:"user_aliases"`
		BrazeIDs    []string `json:"braze_ids"`
	}
	if refused := parse(body, &sent); refused != nil {
		return *refused
	}
	kinds := 0
	for _, n := range []int{len(sent.ExternalIDs), len(sent.Aliases), len(sent.BrazeIDs)} {
		if n > maxUsers {
			return refuse(http.StatusBadRequest, "The max number of ids per request was exceeded")
		}
		if n > 0 {
			kinds++
		}
	}
	if kinds != 1 {
		return refuse(http.StatusBadRequest, "Bad Request")
	}
	before := len(s.users)
	s.users = slices.DeleteFunc(s.users, func(u *User) bool {
		gone := u.ExternalID != "" && slices.Contains(sent.ExternalIDs, u.ExternalID) || slices.Contains(sent.BrazeIDs, u.BrazeID) ||
			slices.ContainsFunc(u.Aliases, func(a Alias) bool { return slices.Contains(sent.Aliases, a) })
		if gone && s.notify != nil {
			s.notify(u.BrazeID + " deleted")
		}
		return gone
	})
	return success(http.StatusCreated, map[string]any{"deleted": before - len(s.users)})
}
