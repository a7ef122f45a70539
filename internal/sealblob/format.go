package sealblob

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"safelight/internal/blob"
	"safelight/internal/fault"
)

// A sealed blob is a header and then segments:
//
//	8 bytes   magic, "SLSEAL01"
//	8 bytes   id of the key
//	32 bytes  salt
//	          segments of 65,536 bytes, of which the last one may be shorter, each
//	          sealed by AES-256-GCM and so followed by a tag of 16 bytes
//
// Every blob has a key of its own, made from the configured one and the salt by
// HKDF-SHA256 (RFC 5869), so that nonces need not be random: they have the
// segment's number, and a byte that says whether it is the last one (the STREAM
// construction of Hoang, Reyhanitabar, Rogaway and Vizár, 2015). So segments can
// be read in any order, and none can be changed, moved, taken away or added
// without being noticed. The header is authenticated with each segment. Only an
// empty blob has an empty segment.
const (
	magic        = "SLSEAL01"
	idBytes      = 8
	saltBytes    = 32
	headerBytes  = len(magic) + idBytes + saltBytes
	segmentBytes = 64 << 10
	tagBytes     = 16
	sealedBytes  = segmentBytes + tagBytes // of a whole segment
)

// sealedSize is how many bytes a blob of so many has when it is sealed.
func sealedSize(plain int64) int64 {
	return int64(headerBytes) + plain + tagBytes*segments(plain)
}

// segments is how many there are of a blob of so many bytes.
func segments(plain int64) int64 { return max(1, (plain+segmentBytes-1)/segmentBytes) }

// plainSize is the inverse of sealedSize.
func plainSize(sealed int64) (int64, error) {
	body := sealed - int64(headerBytes)
	plain := body - tagBytes*((body+sealedBytes-1)/sealedBytes)
	if body < tagBytes || plain < 0 || sealedSize(plain) != sealed {
		return 0, damaged(fmt.Errorf("no sealed blob has %d bytes", sealed))
	}
	return plain, nil
}

func damaged(cause error) error { return blob.Damage(cause) }

// segmenter seals and opens the segments of one blob. It is safe for concurrent
// use.
type segmenter struct {
	aead   cipher.AEAD
	header []byte
}

// fresh makes the segmenter of a new blob.
func (k *key) fresh() (*segmenter, error) {
	header := append([]byte(magic), k.id[:]...)
	header = append(header, make([]byte, saltBytes)...)
	_, _ = rand.Read(header[len(magic)+idBytes:]) // never fails
	return k.segmenter(header)
}

// segmenter makes that of a blob with a header.
func (k *key) segmenter(header []byte) (*segmenter, error) {
	own, err := hkdf.Key(sha256.New, k.secret, header[len(magic)+idBytes:], "safelight sealed blob 1", 32)
	if err != nil {
		return nil, fmt.Errorf("derive a blob's key: %w", err)
	}
	block, err := aes.NewCipher(own)
	if err != nil {
		return nil, fmt.Errorf("use a blob's key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	return &segmenter{aead, header}, err
}

func nonce(segment int64, last bool) []byte {
	n := make([]byte, 12)
	binary.BigEndian.PutUint64(n[3:], uint64(segment))
	if last {
		n[11] = 1
	}
	return n
}

// seal appends a sealed segment to dst.
func (s *segmenter) seal(dst, plain []byte, segment int64, last bool) []byte {
	return s.aead.Seal(dst, nonce(segment, last), plain, s.header)
}

// open appends what a sealed segment holds to dst, which may be sealed[:0].
func (s *segmenter) open(dst, sealed []byte, segment int64, last bool) ([]byte, error) {
	plain, err := s.aead.Open(dst, nonce(segment, last), sealed, s.header)
	if err != nil {
		return nil, damaged(fmt.Errorf("segment %d: %w", segment, err))
	}
	return plain, nil
}

// sealer seals what is written to it, a segment at a time, and passes it on. The
// last one is sealed by finish, since only then is it known to be that. It is for
// one goroutine.
type sealer struct {
	to     io.Writer
	seg    *segmenter
	sealed int64  // segments that were passed on
	open   []byte // of the segment after those, at most segmentBytes
	ended  bool   // that one was passed on as the last
	buf    []byte
}

// newSealer begins a blob.
func (k *key) newSealer(to io.Writer) (*sealer, error) {
	seg, err := k.fresh()
	if err != nil {
		return nil, err
	}
	_, err = to.Write(seg.header)
	return &sealer{to: to, seg: seg}, err
}

// Write implements io.Writer.
func (s *sealer) Write(p []byte) (int, error) {
	if s.ended {
		return 0, fault.New(fault.Internal, "a blob was written to after its end")
	}
	n := 0
	for len(p) > 0 {
		if len(s.open) == segmentBytes {
			if err := s.flush(false); err != nil {
				return n, err
			}
			s.sealed++
			s.open = s.open[:0]
		}
		part := min(len(p), segmentBytes-len(s.open))
		if s.open == nil {
			s.open = make([]byte, 0, segmentBytes)
		}
		s.open = append(s.open, p[:part]...)
		p, n = p[part:], n+part
	}
	return n, nil
}

// flush passes the open segment on.
func (s *sealer) flush(last bool) error {
	s.buf = s.seg.seal(s.buf[:0], s.open, s.sealed, last)
	_, err := s.to.Write(s.buf)
	return err
}

// finish passes on what is left; again, it does nothing.
func (s *sealer) finish() error {
	if s.ended {
		return nil
	}
	err := s.flush(true)
	s.ended = err == nil
	return err
}

// size is how many bytes were written.
func (s *sealer) size() int64 { return s.sealed*segmentBytes + int64(len(s.open)) }
