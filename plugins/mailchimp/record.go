package mailchimp

import (
	"crypto/md5"
	"encoding/hex"
	"strings"
	"time"

	"github.com/consentd/consentd/plugins/internal/subscriber"
	"github.com/consentd/consentd/sdk"
)

// The statuses of a member. A record wants one of the first three.
const (
	subscribed    = "subscribed"
	unsubscribed  = "unsubscribed"
	pending       = "pending"
	cleaned       = "cleaned"
	transactional = "transactional"
	archived      = "archived"
)

// record is what a rule wants a member to be.
type record struct {
	Email string `json:"email"`
	// Status is empty when absent or null.
	Status      string                       `json:"status"`
	MergeFields sdk.Optional[map[string]any] `json:"merge_fields"`
	Interests   sdk.Optional[flags]          `json:"interests"`
	Tags        sdk.Optional[flags]          `json:"tags"`
	Permissions sdk.Optional[flags]          `json:"marketing_permissions"`
	Language    sdk.Optional[string]         `json:"language"`
	// OptedIn is zero when absent or null.
	OptedIn time.Time `json:"timestamp_opt"`
}

// flags are yes, no or, for a null, nil: no.
type flags map[string]*bool

// parse checks a record. The error is fit for sdk.FromError, as all in this package are.
func parse(r sdk.Record) (record, error) {
	var rec record
	if err := r.Decode(&rec); err != nil {
		return record{}, sdk.Rejected("INVALID_RECORD", "%v", err).Err()
	}
	// An address with a stray space has another hash: Mailchimp would not know it, and a withdrawal
	// would look as though there was nothing to do.
	if !subscriber.IsEmail(rec.Email) {
		return record{}, sdk.Rejected(codeInvalidEmail, "the record's email is not an e-mail address").Err()
	}
	switch rec.Status {
	case "", subscribed, unsubscribed, pending:
	default:
		return record{}, sdk.Rejected("INVALID_STATUS", "status must be subscribed, unsubscribed or pending").Err()
	}
	return rec, nil
}

// path is the member's, below the audience's. The hash is the MD5 of the address in lower case, and of
// nothing else: it is not trimmed.
func (r record) path() string {
	hash := md5.Sum([]byte(strings.ToLower(r.Email)))
	return "/members/" + hex.EncodeToString(hash[:])
}

// takings is the part of the record that takes something away: what must reach the vendor whatever
// else is wrong with the record.
func (r record) takings() record {
	part := record{
		Email:       r.Email,
		Interests:   takingFlags(r.Interests),
		Tags:        takingFlags(r.Tags),
		Permissions: takingFlags(r.Permissions),
	}
	if r.Status == unsubscribed {
		part.Status = unsubscribed
	}
	return part
}

func takingFlags(f sdk.Optional[flags]) sdk.Optional[flags] {
	no := flags{}
	for id, yes := range f.Value {
		if yes == nil || !*yes {
			no[id] = nil
		}
	}
	f.Value = no
	return f
}
