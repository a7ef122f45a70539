package sealblob

import (
	"encoding/hex"

	"safelight/internal/blob"
)

// What is needed by those who deal with blobs as they are stored.

// Parts are those of a stored name: the blob's own, and what follows it and tells
// the key; "" is a blob that is not sealed.
func Parts(stored string) (name, end string) { return unsealed(stored) }

// Open opens a blob that is read as it is stored, with whichever of the keys it
// takes. Closing what it gives closes stored.
func (k *Keys) Open(stored blob.Reader) (blob.Reader, error) {
	r, err := open(k.all, stored)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Suffix is what follows the name of a blob that is sealed with the key whose id
// begins so.
func Suffix(id [4]byte) string { return suffix + hex.EncodeToString(id[:]) }
