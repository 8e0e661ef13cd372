package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/consentd/consentd/core/consent"
)

// Check is one thing that verifying a store looked at. Problem is empty when all is well; it holds nothing personal.
type Check struct {
	Name    string `json:"check"`
	Found   string `json:"found,omitempty"`
	Problem string `json:"problem,omitempty"`
}

// CheckReceipts verifies the chain of receipts, and says what it found.
func CheckReceipts(ctx context.Context, s interface {
	VerifyReceipts(context.Context) (Chain, error)
}) (string, error) {
	c, err := s.VerifyReceipts(ctx)
	if err == nil && c.Broken != 0 {
		err = fmt.Errorf("receipt %d: %s", c.Broken, c.Problem)
	}
	found := fmt.Sprintf("%d, head %x", c.Receipts, c.Head)
	if c.Pruned > 0 {
		found = fmt.Sprintf("%d, of which the first %d were removed when their time was over, head %x", c.Receipts, c.Pruned, c.Head)
	}
	return found, err
}

// CheckLedger holds a store to law 12.
func CheckLedger(ctx context.Context, s interface {
	Audit(context.Context) (map[string]int64, error)
}) (string, error) {
	off, err := s.Audit(ctx)
	if err != nil {
		return "", err
	}
	for target, n := range off {
		if n != 0 {
			err = errors.Join(err, fmt.Errorf("%d updates for target %s are not accounted for", n, target))
		}
	}
	return fmt.Sprintf("%d targets", len(off)), err
}

// CheckCitizen is whether what is stored of a citizen can be read.
func CheckCitizen(c consent.Citizen) error {
	if _, err := consent.Decode(c.Body); err != nil {
		return fmt.Errorf("a stored body cannot be read: %w", err)
	}
	if c.Held == nil {
		return nil
	}
	if _, err := consent.Decode(c.Held); err != nil {
		return fmt.Errorf("a stored held body cannot be read: %w", err)
	}
	return nil
}

// CheckedValues counts the values in a store that may be sealed as they are read.
type CheckedValues struct {
	Citizens, Quarantined int
	wrong                 int
	first                 error
}

// Add counts what is wrong with a value, if anything is.
func (v *CheckedValues) Add(problem error) {
	if problem != nil {
		v.wrong++
		v.first = cmp.Or(v.first, problem)
	}
}

// Found says what was read, and how much of it is wrong.
func (v *CheckedValues) Found() (found string, err error) {
	if v.wrong > 0 {
		err = fmt.Errorf("%d values: %w", v.wrong, v.first)
	}
	return fmt.Sprintf("%d citizens, %d quarantined bodies", v.Citizens, v.Quarantined), err
}
