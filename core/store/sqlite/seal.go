package sqlite

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Values that speak of a person are sealed as they go into the file, where there are keys to seal them with,
// and opened as they come out. A stored value begins with how it is stored:
//
//	0, the value                                in clear
//	1, key id (4), nonce (24), ciphertext       XAES-256-GCM (c2sp.org/XAES-256-GCM)
//
// That is AES-256-GCM under a key of its own for each value, which AES derives from half of a random nonce: with
// the 12 bytes that GCM itself has for one, chance would repeat one within a day of full load. What the value is
// and of whom goes into the authenticated data, so that no value opens in another's place.
const (
	inClear = 0
	xaesGCM = 1
)

// keyID names a key in the file. It tells nothing of the key; all zeros stand for no key.
type keyID [4]byte

func (id keyID) String() string { return hex.EncodeToString(id[:]) }

type sealKey struct {
	id    keyID
	block cipher.Block
	mask  [16]byte
}

func newSealKey(secret []byte) (*sealKey, error) {
	if len(secret) != 32 {
		return nil, errors.New("an encryption key is not 32 bytes long")
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	k := &sealKey{block: block}
	sum := sha256.Sum256(append([]byte("consentd key id\x00"), secret...))
	copy(k.id[:], sum[:])
	// Shifted left by one bit, in the field of CMAC.
	block.Encrypt(k.mask[:], k.mask[:])
	carry := byte(0)
	for i := len(k.mask) - 1; i >= 0; i-- {
		k.mask[i], carry = k.mask[i]<<1|carry, k.mask[i]>>7
	}
	k.mask[len(k.mask)-1] ^= carry * 0x87
	return k, nil
}

// nonceSize is that of XAES-256-GCM: one half derives the key, the other is GCM's nonce.
const nonceSize = 24

func (k *sealKey) gcm(nonce []byte) cipher.AEAD {
	derived := make([]byte, 0, 32)
	for counter := range byte(2) {
		block := append([]byte{0, counter + 1, 'X', 0}, nonce[:12]...)
		for i := range block {
			block[i] ^= k.mask[i]
		}
		k.block.Encrypt(block, block)
		derived = append(derived, block...)
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		panic(err) // only for a length that it does not have
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// sealer seals with the first key and opens with each. Without keys it stores in clear.
type sealer []*sealKey

func newSealer(secrets [][]byte) (sealer, error) {
	var s sealer
	for _, secret := range secrets {
		k, err := newSealKey(secret)
		if err != nil {
			return nil, err
		}
		if s.key(k.id) != nil {
			return nil, errors.New("an encryption key is there twice")
		}
		s = append(s, k)
	}
	return s, nil
}

func (s sealer) key(id keyID) *sealKey {
	for _, k := range s {
		if k.id == id {
			return k
		}
	}
	return nil
}

// first is the id of the key that seals.
func (s sealer) first() (id keyID) {
	if len(s) > 0 {
		id = s[0].id
	}
	return id
}

// who is whose a value is.
type who struct{ source, citizenID string }

// place is what a value is and whose.
type place struct {
	column string
	who
}

func (p place) data() []byte {
	return []byte(strings.Join([]string{p.column, p.source, p.citizenID}, "\x00"))
}

// seal makes of a value what is stored; nil stays nil.
func (s sealer) seal(at place, value []byte) []byte {
	switch {
	case value == nil:
		return nil
	case len(s) == 0:
		return append([]byte{inClear}, value...)
	}
	sealed := make([]byte, 1+len(keyID{})+nonceSize, 1+len(keyID{})+nonceSize+len(value)+16)
	sealed[0] = xaesGCM
	copy(sealed[1:], s[0].id[:])
	nonce := sealed[5:]
	rand.Read(nonce)
	return s[0].gcm(nonce).Seal(sealed, nonce[12:], value, at.data())
}

// open makes of what is stored the value; nil stays nil.
func (s sealer) open(at place, stored []byte) ([]byte, error) {
	id, ok := sealedWith(stored)
	switch {
	case stored == nil:
		return nil, nil
	case !ok:
		return nil, fmt.Errorf("a stored %s is damaged", at.column)
	case id == keyID{}:
		return stored[1:], nil
	}
	k := s.key(id)
	if k == nil {
		return nil, missing(id)
	}
	nonce, sealed := stored[5:5+nonceSize], stored[5+nonceSize:]
	value, err := k.gcm(nonce).Open(nil, nonce[12:], sealed, at.data())
	if err != nil {
		return nil, fmt.Errorf("a stored %s is damaged, or was sealed in another place", at.column)
	}
	return value, nil
}

// sealedWith is the id of the key that a stored value is sealed with, all zeros in clear.
func sealedWith(stored []byte) (id keyID, ok bool) {
	switch {
	case len(stored) > 0 && stored[0] == inClear:
		return id, true
	case len(stored) > 5+nonceSize && stored[0] == xaesGCM:
		copy(id[:], stored[1:])
		return id, true
	}
	return id, false
}

// stale is whether a stored value has to be sealed anew with the first key. What does not open is left as it is.
func (s sealer) stale(stored []byte) bool {
	id, ok := sealedWith(stored)
	return ok && id != s.first()
}

// move seals anew what was stored; at is its place.
func (s sealer) move(at place, stored []byte) ([]byte, error) {
	value, err := s.open(at, stored)
	if err != nil {
		return nil, err
	}
	return s.seal(at, value), nil
}

// errKeyMissing says that the store has values that none of the keys opens.
var errKeyMissing = errors.New("encryption key is missing")

func missing(id keyID) error {
	return fmt.Errorf("%w: values are sealed with the key %s, which encryption > keys does not have; "+
		"list that key there, the last if another shall seal from now on", errKeyMissing, id)
}

// keyName is how meta calls the row of a key: as long as it is there, values may be sealed with the key. The row's
// value is known, sealed with it, so that every key is tried when the store is opened.
func keyName(id keyID) string { return "key " + id.String() }

const keyRows = "key "

// hashKeyPlace is where HashKey stands in meta.
var hashKeyPlace = place{column: "hash_key"}

// checkKeys fails unless there is a key for everything that is sealed.
func (s sealer) checkKeys(ctx context.Context, db querier) error {
	all, err := keysInUse(ctx, db)
	if err != nil {
		return err
	}
	for id, canary := range all {
		if id == (keyID{}) {
			continue
		}
		if s.key(id) == nil {
			return missing(id)
		}
		if said, err := s.open(place{column: keyName(id)}, canary); err != nil || string(said) != id.String() {
			return fmt.Errorf("what shows that the key %s is the right one is damaged; bring a backup back", id)
		}
	}
	return nil
}

// keysInUse are the rows of keys by their ids.
func keysInUse(ctx context.Context, db querier) (map[keyID][]byte, error) {
	rows, err := db.QueryContext(ctx, `SELECT substr(name, ?), value FROM meta WHERE substr(name, 1, ?) = ?`,
		len(keyRows)+1, len(keyRows), keyRows)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[keyID][]byte{}
	for rows.Next() {
		var name string
		var canary []byte
		if err := rows.Scan(&name, &canary); err != nil {
			return nil, err
		}
		raw, err := hex.DecodeString(name)
		if err != nil || len(raw) != len(keyID{}) {
			return nil, errors.New("the list of keys in use is damaged; bring a backup back")
		}
		all[keyID(raw)] = canary
	}
	return all, rows.Err()
}

// useKeys notes the key that seals from now on, and brings HashKey under it.
func (s sealer) useKeys(ctx context.Context, db *sql.DB) (hashKey []byte, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	if err := s.checkKeys(ctx, tx); err != nil {
		return nil, err
	}
	id := s.first()
	canary := s.seal(place{column: keyName(id)}, []byte(id.String()))
	if _, err := tx.ExecContext(ctx, `INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING`, keyName(id), canary); err != nil {
		return nil, err
	}
	var stored []byte
	err = tx.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = 'hash_key'`).Scan(&stored)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		hashKey = make([]byte, 32)
		rand.Read(hashKey)
	case err != nil:
		return nil, err
	default:
		if hashKey, err = s.open(hashKeyPlace, stored); err != nil {
			return nil, err
		}
	}
	if stored == nil || s.stale(stored) {
		if _, err := tx.ExecContext(ctx, `INSERT INTO meta (name, value) VALUES ('hash_key', ?) ON CONFLICT DO UPDATE SET value = excluded.value`,
			s.seal(hashKeyPlace, hashKey)); err != nil {
			return nil, err
		}
	}
	return bytes.Clone(hashKey), tx.Commit()
}

// The columns whose values are sealed.
const (
	columnDigest     = "digest"
	columnGrants     = "grants"
	columnHeld       = "held body"
	columnBody       = "body"
	columnQuarantine = "quarantined body"
	columnErasure    = "erasure"
)

// orNull is NULL for nil, which the driver takes for an empty blob.
func orNull(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}
