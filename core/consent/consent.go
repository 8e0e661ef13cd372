// Package consent holds the domain nouns: Update, State, Permission, Preference, and the one function,
// Apply, that says what an update does to what is known of a citizen. It imports nothing of ours and
// does no I/O, so every law about order and about what counts as allowed stands here.
package consent

import (
	"time"
)

// UpdateType is what a source sends, in the sender's words.
type UpdateType string

const (
	// EffectivePermission updates carry the whole state of a citizen.
	EffectivePermission UpdateType = "effective-permission"
	// ConsentReceipts updates carry only what changed.
	ConsentReceipts UpdateType = "consent-receipts"
)

// Update is one accepted webhook message.
type Update struct {
	Source   string
	Type     UpdateType
	Received time.Time
	State    State
	// Body is the message as it came, byte for byte.
	Body []byte
	// ApplyRegressions lets an update that was sent later on older evidence grant at once; see Apply.
	ApplyRegressions bool
}

// State is what the sender says of one citizen, in the sender's shape: an effective-permission message
// is a State, and a stored State is such a message again.
type State struct {
	ApplicationID Identifier   `json:"applicationId"`
	CitizenID     Identifier   `json:"citizenId"`
	ExternalRef   Identifier   `json:"externalRef,omitzero"`
	Permissions   []Permission `json:"permissions"`
	Preferences   []Preference `json:"preferences"`
	// SentAt is zero when the message had none.
	SentAt time.Time `json:"sentAt,omitzero"`
}

// Permission is the state of one option or group under one justification. Empty strings and zero times
// stand for null and absent.
type Permission struct {
	TransactionID          string    `json:"transactionId,omitzero"`
	OptionType             string    `json:"optionType"`
	OptionID               string    `json:"optionId"`
	Justification          string    `json:"justification,omitzero"`
	State                  string    `json:"state"`
	Channel                string    `json:"channel,omitzero"`
	Campaign               string    `json:"campaign,omitzero"`
	PrivacyPolicyID        string    `json:"privacyPolicyId,omitzero"`
	PrivacyPolicyRef       string    `json:"privacyPolicyRef,omitzero"`
	PermissionStatementID  string    `json:"permissionStatementId,omitzero"`
	PermissionStatementRef string    `json:"permissionStatementRef,omitzero"`
	RecordedBy             string    `json:"recordedBy,omitzero"`
	RecordedByName         string    `json:"recordedByName,omitzero"`
	RecordedClient         string    `json:"recordedClient,omitzero"`
	RecordedClientName     string    `json:"recordedClientName,omitzero"`
	DelegatedAuthorityID   string    `json:"delegatedAuthorityId,omitzero"`
	DelegatedAuthorityName string    `json:"delegatedAuthorityName,omitzero"`
	RecordedAt             time.Time `json:"recordedAt,omitzero"`
	ObtainedAt             time.Time `json:"obtainedAt,omitzero"`
	ValidFrom              time.Time `json:"validFrom,omitzero"`
	ValidUntil             time.Time `json:"validUntil,omitzero"`
}

// Preference is what a citizen chose for one preference.
type Preference struct {
	Preference   string    `json:"preference"`
	Choices      []Choice  `json:"choices"`
	Label        string    `json:"label,omitzero"`
	SubmissionID string    `json:"submissionId,omitzero"`
	UpdatedAt    time.Time `json:"updatedAt,omitzero"`
}

// Choice is one chosen value. Labels are for people and may be translated; rules match references.
type Choice struct {
	Reference string `json:"reference"`
	Label     string `json:"label,omitzero"`
}

// Key is what identifies a permission within a citizen.
type Key struct {
	OptionType, OptionID, Justification string
}

// Key of the permission.
func (p Permission) Key() Key {
	return Key{p.OptionType, p.OptionID, p.Justification}
}

// Allowed is whether the permission is GRANTED or CLAIMED and now is inside its validity window, which
// includes its start and not its end. Every other state, null and unknown ones included, is not
// allowed. The split is the sender's own: its export counts exactly these two as given.
func (p Permission) Allowed(now time.Time) bool {
	if p.State != "GRANTED" && p.State != "CLAIMED" {
		return false
	}
	if !p.ValidFrom.IsZero() && now.Before(p.ValidFrom) {
		return false
	}
	return p.ValidUntil.IsZero() || now.Before(p.ValidUntil)
}

// Refused is whether the citizen said no in so many words, as against never having been asked.
func (p Permission) Refused() bool {
	return p.State == "DENIED" || p.State == "OBJECTED" || p.State == "OBJECTION_UPHELD"
}

// Evidence is the newest instant at which anything in the state was recorded; zero if nothing says.
func (s State) Evidence() time.Time {
	var newest time.Time
	for _, p := range s.Permissions {
		newest = later(newest, p.RecordedAt)
	}
	for _, p := range s.Preferences {
		newest = later(newest, p.UpdatedAt)
	}
	return newest
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
