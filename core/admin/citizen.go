package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/consentd/consentd/core/consent"
)

func (h *handler) showCitizen(w http.ResponseWriter, r *http.Request) {
	source, id := r.PathValue("source"), r.PathValue("id")
	h.audited(w, r, h.ofCitizen(source, id), func() (any, int, error) {
		c, err := h.citizen(r.Context(), source, id)
		return c, 1, err
	})
}

func (h *handler) citizen(ctx context.Context, source, id string) (Citizen, error) {
	c, err := h.Store.Citizen(ctx, source, id)
	if err != nil {
		return Citizen{}, err
	}
	state, err := consent.Decode(c.Body)
	if err != nil {
		return Citizen{}, err
	}
	now := time.Now()
	out := Citizen{
		Source: source, CitizenID: id, ExternalRef: string(state.ExternalRef), SentAt: c.SentAt, Evidence: When(c.Evidence),
		Received: c.Received, NextChange: When(c.Next), Permissions: permissions(state, now), Held: []Permission{},
		Preferences: []Preference{}, Deliveries: []Delivery{},
	}
	if c.Held != nil {
		held, err := consent.Decode(c.Held)
		if err != nil {
			return out, err
		}
		out.Held = permissions(held, now)
	}
	for _, p := range state.Preferences {
		preference := Preference{p.Preference, []string{}}
		for _, choice := range p.Choices {
			preference.Choices = append(preference.Choices, choice.Reference)
		}
		out.Preferences = append(out.Preferences, preference)
	}
	deliveries, err := h.Store.Deliveries(ctx, source, id)
	for _, d := range deliveries {
		out.Deliveries = append(out.Deliveries, Delivery{
			ID: d.ID, Rule: d.Rule, Target: d.Target, Status: d.Status.String(), Withdrawal: d.Withdrawal, Desired: d.Desired,
			Delivered: d.Delivered, Attempts: d.Attempts, Outcome: d.Outcome, Reason: d.Reason, Error: d.Error,
			NextAttempt: When(d.NextAttempt), SettledAt: When(d.SettledAt),
		})
	}
	return out, err
}

func permissions(s consent.State, now time.Time) []Permission {
	all := []Permission{}
	for _, p := range s.Permissions {
		all = append(all, Permission{
			OptionType: p.OptionType, OptionID: p.OptionID, Justification: p.Justification, State: p.State,
			Allowed: p.Allowed(now), RecordedAt: When(p.RecordedAt), ValidFrom: When(p.ValidFrom), ValidUntil: When(p.ValidUntil),
		})
	}
	return all
}

func (h *handler) releaseHeld(w http.ResponseWriter, r *http.Request) {
	source, id := r.PathValue("source"), r.PathValue("id")
	h.audited(w, r, h.ofCitizen(source, id), func() (any, int, error) {
		return Changed{Changed: 1}, 1, h.Options.Release(r.Context(), source, id)
	})
}

func (h *handler) eraseCitizen(w http.ResponseWriter, r *http.Request) {
	source, id := r.PathValue("source"), r.PathValue("id")
	h.audited(w, r, h.ofCitizen(source, id), func() (any, int, error) {
		erased, err := h.Options.Erase(r.Context(), source, id)
		return erased, 1, err
	})
}
