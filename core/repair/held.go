package repair

import (
	"context"
	"errors"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/cpm"
	"github.com/consentd/consentd/core/store"
)

// heldPage is how many held citizens are looked at in one query, and heldAgain how long it takes until the API is asked
// about one again.
const (
	heldPage  = 256
	heldAgain = 15 * time.Minute
)

// confirmHeld asks the API about grants that are held: because they came with older evidence than was known, nobody
// could tell whether they are true. The API can. What it says is applied whole, and so the grant is let through or
// dismissed. It is asked only when the grant has been held for as long as confirm_after: what it reads from may lag
// behind, and a withdrawal that it does not know of yet must not be undone by it.
func (s *Source) confirmHeld(ctx context.Context) error {
	for after := int64(0); s.mine(); {
		page, err := s.Store.ListHeld(ctx, after, heldPage)
		if err != nil {
			return err
		}
		for _, h := range page {
			after = h.Number
			if h.Source != s.name || time.Since(h.Received) < s.Source.API.ConfirmAfter || time.Since(s.heldAsked[h.CitizenID]) < heldAgain {
				continue
			}
			s.heldAsked[h.CitizenID] = time.Now()
			if err := s.confirm(ctx, h.CitizenID); err != nil {
				return err
			}
		}
		if len(page) < heldPage {
			break
		}
	}
	s.forgetAsked()
	return nil
}

// forgetAsked keeps what is remembered of held grants within bounds.
func (s *Source) forgetAsked() {
	for id, at := range s.heldAsked {
		if time.Since(at) >= heldAgain {
			delete(s.heldAsked, id)
		}
	}
}

func (s *Source) confirm(ctx context.Context, citizenID string) error {
	known, err := s.Store.Citizen(ctx, s.name, citizenID)
	if errors.Is(err, store.ErrNotFound) {
		return nil // erased meanwhile
	}
	if err != nil {
		return err
	}
	was, err := consent.Decode(known.Body)
	if err != nil {
		return err
	}
	body, err := s.Client.Citizen(ctx, citizenID, string(was.ExternalRef))
	if errors.Is(err, cpm.ErrNobody) {
		s.Log.Warn("the sender was to be asked about a citizen, and does not know them any more: what is stored stays", "held", known.Held != nil)
		return nil
	}
	if err != nil {
		return err
	}
	received := time.Now()
	state, err := s.understand(body)
	if err == nil {
		state, body, err = completed(known, state, body)
	}
	if err != nil {
		return err
	}
	if known.Held == nil && Same(known.Body, state) {
		return nil
	}
	became, err := s.accept(ctx, state, body, received, true)
	if err == nil && became == accepted {
		s.Metrics.settled(s.name)
		s.Log.Info("what came on old evidence is settled as the sender's API says", "held", known.Held != nil)
	}
	return err
}

const (
	// staleAfter is how much later than its evidence a webhook is sent when something is odd about it. Usually it is sent
	// as soon as something is recorded.
	staleAfter = 10 * time.Minute
	// maxDoubts bounds how many citizens are remembered to be asked about.
	maxDoubts = 10_000
)

// Doubt looks at a webhook that was taken in. One that was sent long after all that it tells of was recorded may be an
// old one that was tried again and stamped anew. What it granted is held, but what it withdrew applies, and the
// sender, for whom nothing has changed, would never say otherwise. So the API is asked about its citizen, by the replica
// that took the webhook, whoever is at the source: there are few, and nobody has to be told of them. A restart forgets
// whom to ask about; a reconciliation finds them.
func (s *Source) Doubt(state consent.State) {
	if evidence := state.Evidence(); evidence.IsZero() || state.SentAt.Sub(evidence) < staleAfter {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.doubts[string(state.CitizenID)]; there || len(s.doubts) < maxDoubts {
		s.doubts[string(state.CitizenID)] = time.Now()
		return
	}
	if !s.tooMany {
		s.tooMany = true
		s.Log.Warn("more old webhooks came stamped anew than citizens can be asked about; `consentd reconcile --repair all` finds what is wrong")
	}
}

// doubted are those to ask about now. They are not forgotten until they were asked about.
func (s *Source) doubted() (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, at := range s.doubts {
		if time.Since(at) >= s.Source.API.ConfirmAfter {
			ids = append(ids, id)
		}
	}
	return ids
}

// confirmDoubted asks the API about citizens of whom an odd webhook came.
func (s *Source) confirmDoubted(ctx context.Context) error {
	for _, id := range s.doubted() {
		if err := s.confirm(ctx, id); err != nil {
			return err
		}
		s.mu.Lock()
		delete(s.doubts, id)
		s.tooMany = false
		s.mu.Unlock()
	}
	return nil
}
