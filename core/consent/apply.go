package consent

import (
	"crypto/sha256"
	"slices"
	"time"
)

// MaxSkew is how far the sender's clock may run ahead of ours before its sentAt is taken for a mistake.
const MaxSkew = 5 * time.Minute

// Citizen is what is known of one citizen: the newest state, and what the next update is compared with.
type Citizen struct {
	// SentAt and Evidence, with the order of arrival, are the version. SentAt is as the sender wrote it;
	// where it wrote none it is the evidence. Neither is from the future: the time of receipt stands for one
	// that was.
	SentAt   time.Time
	Evidence time.Time
	// Proven is the newest sentAt that may be believed: not that of an update from the future, nor of one
	// that regresses. Up to it nothing older is news; after it, newer evidence is.
	Proven time.Time
	// Received is when the newest state came in.
	Received time.Time
	// Digest is the SHA-256 of the newest message.
	Digest [sha256.Size]byte
	// Grants has a line for every permission the sender ever named of this citizen, and whether it was
	// allowed when the newest state came in. It spares decoding the body.
	Grants string
	// Body is the newest State in the sender's shape. Where nothing had to be merged it is the newest
	// message, byte for byte.
	Body []byte
	// Held is a State with the grants that are held back; nil when there are none. See Apply.
	Held []byte
	// Next is when a validity window begins or ends that changes what is allowed; zero if none does.
	Next time.Time
}

// Verdict is what became of an update.
type Verdict int

const (
	// Accepted: the update is the citizen's newest state now.
	Accepted Verdict = iota
	// Superseded: something newer was known already; nothing changed.
	Superseded
	// Duplicate: this very message is the newest state already; nothing changed.
	Duplicate
)

func (v Verdict) String() string {
	return [...]string{"accepted", "superseded", "duplicate"}[v]
}

// Applied is the answer of Apply.
type Applied struct {
	Verdict Verdict
	// Citizen is the new standing, and State what its body says; meaningful only when Accepted.
	Citizen Citizen
	State   *State
	// Withdrawal is whether a permission that was allowed is not any more. What targets hold of a citizen
	// of whom nothing was known is unknown, so there an outright refusal counts as one.
	Withdrawal bool
}

// ReadsBody is whether Apply needs the known citizen's body to say what the update does.
func (u Update) ReadsBody(current Citizen) bool {
	return u.Type == ConsentReceipts || u.regresses(current)
}

// regresses is whether the update was sent later than what is known, on older evidence: a retry that was
// stamped anew, or an older permission that came back into force.
func (u Update) regresses(current Citizen) bool {
	sent := truncate(u.State.SentAt)
	return u.Type == EffectivePermission && !u.ApplyRegressions && !sent.IsZero() &&
		sent.After(current.SentAt) && truncate(u.State.Evidence()).Before(current.Evidence)
}

// Outlives is whether the update tells anything of its citizen that was recorded after they were erased. When
// it was sent proves nothing: a retry may be stamped anew.
func (u Update) Outlives(erased time.Time) bool {
	past := u.State
	past.Permissions = slices.DeleteFunc(slices.Clone(past.Permissions), func(p Permission) bool { return future(p.RecordedAt, u.Received) })
	past.Preferences = slices.DeleteFunc(slices.Clone(past.Preferences), func(p Preference) bool { return future(p.UpdatedAt, u.Received) })
	return past.Evidence().After(erased)
}

// future is whether an instant that the sender names is later than its clock can be.
func future(at, received time.Time) bool { return at.After(received.Add(MaxSkew)) }

