// Package seal seals the values in a store that speak of a person. It knows no database: a store says what a value is
// and whose, and keeps what comes out.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
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

// KeyID names a key in the file. It tells nothing of the key; all zeros stand for no key.
type KeyID [4]byte

func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

type key struct {
	id    KeyID
	block cipher.Block
	mask  [16]byte
}

func newKey(secret []byte) (*key, error) {
	if len(secret) != 32 {
		return nil, errors.New("an encryption key is not 32 bytes long")
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	k := &key{block: block}
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

func (k *key) gcm(nonce []byte) cipher.AEAD {
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

// Sealer seals with the first key and opens with each. Without keys it stores in clear.
type Sealer []*key

// New makes a sealer of secrets of 32 bytes each.
func New(secrets [][]byte) (Sealer, error) {
	var s Sealer
	for _, secret := range secrets {
		k, err := newKey(secret)
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

func (s Sealer) key(id KeyID) *key {
	for _, k := range s {
		if k.id == id {
			return k
		}
	}
	return nil
}

// First is the id of the key that seals.
func (s Sealer) First() (id KeyID) {
	if len(s) > 0 {
		id = s[0].id
	}
	return id
}

// Who is whose a value is.
type Who struct{ Source, CitizenID string }

// In is the place of a column of theirs.
func (w Who) In(column string) Place { return Place{column, w} }

// Place is what a value is and whose.
type Place struct {
	Column string
	Who
}

func (p Place) data() []byte {
	return []byte(strings.Join([]string{p.Column, p.Source, p.CitizenID}, "\x00"))
}

// Seal makes of a value what is stored; nil stays nil.
func (s Sealer) Seal(at Place, value []byte) []byte {
	switch {
	case value == nil:
		return nil
	case len(s) == 0:
		return append([]byte{inClear}, value...)
	}
	sealed := make([]byte, 1+len(KeyID{})+nonceSize, 1+len(KeyID{})+nonceSize+len(value)+16)
	sealed[0] = xaesGCM
	copy(sealed[1:], s[0].id[:])
	nonce := sealed[5:]
	rand.Read(nonce)
	return s[0].gcm(nonce).Seal(sealed, nonce[12:], value, at.data())
}

// Open makes of what is stored the value; nil stays nil.
func (s Sealer) Open(at Place, stored []byte) ([]byte, error) {
	id, ok := sealedWith(stored)
	switch {
	case stored == nil:
		return nil, nil
	case !ok:
		return nil, fmt.Errorf("a stored %s is damaged", at.Column)
	case id == KeyID{}:
		return stored[1:], nil
	}
	k := s.key(id)
	if k == nil {
		return nil, Missing(id)
	}
	nonce, sealed := stored[5:5+nonceSize], stored[5+nonceSize:]
	value, err := k.gcm(nonce).Open(nil, nonce[12:], sealed, at.data())
	if err != nil {
		return nil, fmt.Errorf("a stored %s is damaged, or was sealed in another place", at.Column)
	}
	return value, nil
}

// sealedWith is the id of the key that a stored value is sealed with, all zeros in clear.
func sealedWith(stored []byte) (id KeyID, ok bool) {
	switch {
	case len(stored) > 0 && stored[0] == inClear:
		return id, true
	case len(stored) > 5+nonceSize && stored[0] == xaesGCM:
		copy(id[:], stored[1:])
		return id, true
	}
	return id, false
}

// Stale is whether a stored value has to be sealed anew with the first key. What does not open is left as it is.
func (s Sealer) Stale(stored []byte) bool {
	id, ok := sealedWith(stored)
	return ok && id != s.First()
}

// Move seals anew what was stored; at is its place.
func (s Sealer) Move(at Place, stored []byte) ([]byte, error) {
	value, err := s.Open(at, stored)
	if err != nil {
		return nil, err
	}
	return s.Seal(at, value), nil
}

// Pass is how far a walk through a store has come that seals everything anew with the first key.
type Pass struct {
	Citizen, Quarantined int64
	Ended                bool
	// Damaged is whether some value could not be opened: then its key stays in use.
	Damaged bool
}

// More is whether it goes on. The error is for one that has ended and left something behind.
func (p Pass) More() (bool, error) {
	if p.Ended && p.Damaged {
		return false, errors.New("values that cannot be opened were left as they are; consentd store verify counts them")
	}
	return !p.Ended, nil
}

// ErrKeyMissing says that the store has values that none of the keys opens.
var ErrKeyMissing = errors.New("encryption key is missing")

// Missing is ErrKeyMissing of one key.
func Missing(id KeyID) error {
	return fmt.Errorf("%w: values are sealed with the key %s, which encryption > keys does not have; "+
		"list that key there, the last if another shall seal from now on", ErrKeyMissing, id)
}

// KeyRows begins the names of the rows of meta that say which keys are in use.
const KeyRows = "key "

// Name is how meta calls the row of a key: as long as it is there, values may be sealed with the key. The row's
// value is known, sealed with it, so that every key is tried when the store is opened.
func (id KeyID) Name() string { return KeyRows + id.String() }

// Canary is the value of that row for the key that seals.
func (s Sealer) Canary() []byte {
	id := s.First()
	return s.Seal(Place{Column: id.Name()}, []byte(id.String()))
}

// Check fails unless there is a key for every row of meta that names one; the rows are by what follows KeyRows.
func (s Sealer) Check(rows map[string][]byte) (inUse []KeyID, err error) {
	for name, canary := range rows {
		raw, err := hex.DecodeString(name)
		if err != nil || len(raw) != len(KeyID{}) {
			return nil, errors.New("the list of keys in use is damaged; bring a backup back")
		}
		id := KeyID(raw)
		inUse = append(inUse, id)
		if id == (KeyID{}) {
			continue
		}
		if s.key(id) == nil {
			return inUse, Missing(id)
		}
		if said, err := s.Open(Place{Column: id.Name()}, canary); err != nil || string(said) != id.String() {
			return inUse, fmt.Errorf("what shows that the key %s is the right one is damaged; bring a backup back", id)
		}
	}
	return inUse, nil
}

// InUse is Check, and says for a person which keys are in use.
func (s Sealer) InUse(rows map[string][]byte) (string, error) {
	all, err := s.Check(rows)
	if err == nil && len(all) == 0 {
		err = errors.New("the list of keys in use is missing; bring a backup back")
	}
	if err != nil {
		return "", err
	}
	var ids []string
	for _, id := range all {
		if id == (KeyID{}) {
			ids = append(ids, "none (in clear)")
		} else {
			ids = append(ids, id.String())
		}
	}
	slices.Sort(ids)
	return "in use: " + strings.Join(ids, ", "), nil
}

// HashKeyPlace is where the key of hashes stands in meta.
var HashKeyPlace = Place{Column: "hash_key"}

// HashKey opens the key of hashes, or makes one when nothing is stored. What is to be stored anew is nil when
// it may stay as it is.
func (s Sealer) HashKey(stored []byte) (key, anew []byte, err error) {
	if stored == nil {
		key = make([]byte, 32)
		rand.Read(key)
	} else if key, err = s.Open(HashKeyPlace, stored); err != nil {
		return nil, nil, err
	}
	if stored == nil || s.Stale(stored) {
		anew = s.Seal(HashKeyPlace, key)
	}
	return bytes.Clone(key), anew, nil
}

// The columns whose values are sealed.
const (
	Digest     = "digest"
	Grants     = "grants"
	Held       = "held body"
	Body       = "body"
	Quarantine = "quarantined body"
	Erasure    = "erasure"
)

// Quarantined is the place of a quarantined body: by its digest, since nobody knows whose a body is that was not
// understood.
func Quarantined(source string, digest []byte) Place {
	return Who{source, string(digest)}.In(Quarantine)
}

// Erased is the place of the records of a request to erase.
func Erased(subject []byte) Place { return Who{"", string(subject)}.In(Erasure) }
