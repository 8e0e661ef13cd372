package mailchimp

import (
	"crypto/md5"
	"encoding/hex"
	"strings"

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
}

// flags are yes, no or, for a null, nil: no.
type flags map[string]*bool

func parse(r sdk.Record) (record, *sdk.Outcome) {
	var rec record
	refuse := func(code, format string, args ...any) (record, *sdk.Outcome) {
		o := sdk.Rejected(code, format, args...)
		return record{}, &o
	}
	if err := r.Decode(&rec); err != nil {
		return refuse("INVALID_RECORD", "%v", err)
	}
	// An address with a stray space has another hash: Mailchimp would not know it, and a withdrawal
	// would look as though there was nothing to do.
	name, domain, found := strings.Cut(rec.Email, "@")
	if !found || name == "" || domain == "" || strings.ContainsAny(rec.Email, " \t\r\n") {
		return refuse(codeInvalidEmail, "the record's email is not an e-mail address")
	}
	switch rec.Status {
	case "", subscribed, unsubscribed, pending:
	default:
		return refuse("INVALID_STATUS", "status must be subscribed, unsubscribed or pending")
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
