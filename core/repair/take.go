package repair

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/cpm"
	"github.com/consentd/consentd/core/store"
	"github.com/consentd/consentd/core/webhook"
)

// atOnce is how many citizens of a page are committed at once: the store commits what waits in one group.
const atOnce = 32

// take takes in what the API says of some citizens, as if webhooks had brought it.
//
// A page of which nobody can be understood is no news of anybody: it is an error, and not a quarantine full of it.
func (s *Source) take(ctx context.Context, bodies [][]byte) (Counts, error) {
	for i, body := range bodies {
		_, err := s.understand(body)
		if err == nil {
			break
		}
		if i == len(bodies)-1 && i > 0 {
			return Counts{}, fmt.Errorf("none of %d citizens can be understood (%w): is api > paths > effective right?", len(bodies), err)
		}
	}
	var n [4]atomic.Int64
	var all errgroup.Group
	all.SetLimit(atOnce)
	for _, body := range bodies {
		all.Go(func() error {
			became, err := s.takeOne(ctx, body)
			if err == nil {
				n[became].Add(1)
			}
			return err
		})
	}
	err := all.Wait()
	at := func(i became) int { return int(n[i].Load()) }
	return Counts{at(accepted), at(unchanged), at(superseded), at(quarantined)}, err
}

type became int

const (
	accepted became = iota
	unchanged
	superseded
	quarantined
)

// takeOne spares the targets everything that is known already: an update that says nothing new would still be a new
// version.
func (s *Source) takeOne(ctx context.Context, body []byte) (became, error) {
	received := time.Now()
	state, err := s.understand(body)
	if errors.Is(err, errNoPermissions) {
		// A replay would take it for a webhook that says that there are none.
		body = fmt.Appendf(nil, `{"api": %s}`, body)
	}
	if err != nil {
		return quarantined, s.Store.Quarantine(ctx, store.Quarantined{
			Source: s.name, Received: received, Reason: "the sender's API: " + err.Error(), Size: len(body), Body: body,
		})
	}
	known, err := s.Store.Citizen(ctx, s.name, string(state.CitizenID))
	if err == nil {
		state, body, err = completed(known, state, body)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return 0, err
	case known.Held == nil && Same(known.Body, state):
		return unchanged, nil
	}
	return s.accept(ctx, state, body, received, s.Source.ApplyRegressions)
}

var errNoPermissions = errors.New("no permissions stand in it")

// understand reads what the API says of a citizen. A webhook may leave permissions out; of the API, which is asked for
// them, that is a shape that is not known, and to take it for a state would withdraw everything.
func (s *Source) understand(body []byte) (consent.State, error) {
	state, err := webhook.Decode(s.Source, body)
	if err == nil && !cpm.Tells(body, "permissions") {
		err = errNoPermissions
	}
	return state, err
}

// completed keeps the preferences that are known where the API tells none.
func completed(known consent.Citizen, state consent.State, body []byte) (consent.State, []byte, error) {
	if cpm.Tells(body, "preferences") {
		return state, body, nil
	}
	was, err := consent.Decode(known.Body)
	if err != nil || len(was.Preferences) == 0 {
		return state, body, err
	}
	state.Preferences = was.Preferences
	return state, consent.Encode(state), nil
}

func (s *Source) accept(ctx context.Context, state consent.State, body []byte, received time.Time, regressions bool) (became, error) {
	// The API tells the whole state, whatever the subscription sends.
	verdict, err := s.Store.Accept(ctx, consent.Update{
		Source: s.name, Type: consent.EffectivePermission, Received: received, State: state, Body: body, ApplyRegressions: regressions,
	})
	if err != nil {
		return 0, err
	}
	switch verdict {
	case consent.Accepted:
		return accepted, nil
	case consent.Superseded:
		return superseded, nil
	}
	return unchanged, nil
}

// Same is whether a stored state says of what is allowed and chosen what another says, whenever it was sent. Who
// recorded it, and other things beside, may be told by one of the two alone.
func Same(stored []byte, state consent.State) bool {
	known, err := consent.Decode(stored)
	return err == nil && bytes.Equal(essence(known), essence(state))
}

// essence is what a state says of what is allowed and chosen. Permissions in which nothing is recorded, with which the
// store remembers what lapsed, say nothing.
func essence(s consent.State) []byte {
	out := consent.State{CitizenID: s.CitizenID, ExternalRef: s.ExternalRef, ApplicationID: s.ApplicationID}
	for _, p := range s.Permissions {
		if p.State != "" {
			out.Permissions = append(out.Permissions, consent.Permission{
				OptionType: p.OptionType, OptionID: p.OptionID, Justification: p.Justification, State: p.State, TransactionID: p.TransactionID,
				RecordedAt: p.RecordedAt.UTC(), ObtainedAt: p.ObtainedAt.UTC(), ValidFrom: p.ValidFrom.UTC(), ValidUntil: p.ValidUntil.UTC(),
			})
		}
	}
	slices.SortFunc(out.Permissions, func(a, b consent.Permission) int {
		return cmp.Or(cmp.Compare(a.OptionID, b.OptionID), cmp.Compare(a.OptionType, b.OptionType),
			cmp.Compare(a.Justification, b.Justification), cmp.Compare(a.TransactionID, b.TransactionID))
	})
	for _, p := range s.Preferences {
		q := consent.Preference{Preference: p.Preference, SubmissionID: p.SubmissionID, UpdatedAt: p.UpdatedAt.UTC()}
		for _, c := range p.Choices {
			q.Choices = append(q.Choices, consent.Choice{Reference: c.Reference})
		}
		out.Preferences = append(out.Preferences, q)
	}
	slices.SortFunc(out.Preferences, func(a, b consent.Preference) int { return cmp.Compare(a.Preference, b.Preference) })
	return consent.Encode(out)
}

// OfRef takes in at once what the API says of the citizens of an external reference.
func (s *Source) OfRef(ctx context.Context, ref string) (Counts, error) {
	p, err := s.Client.OfRef(ctx, ref)
	if err != nil {
		return Counts{}, err
	}
	return s.take(ctx, p.Bodies)
}
