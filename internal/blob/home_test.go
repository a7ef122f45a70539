package blob

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

// Whoever removes one form of some bytes must keep off whoever counts on it to
// remove the other, so both wait for one lock.
func TestFormsShareALock(t *testing.T) {
	h := NewHome(nil)
	apart := map[any]bool{}
	for i := range 20 {
		sum := sha256.Sum256([]byte{byte(i)})
		digest := hex.EncodeToString(sum[:])
		if h.lock(SourceName(digest)) != h.lock(RecompressedName(digest)) {
			t.Error(digest, "has two locks")
		}
		apart[h.lock(SourceName(digest))] = true
	}
	if len(apart) < 2 {
		t.Error("all have one lock")
	}
}
