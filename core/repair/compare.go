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

// Difference is how what is stored of a citizen differs from what the sender says.
type Difference int

const (
	// Equal: it does not, or what is stored is newer.
	Equal Difference = iota
	// Missing: nothing is stored.
	Missing
	// Changed: something else is stored.
	Changed
)

// Compared is one citizen as Compare found them.
type Compared struct {
	CitizenID string
	Difference
	// Withdrawal is whether the sender allows less than is stored, or refuses where nothing is.
	Withdrawal bool
	// Repaired is whether what the sender says was taken in.
	Repaired bool
}

// Compare walks through everything that the sender knows and compares it with what is stored. What take says is to be
// taken in, is. What cannot be understood is counted by unreadable.
func (s *Source) Compare(ctx context.Context, take func(Compared) bool, each func(Compared), unreadable func()) error {
	now, err := s.Client.Clock(ctx)
	if err != nil {
		return err
	}
	return s.Client.Walk(ctx, cpm.Cursor{Before: now}, func(p cpm.Page, _ cpm.Cursor) error {
		for _, body := range p.Bodies {
			state, err := webhook.Decode(s.Source, body)
			if err != nil {
				unreadable()
				continue
			}
			c, err := s.compare(ctx, state, body)
			if err != nil {
				return err
			}
			if c.Difference != Equal && take(c) {
				became, err := s.accept(ctx, state, body, time.Now(), s.Source.ApplyRegressions)
				if err != nil {
					return err
				}
				c.Repaired = became == accepted
			}
			each(c)
		}
		return nil
	})
}

func (s *Source) compare(ctx context.Context, state consent.State, body []byte) (Compared, error) {
	c := Compared{CitizenID: string(state.CitizenID)}
	u := consent.Update{
		Source: s.name, Type: consent.EffectivePermission, Received: time.Now(), State: state, Body: body, ApplyRegressions: s.Source.ApplyRegressions,
	}
	known, err := s.Store.Citizen(ctx, s.name, c.CitizenID)
	if errors.Is(err, store.ErrNotFound) {
		applied, err := consent.Apply(nil, u)
		c.Difference, c.Withdrawal = Missing, applied.Withdrawal
		return c, err
	}
	if err != nil || Same(known.Body, state) {
		return c, err
	}
	applied, err := consent.Apply(&known, u)
	if err == nil && applied.Verdict == consent.Accepted {
		c.Difference, c.Withdrawal = Changed, applied.Withdrawal
	}
	return c, err
}
