package repair

import (
	"context"
	"errors"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/cpm"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/webhook"
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
	for after := int64(0); ; {
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
			s.forgetAsked()
			return nil
		}
	}
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
	body, whole, err := s.Client.Citizen(ctx, citizenID, string(was.ExternalRef))
	if errors.Is(err, cpm.ErrNobody) {
		s.Log.Warn("a grant is held, and the sender does not know its citizen any more: it stays held")
		return nil
	}
	if err != nil {
		return err
	}
	received := time.Now()
	state, err := webhook.Decode(s.Source, body)
	if err != nil {
		return err
	}
	if !whole {
		state.Preferences = was.Preferences
		body = consent.Encode(state)
	}
	became, err := s.accept(ctx, state, body, received, true)
	if err == nil && became == accepted {
		s.Metrics.settledHeld(s.name)
		s.Log.Info("a held grant is settled as the sender's API says")
	}
	return err
}
