package consent

import (
	"crypto/sha256"
	"slices"
	"strings"
	"time"
)

// MaxSkew is how far the sender's clock may run ahead of ours before its sentAt is taken for a mistake.
const MaxSkew = 5 * time.Minute

// Citizen is what is known of one citizen: the newest state, and what the next update is compared with.
type Citizen struct {
	// SentAt and Evidence, with the order of arrival, are the version. SentAt is as the sender wrote it;
	// where it wrote none it is the evidence.
	SentAt   time.Time
	Evidence time.Time
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

// Apply says what an update does to what is known of its citizen; current is nil for a new one. It is
// pure: the clock is the update's time of receipt.
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
	if current == nil {
		next.Grants = grants(u.State, u.Received)
		return Applied{Citizen: next, State: &u.State, Withdrawal: slices.ContainsFunc(u.State.Permissions, Permission.Refused)}, nil
	}
	if current.Digest == next.Digest {
		return Applied{Verdict: Duplicate}, nil
	}
	state := u.State
	if u.Type == ConsentReceipts {
		known, err := Decode(current.Body)
		if err != nil {
			return Applied{}, err
		}
		merged, changed := merge(known, current.SentAt, u.State, next.SentAt)
		if !changed {
			return Applied{Verdict: Superseded}, nil
		}
		state = merged
		next.SentAt = later(current.SentAt, next.SentAt)
		next.Evidence = later(current.Evidence, next.Evidence)
		next.Body = Encode(state)
	} else if older(next, *current) {
		return Applied{Verdict: Superseded}, nil
	}
	next.Grants = grants(state, u.Received)
	withdrawal := false
	if next.Grants != current.Grants {
		var vanished []Key
		withdrawal, vanished = compare(current.Grants, next.Grants)
		if len(vanished) > 0 {
			// The sender leaves out what has lapsed. The citizen's targets were told of it once, so it
			// stays in the state, with nothing recorded any more.
			for _, k := range vanished {
				state.Permissions = append(state.Permissions, Permission{
					OptionType: k.OptionType, OptionID: k.OptionID, Justification: k.Justification,
				})
			}
			next.Body = Encode(state)
			next.Grants = grants(state, u.Received)
		}
	}
	return Applied{Citizen: next, State: &state, Withdrawal: withdrawal}, nil
}

// older is law 2's order by (sentAt, evidence); arrival decides between equals, so an equal one is not
// older. A stored sentAt from the future proves nothing, and then newer evidence wins.
func older(next, current Citizen) bool {
	if current.SentAt.After(current.Received.Add(MaxSkew)) && next.Evidence.After(current.Evidence) {
		return false
	}
	if c := next.SentAt.Compare(current.SentAt); c != 0 {
		return c < 0
	}
	return next.Evidence.Before(current.Evidence)
}

// merge brings a partial state into the known one, entry by entry. The newer obtainedAt wins, as it does
// within the sender (docs-cpm.dataguard.com/docs/transactions), then the newer recordedAt, then, at a
// draw, what arrived last.
func merge(known State, knownSent time.Time, partial State, partialSent time.Time) (merged State, changed bool) {
	merged = known
	merged.Permissions = slices.Clone(known.Permissions)
	merged.Preferences = slices.Clone(known.Preferences)
	for _, p := range partial.Permissions {
		i := slices.IndexFunc(merged.Permissions, func(k Permission) bool { return k.Key() == p.Key() })
		switch {
		case i < 0:
			merged.Permissions = append(merged.Permissions, p)
		case obtained(p, partialSent).Compare(obtained(merged.Permissions[i], knownSent)) < 0,
			obtained(p, partialSent).Equal(obtained(merged.Permissions[i], knownSent)) && p.RecordedAt.Before(merged.Permissions[i].RecordedAt):
			continue
		case merged.Permissions[i] == p:
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

func obtained(p Permission, sent time.Time) time.Time {
	switch {
	case !p.ObtainedAt.IsZero():
		return p.ObtainedAt
	case !p.RecordedAt.IsZero():
		return p.RecordedAt
	}
	return sent
}

func samePreference(a, b Preference) bool {
	return a.UpdatedAt.Equal(b.UpdatedAt) && a.SubmissionID == b.SubmissionID && slices.Equal(a.Choices, b.Choices)
}

const (
	allowedMark = '+'
	deniedMark  = '-'
	separator   = "\x1f"
)

// grants writes the lines of Citizen.Grants: a mark and the key, sorted by key. Where one key stands
// more than once, one that denies wins.
func grants(s State, now time.Time) string {
	marks := make(map[Key]byte, len(s.Permissions))
	for _, p := range s.Permissions {
		if p.Allowed(now) && marks[p.Key()] != deniedMark {
			marks[p.Key()] = allowedMark
		} else {
			marks[p.Key()] = deniedMark
		}
	}
	lines := make([]string, 0, len(marks))
	for k, mark := range marks {
		lines = append(lines, k.OptionType+separator+k.OptionID+separator+k.Justification+separator+string(mark))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// compare finds what was allowed before and is not now, and which keys are not named any more.
func compare(before, now string) (withdrawal bool, vanished []Key) {
	after := map[Key]byte{}
	for k, mark := range parseGrants(now) {
		after[k] = mark
	}
	for k, mark := range parseGrants(before) {
		current, named := after[k]
		if mark == allowedMark && current != allowedMark {
			withdrawal = true
		}
		if !named {
			vanished = append(vanished, k)
		}
	}
	return withdrawal, vanished
}

func parseGrants(lines string) func(yield func(Key, byte) bool) {
	return func(yield func(Key, byte) bool) {
		for line := range strings.SplitSeq(lines, "\n") {
			if f := strings.Split(line, separator); len(f) == 4 && f[3] != "" {
				if !yield(Key{f[0], f[1], f[2]}, f[3][0]) {
					return
				}
			}
		}
	}
}
