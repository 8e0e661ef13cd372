package seal

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// The vectors of c2sp.org/XAES-256-GCM.
func TestXAES(t *testing.T) {
	for _, tc := range []struct {
		key       byte
		data, box string
	}{
		{1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		k, err := newKey(bytes.Repeat([]byte{tc.key}, 32))
		if err != nil {
			t.Fatal(err)
		}
		nonce := []byte("ABCDEFGHIJKLMNOPQRSTUVWX")
		got := k.gcm(nonce).Seal(nil, nonce[12:], []byte("XAES-256-GCM"), []byte(tc.data))
		if hex.EncodeToString(got) != tc.box {
			t.Errorf("key %d: %x", tc.key, got)
		}
	}
}
