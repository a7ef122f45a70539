// Package asset holds the nouns of the product: source, image, variant and
// rendition, with the rules that belong to them (ids that cannot be invented,
// keys that are safe as paths). It knows no storage and no transport.
package asset

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"safelight/internal/format"
)

// DefaultOwner owns everything where no other owner is named.
const DefaultOwner = "main"

// Digest is the SHA-256 of some bytes; it names them.
type Digest [sha256.Size]byte

// String is the digest in lower-case hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText writes hexadecimal.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// ParseDigest reads 64 hexadecimal digits.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if len(s) != 2*len(d) {
		return d, fmt.Errorf("a SHA-256 has %d hexadecimal digits, not %d", 2*len(d), len(s))
	}
	_, err := hex.Decode(d[:], []byte(s))
	return d, err
}

// Source is original bytes as they were uploaded, named by their digest.
type Source struct {
	Digest Digest
	Bytes  int64
	Header format.Header // as probed at ingest
}

// Image is what a client uploaded. It never changes; a key may later point
// elsewhere.
type Image struct {
	ID       ID
	Owner    string
	Key      string // the key that points at it, "" where none does (any more)
	Name     string // the client's file name, cleaned
	Category string
	Tags     []string
	Created  time.Time // UTC, milliseconds
	Source   Source
	Looks    Looks
}

// Looks is what one decode told of the picture; the zero value where ingest
// only read the header.
type Looks struct {
	Verified  bool // every pixel was decoded without error
	ThumbHash []byte
	BlurHash  string
	PHash     uint64 // perceptual hash; near pictures differ in few bits
}

// VariantKey identifies a source processed with certain options into a certain
// format: the first 16 bytes of a SHA-256 over the source's digest and the
// canonical options.
type VariantKey [16]byte

// String is the key in hexadecimal.
func (k VariantKey) String() string { return hex.EncodeToString(k[:]) }

// Variant computes a variant's key from the source, and the options in their
// canonical form with the negotiated format in it.
func Variant(source Digest, canonical string) VariantKey {
	h := sha256.New()
	h.Write(source[:])
	h.Write([]byte(canonical))
	return VariantKey(h.Sum(nil)[:16])
}

// Rendition describes the encoded bytes of a variant.
type Rendition struct {
	Variant VariantKey    `json:"-"`
	Source  Digest        `json:"-"`
	Options string        `json:"options"` // canonical
	Format  format.Format `json:"format"`
	Width   int           `json:"width"`
	Height  int           `json:"height"`
	Pages   int           `json:"pages"`
	Bytes   int64         `json:"bytes"`
	Digest  Digest        `json:"sha256"`
	Created time.Time     `json:"created"`
}
