package store

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

// Chain is what verifying receipts found.
type Chain struct {
	// Receipts is how many there are, Head the hash of the last one. Whoever keeps the two elsewhere can tell
	// later that none was removed from the end.
	Receipts int64
	Head     []byte
	// Pruned is how many of them, the oldest, were removed because their time was over. The chain begins after them.
	Pruned int64
	// Broken is the id of the first receipt that is not what was written; 0 if all are. Problem says why.
	Broken  int64
	Problem string
}

// Subject is the keyed hash under which receipts know a citizen.
func Subject(key []byte, source, citizenID string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(appendField(nil, []byte(source)))
	mac.Write(appendField(nil, []byte(citizenID)))
	return mac.Sum(nil)[:16]
}

// Seal is the keyed hash of what an erasure takes out of a receipt: what was delivered, under which name the
// vendor keeps it, and from which transactions it came.
func (r Receipt) Seal(key []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(appendField(nil, r.Digest))
	mac.Write(appendField(nil, []byte(r.Reference)))
	for _, id := range r.Transactions {
		mac.Write(appendField(nil, []byte(id)))
	}
	return mac.Sum(nil)
}

// Chained is the hash of a receipt that follows the one with the hash given. It covers every field; for who
// the receipt is of the subject stands, and for what an erasure takes out, the seal.
func (r Receipt) Chained(before []byte) []byte {
	b := make([]byte, 0, 512)
	for _, field := range [][]byte{
		before, r.Subject, []byte(r.Rule), []byte(r.Target), number(r.Version), instant(r.SentAt), instant(r.Received),
		instant(r.Confirmed), fmt.Appendf(nil, "%t", r.Withdrawal), []byte(r.Outcome), r.Sealed, []byte(r.Plugin),
		[]byte(r.Config),
	} {
		b = appendField(b, field)
	}
	hash := sha256.Sum256(b)
	return hash[:]
}

func appendField(b, field []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(field))), field...)
}

func number(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// instant is to the microsecond, which is what stores keep.
func instant(t time.Time) []byte {
	if t.IsZero() {
		return number(0)
	}
	return number(t.UnixMicro())
}

// Add goes on with the next receipt in the order of ids and answers whether to go on. The key is the store's; without
// it, seals are taken as they are.
func (c *Chain) Add(key []byte, r Receipt) bool {
	switch {
	case r.ID != c.Receipts+1:
		c.Problem = "receipts are missing before it"
	case !bytes.Equal(r.Chained(c.Head), r.Hash), key != nil && r.Digest != nil && !bytes.Equal(r.Seal(key), r.Sealed):
		c.Problem = "it is not what was written, or the one before it is not"
	default:
		c.Receipts, c.Head = r.ID, r.Hash
		return true
	}
	c.Broken = r.ID
	return false
}

// End compares with what was written last.
func (c *Chain) End(receipts int64, head []byte) {
	if c.Broken == 0 && (c.Receipts != receipts || !bytes.Equal(c.Head, head)) {
		c.Broken, c.Problem = c.Receipts+1, "receipts are missing at the end"
	}
}

// Receipt is the lasting proof of one confirmed delivery.
type Receipt struct {
	ID        int64
	Source    string
	CitizenID string
	Rule      string
	Target    string
	Version   int64
	SentAt    time.Time
	Received  time.Time
	Confirmed time.Time
	// Withdrawal is whether it confirmed one.
	Withdrawal bool
	Outcome    string
	// Digest is the SHA-256 of what was delivered, Reference the vendor's own name for it, and Transactions the
	// ids under which the sender recorded what the rule read. They are empty once the citizen is erased;
	// Sealed, their keyed hash, stays.
	Digest       []byte
	Reference    string
	Transactions []string
	Sealed       []byte
	// Plugin is its type and version.
	Plugin string
	// Config is the hash of the configuration in force.
	Config string
	// Subject is the keyed hash of Source and CitizenID. It stays when the citizen is erased.
	Subject []byte
	// Hash chains the receipt to the one before.
	Hash []byte
}
