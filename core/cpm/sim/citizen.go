package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/consentd/consentd/core/consent"
)

// citizen has a trail of its own. Nothing of it is ever changed.
type citizen struct {
	id, ref, email string
	permissions    []entry
	preferences    []consent.Preference
	updated        time.Time
	// linked are the others whose trails count as well, itself not among them.
	linked  []*citizen
	deleted bool
}

// entry is one change of a transaction.
type entry struct {
	consent.Permission
	number int // the order of recording
}

// Change is what a transaction changes of one option. Times that are zero are filled in.
type Change struct {
	Type                  string // option if empty
	Option, Justification string
	State                 string
	ObtainedAt            time.Time // when it is recorded if zero
	ValidFrom, ValidUntil time.Time
}

// Grant and Deny are changes of a consent.
func Grant(option string) Change {
	return Change{Option: option, Justification: "consent", State: "GRANTED"}
}
func Deny(option string) Change {
	return Change{Option: option, Justification: "consent", State: "DENIED"}
}

// Add makes a citizen with an external reference, and answers the id. No webhook comes of it until something
// is recorded. A reference that is there already is that citizen's.
func (s *Sim) Add(ref string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(ref).id
}

// AddAs is Add with an id of the caller's.
func (s *Sim) AddAs(id, ref string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addAs(id, ref)
}

func (s *Sim) add(ref string) *citizen {
	if c := s.byRef[ref]; c != nil {
		return c
	}
	return s.addAs(s.id("c"), ref)
}

func (s *Sim) addAs(id, ref string) *citizen {
	c := &citizen{id: id, ref: ref, email: ref, updated: s.now()}
	s.citizens[c.id], s.byRef[ref] = c, c
	s.order = append(s.order, c)
	return c
}

// Record records a transaction of a citizen and answers its id.
func (s *Sim) Record(citizenID string, changes ...Change) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record(s.known(citizenID), changes)
}

func (s *Sim) record(c *citizen, changes []Change) string {
	now, transaction := s.now(), s.id("t")
	var delta []consent.Permission
	for _, ch := range changes {
		p := consent.Permission{
			TransactionID: transaction, OptionType: ch.Type, OptionID: ch.Option, Justification: ch.Justification, State: ch.State,
			Channel: "web", RecordedBy: "u-1", RecordedByName: "J. Roe", RecordedClient: "cl-1", RecordedClientName: "Website",
			RecordedAt: now, ObtainedAt: ch.ObtainedAt, ValidFrom: ch.ValidFrom, ValidUntil: ch.ValidUntil,
		}
		if p.OptionType == "" {
			p.OptionType = "option"
		}
		if p.ObtainedAt.IsZero() {
			p.ObtainedAt = now
		}
		if p.ValidFrom.IsZero() {
			p.ValidFrom = p.ObtainedAt
		}
		s.numbers++
		c.permissions = append(c.permissions, entry{p, s.numbers})
		delta = append(delta, p)
	}
	s.touch(c, now, delta, nil)
	return transaction
}

// Prefer records a submission: what a citizen chose for one preference.
func (s *Sim) Prefer(citizenID, preference string, choices ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, now := s.known(citizenID), s.now()
	p := consent.Preference{Preference: preference, Label: preference, SubmissionID: s.id("s"), UpdatedAt: now, Choices: []consent.Choice{}}
	for _, choice := range choices {
		p.Choices = append(p.Choices, consent.Choice{Reference: choice, Label: choice})
	}
	c.preferences = append(c.preferences, p)
	s.touch(c, now, nil, []consent.Preference{p})
}

// touch tells of a change. The state of linked citizens changes with it, which is documented; that there is a
// webhook for each of them, and that they count as updated, is inferred.
func (s *Sim) touch(c *citizen, now time.Time, permissions []consent.Permission, preferences []consent.Preference) {
	for _, one := range append([]*citizen{c}, c.linked...) {
		one.updated = now
		s.announce(one, permissions, preferences)
	}
}

