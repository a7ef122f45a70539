package diskcache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"time"

	"safelight/internal/asset"
	"safelight/internal/cache"
	"safelight/internal/format"
)

// A file is the rendition's bytes, a description in JSON, and a trailer of
// fixed size with big-endian numbers:
//
//	 0  length of the description   4 bytes
//	 4  length of the rendition     8
//	12  SHA-256 of the rendition   32
//	44  CRC-32C of the description and of the trailer's first 44 bytes  4
//	48  magic                       8
const (
	trailerBytes = 56
	magic        = "SLcache1"
	tailBytes    = 1024 // read at once; holds nearly every description
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged tells that a file is not what was put.
var errDamaged = errors.New("the cached file is damaged")

// description is an asset.Rendition as it is stored.
type description struct {
	Source  string        `json:"source"`
	Variant string        `json:"variant"`
	Options string        `json:"options"`
	Format  format.Format `json:"format"`
	Width   int           `json:"width"`
	Height  int           `json:"height"`
	Pages   int           `json:"pages"`
	Digest  string        `json:"sha256"` // as the caller says; the trailer has the one that was computed
	Created time.Time     `json:"created"`
}

// seal is what a footer says.
type seal struct {
	meta asset.Rendition
	sum  [sha256.Size]byte // of the bytes
}

func describe(meta asset.Rendition) ([]byte, error) {
	return json.Marshal(description{
		meta.Source.String(), meta.Variant.String(), meta.Options, meta.Format,
		meta.Width, meta.Height, meta.Pages, meta.Digest.String(), meta.Created.UTC(),
	})
}

// footer builds what follows the bytes.
func footer(text []byte, bytes int64, sum []byte) []byte {
	b := append([]byte(nil), text...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
	b = binary.BigEndian.AppendUint64(b, uint64(bytes))
	b = append(b, sum...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return append(b, magic...)
}

// readFooter reads and checks a file's footer without moving the file's
// offset. The error is errDamaged where the file is not key's.
func readFooter(f *os.File, key cache.Key) (seal, error) {
	fi, err := f.Stat()
	if err != nil {
		return seal{}, err
	}
	size := fi.Size()
	if size < trailerBytes {
		return seal{}, errDamaged
	}
	tail := make([]byte, min(size, tailBytes))
	if err := readAt(f, tail, size-int64(len(tail))); err != nil {
		return seal{}, err
	}
	trailer := tail[len(tail)-trailerBytes:]
	textLen := int64(binary.BigEndian.Uint32(trailer))
	bytes := int64(binary.BigEndian.Uint64(trailer[4:]))
	if string(trailer[48:]) != magic || bytes < 0 || bytes > size || size-trailerBytes-textLen != bytes {
		return seal{}, errDamaged
	}
	if textLen+trailerBytes > int64(len(tail)) {
		tail = make([]byte, textLen+trailerBytes)
		if err := readAt(f, tail, bytes); err != nil {
			return seal{}, err
		}
	}
	return parseFooter(tail[int64(len(tail))-trailerBytes-textLen:], key)
}

// parseFooter reads a footer whose trailer has the right lengths.
func parseFooter(b []byte, key cache.Key) (seal, error) {
	text, trailer := b[:len(b)-trailerBytes], b[len(b)-trailerBytes:]
	sealed := b[:len(b)-trailerBytes+44]
	if crc32.Checksum(sealed, castagnoli) != binary.BigEndian.Uint32(trailer[44:]) {
		return seal{}, errDamaged
	}
	var d description
	if err := json.Unmarshal(text, &d); err != nil {
		return seal{}, errDamaged
	}
	s := seal{meta: asset.Rendition{
		Variant: key.Variant, Source: key.Source, Options: d.Options, Format: d.Format,
		Width: d.Width, Height: d.Height, Pages: d.Pages,
		Bytes: int64(binary.BigEndian.Uint64(trailer[4:])), Created: d.Created,
	}}
	copy(s.sum[:], trailer[12:44])
	if d.Source != key.Source.String() || d.Variant != key.Variant.String() || !parseHex(s.meta.Digest[:], d.Digest) {
		return seal{}, errDamaged
	}
	return s, nil
}

// verify reads the bytes and compares their digest.
func (s seal) verify(f *os.File) error {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, s.meta.Bytes)); err != nil {
		return err
	}
	if [sha256.Size]byte(h.Sum(nil)) != s.sum {
		return errDamaged
	}
	return nil
}

// readAt fills p; a file that ends too early is damaged.
func readAt(f *os.File, p []byte, off int64) error {
	_, err := f.ReadAt(p, off)
	if errors.Is(err, io.EOF) {
		return errDamaged
	}
	return err
}

// parseHex fills dst from lower-case hexadecimal of exactly its size.
func parseHex(dst []byte, s string) bool {
	if len(s) != hex.EncodedLen(len(dst)) {
		return false
	}
	_, err := hex.Decode(dst, []byte(s))
	return err == nil && hex.EncodeToString(dst) == s
}
