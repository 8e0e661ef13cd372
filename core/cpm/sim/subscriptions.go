package sim

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/cpm"
	"github.com/consentd/consentd/core/webhook/sender"
)

// Subscribe makes a subscription, as a person does in the sender's own pages, and answers its id.
func (s *Sim) Subscribe(sub cpm.Subscription) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	made, problem := s.subscribe(sub)
	if problem != nil {
		return "", problem
	}
	return made.ID, nil
}

// SetStatus pauses a subscription or lets it go on.
func (s *Sim) SetStatus(id, status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub := s.subscription(id); sub != nil {
		sub.Status = status
	}
}

// Subscriptions are all there are, with their secrets.
func (s *Sim) Subscriptions() []cpm.Subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []cpm.Subscription
	for _, sub := range s.subscriptions {
		all = append(all, sub.Subscription)
	}
	return all
}

func (s *Sim) subscription(id string) *subscription {
	for _, sub := range s.subscriptions {
		if sub.ID == id {
			return sub
		}
	}
	return nil
}

func (s *Sim) subscribe(sub cpm.Subscription) (*subscription, error) {
	if sub.Status == "" {
		sub.Status = cpm.Active
	}
	by, err := check(sub)
	if err != nil {
		return nil, err
	}
	sub.ID = s.id("sub-")
	made := &subscription{sub, by}
	s.subscriptions = append(s.subscriptions, made)
	return made, nil
}

// listed is a subscription as the API shows it. That secrets are left out is inferred.
func listed(sub cpm.Subscription) cpm.Subscription {
	a := &sub.Authentication
	a.Token, a.RefreshToken, a.ClientSecret = "", "", ""
	if a.APIKey != nil {
		key := *a.APIKey
		key.Value = ""
		a.APIKey = &key
	}
	return sub
}

func (s *Sim) createSubscription(w http.ResponseWriter, r *http.Request) {
	var sub cpm.Subscription
	if json.NewDecoder(r.Body).Decode(&sub) != nil {
		fail(w, http.StatusBadRequest, "the body is not JSON")
		return
	}
	made, err := s.subscribe(sub)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	write(w, http.StatusCreated, listed(made.Subscription))
}

// listSubscriptions pages; the names of the page's parameters and of the list are inferred.
func (s *Sim) listSubscriptions(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	all := []cpm.Subscription{}
	for _, sub := range s.subscriptions {
		if matches(q.Get("applicationId"), sub.ApplicationID) && matches(q.Get("status"), sub.Status) && matches(q.Get("updateType"), sub.UpdateType) {
			all = append(all, listed(sub.Subscription))
		}
	}
	offset, limit, ok := paging(w, r)
	if !ok {
		return
	}
	total := len(all)
	all = all[min(offset, total):min(offset+limit, total)]
	write(w, http.StatusOK, map[string]any{"subscriptions": all, "total": total})
}

func matches(asked, is string) bool { return asked == "" || asked == is }

// putSubscription replaces every field that can be edited, which is documented.
func (s *Sim) putSubscription(w http.ResponseWriter, r *http.Request) {
	sub := s.subscription(r.PathValue("id"))
	var next cpm.Subscription
	if sub == nil {
		fail(w, http.StatusNotFound, "no such subscription")
		return
	}
	if json.NewDecoder(r.Body).Decode(&next) != nil {
		fail(w, http.StatusBadRequest, "the body is not JSON")
		return
	}
	if next.Status == "" {
		next.Status = cpm.Active
	}
	s.change(w, sub, next)
}

// patchSubscription changes what is named.
func (s *Sim) patchSubscription(w http.ResponseWriter, r *http.Request) {
	sub := s.subscription(r.PathValue("id"))
	if sub == nil {
		fail(w, http.StatusNotFound, "no such subscription")
		return
	}
	next := sub.Subscription
	if json.NewDecoder(r.Body).Decode(&next) != nil {
		fail(w, http.StatusBadRequest, "the body is not JSON")
		return
	}
	s.change(w, sub, next)
}

func (s *Sim) change(w http.ResponseWriter, sub *subscription, next cpm.Subscription) {
	by, err := check(next)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	next.ID = sub.ID
	sub.Subscription, sub.sender = next, by
	write(w, http.StatusOK, listed(next))
}

func (s *Sim) showSubscription(w http.ResponseWriter, r *http.Request) {
	if sub := s.subscription(r.PathValue("id")); sub != nil {
		write(w, http.StatusOK, listed(sub.Subscription))
		return
	}
	fail(w, http.StatusNotFound, "no such subscription")
}

func (s *Sim) deleteSubscription(w http.ResponseWriter, r *http.Request) {
	s.subscriptions = slices.DeleteFunc(s.subscriptions, func(sub *subscription) bool { return sub.ID == r.PathValue("id") })
	w.WriteHeader(http.StatusNoContent)
}

// check refuses what could not be posted to. citizen-emails is a type of the sender's that nobody here has a use for.
func check(sub cpm.Subscription) (*sender.Sender, error) {
	switch {
	case sub.Name == "":
		return nil, errors.New("name is missing")
	case sub.Status != cpm.Active && sub.Status != cpm.Paused:
		return nil, errors.New("status must be active or paused")
	case sub.UpdateType != string(consent.EffectivePermission) && sub.UpdateType != string(consent.ConsentReceipts):
		return nil, errors.New("updateType is none that is simulated")
	}
	return senderOf(sub)
}
