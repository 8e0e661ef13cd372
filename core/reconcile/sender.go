package reconcile

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/consentd/consentd/core/admin"
	"github.com/consentd/consentd/core/repair"
	"github.com/consentd/consentd/core/store"
)

// pageOf is how many citizens are read from the store at once.
const pageOf = 256

// compareSender compares what is stored with what the sender says, one way and the other.
func (r *Run) compareSender(ctx context.Context, name string) error {
	s := r.Senders[name]
	r.source(name, func(*admin.SourceDrift) {})
	var listed []uint64 // eight bytes a citizen, so that millions can be remembered
	control := ""
	err := s.Compare(ctx, func(c repair.Compared) bool { return r.mends(c.Withdrawal) }, func(c repair.Compared) {
		listed = append(listed, r.short(name, c.CitizenID))
		control = c.CitizenID
		r.source(name, func(d *admin.SourceDrift) {
			d.Citizens++
			switch c.Difference {
			case repair.Equal:
				return
			case repair.Missing:
				d.Missing++
			default:
				d.Differ++
			}
			if c.Withdrawal {
				d.Withdrawals++
			}
			if c.Repaired {
				d.Repaired++
			}
			sample(&d.Samples, admin.Drift{Citizen: r.masked(name, c.CitizenID), Missing: c.Difference == repair.Missing, Withdrawal: c.Withdrawal, Repaired: c.Repaired})
		})
	}, func() { r.source(name, func(d *admin.SourceDrift) { d.Unreadable++ }) })
	if err != nil {
		return err
	}
	slices.Sort(listed)
	return r.gone(ctx, name, s, listed, control)
}

// short is a citizen in eight bytes.
func (r *Run) short(source, citizenID string) uint64 {
	return binary.BigEndian.Uint64(store.Subject(r.Store.HashKey(), source, citizenID))
}

// gone looks for citizens whom the sender does not know any more. Not to be listed is no proof: the list may be of what
// was updated, or somebody may have been passed over. So the API is asked for each, after it was asked for one whom
// it listed.
func (r *Run) gone(ctx context.Context, name string, s *repair.Source, listed []uint64, control string) error {
	var gone []string
	controlled := false
	for after := int64(0); ; {
		page, err := r.Store.Citizens(ctx, after, pageOf)
		if err != nil {
			return err
		}
		for _, k := range page {
			after = k.Number
			if k.Source != name {
				continue
			}
			if _, there := slices.BinarySearch(listed, r.short(name, k.CitizenID)); there {
				continue
			}
			if !controlled {
				if control == "" {
					return fmt.Errorf("the sender lists nobody, and citizens are stored: is application_id right? Nobody is taken for gone")
				}
				if there, err := s.Client.Exists(ctx, control); err != nil {
					return err
				} else if !there {
					return errControl
				}
				controlled = true
			}
			there, err := s.Client.Exists(ctx, k.CitizenID)
			if err != nil {
				return err
			}
			if there {
				continue
			}
			gone = append(gone, k.CitizenID)
			r.source(name, func(d *admin.SourceDrift) {
				d.Gone++
				sample(&d.Samples, admin.Drift{Citizen: r.masked(name, k.CitizenID), Gone: true})
			})
			if len(gone) > r.MaxErasures {
				return fmt.Errorf("more than %d citizens are gone at the sender: none was erased, and no more were looked for; if that is true, raise reconcile > max_erasures", r.MaxErasures)
			}
		}
		if len(page) < pageOf {
			break
		}
	}
	if !r.EraseGone || r.Repair == RepairNone {
		return nil
	}
	for _, id := range gone {
		if err := r.Erase(ctx, name, id); err != nil {
			return fmt.Errorf("erase a citizen who is gone at the sender: %w", err)
		}
		r.source(name, func(d *admin.SourceDrift) { d.Erased++ })
	}
	return nil
}
