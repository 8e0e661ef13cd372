package repair

import (
	"context"
	"errors"
	"time"

	"github.com/consentd/consentd/core/consent"
	"github.com/consentd/consentd/core/cpm"
	"github.com/consentd/consentd/core/store"
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
			state, err := s.understand(body)
			if err != nil {
				unreadable()
				continue
			}
			c, state, body, err := s.compare(ctx, state, body)
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

// compare also answers what there is to be taken in.
func (s *Source) compare(ctx context.Context, state consent.State, body []byte) (Compared, consent.State, []byte, error) {
	c := Compared{CitizenID: string(state.CitizenID)}
	known, err := s.Store.Citizen(ctx, s.name, c.CitizenID)
	before := &known
	if errors.Is(err, store.ErrNotFound) {
		before, err = nil, nil
	}
	if err == nil && before != nil {
		state, body, err = completed(known, state, body)
	}
	if err != nil || before != nil && Same(known.Body, state) {
		return c, state, body, err
	}
	applied, err := consent.Apply(before, consent.Update{
		Source: s.name, Type: consent.EffectivePermission, Received: time.Now(), State: state, Body: body, ApplyRegressions: s.Source.ApplyRegressions,
	})
	switch {
	case err != nil || applied.Verdict != consent.Accepted:
	case before == nil:
		c.Difference, c.Withdrawal = Missing, applied.Withdrawal
	default:
		c.Difference, c.Withdrawal = Changed, applied.Withdrawal
	}
	return c, state, body, err
}