// Link lets the trails of two citizens count for both. Whether that is announced is not known; here it is.
func (s *Sim) Link(a, b string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	group := append([]*citizen{s.known(a), s.known(b)}, append(s.known(a).linked, s.known(b).linked...)...)
	for _, c := range group {
		c.linked = slices.DeleteFunc(slices.Clone(group), func(o *citizen) bool { return o == c })
	}
	s.touch(group[0], s.now(), nil, nil)
}

// Unlink takes a citizen out of the links it has.
func (s *Sim) Unlink(citizenID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unlink(s.known(citizenID))
}

func (s *Sim) unlink(c *citizen) {
	for _, o := range c.linked {
		o.linked = slices.DeleteFunc(o.linked, func(l *citizen) bool { return l == c })
		o.updated = s.now()
	}
	c.linked = nil
}

// Merge takes a secondary citizen's history into the primary's, for good. The secondary goes if it is to.
func (s *Sim) Merge(primary, secondary string, remove bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	into, from := s.known(primary), s.known(secondary)
	into.permissions = append(into.permissions, from.permissions...)
	slices.SortFunc(into.permissions, func(a, b entry) int { return a.number - b.number })
	into.preferences = append(into.preferences, from.preferences...)
	if remove {
		s.remove(from)
	}
	s.touch(into, s.now(), nil, nil)
}

// Delete removes a citizen. It is a soft delete for the sender; nothing of it shows any more, and no webhook is sent.
func (s *Sim) Delete(citizenID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(s.known(citizenID))
}

func (s *Sim) remove(c *citizen) {
	s.unlink(c)
	c.deleted, c.permissions, c.preferences = true, nil, nil
	delete(s.byRef, c.ref)
}

// State is the effective view of a citizen now, as the API has it.
func (s *Sim) State(citizenID string) consent.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	return s.effective(s.known(citizenID), now, now)
}

func (s *Sim) known(id string) *citizen {
	c := s.citizens[id]
	if c == nil || c.deleted {
		panic(fmt.Sprintf("sim: no citizen %q", id))
	}
	return c
}

// effective is what was recorded by then of a citizen, as it is at an instant. Of each option and justification the
// latest obtainedAt wins, which is documented. What is outside its window does not count; an older
// transaction that still holds comes back into force, which is inferred from half a sentence.
func (s *Sim) effective(c *citizen, recorded, at time.Time) consent.State {
	state := consent.State{
		ApplicationID: consent.Identifier(s.options.Application), CitizenID: consent.Identifier(c.id), ExternalRef: consent.Identifier(c.ref),
		Permissions: []consent.Permission{}, Preferences: []consent.Preference{},
	}
	best, keys := map[consent.Key]entry{}, []consent.Key{}
	latest, references := map[string]consent.Preference{}, []string{}
	for _, of := range append([]*citizen{c}, c.linked...) {
		for _, e := range of.permissions {
			if e.RecordedAt.After(recorded) || at.Before(e.ValidFrom) || !e.ValidUntil.IsZero() && !at.Before(e.ValidUntil) {
				continue
			}
			b, there := best[e.Key()]
			if !there {
				keys = append(keys, e.Key())
			}
			if !there || e.ObtainedAt.After(b.ObtainedAt) || e.ObtainedAt.Equal(b.ObtainedAt) && e.number > b.number {
				best[e.Key()] = e
			}
		}
		for _, p := range of.preferences {
			before, there := latest[p.Preference]
			if !there {
				references = append(references, p.Preference)
			}
			if !p.UpdatedAt.After(recorded) && !p.UpdatedAt.Before(before.UpdatedAt) {
				latest[p.Preference] = p
			}
		}
	}
	for _, k := range keys {
		state.Permissions = append(state.Permissions, best[k].Permission)
	}
	for _, r := range references {
		state.Preferences = append(state.Preferences, latest[r])
	}
	return state
}