// Apply says what an update does to what is known of its citizen; current is nil for a new one. It is
// pure: the clock is the update's time of receipt.
//
// An update that regresses may withdraw and may not grant. What it would grant is held: kept beside the
// state until a newer update replaces it or Release lets it through.
func Apply(current *Citizen, u Update) (Applied, error) {
	next := Citizen{
		SentAt:   truncate(u.State.SentAt),
		Evidence: truncate(u.State.Evidence()),
		Received: truncate(u.Received),
		Digest:   sha256.Sum256(u.Body),
		Body:     u.Body,
	}
	if u.State.SentAt.IsZero() {
		next.SentAt = next.Evidence
	}
	next.Proven = next.SentAt
	if future(next.SentAt, next.Received) {
		// It cannot be true. What was sent after this came in is later for certain.
		next.SentAt, next.Proven = next.Received, time.Time{}
	}
	if future(next.Evidence, next.Received) {
		next.Evidence = next.Received
	}
	if current == nil {
		a := standing(next, u.State, "")
		a.Withdrawal = slices.ContainsFunc(u.State.Permissions, Permission.Refused)
		return a, nil
	}
	if current.Digest == next.Digest {
		return Applied{Verdict: Duplicate}, nil
	}
	state := u.State
	switch {
	case u.ReadsBody(*current):
		known, err := Decode(current.Body)
		if err != nil {
			return Applied{}, err
		}
		if u.Type == ConsentReceipts {
			changed := false
			if state, changed = merge(known, current.SentAt, u.State, next.SentAt, next.Received); !changed {
				return Applied{Verdict: Superseded}, nil
			}
			next.SentAt, next.Proven = later(current.SentAt, next.SentAt), later(current.Proven, next.Proven)
			next.Held = current.Held
		} else {
			var held State
			state, held = regress(known, u.State, next.Received)
			next.Proven = current.Proven
			if len(held.Permissions) > 0 {
				next.Held = Encode(held)
			}
		}
		next.Evidence = later(current.Evidence, next.Evidence)
		next.Body = Encode(state)
	case older(next, *current):
		return Applied{Verdict: Superseded}, nil
	}
	return standing(next, state, current.Grants), nil
}

// Tick looks at a citizen again at a later instant, when windows may have begun or ended.
func Tick(current Citizen, now time.Time) (Applied, error) {
	state, err := Decode(current.Body)
	if err != nil {
		return Applied{}, err
	}
	next := current
	next.Received = truncate(now)
	return standing(next, state, current.Grants), nil
}

// Release lets the held grants of a citizen through, as an operator decides.
func Release(current Citizen, now time.Time) (Applied, error) {
	state, err := Decode(current.Body)
	if err != nil {
		return Applied{}, err
	}
	held, err := Decode(current.Held)
	if err != nil {
		return Applied{}, err
	}
	state.Permissions = slices.DeleteFunc(slices.Clone(state.Permissions), func(p Permission) bool { return named(held, p.Key()) })
	state.Permissions = append(state.Permissions, held.Permissions...)
	next := current
	next.Received, next.Held, next.Body = truncate(now), nil, Encode(state)
	return standing(next, state, current.Grants), nil
}

// standing completes an accepted citizen with what its state says as of its receipt, compared with what was
// granted before.
func standing(next Citizen, state State, before string) Applied {
	next.Grants = grants(state, next.Received)
	next.Next = nextChange(state, next.Received)
	withdrawal := false
	if before != "" && next.Grants != before {
		var vanished []Key
		withdrawal, vanished = compare(before, next.Grants)
		if len(vanished) > 0 {
			// The sender leaves out what has lapsed. The citizen's targets were told of it once, so it
			// stays in the state, with nothing recorded any more.
			state.Permissions = slices.Clone(state.Permissions)
			for _, k := range vanished {
				state.Permissions = append(state.Permissions, Permission{
					OptionType: k.OptionType, OptionID: k.OptionID, Justification: k.Justification,
				})
			}
			next.Body = Encode(state)
			next.Grants = grants(state, next.Received)
		}
	}
	return Applied{Citizen: next, State: &state, Withdrawal: withdrawal}
}

// regress takes from an update that regresses all but its grants. Preferences grant nothing, and the newer
// one of each stays.
func regress(known, sent State, now time.Time) (state, held State) {
	state = sent
	state.Permissions, state.Preferences = nil, nil
	held = State{ApplicationID: sent.ApplicationID, CitizenID: sent.CitizenID, SentAt: sent.SentAt}
	for _, p := range sent.Permissions {
		if p.Allowed(now) && !allowed(known, p.Key(), now) {
			held.Permissions = append(held.Permissions, p)
			continue
		}
		state.Permissions = append(state.Permissions, p)
	}
	for _, p := range known.Permissions {
		if named(held, p.Key()) {
			state.Permissions = append(state.Permissions, p)
		}
	}
	state.Preferences = slices.Clone(known.Preferences)
	for _, p := range sent.Preferences {
		i := slices.IndexFunc(state.Preferences, func(k Preference) bool { return k.Preference == p.Preference })
		if i < 0 {
			state.Preferences = append(state.Preferences, p)
		} else if p.UpdatedAt.After(state.Preferences[i].UpdatedAt) {
			state.Preferences[i] = p
		}
	}
	return state, held
}

func named(s State, k Key) bool {
	return slices.ContainsFunc(s.Permissions, func(p Permission) bool { return p.Key() == k })
}

