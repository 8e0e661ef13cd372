package sim

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/cpm"
	"github.com/consentd/consentd/core/webhook/sender"
)

// retryEvery is after how long what three quick tries did not bring is tried again, and again.
const retryEvery = time.Hour

// subscription has a sender of its own, which keeps the access token of the last refresh. A change of the
// subscription makes a new one.
type subscription struct {
	cpm.Subscription
	sender *sender.Sender
}

// message is one webhook on its way. What it says is what was true when it was made: the payload is persisted, as
// the documents have it.
type message struct {
	to    *subscription
	of    *citizen
	state consent.State
	next  time.Time
}

// announce makes the webhooks of a change. A paused subscription discards them.
func (s *Sim) announce(c *citizen, permissions []consent.Permission, preferences []consent.Preference) {
	for _, sub := range s.subscriptions {
		if sub.Status != cpm.Active {
			continue
		}
		now := s.now()
		state := s.effective(c, now, now)
		if sub.UpdateType == string(consent.ConsentReceipts) {
			// That only what changed is sent is documented. The shape, and that preferences are, is inferred.
			state.Permissions, state.Preferences = permissions, preferences
			if permissions == nil {
				state.Permissions = []consent.Permission{}
			}
			if preferences == nil {
				state.Preferences = []consent.Preference{}
			}
		}
		state.SentAt = now
		m := &message{to: sub, of: c, state: state}
		s.enqueue(m)
		if s.behaviour.Duplicate {
			s.enqueue(m)
		}
	}
}

func (s *Sim) enqueue(m *message) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(m.of.id))
	q := h.Sum32() % uint32(len(s.queues))
	s.queues[q] = append(s.queues[q], m)
	s.changed.Broadcast()
}

// requeue takes up what is due for its hourly retry.
func (s *Sim) requeue() {
	now := s.now()
	s.failed = slices.DeleteFunc(s.failed, func(m *message) bool {
		if m.next.After(now) || m.to.Status != cpm.Active { // what becomes of it while paused is not known; here it waits
			return false
		}
		if s.behaviour.Restamp {
			m.state.SentAt = now
		}
		s.enqueue(m)
		return true
	})
}

// post posts what stands in one queue.
func (s *Sim) post(worker int) {
	for {
		s.mu.Lock()
		for len(s.queues[worker]) == 0 && s.life.Err() == nil {
			s.changed.Wait()
		}
		if s.life.Err() != nil {
			s.mu.Unlock()
			return
		}
		q, i := s.queues[worker], 0
		if s.behaviour.Shuffle {
			i = rand.IntN(len(q))
		}
		m := q[i]
		s.queues[worker] = slices.Delete(q, i, i+1)
		s.busy++
		by, body := m.to.sender, consent.Encode(m.state)
		s.mu.Unlock()

		answer, err := by.Send(s.life, body)
		if s.options.Notify != nil && s.life.Err() == nil {
			s.options.Notify(m.of.ref, told(m.state, answer, err))
		}

		s.mu.Lock()
		s.busy--
		if err != nil || !answer.OK() {
			m.next = s.now().Add(retryEvery)
			s.failed = append(s.failed, m)
		}
		s.mu.Unlock()
	}
}

// told is a message and its answer for people.
func told(state consent.State, answer sender.Answer, err error) string {
	var parts []string
	for _, p := range state.Permissions {
		parts = append(parts, p.OptionID+" "+p.State)
	}
	for _, p := range state.Preferences {
		parts = append(parts, fmt.Sprintf("%s (%d)", p.Preference, len(p.Choices)))
	}
	if err != nil {
		return strings.Join(parts, ", ") + "  -> " + err.Error()
	}
	return fmt.Sprintf("%s  -> %d %s", strings.Join(parts, ", "), answer.Status, strings.TrimSpace(string(answer.Body)))
}

// senderOf makes what posts the webhooks of a subscription.
func senderOf(sub cpm.Subscription) (*sender.Sender, error) {
	o := sender.Options{URL: sub.URL}
	switch a := sub.Authentication; a.AuthType {
	case cpm.AuthNone, "":
	case cpm.AuthAPIKey:
		if a.APIKey == nil || a.APIKey.Key == "" || a.APIKey.Value == "" {
			return nil, fmt.Errorf("apiKeyAuth needs location, key and value")
		}
		o.Credential = a.APIKey.Value
		if a.APIKey.Location == "query" {
			o.Query = a.APIKey.Key
		} else {
			o.Header = a.APIKey.Key
		}
	case cpm.AuthToken:
		o.Credential = a.Token
		if p := a.Place; p != nil && p.Location == "query" {
			o.Query = p.Key
		} else if p != nil {
			o.Header, o.Prefix = p.Key, p.Prefix
		}
		if a.RefreshToken != "" || a.RefreshURL != "" {
			o.Refresh = &sender.Refresh{URL: a.RefreshURL, Token: a.RefreshToken, ClientID: a.ClientID, ClientSecret: a.ClientSecret}
		} else if a.Token == "" {
			return nil, fmt.Errorf("token needs a token, or a refreshToken and a refreshUrl")
		}
	default:
		return nil, fmt.Errorf("authType %q is none", a.AuthType)
	}
	return sender.New(o)
}
