package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Status is what a person said of one subscription, in HubSpot's words. The zero Status is nothing.
type Status struct {
	State, LegalBasis, Explanation string
}

const notSpecified = "NOT_SPECIFIED"

// Subscription returns a person's state of one subscription.
func (s *Server) Subscription(email string, id int64) Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status(email, id)
}

// Subscriptions returns all that a person said anything about, with the states.
func (s *Server) Subscriptions(email string) map[int64]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[int64]string{}
	for id, status := range s.statuses[strings.ToLower(email)] {
		if status.State != notSpecified {
			all[id] = status.State
		}
	}
	return all
}

// SetSubscription is what a person does through a link in a mail.
func (s *Server) SetSubscription(email string, id int64, state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(email, id, Status{State: state})
}

func (s *Server) status(email string, id int64) Status {
	if held, ok := s.statuses[strings.ToLower(email)][id]; ok {
		return held
	}
	return Status{State: notSpecified}
}

func (s *Server) set(email string, id int64, status Status) {
	email = strings.ToLower(email)
	if s.statuses[email] == nil {
		s.statuses[email] = map[int64]Status{}
	}
	s.statuses[email][id] = status
}

func (s *Server) definitions(*http.Request, []byte) (int, any) {
	results := []any{}
	for _, id := range slices.Sorted(maps.Keys(s.types)) {
		results = append(results, map[string]any{"id": fmt.Sprint(id), "name": "Simulated", "isActive": true})
	}
	return complete(results, nil)
}

// view lists all types that there are, and those that the person said anything about.
func (s *Server) view(email string) []any {
	ids := maps.Clone(s.types)
	if ids == nil {
		ids = map[int64]bool{}
	}
	for id := range s.statuses[strings.ToLower(email)] {
		ids[id] = true
	}
	results := []any{}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		results = append(results, s.result(email, id, nil))
	}
	return results
}

func (s *Server) result(email string, id int64, reason any) map[string]any {
	held := s.status(email, id)
	return map[string]any{
		"businessUnitId": 0, "channel": "EMAIL", "subscriberIdString": strings.ToLower(email), "subscriptionId": id,
		"status": held.State, "source": "API", "legalBasis": nullable(held.LegalBasis), "legalBasisExplanation": nullable(held.Explanation),
		"setStatusSuccessReason": reason, "timestamp": "2026-01-05T09:00:00Z",
	}
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (s *Server) getStatuses(r *http.Request, _ []byte) (int, any) {
	if r.URL.Query().Get("channel") != "EMAIL" {
		return fail(Refuse(400, "VALIDATION_ERROR", "channel is required"))
	}
	return complete(s.view(r.PathValue("email")), nil)
}

type statusInput struct {
	Subscriber     string `json:"subscriberIdString"`
	SubscriptionID int64
	StatusState    string
	Channel        string
	LegalBasis     string
	Explanation    string `json:"legalBasisExplanation"`
}

func (s *Server) postStatus(r *http.Request, body []byte) (int, any) {
	var in statusInput
	if json.Unmarshal(body, &in) != nil || in.Subscriber != "" {
		return fail(Refuse(400, "VALIDATION_ERROR", "Invalid input JSON"))
	}
	in.Subscriber = r.PathValue("email")
	result, p := s.write(in)
	if p != nil {
		return fail(p)
	}
	return complete([]any{result}, nil)
}

// write is one change. v4 subscribes people again who opted out.
func (s *Server) write(in statusInput) (map[string]any, *Problem) {
	switch {
	case in.Channel != "EMAIL" || !slices.Contains([]string{"SUBSCRIBED", "UNSUBSCRIBED", notSpecified}, in.StatusState):
		return nil, Refuse(400, "VALIDATION_ERROR", "Invalid input JSON")
	case s.types != nil && !s.types[in.SubscriptionID]:
		return nil, Refuse(400, "VALIDATION_ERROR", "subscription %d does not exist", in.SubscriptionID)
	case s.privacy && (in.LegalBasis == "" || in.Explanation == ""):
		return nil, Refuse(400, "VALIDATION_ERROR", "legal basis and its explanation are required")
	}
	held := s.status(in.Subscriber, in.SubscriptionID)
	c := s.find(in.Subscriber)
	if held.State == in.StatusState && (c == nil || !c.optedOut || in.StatusState != "SUBSCRIBED") {
		return s.result(in.Subscriber, in.SubscriptionID, "NO_STATUS_CHANGE"), nil
	}
	reason := "REQUESTED_CHANGE_OCCURRED"
	if in.StatusState == "SUBSCRIBED" && (held.State == "UNSUBSCRIBED" || c != nil && c.optedOut) {
		reason = "RESUBSCRIBE_OCCURRED"
		if c != nil {
			c.optedOut = false
		}
	}
	s.set(in.Subscriber, in.SubscriptionID, Status{State: in.StatusState, LegalBasis: in.LegalBasis, Explanation: in.Explanation})
	s.notify(fmt.Sprintf("%s %d %s", strings.ToLower(in.Subscriber), in.SubscriptionID, in.StatusState))
	return s.result(in.Subscriber, in.SubscriptionID, reason), nil
}

func (s *Server) missingScope(scope string) *Problem {
	if s.enterprise {
		return nil
	}
	p := Refuse(http.StatusForbidden, "MISSING_SCOPES", "This app hasn't been granted all required scopes to make this call.")
	p.Errors = []Detail{{Message: "One or more of the following scopes are required.", Context: map[string][]string{"requiredGranularScopes": {scope}}}}
	return p
}

func (s *Server) readStatuses(r *http.Request, body []byte) (int, any) {
	var request struct{ Inputs []string }
	switch p := s.missingScope("communication_preferences.statuses.batch.read"); {
	case p != nil:
		return fail(p)
	case json.Unmarshal(body, &request) != nil || r.URL.Query().Get("channel") != "EMAIL":
		return fail(Refuse(400, "VALIDATION_ERROR", "Invalid input JSON"))
	}
	results := []any{}
	for _, email := range slices.Backward(request.Inputs) {
		results = append(results, map[string]any{"subscriberIdString": strings.ToLower(email), "statuses": s.view(email)})
	}
	return complete(results, nil)
}

func (s *Server) writeStatuses(_ *http.Request, body []byte) (int, any) {
	var request struct{ Inputs []statusInput }
	switch p := s.missingScope("communication_preferences.statuses.batch.write"); {
	case p != nil:
		return fail(p)
	case json.Unmarshal(body, &request) != nil:
		return fail(Refuse(400, "VALIDATION_ERROR", "Invalid input JSON"))
	}
	results, errors := []any{}, []Problem{}
	for _, in := range slices.Backward(request.Inputs) {
		result, p := s.write(in)
		if p != nil {
			errors = append(errors, *p)
			continue
		}
		results = append(results, result)
	}
	_, answer := complete(results, errors)
	return http.StatusOK, answer // documented without 207
}