// allowed is whether a key is named and every entry of it is allowed.
func allowed(s State, k Key, now time.Time) bool {
	return named(s, k) && !slices.ContainsFunc(s.Permissions, func(p Permission) bool { return p.Key() == k && !p.Allowed(now) })
}

// nextChange is the earliest instant after now at which a window begins or ends that would change what is
// allowed.
func nextChange(s State, now time.Time) time.Time {
	var next time.Time
	for _, p := range s.Permissions {
		if p.State != "GRANTED" && p.State != "CLAIMED" {
			continue
		}
		for _, at := range []time.Time{p.ValidFrom, p.ValidUntil} {
			if at.After(now) && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
	}
	return next
}

// older is law 2's order by (sentAt, evidence); arrival decides between equals, so an equal one is not
// older. A stored sentAt that is not proven does not block later truth: newer evidence wins.
func older(next, current Citizen) bool {
	if next.SentAt.After(current.Proven) && next.Evidence.After(current.Evidence) {
		return false
	}
	if c := next.SentAt.Compare(current.SentAt); c != 0 {
		return c < 0
	}
	return next.Evidence.Before(current.Evidence)
}

// merge brings a partial state into the known one, entry by entry. The newer obtainedAt wins, as it does
// within the sender (docs-cpm.dataguard.com/docs/transactions), then the newer recordedAt, then, at a
// draw, what arrived last. What bears no time of its own is from when its message was sent.
func merge(known State, knownSent time.Time, partial State, partialSent, now time.Time) (merged State, changed bool) {
	merged, partial = dated(known, knownSent, now), dated(partial, partialSent, now)
	for _, p := range partial.Permissions {
		i := slices.IndexFunc(merged.Permissions, func(k Permission) bool { return k.Key() == p.Key() })
		switch {
		case i < 0:
			merged.Permissions = append(merged.Permissions, p)
		case p.isOlder(merged.Permissions[i], now), merged.Permissions[i] == p:
			continue
		default:
			merged.Permissions[i] = p
		}
		changed = true
	}
	for _, p := range partial.Preferences {
		i := slices.IndexFunc(merged.Preferences, func(k Preference) bool { return k.Preference == p.Preference })
		switch {
		case i < 0:
			merged.Preferences = append(merged.Preferences, p)
		case p.UpdatedAt.Before(merged.Preferences[i].UpdatedAt), samePreference(p, merged.Preferences[i]):
			continue
		default:
			merged.Preferences[i] = p
		}
		changed = true
	}
	if !partialSent.Before(knownSent) {
		changed = changed || merged.ExternalRef != partial.ExternalRef && partial.ExternalRef != ""
		if partial.ExternalRef != "" {
			merged.ExternalRef = partial.ExternalRef
		}
		if partial.ApplicationID != "" {
			merged.ApplicationID = partial.ApplicationID
		}
		merged.SentAt = partial.SentAt
	}
	return merged, changed
}

// dated is a copy of a state in which every entry bears a time that can be true.
func dated(s State, sent, now time.Time) State {
	s.Permissions, s.Preferences = slices.Clone(s.Permissions), slices.Clone(s.Preferences)
	for i := range s.Permissions {
		if p := &s.Permissions[i]; p.obtained(now).IsZero() {
			p.RecordedAt = sent
		}
	}
	for i := range s.Preferences {
		if p := &s.Preferences[i]; p.UpdatedAt.IsZero() || future(p.UpdatedAt, now) {
			p.UpdatedAt = sent
		}
	}
	return s
}

// isOlder is whether p was obtained, or else recorded, before other.
func (p Permission) isOlder(other Permission, now time.Time) bool {
	if c := p.obtained(now).Compare(other.obtained(now)); c != 0 {
		return c < 0
	}
	return p.RecordedAt.Before(other.RecordedAt) && !future(other.RecordedAt, now)
}

// obtained is when the permission was collected, as far as that can be true; recordedAt stands for one
// that is missing or from the future.
func (p Permission) obtained(now time.Time) time.Time {
	for _, at := range []time.Time{p.ObtainedAt, p.RecordedAt} {
		if !at.IsZero() && !future(at, now) {
			return at
		}
	}
	return time.Time{}
}

func samePreference(a, b Preference) bool {
	return a.UpdatedAt.Equal(b.UpdatedAt) && a.SubmissionID == b.SubmissionID && slices.Equal(a.Choices, b.Choices)
}
